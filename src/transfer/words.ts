import type { ColumnData } from "./batch.ts";

/** Values as words of 32 bits: copied as such, no NaN is changed and no bigint made. */
export function words({ values }: ColumnData): Int32Array {
  const aligned = values.byteOffset % 4 === 0 ? values : values.slice();
  return new Int32Array(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength >> 2);
}
