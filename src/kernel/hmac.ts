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

/** Signs with one key. */
export class Hmac {
  /** The hashes of the key's own blocks, with which every signature begins and ends. */
  readonly #inner: Sha256;
  readonly #outer: Sha256;

  constructor(key: string) {
    const bytes = encoder.encode(key);
    const block = new Uint8Array(BLOCK);
    block.set(bytes.length > BLOCK ? new Sha256().update(bytes).digest() : bytes);
    this.#inner = new Sha256().update(block.map((byte) => byte ^ 0x36));
    this.#outer = new Sha256().update(block.map((byte) => byte ^ 0x5c));
  }

  /** The signature of some bytes one behind the other, in hexadecimal. */
  sign(parts: readonly Uint8Array[]): string {
    const inner = this.#inner.copy();
    for (const part of parts) inner.update(part);
    return this.#outer.copy().update(inner.digest()).digest().toHex();
  }
}

/** SHA-256, as FIPS 180-4 describes it. */
class Sha256 {
  #state = START.slice();
  #rest = new Uint8Array(BLOCK);
  #length = 0;
  /** Each block's own, but allocated once. */
  static readonly #schedule = new Int32Array(64);

  copy(): Sha256 {
    const copy = new Sha256();
    copy.#state = this.#state.slice();
    copy.#rest = this.#rest.slice();
    copy.#length = this.#length;
    return copy;
  }

  update(bytes: Uint8Array): this {
    const used = this.#length % BLOCK;
    this.#length += bytes.length;
    let at = 0;
    if (used > 0) {
      at = Math.min(BLOCK - used, bytes.length);
      this.#rest.set(bytes.subarray(0, at), used);
      if (used + at < BLOCK) return this;
      this.#block(this.#rest, 0);
    }
    for (; at + BLOCK <= bytes.length; at += BLOCK) this.#block(bytes, at);
    this.#rest.set(bytes.subarray(at));
    return this;
  }

  digest(): Uint8Array<ArrayBuffer> {
    const bits = this.#length * 8;
    const padding = new Uint8Array((this.#length % BLOCK < 56 ? 64 : 128) - this.#length % BLOCK);
    padding[0] = 0x80;
    new DataView(padding.buffer).setBigUint64(padding.length - 8, BigInt(bits));
    this.update(padding);
    const bytes = new DataView(new ArrayBuffer(32));
    this.#state.forEach((word, index) => bytes.setInt32(index * 4, word));
    return new Uint8Array(bytes.buffer);
  }

  #block(bytes: Uint8Array, at: number): void {
    const w = Sha256.#schedule;
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
    const state = this.#state;
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
    [a, b, c, d, e, f, g, h].forEach((word, index) => state[index]! += word);
  }
}
