import type { Batch, BatchColumn, ColumnData, ColumnValues } from "./batch.ts";
import { isSet } from "./value.ts";

/**
 * Joins batches of the same columns to one.
 *
 * @param columns The columns, for the case that there is no batch.
 * @param batches The batches, in order.
 * @returns One batch; the only one itself, without a copy.
 */
export function joinBatches(columns: readonly BatchColumn[], batches: readonly Batch[]): Batch {
  if (batches.length === 1) return batches[0]!;
  const rows = batches.reduce((sum, batch) => sum + batch.rows, 0);
  return {
    rows,
    columns: columns.map(({ name, type }, at) => joinColumns(name, type, batches.map((batch) => batch.columns[at]!))),
  };
}

function joinColumns(name: string, type: BatchColumn["type"], parts: readonly ColumnData[]): ColumnData {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const nullCount = parts.reduce((sum, part) => sum + part.nullCount, 0);
  const nulls = nullCount === 0 ? {} : { nullBitmap: joinBits(length, parts.map(nullsOf)) };
  const column = { name, type, length, nullCount, ...nulls };
  switch (type.kind) {
    case "bool":
      return {
        ...column,
        values: joinBits(length, parts.map((part) => ({ ...part, bits: part.values as Uint8Array }))),
      };
    case "list": {
      const children = parts.map(({ child }) => child!);
      const offsets = joinOffsets(length, parts.map((part) => ({ ...part, from: 0, size: part.child!.length })));
      return { ...column, values: new Uint8Array(), offsets, child: joinColumns("item", type.element, children) };
    }
    case "text":
    case "json":
    case "binary": {
      const own = parts.map(({ length, values, offsets }) => {
        const [from, to] = [offsets?.[0] ?? 0, offsets?.[length] ?? 0];
        return { length, offsets, from, size: to - from, bytes: (values as Uint8Array).subarray(from, to) };
      });
      const values = joinValues(own.map(({ bytes }) => bytes), new Uint8Array());
      return { ...column, values, offsets: joinOffsets(length, own) };
    }
    default: {
      const width = type.kind === "uuid" ? 16 : type.kind === "decimal" ? 4 : 1;
      const values = parts.map((part) => part.values.subarray(0, part.length * width));
      return { ...column, values: joinValues(values, EMPTY[type.kind]) };
    }
  }
}

/** The arrays of columns without values. */
const EMPTY = {
  int16: new Int16Array(),
  int32: new Int32Array(),
  int64: new BigInt64Array(),
  uint32: new Uint32Array(),
  float32: new Float32Array(),
  float64: new Float64Array(),
  decimal: new Uint32Array(),
  date: new Int32Array(),
  time: new BigInt64Array(),
  timestamp: new BigInt64Array(),
  uuid: new Uint8Array(),
} as const;

function joinValues<Values extends ColumnValues>(parts: readonly Values[], empty: Values): Values {
  const Array = (parts[0] ?? empty).constructor as new (length: number) => Values;
  const all = new Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    (all as Uint8Array).set(part as Uint8Array, at);
    at += part.length;
  }
  return all;
}

/** Where values begin: in their own part from `from` on, of which `size` were taken over. */
interface Offsets {
  length: number;
  offsets?: Int32Array | undefined;
  from: number;
  size: number;
}

function joinOffsets(length: number, parts: readonly Offsets[]): Int32Array {
  const all = new Int32Array(length + 1);
  let row = 0;
  let before = 0;
  for (const { offsets, length, from, size } of parts) {
    for (let at = 0; at <= length && offsets !== undefined; at++) all[row + at] = before + offsets[at]! - from;
    row += length;
    before += size;
  }
  if (before > 2 ** 31 - 1) throw new RangeError("the texts of a column have more than 2 GiB");
  return all;
}

interface Bits {
  length: number;
  /** One bit per value; `undefined` if all are set. */
  bits: Uint8Array | undefined;
}

function nullsOf({ length, nullBitmap, nullCount }: ColumnData): Bits {
  return { length, bits: nullCount === 0 ? undefined : nullBitmap };
}

function joinBits(length: number, parts: readonly Bits[]): Uint8Array {
  const all = new Uint8Array((length + 7) >> 3);
  let row = 0;
  for (const { length, bits } of parts) {
    if (row % 8 === 0) {
      const bytes = (length + 7) >> 3;
      if (bits === undefined) all.fill(255, row >> 3, (row >> 3) + bytes);
      else all.set(bits.subarray(0, bytes), row >> 3);
      clearRest(all, row + length);
    } else {
      for (let at = 0; at < length; at++) {
        if (bits === undefined || isSet(bits, at)) all[(row + at) >> 3]! |= 1 << ((row + at) & 7);
      }
    }
    row += length;
  }
  return all;
}

/** Clears the bits behind the last one of its byte, which the next part sets. */
function clearRest(bits: Uint8Array, from: number): void {
  if (from % 8 !== 0) bits[from >> 3]! &= (1 << (from & 7)) - 1;
}
