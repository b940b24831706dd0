import { type ColumnData, words } from "../../columns/batch.ts";
import { isSet } from "../../columns/value.ts";
import { type Leaf, Physical } from "./schema.ts";

/** The smallest and the largest value of a column chunk, in the encoding PLAIN. */
export interface Bounds {
  /** The smallest value. */
  min: Uint8Array;
  /** The largest value. */
  max: Uint8Array;
}

/** The most bytes of a bound. Bounds are in the footer, which every reader fetches. */
const LONGEST = 64;

/** Returns the bounds of a column chunk, by which readers skip row groups; `undefined` if bounds would not help. */
export function boundsOf(leaf: Leaf, data: ColumnData): Bounds | undefined {
  const { values, nullBitmap: present, length } = data;
  switch (leaf.physical) {
    case Physical.boolean:
      return undefined;
    case Physical.fixed:
      return leaf.type.kind === "uuid" ? uuidBounds(values as Uint8Array, length, present) : undefined;
    case Physical.bytes:
      return leaf.type.kind === "json" ? undefined : textBounds(data);
    case Physical.float:
    case Physical.double:
      return floatBounds(values as Float64Array | Float32Array, length, present);
    case Physical.int64:
      return longBounds(words(data), length, leaf.type.kind === "decimal" ? 4 : 2, present);
    default:
      return intBounds(values as Int32Array, length, leaf.type.kind === "decimal" ? 4 : 1, present);
  }
}

function intBounds(
  values: Int32Array | Uint32Array | Int16Array,
  length: number,
  stride: number,
  present?: Uint8Array,
): Bounds | undefined {
  let min = Infinity;
  let max = -Infinity;
  for (let at = 0; at < length; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    const value = stride === 4 ? values[at * 4]! | 0 : values[at]!;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return min === Infinity ? undefined : { min: bytes(Int32Array.of(min)), max: bytes(Int32Array.of(max)) };
}

/** Compares numbers of 64 bits as two words, because a bigint per value would take longer than all other work. */
function longBounds(source: Int32Array, length: number, stride: number, present?: Uint8Array): Bounds | undefined {
  let least = -1;
  let greatest = -1;
  for (let at = 0; at < length; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    const place = at * stride;
    if (least < 0 || isLess(source, place, least)) least = place;
    if (greatest < 0 || isLess(source, greatest, place)) greatest = place;
  }
  if (least < 0) return undefined;
  return { min: bytes(source.slice(least, least + 2)), max: bytes(source.slice(greatest, greatest + 2)) };
}

function isLess(source: Int32Array, a: number, b: number): boolean {
  const high = source[a + 1]! - source[b + 1]!;
  return high < 0 || high === 0 && source[a]! >>> 0 < source[b]! >>> 0;
}

/** Returns no bounds if there is a NaN, which has no agreed order; -0 equals 0 (parquet.thrift, `ColumnOrder`). */
function floatBounds(
  values: Float32Array | Float64Array,
  length: number,
  present?: Uint8Array,
): Bounds | undefined {
  let min = Infinity;
  let max = -Infinity;
  let any = false;
  for (let at = 0; at < length; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    const value = values[at]!;
    if (Number.isNaN(value)) return undefined;
    any = true;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  if (!any) return undefined;
  const ends = [min === 0 ? -0 : min, max === 0 ? 0 : max] as const;
  const [low, high] = values instanceof Float32Array
    ? [Float32Array.of(ends[0]), Float32Array.of(ends[1])]
    : [Float64Array.of(ends[0]), Float64Array.of(ends[1])];
  return { min: bytes(low), max: bytes(high) };
}

function textBounds({ values, offsets, nullBitmap, length }: ColumnData): Bounds | undefined {
  return byteBounds(values as Uint8Array, length, (at) => offsets![at]!, (at) => offsets![at + 1]!, nullBitmap);
}

function uuidBounds(values: Uint8Array, length: number, present?: Uint8Array): Bounds | undefined {
  return byteBounds(values, length, (at) => at * 16, (at) => at * 16 + 16, present);
}

/** Compares unsigned bytes, which in UTF-8 is the order of code points. */
function byteBounds(
  source: Uint8Array,
  length: number,
  startOf: (at: number) => number,
  endOf: (at: number) => number,
  present?: Uint8Array,
): Bounds | undefined {
  let least = -1;
  let greatest = -1;
  const compare = (a: number, b: number) => compareBytes(source, startOf(a), endOf(a), startOf(b), endOf(b));
  for (let at = 0; at < length; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    if (least < 0 || compare(at, least) < 0) least = at;
    if (greatest < 0 || compare(at, greatest) > 0) greatest = at;
  }
  if (least < 0) return undefined;
  if ([least, greatest].some((at) => endOf(at) - startOf(at) > LONGEST)) return undefined;
  return { min: source.slice(startOf(least), endOf(least)), max: source.slice(startOf(greatest), endOf(greatest)) };
}

function compareBytes(source: Uint8Array, a: number, aEnd: number, b: number, bEnd: number): number {
  for (; a < aEnd && b < bEnd; a++, b++) if (source[a] !== source[b]) return source[a]! - source[b]!;
  return (aEnd - a) - (bEnd - b);
}

function bytes(value: Int32Array | Float32Array | Float64Array): Uint8Array {
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}
