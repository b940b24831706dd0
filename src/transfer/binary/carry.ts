/** How much stays allocated for what is left of a chunk. */
const KEPT_BYTES = 2 ** 20;

/** What a reader did with some bytes. */
export interface Progress {
  /** How many it is done with. */
  used: number;
  /** How many must be there, from then on, for it to get further. */
  wanted: number;
}

/** Puts what is left of one chunk in front of the next. */
export class Carry {
  #bytes = new Uint8Array();
  #length = 0;
  /** Below it the reader need not be asked: a value of many chunks would be looked at for each of them. */
  #wanted = 0;

  /**
   * Has a chunk read.
   *
   * @param reader Gets what is there, and says what it did with it.
   */
  read(chunk: Uint8Array, reader: (bytes: Uint8Array) => Progress): void {
    if (this.#length === 0) {
      const { used, wanted } = reader(chunk);
      this.#wanted = wanted;
      if (used < chunk.length) this.#append(chunk.subarray(used));
      return;
    }
    this.#append(chunk);
    if (this.#length < this.#wanted) return;
    const { used, wanted } = reader(this.#bytes.subarray(0, this.#length));
    this.#wanted = wanted;
    this.#drop(used);
  }

  #append(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length) {
      const doubled = Math.max(length, this.#bytes.length * 2);
      const grown = new Uint8Array(this.#wanted > length ? Math.min(doubled, this.#wanted) : doubled);
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
  }

  #drop(used: number): void {
    this.#bytes.copyWithin(0, used, this.#length);
    this.#length -= used;
    if (this.#bytes.length > KEPT_BYTES && this.#length < KEPT_BYTES) this.#bytes = this.#bytes.slice(0, this.#length);
  }
}
