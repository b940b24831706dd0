import {
  type Data,
  type Date_,
  DateUnit,
  type Decimal,
  type Duration,
  type FixedSizeList,
  type Float,
  type Int,
  type Interval,
  IntervalUnit,
  type Time,
  type Timestamp,
  TimeUnit,
  Type,
} from "npm:apache-arrow@21.2.0";
import { CellProblem, type ColumnData, type ColumnType, problemAt } from "../../columns/batch.ts";

/** The data of a column. Includes NULLs only if they differ from the NULLs of the batch. */
export type Values = Pick<ColumnData, "values" | "offsets" | "child" | "nullBitmap"> & { nullCount?: number };

/** Converts the values of an Arrow field. */
export interface ColumnReader {
  /** The type of the values in memory. */
  type: ColumnType;
  /** The matching Postgres type. */
  postgres: string;
  /** Whether the field has no type of its own, because all of its values are NULL. */
  untyped?: boolean;
  /** Converts the values of a batch. */
  read(data: Data): Values;
}

/** Values of varying length. */
type BytesValues = Values & { offsets: Int32Array };

/** A view has 16 bytes: the length, then up to 12 bytes of data, or else the buffer and the offset of the data. */
const VIEW_BYTES = 16;
const MAX_INLINE_BYTES = 12;

/** Returns text or bytes without a copy. */
export function plainBytes({ values, valueOffsets }: Data): BytesValues {
  return { values, offsets: valueOffsets };
}

/** Converts offsets of 64 bits to 32 bits. A batch that needs 64 bits would not fit into a buffer. */
export function largeBytes({ values, valueOffsets }: Data): BytesValues {
  return { values, offsets: Int32Array.from(valueOffsets as unknown as BigInt64Array, Number) };
}

/** Adds offsets to values of `width` bytes each. */
export function fixedBytes(width: number): (data: Data) => BytesValues {
  return ({ values, length }) => ({ values, offsets: Int32Array.from({ length: length + 1 }, (_, at) => at * width) });
}

/** Joins values that are scattered over several buffers. */
export function viewBytes(data: Data): BytesValues {
  const { length, variadicBuffers } = data;
  const inline = data.values as Uint8Array;
  const views = new DataView(inline.buffer, inline.byteOffset, inline.byteLength);
  const offsets = new Int32Array(length + 1);
  for (let at = 0; at < length; at++) {
    offsets[at + 1] = offsets[at]! + (data.getValid(at) ? views.getInt32(at * VIEW_BYTES, true) : 0);
  }
  const values = new Uint8Array(offsets[length]!);
  for (let at = 0; at < length; at++) {
    const size = offsets[at + 1]! - offsets[at]!;
    const view = at * VIEW_BYTES;
    const buffer = size > MAX_INLINE_BYTES ? variadicBuffers[views.getInt32(view + 8, true)]! : inline;
    const start = size > MAX_INLINE_BYTES ? views.getInt32(view + 12, true) : view + 4;
    values.set(buffer.subarray(start, start + size), offsets[at]);
  }
  return { values, offsets };
}

const MAX_DIGITS = 38;

/** Whether the values of a decimal type fit into 128 bits, and the type into `numeric(precision, scale)`. */
export function fitsDecimal({ precision, scale }: Decimal): boolean {
  return precision <= MAX_DIGITS && scale >= 0 && scale <= precision;
}

/** Converts decimals to 128 bits each. */
export function decimals({ bitWidth }: Decimal): (data: Data) => Values {
  const width = bitWidth / 32;
  return ({ values, length }) => {
    const source = new Uint32Array(values.buffer, values.byteOffset, length * width);
    if (width === 4) return { values: source };
    const wide = new Uint32Array(length * 4);
    for (let at = 0; at < length; at++) {
      const sign = (source[at * width + width - 1]! | 0) < 0 ? 0xffff_ffff : 0;
      for (let word = 0; word < 4; word++) wide[at * 4 + word] = word < width ? source[at * width + word]! : sign;
    }
    return { values: wide };
  };
}

/** Converts decimals that {@linkcode fitsDecimal} rejects to text. */
export function decimalTexts({ bitWidth, scale }: Decimal): (data: Data) => Values {
  const width = bitWidth / 32;
  return (data) => {
    const source = new Uint32Array(data.values.buffer, data.values.byteOffset, data.length * width);
    return texts(data, (at) => {
      const words = source.subarray(at * width, at * width + width);
      const value = BigInt.asIntN(bitWidth, words.reduceRight((sum, word) => sum << 32n | BigInt(word), 0n));
      return `${value}e${-scale}`;
    });
  };
}

/** The number of units per second, by `TimeUnit`. */
const PER_SECOND: Readonly<Record<TimeUnit, bigint>> = {
  [TimeUnit.SECOND]: 1n,
  [TimeUnit.MILLISECOND]: 1000n,
  [TimeUnit.MICROSECOND]: 1_000_000n,
  [TimeUnit.NANOSECOND]: 1_000_000_000n,
};

/** Converts durations to the text of a Postgres `interval`. */
export function durationTexts({ unit }: Duration): (data: Data) => Values {
  const perSecond = PER_SECOND[unit];
  return (data) => texts(data, (at) => secondsText((data.values as BigInt64Array)[at]!, perSecond));
}

/** Converts intervals, which can have months and days, to the text of a Postgres `interval`. */
export function intervalTexts({ unit }: Interval): (data: Data) => Values {
  switch (unit) {
    case IntervalUnit.YEAR_MONTH:
      return (data) => texts(data, (at) => `${int32sOf(data)[at]} mons`);
    case IntervalUnit.DAY_TIME:
      return (data) => {
        const words = int32sOf(data);
        return texts(data, (at) => `${words[at * 2]} days ${secondsText(BigInt(words[at * 2 + 1]!), 1000n)}`);
      };
    default:
      return (data) => {
        const words = int32sOf(data);
        return texts(data, (at) => {
          const nanoseconds = BigInt(words[at * 4 + 3]!) << 32n | BigInt(words[at * 4 + 2]! >>> 0);
          return `${words[at * 4]} mons ${words[at * 4 + 1]} days ${secondsText(nanoseconds, 1_000_000_000n)}`;
        });
      };
  }
}

function int32sOf({ values }: Data): Int32Array {
  return new Int32Array(values.buffer, values.byteOffset, values.byteLength >> 2);
}

/** Converts Parquet intervals: unsigned months, days and milliseconds. */
export function parquetIntervals(data: Data): Values {
  const words = new Uint32Array(data.values.buffer, data.values.byteOffset, data.length * 3);
  return texts(data, (at) => {
    const [months, days, milliseconds] = words.subarray(at * 3);
    return `${months} mons ${days} days ${secondsText(BigInt(milliseconds!), 1000n)}`;
  });
}

/** Writes a time span in seconds. */
function secondsText(value: bigint, perSecond: bigint): string {
  if (perSecond === PER_SECOND[TimeUnit.NANOSECOND]) {
    return secondsText(floorDivide(value, 1000n), PER_SECOND[TimeUnit.MICROSECOND]);
  }
  const size = value < 0n ? -value : value;
  const fraction = String(size % perSecond).padStart(String(perSecond).length - 1, "0");
  return `${value < 0n ? "-" : ""}${size / perSecond}${perSecond === 1n ? "" : `.${fraction}`} seconds`;
}

/** Returns the position of each list's first element, and at the end the number of elements. */
export function listOffsets(data: Data): Int32Array {
  switch (data.type.typeId) {
    case Type.FixedSizeList: {
      const { listSize } = data.type as FixedSizeList;
      return Int32Array.from({ length: data.length + 1 }, (_, at) => at * listSize);
    }
    case Type.LargeList:
      return Int32Array.from(data.valueOffsets as unknown as BigInt64Array, Number);
    default:
      return data.valueOffsets;
  }
}

/** The number of digits of 2^64. */
const DIGITS_OF_64_BITS = 20;

/** Returns the smallest type that holds all values of an integer type. Postgres has no unsigned types. */
export function integerType({ bitWidth, isSigned }: Int): { type: ColumnType; postgres: string } {
  const bits = isSigned ? bitWidth : bitWidth + 1;
  if (bits <= 16) return { type: { kind: "int16" }, postgres: "smallint" };
  if (bits <= 32) return { type: { kind: "int32" }, postgres: "integer" };
  if (bits <= 64) return { type: { kind: "int64" }, postgres: "bigint" };
  const type: ColumnType = { kind: "decimal", precision: DIGITS_OF_64_BITS, scale: 0 };
  return { type, postgres: `numeric(${DIGITS_OF_64_BITS})` };
}

/** Converts integers to the type that {@linkcode integerType} returns. */
export function integers({ bitWidth, isSigned }: Int): (data: Data) => Values {
  if (isSigned && bitWidth > 8) return unchanged;
  if (bitWidth === 8) return ({ values }) => ({ values: Int16Array.from(values as Uint8Array) });
  if (bitWidth === 16) return ({ values }) => ({ values: Int32Array.from(values as Uint16Array) });
  if (bitWidth === 32) return ({ values }) => ({ values: BigInt64Array.from(values as Uint32Array, BigInt) });
  return ({ values, length }) => {
    const source = new Uint32Array(values.buffer, values.byteOffset, length * 2);
    const wide = new Uint32Array(length * 4);
    for (let at = 0; at < length; at++) {
      wide[at * 4] = source[at * 2]!;
      wide[at * 4 + 1] = source[at * 2 + 1]!;
    }
    return { values: wide };
  };
}

/** Returns the reader of a floating-point type. Half floats become `real`, because Postgres has no 16-bit type. */
export function floats({ precision }: Float): ColumnReader {
  if (precision === 2) return { type: { kind: "float64" }, postgres: "double precision", read: unchanged };
  if (precision === 1) return { type: { kind: "float32" }, postgres: "real", read: unchanged };
  return {
    type: { kind: "float32" },
    postgres: "real",
    read: ({ values }) => ({
      values: Float32Array.from(new Float16Array(values.buffer, values.byteOffset, values.length)),
    }),
  };
}

const UTF8 = new TextEncoder();

/** Converts each value to text. A NULL becomes an empty text. */
export function texts(data: Data, textOf: (at: number) => string): Values & { offsets: Int32Array } {
  const { length } = data;
  const offsets = new Int32Array(length + 1);
  let values = new Uint8Array(length * 8 + 64);
  let end = 0;
  let at = 0;
  const write = () => {
    for (; at < length; at++) {
      if (data.getValid(at)) {
        const text = textOf(at);
        const maxEnd = end + text.length * 3;
        if (maxEnd > values.length) values = grown(values, maxEnd);
        end += UTF8.encodeInto(text, values.subarray(end)).written;
      }
      offsets[at + 1] = end;
    }
  };
  problemAt(write, () => at);
  return { values: values.subarray(0, end), offsets };
}

function grown(bytes: Uint8Array, minLength: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(Math.max(minLength, bytes.length * 2));
  copy.set(bytes);
  return copy;
}

const DAY_MS = 86_400_000n;
const DAY_MICROSECONDS = 86_400_000_000n;

/** The limits of converted values. In a column, the greatest and the least value stand for infinity. */
const MAX_TIME = 2n ** 63n - 1n;
const MAX_DAYS = 2n ** 31n - 1n;

/** Converts dates to days since 1970. */
export function days({ unit }: Date_): (data: Data) => Values {
  if (unit === DateUnit.DAY) return unchanged;
  return (data) => {
    const values = new Int32Array(data.length);
    convertEach(data, MAX_DAYS, (ms) => floorDivide(ms, DAY_MS), (at, day) => values[at] = Number(day));
    return { values };
  };
}

/** Converts times to microseconds since midnight. Nanoseconds are cut off, because Postgres does not store them. */
export function times({ unit }: Time): (data: Data) => Values {
  const read = inMicroseconds(unit);
  return (data) => {
    const values = read(data).values as BigInt64Array;
    for (let at = 0; at < data.length; at++) {
      const value = values[at]!;
      if ((value < 0n || value > DAY_MICROSECONDS) && data.getValid(at)) {
        throw new CellProblem(
          at,
          `the time of day is ${value} microseconds after midnight, and a day has ${DAY_MICROSECONDS}`,
        );
      }
    }
    return { values };
  };
}

/** Converts timestamps to microseconds since 1970. Nanoseconds are cut off. */
export function timestamps({ unit }: Timestamp): (data: Data) => Values {
  return inMicroseconds(unit);
}

function inMicroseconds(unit: TimeUnit): (data: Data) => Values {
  switch (unit) {
    case TimeUnit.MICROSECOND:
      return unchanged;
    case TimeUnit.NANOSECOND:
      return ({ values }) => ({ values: (values as BigInt64Array).map((ns) => floorDivide(ns, 1000n)) });
    default:
      return (data) => multiplied(data, unit === TimeUnit.SECOND ? 1_000_000n : 1000n);
  }
}

function multiplied(data: Data, factor: bigint): Values {
  const values = new BigInt64Array(data.length);
  convertEach(data, MAX_TIME, (value) => value * factor, (at, value) => values[at] = value);
  return { values };
}

/** Converts the values that are not NULL. The absolute value of a result is at most `max`. */
function convertEach(
  data: Data,
  max: bigint,
  convert: (value: bigint) => bigint,
  put: (at: number, value: bigint) => void,
): void {
  const source = data.values as Int32Array | BigInt64Array;
  for (let at = 0; at < data.length; at++) {
    if (!data.getValid(at)) continue;
    const value = convert(BigInt(source[at]!));
    if (value > max || value < -max) {
      throw new CellProblem(
        at,
        `the time ${source[at]} is beyond what Postgres can hold; leave it out, or make it a text`,
      );
    }
    put(at, value);
  }
}

/** Divides and rounds down, which keeps the order of times before 1970. */
function floorDivide(value: bigint, by: bigint): bigint {
  const rest = value % by;
  return (value - (rest < 0n ? rest + by : rest)) / by;
}

/** Returns values whose layout is that of a column. */
export function unchanged({ values }: Data): Values {
  return { values };
}
