/** Reads small integers that are stored as runs of one number or packed bit by bit (Encodings.md, "RLE"). */
export class HybridReader {
  readonly #bytes: Uint8Array;
  readonly #width: number;
  readonly #mask: number;
  #at: number;
  /** The numbers left in the current run. */
  #left = 0;
  /** The number that the run repeats; `undefined` if the run is packed. */
  #repeated: number | undefined;
  /** The position of the next packed number, in bits. */
  #bit = 0;

  /**
   * @param bytes The runs.
   * @param width The number of bits of each number, at most 32.
   */
  constructor(bytes: Uint8Array, width: number) {
    if (width > 32) throw new Error(`it has indices of ${width} bits`);
    this.#bytes = bytes;
    this.#width = width;
    this.#mask = width === 32 ? 0xffff_ffff : 2 ** width - 1;
    this.#at = 0;
  }

  /** Skips the next `count` numbers and returns their value if one run has all of them; else returns `undefined`. */
  constant(count: number): number | undefined {
    if (this.#left === 0) this.#next();
    if (this.#repeated === undefined || this.#left < count) return undefined;
    this.#left -= count;
    return this.#repeated;
  }

  /** Fills `out` with the next numbers. */
  fill(out: Uint8Array | Int32Array): void {
    for (let at = 0; at < out.length;) {
      if (this.#left === 0) this.#next();
      const count = Math.min(this.#left, out.length - at);
      if (this.#repeated === undefined) this.#unpack(out, at, count);
      else out.fill(this.#repeated, at, at + count);
      this.#left -= count;
      at += count;
    }
  }

  #next(): void {
    if (this.#width === 0) {
      this.#repeated = 0;
      this.#left = Infinity;
      return;
    }
    const header = this.#varint();
    if ((header & 1) === 0) {
      this.#left = header >>> 1;
      this.#repeated = 0;
      for (let byte = 0; byte * 8 < this.#width; byte++) this.#repeated |= this.#byte() << byte * 8;
      return;
    }
    this.#left = (header >>> 1) * 8;
    this.#repeated = undefined;
    this.#bit = this.#at * 8;
    // The last run may be shorter than its header says, because the header counts in groups of eight numbers.
    this.#at = Math.min(this.#bytes.length, this.#at + (header >>> 1) * this.#width);
  }

  #unpack(out: Uint8Array | Int32Array, from: number, count: number): void {
    const bytes = this.#bytes;
    const width = this.#width;
    const mask = this.#mask;
    let bit = this.#bit;
    if (bit + count * width > bytes.length * 8) throw new Error("it breaks off within packed numbers");
    for (let at = from; at < from + count; at++) {
      const place = bit >>> 3;
      const shift = bit & 7;
      let value = (bytes[place]! | bytes[place + 1]! << 8 | bytes[place + 2]! << 16 | bytes[place + 3]! << 24) >>>
        shift;
      if (width + shift > 32) value |= bytes[place + 4]! << (32 - shift);
      out[at] = value & mask;
      bit += width;
    }
    this.#bit = bit;
  }

  #varint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#byte();
      value |= (byte & 127) << shift;
      if (byte < 128) return value >>> 0;
    }
    throw new Error("it has a number without end");
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new Error("it breaks off within runs of numbers");
    return byte;
  }
}

/** Reads levels in the older encoding: packed bits, the highest bit of a byte first (Encodings.md, "BIT_PACKED"). */
export class PackedReader {
  readonly #bytes: Uint8Array;
  readonly #width: number;
  #bit = 0;

  /** @param width The number of bits of each number. */
  constructor(bytes: Uint8Array, width: number) {
    this.#bytes = bytes;
    this.#width = width;
  }

  /** Returns `undefined`, because this encoding has no runs. */
  constant(_count: number): undefined {}

  /** Fills `out` with the next numbers. */
  fill(out: Uint8Array): void {
    for (let at = 0; at < out.length; at++) {
      let value = 0;
      const end = this.#bit + this.#width;
      for (; this.#bit < end; this.#bit++) {
        value = value << 1 | this.#bytes[this.#bit >>> 3]! >>> (7 - (this.#bit & 7)) & 1;
      }
      out[at] = value;
    }
  }
}
