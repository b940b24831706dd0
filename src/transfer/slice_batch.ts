import type { Batch, ColumnData } from "./batch.ts";
import { isSet } from "./column_value.ts";

/** A batch in pieces of so many rows at most. */
export function* slices(batch: Batch, most: number): Generator<Batch, void, void> {
  if (batch.rows <= most) {
    if (batch.rows > 0) yield batch;
    return;
  }
  for (let from = 0; from < batch.rows; from += most) {
    const to = Math.min(batch.rows, from + most);
    yield { rows: to - from, columns: batch.columns.map((column) => slice(column, from, to)) };
  }
}

function slice(column: ColumnData, from: number, to: number): ColumnData {
  const { type, nullBitmap, offsets, values, child } = column;
  const nulls = nullBitmap === undefined ? {} : { nullBitmap: bits(nullBitmap, from, to) };
  const nullCount = nulls.nullBitmap === undefined ? 0 : countClear(nulls.nullBitmap, to - from);
  const same = { ...column, ...nulls, nullCount, length: to - from };
  if (offsets !== undefined) {
    const [start, end] = [offsets[from]!, offsets[to]!];
    const own = offsets.slice(from, to + 1).map((offset) => offset - start);
    return child === undefined
      ? { ...same, offsets: own, values: values.subarray(start, end) }
      : { ...same, offsets: own, child: slice(child, start, end) };
  }
  if (type.kind === "bool") return { ...same, values: bits(values as Uint8Array, from, to) };
  const width = type.kind === "uuid" ? 16 : type.kind === "decimal" ? 4 : 1;
  return { ...same, values: values.subarray(from * width, to * width) };
}

function bits(bytes: Uint8Array, from: number, to: number): Uint8Array {
  if (from % 8 === 0) return bytes.slice(from / 8, Math.ceil(to / 8));
  const out = new Uint8Array(Math.ceil((to - from) / 8));
  for (let at = from; at < to; at++) if (isSet(bytes, at)) out[(at - from) >> 3]! |= 1 << ((at - from) & 7);
  return out;
}

function countClear(bitmap: Uint8Array, length: number): number {
  let count = 0;
  for (let at = 0; at < length; at++) if (!isSet(bitmap, at)) count++;
  return count;
}
