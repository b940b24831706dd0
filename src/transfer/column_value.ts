import { Buffer } from "node:buffer";
import type { ColumnData } from "./batch.ts";
import { decimalText } from "./decimal_text.ts";
import { shortestFloat4 } from "./float4.ts";
import { dateText, timestampText, timeText, yearOf } from "./time_text.ts";
import { words } from "./words.ts";

/** Gives the value of a row as a query does, `null` for NULL. */
export type ValueReader = (row: number) => unknown;

const GREATEST_DAY = 2 ** 31 - 1;
const LEAST_DAY = -(2 ** 31);
const GREATEST_TIME = 2n ** 63n - 1n;
const LEAST_TIME = -(2n ** 63n);

/** Reads a column's values as JavaScript's, those that `await sql` gives with its own parsers. */
export function valueReader(data: ColumnData): ValueReader {
  const { nullBitmap } = data;
  const read = presentReader(data);
  if (nullBitmap === undefined) return read;
  return (row) => isSet(nullBitmap, row) ? read(row) : null;
}

/** Whether a bit is set. */
export function isSet(bitmap: Uint8Array, row: number): boolean {
  return (bitmap[row >> 3]! >> (row & 7) & 1) === 1;
}

function presentReader(data: ColumnData): ValueReader {
  const { type, values, offsets, child } = data;
  switch (type.kind) {
    case "int16":
    case "int32":
    case "uint32":
    case "float64":
      return (row) => values[row];
    case "float32":
      return (row) => shortestFloat4((values as Float32Array)[row]!);
    case "bool":
      return (row) => isSet(values as Uint8Array, row);
    case "int64":
      return plainNumbers(data);
    case "decimal":
      return (row) => decimalText(values as Uint32Array, row, type.scale);
    case "date":
      return (row) => dateOf((values as Int32Array)[row]!);
    case "time":
      return (row) => timeText(Number(values[row]));
    case "timestamp":
      return timestampReader(plainNumbers(data), type.utc);
    case "uuid":
      return (row) => uuidText((values as Uint8Array).subarray(row * 16, row * 16 + 16));
    case "text":
      return textReader(data);
    case "json":
      return jsonReader(textReader(data));
    case "binary":
      return (row) => (values as Uint8Array).slice(offsets![row], offsets![row + 1]);
    case "list":
      return listReader(offsets!, valueReader(child!));
  }
}

/** Reads words of 32 bits: a bigint for each value is made only where a number does not hold it. */
function plainNumbers(data: ColumnData): (row: number) => number | bigint {
  const halves = words(data);
  const values = data.values as BigInt64Array;
  return (row) => {
    const number = halves[row * 2 + 1]! * 2 ** 32 + (halves[row * 2]! >>> 0);
    return Number.isSafeInteger(number) ? number : values[row]!;
  };
}

/** `Buffer` takes half of the time of a `TextDecoder`. */
function textReader({ values, offsets }: ColumnData): (row: number) => string {
  const bytes = Buffer.from(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
  return (row) => bytes.toString("utf8", offsets![row], offsets![row + 1]);
}

function jsonReader(read: (row: number) => string): ValueReader {
  return (row) => JSON.parse(read(row));
}

function listReader(offsets: Int32Array, read: ValueReader): ValueReader {
  return (row) => {
    const from = offsets[row]!;
    return Array.from({ length: offsets[row + 1]! - from }, (_, at) => read(from + at));
  };
}

function dateOf(days: number): string {
  if (days === GREATEST_DAY) return "infinity";
  return days === LEAST_DAY ? "-infinity" : dateText(days);
}

function timestampReader(read: (row: number) => number | bigint, utc: boolean): ValueReader {
  return (row) => {
    const microseconds = read(row);
    if (microseconds === GREATEST_TIME) return "infinity";
    if (microseconds === LEAST_TIME) return "-infinity";
    return utc ? instantOf(microseconds) : timestampText(microseconds, "");
  };
}

/** A `Date` where a query gives one. */
function instantOf(microseconds: number | bigint): string | Date {
  if (typeof microseconds === "number") return new Date(Math.floor(microseconds / 1000)); // of the years 1684 to 2255
  const year = yearOf(microseconds);
  if (year < 1 || year > 9999) return timestampText(microseconds, "+00");
  const beyond = ((microseconds % 1000n) + 1000n) % 1000n;
  return new Date(Number((microseconds - beyond) / 1000n));
}

function uuidText(bytes: Uint8Array): string {
  return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
