/** Where each of some values begins; one more than there are values. */
export class Offsets {
  #offsets = new Int32Array(1024);

  /** Room for so many values. */
  reach(values: number): Int32Array {
    if (values < this.#offsets.length) return this.#offsets;
    const grown = new Int32Array(Math.max(values + 1, this.#offsets.length * 2));
    grown.set(this.#offsets);
    return this.#offsets = grown;
  }

  /** Those of so many values; starts anew. */
  take(values: number): Int32Array {
    const offsets = this.reach(values).subarray(0, values + 1);
    this.#offsets = new Int32Array(1024);
    return offsets;
  }
}
