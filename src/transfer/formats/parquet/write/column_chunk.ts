import { joinBytes } from "../../../../core/bytes.ts";
import { type ColumnData, type ColumnType, columnWords, isSet } from "../../../columns/batch.ts";

/** The physical types (`Type` in parquet.thrift). */
export const Physical = { boolean: 0, int32: 1, int64: 2, float: 4, double: 5, bytes: 6, fixed: 7 } as const;

/** A column as Parquet stores it. For a list, these are its elements. */
export interface Leaf {
  /** The column's name. */
  name: string;
  /** The names on the path from the root to the leaf. */
  path: readonly string[];
  /** The type of the values, or of the elements of a list. */
  type: ColumnType;
  /** Whether the column is a list. */
  isList: boolean;
  /** The physical type. */
  physical: number;
  /** The bytes per value; only for `Physical.fixed`. */
  width?: number;
}

/** The most digits of a decimal in 32 or 64 bits. */
const DIGITS_32 = 9;
const DIGITS_64 = 18;

/** The bytes of a uuid, and of a decimal of more digits. */
const FIXED_WIDTH = 16;

/** Chooses how a column is stored. */
export function leafOf(name: string, type: ColumnType): Leaf {
  const isList = type.kind === "list";
  const element = isList ? type.element : type;
  const physical = physicalType(element);
  return {
    name,
    path: isList ? [name, "list", "element"] : [name],
    type: element,
    isList,
    physical,
    ...(physical === Physical.fixed ? { width: FIXED_WIDTH } : {}),
  };
}

function physicalType(type: ColumnType): number {
  switch (type.kind) {
    case "bool":
      return Physical.boolean;
    case "int16":
    case "int32":
    case "uint32":
    case "date":
      return Physical.int32;
    case "int64":
    case "time":
    case "timestamp":
      return Physical.int64;
    case "float32":
      return Physical.float;
    case "float64":
      return Physical.double;
    case "decimal":
      return type.precision <= DIGITS_32
        ? Physical.int32
        : type.precision <= DIGITS_64
        ? Physical.int64
        : Physical.fixed;
    case "uuid":
      return Physical.fixed;
    default:
      return Physical.bytes;
  }
}

/** The levels of the values of a page. NULLs and empty lists have levels, too. */
interface EncodedLevels {
  /** The start of a data page of version 1: both kinds of levels, each after its length in 4 bytes. */
  bytes: Uint8Array[];
  /** The number of values. */
  count: number;
}

/** Returns the definition levels of a range of values: 1 for a value, 0 for NULL. */
export function flatLevels({ nullBitmap }: ColumnData, from: number, to: number): EncodedLevels {
  const count = to - from;
  const present = nullBitmap === undefined ? count : countBits(nullBitmap, from, to);
  if (present === count) return { bytes: withLength(run(1, count)), count };
  if (present === 0) return { bytes: withLength(run(0, count)), count };
  return { bytes: withLength(bitPacked(packBits(nullBitmap!, from, to), count)), count };
}

/** Returns the repetition and definition levels of a range of lists. */
export function listLevels({ nullBitmap, offsets, child }: ColumnData, from: number, to: number): EncodedLevels {
  const maxCount = offsets![to]! - offsets![from]! + (to - from);
  const repetition = new Uint8Array((maxCount + 7) >> 3);
  const definition = new Uint8Array(((maxCount + 7) >> 3) * 2);
  let count = 0;
  const put = (level: number) => {
    definition[count >> 2]! |= level << ((count & 3) * 2);
    count++;
  };
  for (let at = from; at < to; at++) {
    const start = offsets![at]!;
    const end = offsets![at + 1]!;
    if (start === end) put(nullBitmap !== undefined && !isSet(nullBitmap, at) ? 0 : 1);
    for (let element = start; element < end; element++) {
      if (element > start) repetition[count >> 3]! |= 1 << (count & 7);
      put(child!.nullBitmap !== undefined && !isSet(child!.nullBitmap, element) ? 2 : 3);
    }
  }
  const groups = (count + 7) >> 3;
  return {
    bytes: [
      ...withLength(bitPacked(repetition.subarray(0, groups), count)),
      ...withLength(bitPacked(definition.subarray(0, groups * 2), count)),
    ],
    count,
  };
}

/** Encodes a run of equal levels (Encodings.md, "RLE"). */
function run(level: number, count: number): Uint8Array {
  return Uint8Array.from([...varint(count * 2), level]);
}

/** Encodes levels as bits, in groups of eight levels. */
function bitPacked(bits: Uint8Array, count: number): Uint8Array {
  return joinBytes([Uint8Array.from(varint(((count + 7) >> 3) * 2 + 1)), bits]);
}

function withLength(bytes: Uint8Array): Uint8Array[] {
  return [new Uint8Array(Uint32Array.of(bytes.length).buffer), bytes];
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}

/** Below this many bytes, a loop copies a text faster than `set`. */
const SHORT = 24;

/** Encodes a range of values as PLAIN: one after another, without the NULLs. */
export function plainValues(leaf: Leaf, data: ColumnData, from: number, to: number): Uint8Array {
  const { values, nullBitmap: present } = data;
  switch (leaf.physical) {
    case Physical.boolean:
      return packBits(values as Uint8Array, from, to, present);
    case Physical.bytes:
      return prefixed(data, from, to);
    case Physical.fixed:
      return leaf.type.kind === "decimal"
        ? bigEndian(columnWords(data), from, to, present)
        : strided(data, from, to, 4, 4);
    case Physical.int64:
    case Physical.double:
      return strided(data, from, to, leaf.type.kind === "decimal" ? 4 : 2, 2);
    default:
      if (values instanceof Int16Array) return widened(values, from, to, present);
      return strided(data, from, to, leaf.type.kind === "decimal" ? 4 : 1, 1);
  }
}

/** Returns the lowest `width` words of each value. Values are `stride` words apart. */
function strided(data: ColumnData, from: number, to: number, stride: number, width: number): Uint8Array {
  const source = columnWords(data);
  const present = data.nullBitmap;
  if (present === undefined && stride === width) return bytesOf(source.subarray(from * width, to * width));
  const kept = new Int32Array((to - from) * width);
  let length = 0;
  for (let at = from; at < to; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    for (let word = 0; word < width; word++) kept[length++] = source[at * stride + word]!;
  }
  return bytesOf(kept.subarray(0, length));
}

function widened(source: Int16Array, from: number, to: number, present?: Uint8Array): Uint8Array {
  const kept = new Int32Array(to - from);
  let length = 0;
  for (let at = from; at < to; at++) if (present === undefined || isSet(present, at)) kept[length++] = source[at]!;
  return bytesOf(kept.subarray(0, length));
}

/** Returns numbers of 128 bits, with the highest byte first. */
function bigEndian(source: Int32Array, from: number, to: number, present?: Uint8Array): Uint8Array {
  const kept = new DataView(new ArrayBuffer((to - from) * 16));
  let length = 0;
  for (let at = from; at < to; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    for (let word = 3; word >= 0; word--, length += 4) kept.setInt32(length, source[at * 4 + word]!);
  }
  return new Uint8Array(kept.buffer, 0, length);
}

/** Returns each value after its length in 4 bytes. */
function prefixed(data: ColumnData, from: number, to: number): Uint8Array {
  const source = data.values as Uint8Array;
  const offsets = data.offsets!;
  const present = data.nullBitmap;
  const kept = new Uint8Array(offsets[to]! - offsets[from]! + (to - from) * 4);
  let length = 0;
  for (let at = from; at < to; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    const start = offsets[at]!;
    const end = offsets[at + 1]!;
    const size = end - start;
    kept[length] = size;
    kept[length + 1] = size >> 8;
    kept[length + 2] = size >> 16;
    kept[length + 3] = size >> 24;
    length += 4;
    if (size >= SHORT) kept.set(source.subarray(start, end), length);
    else for (let byte = 0; byte < size; byte++) kept[length + byte] = source[start + byte]!;
    length += size;
  }
  return kept.subarray(0, length);
}

function bytesOf(values: Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Returns the bits of the values that are not NULL, shifted to start at a whole byte. */
function packBits(bits: Uint8Array, from: number, to: number, present?: Uint8Array): Uint8Array {
  if (present === undefined && (from & 7) === 0) return bits.subarray(from >> 3, (to + 7) >> 3);
  const packed = new Uint8Array((to - from + 7) >> 3);
  let length = 0;
  for (let at = from; at < to; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    if (isSet(bits, at)) packed[length >> 3]! |= 1 << (length & 7);
    length++;
  }
  return packed.subarray(0, (length + 7) >> 3);
}

function countBits(bits: Uint8Array, from: number, to: number): number {
  let count = 0;
  for (let at = from; at < to; at++) if (isSet(bits, at)) count++;
  return count;
}

/** The smallest and the largest value of a column chunk, in the encoding PLAIN. */
export interface Bounds {
  /** The smallest value. */
  min: Uint8Array;
  /** The largest value. */
  max: Uint8Array;
}

/** The most bytes of a bound. Bounds are in the footer, which every reader fetches. */
const MAX_BOUND_BYTES = 64;

/** Returns the bounds of a column chunk, by which readers skip row groups; `undefined` if there are none. */
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
      return longBounds(columnWords(data), length, leaf.type.kind === "decimal" ? 4 : 2, present);
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

/** Compares numbers of 64 bits as two words, because a bigint for each value would take longer than all other work. */
function longBounds(source: Int32Array, length: number, stride: number, present?: Uint8Array): Bounds | undefined {
  let least = -1;
  let greatest = -1;
  for (let at = 0; at < length; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    const word = at * stride;
    if (least < 0 || isLess(source, word, least)) least = word;
    if (greatest < 0 || isLess(source, greatest, word)) greatest = word;
  }
  if (least < 0) return undefined;
  return { min: bytes(source.slice(least, least + 2)), max: bytes(source.slice(greatest, greatest + 2)) };
}

function isLess(source: Int32Array, a: number, b: number): boolean {
  const high = source[a + 1]! - source[b + 1]!;
  return high < 0 || high === 0 && source[a]! >>> 0 < source[b]! >>> 0;
}

/** Returns no bounds if there is a NaN, whose order is not defined. A zero may have both signs (parquet.thrift, `ColumnOrder`). */
function floatBounds(
  values: Float32Array | Float64Array,
  length: number,
  present?: Uint8Array,
): Bounds | undefined {
  let min = Infinity;
  let max = -Infinity;
  let hasValues = false;
  for (let at = 0; at < length; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    const value = values[at]!;
    if (Number.isNaN(value)) return undefined;
    hasValues = true;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  if (!hasValues) return undefined;
  const bounds = [min === 0 ? -0 : min, max === 0 ? 0 : max] as const;
  const [low, high] = values instanceof Float32Array
    ? [Float32Array.of(bounds[0]), Float32Array.of(bounds[1])]
    : [Float64Array.of(bounds[0]), Float64Array.of(bounds[1])];
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
  if ([least, greatest].some((at) => endOf(at) - startOf(at) > MAX_BOUND_BYTES)) return undefined;
  return { min: source.slice(startOf(least), endOf(least)), max: source.slice(startOf(greatest), endOf(greatest)) };
}

function compareBytes(source: Uint8Array, a: number, aEnd: number, b: number, bEnd: number): number {
  for (; a < aEnd && b < bEnd; a++, b++) if (source[a] !== source[b]) return source[a]! - source[b]!;
  return (aEnd - a) - (bEnd - b);
}

function bytes(value: Int32Array | Float32Array | Float64Array): Uint8Array {
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}
