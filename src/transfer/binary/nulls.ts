import type { Block } from "./block.ts";

/** Which values of a column are NULL; a column without any has no bitmap. */
export class Nulls {
  /** How many. */
  count = 0;
  #bitmap: Uint8Array | undefined;

  /** Takes note of the NULLs among values that go to the places from `at` on. */
  note({ index }: Block, from: number, count: number, at: number): void {
    for (let i = 0; i < count; i++) {
      if (index[from + i]! >= 0) continue;
      const place = at + i;
      const bitmap = this.#reaching(place);
      bitmap[place >> 3]! &= ~(1 << (place & 7));
      this.count++;
    }
  }

  /** What Arrow has for them, and starts anew. */
  take(length: number): { nullCount: number; nullBitmap?: Uint8Array } {
    const nullCount = this.count;
    if (nullCount === 0) return { nullCount };
    const nullBitmap = this.#reaching(length - 1).subarray(0, (length + 7) >> 3);
    this.count = 0;
    this.#bitmap = undefined;
    return { nullCount, nullBitmap };
  }

  #reaching(place: number): Uint8Array {
    const bitmap = this.#bitmap ?? new Uint8Array();
    if (place >> 3 < bitmap.length) return bitmap;
    const grown = new Uint8Array(Math.max(128, ((place >> 3) + 1) * 2)).fill(0xff, bitmap.length);
    grown.set(bitmap);
    return this.#bitmap = grown;
  }
}
