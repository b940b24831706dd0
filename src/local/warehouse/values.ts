import { type Frame, frame } from "../messages.ts";
import type { WarehouseType } from "./types.ts";

/** The bytes of a message, in which a value has an offset and a length. */
export interface Bytes {
  bytes: Uint8Array;
  view: DataView;
}

/** The error for a value that a type of a warehouse can't have. */
export class ValueError extends Error {
  /** Databricks' class of the error. */
  readonly errorClass: string;
  readonly sqlstate: string;

  constructor(errorClass: string, sqlstate: string, message: string) {
    super(message);
    this.name = "ValueError";
    this.errorClass = errorClass;
    this.sqlstate = sqlstate;
  }
}

/** Visits the values of a DataRow, each with its offset and its length, which is -1 for NULL. */
export function forEachValue({ view }: Bytes, visit: (column: number, at: number, length: number) => void): void {
  const count = view.getInt16(5);
  let at = 7;
  for (let column = 0; column < count; column++) {
    const length = view.getInt32(at);
    at += 4;
    visit(column, at, length);
    if (length > 0) at += length;
  }
}

/** Repeats the items of a list until there are this many. */
export function repeatItems<T>(items: readonly T[], count: number): T[] {
  return Array.from({ length: items.length === 0 ? 0 : count }, (_, at) => items[at % items.length]!);
}

/** Repeats the values of a DataRow until there are this many. */
export function repeatValues(row: Frame, count: number): Frame {
  const from = { bytes: row, view: new DataView(row.buffer, row.byteOffset, row.byteLength) };
  const values: Uint8Array[] = [];
  forEachValue(from, (_, at, length) => values.push(row.subarray(at - 4, at + Math.max(0, length))));
  return frame("D", Uint8Array.of(count >> 8, count), ...repeatItems(values, count));
}

/** Visits the elements of an array in Postgres's binary format. Returns their number. */
export function forEachElement({ view }: Bytes, at: number, visit: (at: number, length: number) => void): number {
  const dimensions = view.getInt32(at);
  if (dimensions === 0) return 0;
  if (dimensions > 1) {
    throw new ValueError(
      "DATATYPE_MISMATCH",
      "42K09",
      "An array of several dimensions can't be in a column of type ARRAY",
    );
  }
  const count = view.getInt32(at + 12);
  at += 20;
  for (let i = 0; i < count; i++) {
    const length = view.getInt32(at);
    at += 4;
    visit(at, length);
    if (length > 0) at += length;
  }
  return count;
}

/** Visits the fields of a composite value in Postgres's binary format. */
export function forEachField(
  { view }: Bytes,
  at: number,
  visit: (field: number, at: number, length: number) => void,
): void {
  const count = view.getInt32(at);
  at += 4;
  for (let field = 0; field < count; field++) {
    const length = view.getInt32(at + 4);
    at += 8;
    visit(field, at, length);
    if (length > 0) at += length;
  }
}

/** Reads a `numeric` in units of 10^-scale, rounded half up. */
export function unscaled({ view }: Bytes, at: number, scale: number, precision: number): bigint {
  const [count, weight, sign] = [view.getInt16(at), view.getInt16(at + 2), view.getUint16(at + 4)];
  if (sign !== 0 && sign !== NEGATIVE) throw new ValueError(...OUT_OF_RANGE, "NaN and Infinity can't be a DECIMAL");
  let digits = 0n;
  for (let i = 0; i < count; i++) digits = digits * 10_000n + BigInt(view.getInt16(at + 8 + 2 * i));
  const exponent = (weight - count + 1) * 4 + scale;
  if (exponent > 80 && digits > 0n) throw tooLarge(precision, scale);
  const power = 10n ** BigInt(Math.abs(exponent));
  const units = exponent >= 0 ? digits * power : (digits + power / 2n) / power;
  if (units >= 10n ** BigInt(precision)) throw tooLarge(precision, scale);
  return sign === NEGATIVE ? -units : units;
}

const NEGATIVE = 0x4000;
const OUT_OF_RANGE = ["NUMERIC_VALUE_OUT_OF_RANGE.WITHOUT_SUGGESTION", "22003"] as const;

function tooLarge(precision: number, scale: number): ValueError {
  return new ValueError(...OUT_OF_RANGE, `The value cannot be represented as Decimal(${precision}, ${scale})`);
}

/** Days between Postgres's epoch, 2000-01-01, and 1970-01-01. */
const EPOCH_DAYS = 10_957;
const EPOCH_MICROSECONDS = BigInt(EPOCH_DAYS) * 86_400_000_000n;

/** Reads a `date`, in days since 1970-01-01. */
export function days({ view }: Bytes, at: number): number {
  const value = view.getInt32(at);
  if (value === 0x7fffffff || value === -0x80000000) throw infinite("date");
  return value + EPOCH_DAYS;
}

/** Reads a `timestamp`, in microseconds since 1970-01-01. */
export function microseconds({ view }: Bytes, at: number): bigint {
  const value = view.getBigInt64(at);
  if (value === 0x7fffffffffffffffn || value === -0x8000000000000000n) throw infinite("timestamp");
  return value + EPOCH_MICROSECONDS;
}

function infinite(type: string): ValueError {
  return new ValueError("DATETIME_OVERFLOW", "22008", `A warehouse has no infinite ${type}`);
}

/** Reads a day-time interval, in microseconds. */
export function intervalMicroseconds({ view }: Bytes, at: number): bigint {
  if (view.getInt32(at + 12) !== 0) {
    throw new ValueError("DATATYPE_MISMATCH", "42K09", "An interval with months can't be an INTERVAL DAY TO SECOND");
  }
  return view.getBigInt64(at) + BigInt(view.getInt32(at + 8)) * 86_400_000_000n;
}

/** Reads a year-month interval, in months. */
export function intervalMonths({ view }: Bytes, at: number): number {
  return view.getInt32(at + 12);
}

const decoder = new TextDecoder();

/** Reads a `uuid` as text. */
export function uuid({ bytes }: Bytes, at: number): string {
  const hex = bytes.subarray(at, at + 16).toHex();
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** Reads a value as the text that it has in `JSON_ARRAY`. */
export function textOf(from: Bytes, at: number, length: number, type: WarehouseType): string {
  const { bytes, view } = from;
  switch (type.kind) {
    case "boolean":
      return String(view.getUint8(at) === 1);
    case "short":
      return String(view.getInt16(at));
    case "int":
      return String(view.getInt32(at));
    case "long":
      return String(view.getBigInt64(at));
    case "float":
      return floatText(view.getFloat32(at), shortestFloat);
    case "double":
      return floatText(view.getFloat64(at), String);
    case "decimal":
      return decimalText(unscaled(from, at, type.scale!, type.precision!), type.scale!);
    case "uuid":
      return uuid(from, at);
    case "binary":
      return bytes.subarray(at, at + length).toBase64();
    case "date":
      return dateText(days(from, at));
    case "timestamp":
      return `${timestampText(microseconds(from, at))}Z`;
    case "timestampNtz":
      return timestampText(microseconds(from, at));
    case "dayTime":
      return dayTimeText(intervalMicroseconds(from, at));
    case "yearMonth":
      return yearMonthText(intervalMonths(from, at));
    case "jsonb":
      return decoder.decode(bytes.subarray(at + 1, at + length));
    case "array":
    case "struct":
      return JSON.stringify(nested(from, at, length, type));
    default:
      return decoder.decode(bytes.subarray(at, at + length));
  }
}

/** Reads an ARRAY or a STRUCT as JSON, in which the values are texts, and null for NULL. */
function nested(from: Bytes, at: number, length: number, type: WarehouseType): unknown {
  if (length < 0) return null;
  if (type.kind === "array") {
    const elements: unknown[] = [];
    forEachElement(from, at, (at, length) => elements.push(nested(from, at, length, type.element!)));
    return elements;
  }
  if (type.kind !== "struct") return textOf(from, at, length, type);
  const fields: [string, unknown][] = [];
  forEachField(from, at, (field, at, length) => {
    const { name, type: fieldType } = type.fields![field]!;
    fields.push([name, nested(from, at, length, fieldType)]);
  });
  return Object.fromEntries(fields);
}

/** Formats a number as Java does: `1.0`, `1.0E10`, `-Infinity`. */
function floatText(value: number, digitsOf: (value: number) => string): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  const magnitude = Math.abs(value);
  const [mantissa, exponent] = Number(digitsOf(value)).toExponential().split("e") as [string, string];
  if (magnitude < 1e-3 || magnitude >= 1e7) {
    return `${mantissa.includes(".") ? mantissa : `${mantissa}.0`}E${Number(exponent)}`;
  }
  const text = digitsOf(value);
  return text.includes(".") ? text : `${text}.0`;
}

/** The shortest decimal number that has the same 32-bit value. */
function shortestFloat(value: number): string {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(Number(value.toPrecision(9)));
}

function decimalText(units: bigint, scale: number): string {
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, "0");
  const whole = digits.slice(0, digits.length - scale);
  return `${units < 0n ? "-" : ""}${whole}${scale > 0 ? `.${digits.slice(-scale)}` : ""}`;
}

function dateText(days: number): string {
  // JavaScript has dates to the year 275760, Postgres to 5874897.
  if (Math.abs(days) > 100_000_000) throw infinite(`date so far away (${days} days from 1970)`);
  return new Date(days * 86_400_000).toISOString().replace(/T.*/, "");
}

function timestampText(microseconds: bigint): string {
  const remainder = Number(((microseconds % 1000n) + 1000n) % 1000n);
  const milliseconds = Number((microseconds - BigInt(remainder)) / 1000n);
  if (Math.abs(milliseconds) > 8.64e15) throw infinite("timestamp so far away");
  const text = new Date(milliseconds).toISOString().slice(0, -1);
  return remainder === 0 ? text : text + String(remainder).padStart(3, "0");
}

/** Formats an interval as Spark does: days, then hours to nanoseconds. */
function dayTimeText(microseconds: bigint): string {
  const magnitude = microseconds < 0n ? -microseconds : microseconds;
  const seconds = magnitude / 1_000_000n;
  const twoDigits = (part: bigint) => String(part).padStart(2, "0");
  const time = [seconds / 3600n % 24n, seconds / 60n % 60n, seconds % 60n].map(twoDigits).join(":");
  const fraction = String(magnitude % 1_000_000n * 1000n).padStart(9, "0");
  return `${microseconds < 0n ? "-" : ""}${seconds / 86_400n} ${time}.${fraction}`;
}

function yearMonthText(months: number): string {
  const magnitude = Math.abs(months);
  return `${months < 0 ? "-" : ""}${Math.floor(magnitude / 12)}-${magnitude % 12}`;
}
