/** Whole numbers of few bits: runs of one number, and numbers packed bit by bit (Encodings.md, "RLE"). */
export class HybridReader {
  readonly #bytes: Uint8Array;
  readonly #width: number;
  readonly #mask: number;
  #at: number;
  /** What is left of the run. */
  #left = 0;
  /** The number of a run, or `undefined` within packed ones. */
  #same: number | undefined;
  /** Where the next packed number begins, in bits. */
  #bit = 0;

  /** Made with the bytes from the first run on, and the bits of a number. */
  constructor(bytes: Uint8Array, width: number) {
    if (width > 32) throw new Error(`it has indices of ${width} bits`);
    this.#bytes = bytes;
    this.#width = width;
    this.#mask = width === 32 ? 0xffff_ffff : 2 ** width - 1;
    this.#at = 0;
  }

  /** The next numbers, if they are all the same: only then are they read. */
  constant(count: number): number | undefined {
    if (this.#left === 0) this.#next();
    if (this.#same === undefined || this.#left < count) return undefined;
    this.#left -= count;
    return this.#same;
  }

  /** Reads as many numbers as there is room for. */
  fill(out: Uint8Array | Int32Array): void {
    for (let at = 0; at < out.length;) {
      if (this.#left === 0) this.#next();
      const count = Math.min(this.#left, out.length - at);
      if (this.#same === undefined) this.#unpack(out, at, count);
      else out.fill(this.#same, at, at + count);
      this.#left -= count;
      at += count;
    }
  }

  #next(): void {
    if (this.#width === 0) {
      this.#same = 0;
      this.#left = Infinity;
      return;
    }
    const head = this.#varint();
    if ((head & 1) === 0) {
      this.#left = head >>> 1;
      this.#same = 0;
      for (let byte = 0; byte * 8 < this.#width; byte++) this.#same |= this.#byte() << byte * 8;
      return;
    }
    this.#left = (head >>> 1) * 8;
    this.#same = undefined;
    this.#bit = this.#at * 8;
    // The last run may be shorter than its head says: what it says is filled up to eight numbers.
    this.#at = Math.min(this.#bytes.length, this.#at + (head >>> 1) * this.#width);
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

/** Levels in the older form: bit by bit, the highest bit of a byte first (Encodings.md, "BIT_PACKED"). */
export class PackedReader {
  readonly #bytes: Uint8Array;
  readonly #width: number;
  #bit = 0;

  /** Made with the bytes, and the bits of a number. */
  constructor(bytes: Uint8Array, width: number) {
    this.#bytes = bytes;
    this.#width = width;
  }

  /** None is known to be the same as the next before it is read. */
  constant(_count: number): undefined {}

  /** Reads as many numbers as there is room for. */
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
