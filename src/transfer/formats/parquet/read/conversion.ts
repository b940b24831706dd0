import {
  Binary,
  Bool,
  type DataType,
  Date_,
  DateUnit,
  Decimal,
  FixedSizeBinary,
  Float,
  Int,
  Null,
  Precision,
  Time,
  Timestamp,
  TimeUnit,
  Utf8,
} from "npm:apache-arrow@21.2.0";
import type { SchemaElement } from "npm:hyparquet@1.33.0";
import { CellProblem, isSet } from "../../../columns/batch.ts";
import { UnsupportedFeature } from "../../file_rows.ts";
import type { DenseValues } from "./row_reader.ts";

/** Values in Arrow's memory layout. */
interface ArrowValues {
  values: Uint8Array | StoredArray;
  offsets?: Int32Array;
}

type StoredArray = Int16Array | Uint16Array | Int32Array | Uint32Array | BigInt64Array | Float32Array | Float64Array;

/** Converts stored values to their logical type. */
export interface Conversion {
  /** The matching Arrow type. */
  type: DataType;
  /** The name of the Arrow extension type. Only this project uses `parquet.interval`. */
  extension?: string;
  /** Converts values to Arrow's layout. Data in the place of a NULL has no meaning. */
  convert(values: DenseValues, present: Uint8Array | undefined): ArrowValues;
}

const DAY_MICROSECONDS = 86_400_000_000n;
/** The Julian day number of 1970-01-01. */
const JULIAN_1970 = 2_440_588;
/** The greatest time in a column, in microseconds. */
const MAX_TIME = 2n ** 63n - 1n;

/** The most digits in 128 bits, and the bits per digit. */
const DIGITS_128 = 38;
const BITS_OF_A_DIGIT = Math.log2(10);
/** The most digits that `numeric` holds before the decimal point. */
const MAX_DIGITS = 131_072;

/**
 * Chooses the conversion of a column by its logical type, or else by its older converted type (LogicalTypes.md).
 *
 * @param duration The column's type in the Arrow schema, if it is a duration there.
 * @throws {UnsupportedFeature} If the column is an unsupported decimal.
 */
export function conversionOf(element: SchemaElement, name: string, duration: DataType | undefined): Conversion {
  const { logical_type: logical, converted_type: converted, type, type_length: width } = element;
  if (logical?.type === "DECIMAL" || converted === "DECIMAL") return decimal(element, name);
  if (logical?.type === "NULL") return { type: new Null(), convert: () => ({ values: new Uint8Array() }) };
  switch (type) {
    case "BOOLEAN":
      return { type: new Bool(), convert: packBooleans };
    case "INT32":
      return ofInt32(element);
    case "INT64":
      return duration === undefined ? ofInt64(element) : { type: duration, convert: unchanged };
    case "INT96":
      return { type: new Timestamp(TimeUnit.MICROSECOND), convert: julianTimestamps };
    case "FLOAT":
      return { type: new Float(Precision.SINGLE), convert: unchanged };
    case "DOUBLE":
      return { type: new Float(Precision.DOUBLE), convert: unchanged };
    case "FIXED_LEN_BYTE_ARRAY":
      if (logical?.type === "FLOAT16" && width === 2) return { type: new Float(Precision.HALF), convert: halfFloats };
      return { type: new FixedSizeBinary(width!), convert: unchanged, ...fixedExtension(element) };
    default:
      if (logical?.type === "JSON" || converted === "JSON") {
        return { type: new Utf8(), extension: "arrow.json", convert: unchanged };
      }
      return { type: isText(element) ? new Utf8() : new Binary(), convert: unchanged };
  }
}

function isText({ logical_type: logical, converted_type: converted }: SchemaElement): boolean {
  return logical?.type === "STRING" || logical?.type === "ENUM" || converted === "UTF8" || converted === "ENUM";
}

function fixedExtension({ logical_type, converted_type }: SchemaElement): { extension?: string } {
  if (logical_type?.type === "UUID") return { extension: "arrow.uuid" };
  return converted_type === "INTERVAL" ? { extension: "parquet.interval" } : {};
}

function ofInt32(element: SchemaElement): Conversion {
  const { logical_type: logical, converted_type: converted } = element;
  if (logical?.type === "DATE" || converted === "DATE") return { type: new Date_(DateUnit.DAY), convert: unchanged };
  if (logical?.type === "TIME" || converted === "TIME_MILLIS") {
    return { type: new Time(TimeUnit.MILLISECOND, 32), convert: unchanged };
  }
  const { signed, width } = integerOf(element, 32);
  const type = new Int(signed, width as 8);
  if (width === 32) {
    return { type, convert: signed ? unchanged : (values) => ({ values: new Uint32Array(bufferOf(values)) }) };
  }
  const Narrow = width === 16 ? (signed ? Int16Array : Uint16Array) : (signed ? Int8Array : Uint8Array);
  return { type, convert: (values, present) => narrow(values, present, Narrow) };
}

function ofInt64(element: SchemaElement): Conversion {
  const { logical_type: logical, converted_type: converted } = element;
  if (logical?.type === "TIMESTAMP") {
    const zone = logical.isAdjustedToUTC ? "UTC" : null;
    return { type: new Timestamp(unitOf(logical.unit), zone), convert: unchanged };
  }
  if (logical?.type === "TIME") return { type: new Time(unitOf(logical.unit), 64), convert: unchanged };
  if (converted === "TIMESTAMP_MILLIS") return { type: new Timestamp(TimeUnit.MILLISECOND, "UTC"), convert: unchanged };
  if (converted === "TIMESTAMP_MICROS") return { type: new Timestamp(TimeUnit.MICROSECOND, "UTC"), convert: unchanged };
  if (converted === "TIME_MICROS") return { type: new Time(TimeUnit.MICROSECOND, 64), convert: unchanged };
  return { type: new Int(integerOf(element, 64).signed, 64), convert: unchanged };
}

function unitOf(unit: "MILLIS" | "MICROS" | "NANOS"): TimeUnit {
  return { MILLIS: TimeUnit.MILLISECOND, MICROS: TimeUnit.MICROSECOND, NANOS: TimeUnit.NANOSECOND }[unit];
}

/** The signedness and the bits of an integer type. */
function integerOf(
  { logical_type, converted_type }: SchemaElement,
  storedWidth: number,
): { signed: boolean; width: number } {
  if (logical_type?.type === "INTEGER") {
    return { signed: logical_type.isSigned, width: Math.min(storedWidth, logical_type.bitWidth) };
  }
  const [, unsigned, width] = /^(U?)INT_(\d+)$/.exec(converted_type ?? "") ?? [];
  return width === undefined
    ? { signed: true, width: storedWidth }
    : { signed: unsigned === "", width: Math.min(storedWidth, Number(width)) };
}

/** Returns values whose layout is that of Arrow. */
function unchanged(values: DenseValues): ArrowValues {
  if (values.kind === "numbers") return { values: values.values };
  return values.kind === "fixed" ? { values: values.bytes } : { values: values.bytes, offsets: values.offsets };
}

/** Copies the bytes of values to a buffer of their own. */
function bufferOf(values: DenseValues): ArrayBuffer {
  const { values: { buffer, byteOffset, byteLength } } = unchanged(values);
  return buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;
}

function isPresent(present: Uint8Array | undefined, at: number): boolean {
  return present === undefined || isSet(present, at);
}

/** Packs booleans into one bit each. */
function packBooleans(values: DenseValues): ArrowValues {
  const { bytes } = values as DenseValues & { kind: "fixed" };
  const packed = new Uint8Array((bytes.length + 7) >> 3);
  for (let at = 0; at < bytes.length; at++) packed[at >> 3]! |= bytes[at]! << (at & 7);
  return { values: packed };
}

function halfFloats(values: DenseValues): ArrowValues {
  return { values: new Uint16Array(bufferOf(values)) };
}

/** Narrows integers to their logical width. Rejects larger values, because narrowing would change them. */
function narrow(
  values: DenseValues,
  present: Uint8Array | undefined,
  Narrow: Int8ArrayConstructor | Uint8ArrayConstructor | Int16ArrayConstructor | Uint16ArrayConstructor,
): ArrowValues {
  const { values: wide } = values as DenseValues & { kind: "numbers" };
  const narrowed = new Narrow(wide as Int32Array);
  for (let at = 0; at < wide.length; at++) {
    if (narrowed[at] !== wide[at] && isPresent(present, at)) {
      throw new CellProblem(at, `the number ${wide[at]} has more bits than its type`);
    }
  }
  return { values: narrowed as Uint8Array };
}

/** Converts INT96 timestamps of older Spark, Hive and Impala (nanoseconds and Julian day) to microseconds since 1970. */
function julianTimestamps(values: DenseValues, present: Uint8Array | undefined): ArrowValues {
  const { bytes } = values as DenseValues & { kind: "fixed" };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const times = new BigInt64Array(bytes.length / 12);
  for (let at = 0; at < times.length; at++) {
    if (!isPresent(present, at)) continue;
    const day = view.getInt32(at * 12 + 8, true) - JULIAN_1970;
    const time = BigInt(day) * DAY_MICROSECONDS + view.getBigInt64(at * 12, true) / 1000n;
    if (time > MAX_TIME || time < -MAX_TIME) {
      throw new CellProblem(at, `a time on day ${day} after 1970-01-01 is beyond what Postgres can hold`);
    }
    times[at] = time;
  }
  return { values: times };
}

function decimal(element: SchemaElement, name: string): Conversion {
  const { logical_type: logical, type, type_length: width = 0 } = element;
  const { precision, scale = 0 } = logical?.type === "DECIMAL" ? logical : element;
  if (precision === undefined || precision < 1 || precision > MAX_DIGITS || Math.abs(scale) > precision + 1000) {
    throw new UnsupportedFeature(
      `column ${JSON.stringify(name)} is a decimal with the precision ${precision} and the scale ${scale}`,
    );
  }
  const needed = Math.ceil((precision * BITS_OF_A_DIGIT + 1) / 32);
  const words = precision <= DIGITS_128 ? 4 : Math.max(needed, Math.ceil(width / 4));
  const arrow = new Decimal(scale, precision, words * 32);
  if (type === "INT32" || type === "INT64") return { type: arrow, convert: (values) => wholeDecimals(values, words) };
  if (type === "BYTE_ARRAY" || type === "FIXED_LEN_BYTE_ARRAY") {
    return { type: arrow, convert: (values, present) => byteDecimals(values, present, words) };
  }
  throw new UnsupportedFeature(`column ${JSON.stringify(name)} is a decimal in the form of ${type}`);
}

function wholeDecimals(values: DenseValues, words: number): ArrowValues {
  const { values: whole } = values as DenseValues & { kind: "numbers" };
  const out = new Uint32Array(whole.length * words);
  const stored = whole instanceof BigInt64Array ? 2 : 1; // words of each number
  const source = new Int32Array(whole.buffer, whole.byteOffset, whole.length * stored);
  for (let at = 0; at < whole.length; at++) {
    const high = source[at * stored + stored - 1]!;
    for (let word = 0; word < words; word++) {
      out[at * words + word] = word < stored ? source[at * stored + word]! : high >> 31;
    }
  }
  return { values: out };
}

/** Converts decimals that are stored with the highest byte first. */
function byteDecimals(values: DenseValues, present: Uint8Array | undefined, words: number): ArrowValues {
  const { bytes } = values as Exclude<DenseValues, { kind: "numbers" }>;
  const { width, offsets } = values as { width?: number; offsets?: Int32Array };
  const count = offsets === undefined ? bytes.length / width! : offsets.length - 1;
  const out = new Uint32Array(count * words);
  const target = new Uint8Array(out.buffer);
  for (let at = 0; at < count; at++) {
    const start = offsets === undefined ? at * width! : offsets[at]!;
    const end = offsets === undefined ? start + width! : offsets[at + 1]!;
    if (start === end) continue;
    const sign = bytes[start]! > 127 ? 255 : 0;
    const place = at * words * 4;
    for (let byte = 0; byte < words * 4; byte++) {
      target[place + byte] = byte < end - start ? bytes[end - 1 - byte]! : sign;
    }
    const extra = end - start - words * 4;
    for (let byte = start; byte < start + extra; byte++) {
      if (bytes[byte] !== sign && isPresent(present, at)) {
        throw new CellProblem(at, "the number has more digits than its type");
      }
    }
  }
  return { values: out };
}
