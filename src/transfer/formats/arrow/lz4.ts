/** The magic number of an LZ4 frame, and the flags in its header. */
const FRAME = 0x184d_2204;
const HAS_BLOCK_CHECKSUM = 0x10;
const HAS_SIZE = 0x08;
const HAS_DICTIONARY = 0x01;
/** The bit in a block's length that marks an uncompressed block. */
const PLAIN = 0x8000_0000;

/** The shortest match, and the length value after which more length bytes follow. */
const LEAST_MATCH = 4;
const MORE = 15;

/**
 * Decompresses an LZ4 frame. Feather files use LZ4, and the runtime has no decompressor for it.
 *
 * @param most The most bytes that the result may have.
 * @throws {Error} If the bytes are not a valid LZ4 frame, use a dictionary, or decompress to more than `most` bytes.
 */
export function unpackLz4(bytes: Uint8Array, most: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== FRAME) throw new Error("no LZ4 frame");
  const flags = view.getUint8(4);
  if ((flags & HAS_DICTIONARY) !== 0) throw new Error("LZ4 with a dictionary");
  const output = new Unpacked(Math.min(bytes.length * 3, most), most);
  let at = 7 + ((flags & HAS_SIZE) === 0 ? 0 : 8);
  for (;;) {
    const size = view.getUint32(at, true);
    at += 4;
    if (size === 0) return output.bytes;
    const length = size & ~PLAIN;
    const block = bytes.subarray(at, at + length);
    if (block.length !== length) throw new Error("LZ4 that breaks off");
    if (size >= PLAIN) output.put(block);
    else unpackBlock(block, output);
    at += length + ((flags & HAS_BLOCK_CHECKSUM) === 0 ? 0 : 4);
  }
}

/** Decompresses a block: literals and matches alternate, and the block ends with literals. */
function unpackBlock(block: Uint8Array, output: Unpacked): void {
  let at = 0;
  const more = () => {
    let length = 0;
    for (;;) {
      const byte = block[at++];
      if (byte === undefined) throw new Error("LZ4 that breaks off");
      length += byte;
      if (byte !== 255) return length;
    }
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = token >> 4 === MORE ? MORE + more() : token >> 4;
    if (at + literals > block.length) throw new Error("LZ4 that breaks off");
    output.put(block.subarray(at, at + literals));
    at += literals;
    if (at === block.length) return;
    const distance = block[at]! | block[at + 1]! << 8;
    at += 2;
    output.repeat(distance, LEAST_MATCH + ((token & MORE) === MORE ? MORE + more() : token & MORE));
  }
}

/** The decompressed bytes so far. Later matches copy from them. */
class Unpacked {
  #bytes: Uint8Array;
  #length = 0;

  readonly #most: number;

  constructor(guess: number, most: number) {
    this.#bytes = new Uint8Array(guess);
    this.#most = most;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  put(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Copies a match byte by byte, because a match may overlap the bytes that it writes. */
  repeat(distance: number, count: number): void {
    if (distance === 0 || distance > this.#length) throw new Error("LZ4 that points before its begin");
    this.#reserve(count);
    const bytes = this.#bytes;
    const end = this.#length + count;
    for (let at = this.#length; at < end; at++) bytes[at] = bytes[at - distance]!;
    this.#length = end;
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const wanted = this.#length + more;
    if (wanted > this.#most) throw new Error(`LZ4 that becomes more than the ${this.#most} bytes that it says`);
    const grown = new Uint8Array(Math.min(Math.max(this.#bytes.length * 2, wanted), this.#most));
    grown.set(this.bytes);
    this.#bytes = grown;
  }
}
