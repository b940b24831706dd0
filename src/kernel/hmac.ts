/**
 * HMAC-SHA256 at once, not as a promise: what is sent has to be signed in the order in which it is sent. Web Crypto only
 * promises, and `node:crypto` takes longer to load than everything else of this kernel together.
 *
 * @module
 */

const BLOCK = 64;
/** The first bits of the fractions of the first 64 primes' cube roots, and of the first 8 primes' square roots (FIPS 180-4). */
const PRIMES = Array.from({ length: 312 }, (_, n) => n).filter((n) => {
  return n > 1 && !Array.from({ length: n }, (_, m) => m).some((m) => m > 1 && n % m === 0);
});
const ROUND = Int32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const START = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));
const encoder = new TextEncoder();

function fraction(root: number): number {
  return Math.floor((root - Math.floor(root)) * 2 ** 32) | 0;
}

/** Where a hash is at work; none is ever left in the middle. */
const state = new Int32Array(8);
const schedule = new Int32Array(64);
const rest = new Uint8Array(BLOCK);
const restView = new DataView(rest.buffer);

/** Signs with one key. */
export class Hmac {
  /** What the key's own blocks, with which every signature begins and ends, come to. */
  readonly #inner: Int32Array;
  readonly #outer: Int32Array;

  constructor(key: string) {
    const bytes = encoder.encode(key);
    const block = new Uint8Array(BLOCK);
    block.set(bytes.length > BLOCK ? hash([bytes], START, 0) : bytes);
    this.#inner = stateAfter(block.map((byte) => byte ^ 0x36));
    this.#outer = stateAfter(block.map((byte) => byte ^ 0x5c));
  }

  /** The signature of some bytes one behind the other, in hexadecimal. */
  sign(parts: readonly Uint8Array[]): string {
    return hash([hash(parts, this.#inner, BLOCK)], this.#outer, BLOCK).toHex();
  }
}

function stateAfter(block: Uint8Array): Int32Array {
  state.set(START);
  compress(block, 0);
  return state.slice();
}

/**
 * The SHA-256, as FIPS 180-4 describes it, of some bytes one behind the other.
 *
 * @param start The state that what stands before them has led to.
 * @param before How many bytes those are.
 */
function hash(parts: readonly Uint8Array[], start: Int32Array, before: number): Uint8Array<ArrayBuffer> {
  state.set(start);
  let used = 0;
  let length = before;
  for (const part of parts) {
    length += part.length;
    let at = Math.min(used === 0 ? 0 : BLOCK - used, part.length);
    rest.set(at === part.length ? part : part.subarray(0, at), used);
    used += at;
    if (used === BLOCK) {
      compress(rest, 0);
      used = 0;
    }
    if (at === part.length) continue;
    for (; at + BLOCK <= part.length; at += BLOCK) compress(part, at);
    rest.set(part.subarray(at));
    used = part.length - at;
  }
  rest[used++] = 0x80;
  if (used > BLOCK - 8) {
    rest.fill(0, used);
    compress(rest, 0);
    used = 0;
  }
  rest.fill(0, used);
  restView.setUint32(BLOCK - 8, Math.floor(length / 2 ** 29));
  restView.setUint32(BLOCK - 4, length << 3);
  compress(rest, 0);
  const digest = new DataView(new ArrayBuffer(32));
  for (let n = 0; n < 8; n++) digest.setInt32(n * 4, state[n]!);
  return new Uint8Array(digest.buffer);
}

/** Takes a block into the state. */
function compress(bytes: Uint8Array, at: number): void {
  const w = schedule;
  for (let t = 0; t < 16; t++, at += 4) {
    w[t] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
  }
  for (let t = 16; t < 64; t++) {
    const x = w[t - 15]!;
    const y = w[t - 2]!;
    const small = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ (x >>> 3);
    const large = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ (y >>> 10);
    w[t] = (w[t - 16]! + small + w[t - 7]! + large) | 0;
  }
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  let e = state[4]!;
  let f = state[5]!;
  let g = state[6]!;
  let h = state[7]!;
  for (let t = 0; t < 64; t++) {
    const large = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
    const one = (h + large + ((e & f) ^ (~e & g)) + ROUND[t]! + w[t]!) | 0;
    const small = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10);
    const two = (small + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g, g = f, f = e, e = (d + one) | 0, d = c, c = b, b = a, a = (one + two) | 0;
  }
  state[0]! += a;
  state[1]! += b;
  state[2]! += c;
  state[3]! += d;
  state[4]! += e;
  state[5]! += f;
  state[6]! += g;
  state[7]! += h;
}
