/**
 * Writes the values of columns as those of a COPY to the server, in its text format and in its binary format.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { BUILT_IN, typeName } from "../../core/type_names.ts";
import { arrayText } from "../../sql/parameter.ts";
import type { CopyBinaryWriter } from "../copy/binary_writer.ts";
import type { CopyByteWriter } from "../copy/text_writer.ts";
import { type ColumnData, type ColumnType, isSet } from "./batch.ts";
import { EPOCH_DAYS, EPOCH_HIGH, EPOCH_LOW } from "./binary/storage.ts";
import { dateText, DAY_MICROSECONDS, MAX_TIME, MIN_TIME, timestampText, valueReader } from "./value.ts";

/** Gives the text of a row's value, in the form that the server reads; `null` for NULL. */
type ExactTextReader = (row: number) => string | null;

/** Writes a row's value of one column in COPY's text format. */
type TextCellWriter = (row: number, out: CopyByteWriter) => void;

/** Keeps a byte order mark, since it is part of the text. */
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Writes a column's values in COPY's text format, with all digits. */
export function textCellWriter(data: ColumnData): TextCellWriter {
  const { nullBitmap } = data;
  const write = presentTextWriter(data);
  if (nullBitmap === undefined) return write;
  return (row, out) => isSet(nullBitmap, row) ? write(row, out) : out.plain("\\N");
}

/** Writes the values that are not NULL. */
function presentTextWriter(data: ColumnData): TextCellWriter {
  const { type, values, offsets } = data;
  switch (type.kind) {
    case "text":
    case "json":
      return (row, out) => out.utf8(values as Uint8Array, offsets![row]!, offsets![row + 1]!);
    case "int16":
    case "int32":
    case "uint32":
      return (row, out) => out.number((values as Int32Array)[row]!);
    case "bool":
      return (row, out) => out.plain(isSet(values as Uint8Array, row) ? "true" : "false");
    case "int64":
      return wideWriter(values as BigInt64Array, 2, 0, presentText(data));
    case "decimal":
      return wideWriter(values as Uint32Array, 4, type.scale, presentText(data));
    case "timestamp":
      return timestampWriter(values as BigInt64Array, type.utc, presentText(data));
    case "binary":
    case "list": {
      const text = presentText(data);
      return (row, out) => out.text(text(row));
    }
    default: {
      const text = presentText(data);
      return (row, out) => out.plain(text(row));
    }
  }
}

/** Writes values of 64 or 128 bits. Most of them fit into a number, which is several times as fast as a bigint. */
function wideWriter(
  values: BigInt64Array | Uint32Array,
  size: number,
  scale: number,
  text: (row: number) => string,
): TextCellWriter {
  const words = new Int32Array(values.buffer, values.byteOffset, values.byteLength >> 2);
  return (row, out) => {
    const at = row * size;
    const high = words[at + 1]!;
    const number = high * 2 ** 32 + (words[at]! >>> 0);
    const fits = size === 2 || words[at + 2] === high >> 31 && words[at + 3] === high >> 31;
    if (fits && Number.isSafeInteger(number)) out.number(number, scale);
    else out.plain(text(row));
  };
}

/** Writes timestamps. From 1970 to 2255, the text of the last date is kept, because rows of one day often follow each other. */
function timestampWriter(values: BigInt64Array, utc: boolean, text: (row: number) => string): TextCellWriter {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const zone = utc ? "+00" : "";
  let day = -1;
  let date = "";
  return (row, out) => {
    const microseconds = words[row * 2 + 1]! * 2 ** 32 + (words[row * 2]! >>> 0);
    // A number holds microseconds exactly up to 2^53, in the year 2255.
    if (!(microseconds >= 0 && Number.isSafeInteger(microseconds))) return out.plain(text(row));
    const days = Math.floor(microseconds / DAY_MICROSECONDS);
    if (days !== day) {
      day = days;
      date = dateText(days);
    }
    out.moment(date, microseconds - days * DAY_MICROSECONDS, zone);
  };
}

/** Reads a column's values as text, with all digits. */
export function exactTextReader(data: ColumnData): ExactTextReader {
  const { nullBitmap } = data;
  const read = presentText(data);
  return nullBitmap === undefined ? read : (row) => isSet(nullBitmap, row) ? read(row) : null;
}

function presentText({ nullBitmap: _, ...data }: ColumnData): (row: number) => string {
  const { type, values, offsets } = data;
  const bytes = (row: number) => (values as Uint8Array).subarray(offsets![row], offsets![row + 1]);
  switch (type.kind) {
    case "text":
    case "json":
      return (row) => UTF8.decode(bytes(row));
    case "binary":
      return (row) => `\\x${Buffer.from(bytes(row)).toString("hex")}`;
    case "timestamp":
      return (row) => timestampTextOf((values as BigInt64Array)[row]!, type.utc);
    case "list":
      return listText(offsets!, exactTextReader(data.child!));
    default: {
      const read = valueReader(data);
      return (row) => plainText(read(row));
    }
  }
}

/** Keeps the sign of -0, which `String` drops. */
function plainText(value: unknown): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

function timestampTextOf(microseconds: bigint, utc: boolean): string {
  const zone = utc ? "+00" : "";
  const number = Number(microseconds); // several times as fast as a bigint
  if (Number.isSafeInteger(number)) return timestampText(number, zone);
  if (microseconds === MAX_TIME) return "infinity";
  return microseconds === MIN_TIME ? "-infinity" : timestampText(microseconds, zone);
}

function listText(offsets: Int32Array, element: ExactTextReader): (row: number) => string {
  return (row) => {
    const from = offsets[row]!;
    const texts = Array.from({ length: offsets[row + 1]! - from }, (_, at) => element(from + at));
    return arrayText(texts, (text) => text as string | null);
  };
}

/** Writes a row's value of one column in COPY's binary format. */
type BinaryCellWriter = (row: number, out: CopyBinaryWriter) => void;

/** The first and the last day that Postgres can hold, in days since 1970-01-01. */
const MIN_DAY = -2_440_588;
const MAX_DAY = 2_145_042_905;
/** The first timestamp that Postgres can hold, in microseconds. The last one is beyond the range of the 64 bits. */
const FIRST_TIME = BigInt(MIN_DAY) * 86_400_000_000n;
const FIRST_TIME_HIGH = Number(FIRST_TIME >> 32n);

/** The number that stands for an infinite date; in the upper word, for an infinite timestamp. */
const LEAST = -(2 ** 31);
const GREATEST = 2 ** 31 - 1;

const TEXTS = ["text", "varchar", "bpchar", "json", "jsonb"];

/** The Postgres types into which every value of a column can be sent in binary, with the same effect as its text. */
const TARGETS: Readonly<Record<Exclude<ColumnType["kind"], "list">, readonly string[]>> = {
  bool: ["bool"],
  int16: ["int2", "int4", "int8"],
  int32: ["int4", "int8"],
  int64: ["int8"],
  uint32: ["oid", "int8"],
  float32: ["float4"], // not float8, which reads another number from the text 0.1
  float64: ["float8"],
  decimal: ["numeric"],
  date: ["date"],
  time: ["time"],
  timestamp: ["timestamp"],
  uuid: ["uuid"],
  text: TEXTS,
  json: TEXTS,
  binary: ["bytea"],
};

/**
 * Whether a column can be sent in COPY's binary format, which the server reads in about half the time. A column whose values
 * may not fit is sent as text, because the server shows the value in its error only then.
 *
 * @param target The type of the table's column. A domain or a type of an extension has no binary form here.
 */
export function hasBinaryForm(type: ColumnType, target: { oid: number; type: string }): boolean {
  const name = typeName(target.oid);
  const limits = /\((\d+)(?:,(-?\d+))?\)/.exec(target.type)?.slice(1).map((limit) => Number(limit ?? 0));
  if (type.kind === "list") return name.endsWith("[]") && isTarget(type.element, name.slice(0, -2), limits);
  return isTarget(type, name, limits);
}

/** @param limits The numbers in the type's parentheses: a length, or a precision and a scale. */
function isTarget(type: ColumnType, name: string, limits: readonly number[] | undefined): boolean {
  if (type.kind === "list") return false;
  if (limits !== undefined && (name === "varchar" || name === "bpchar")) return false;
  if (limits !== undefined && type.kind === "decimal") {
    const [precision, scale] = limits as [number, number];
    return name === "numeric" && precision - scale >= type.precision - type.scale && scale >= type.scale;
  }
  // Only the text of a timestamp without a zone can be sent to timestamptz: the server reads it in the session's time zone.
  if (type.kind === "timestamp" && type.utc && name === "timestamptz") return true;
  return TARGETS[type.kind].includes(name);
}

/** Writes a column's values in COPY's binary format, for a type that {@linkcode hasBinaryForm} accepts. */
export function binaryCellWriter(data: ColumnData, oid: number): BinaryCellWriter {
  const { nullBitmap } = data;
  const write = presentBinaryWriter(data, typeName(oid));
  if (nullBitmap === undefined) return write;
  return (row, out) => isSet(nullBitmap, row) ? write(row, out) : out.null();
}

function presentBinaryWriter(data: ColumnData, target: string): BinaryCellWriter {
  const { type, values, offsets } = data;
  switch (type.kind) {
    case "bool":
      return (row, out) => out.byte(isSet(values as Uint8Array, row) ? 1 : 0);
    case "int16":
    case "int32":
    case "uint32":
      return integerBinaryWriter(values as Int32Array, target);
    case "int64":
    case "time":
      return longBinaryWriter(values as BigInt64Array);
    case "float32":
      return (row, out) => out.float32((values as Float32Array)[row]!);
    case "float64":
      return (row, out) => out.float64((values as Float64Array)[row]!);
    case "decimal":
      return decimalBinaryWriter(values as Uint32Array, type.scale);
    case "date":
      return dateBinaryWriter(values as Int32Array);
    case "timestamp":
      return timestampBinaryWriter(values as BigInt64Array, type.utc);
    case "uuid":
      return (row, out) => out.bytes(values as Uint8Array, row * 16, row * 16 + 16);
    case "text":
    case "json":
      if (target === "jsonb") return (row, out) => out.jsonb(values as Uint8Array, offsets![row]!, offsets![row + 1]!);
      return (row, out) => out.text(values as Uint8Array, offsets![row]!, offsets![row + 1]!);
    case "binary":
      return (row, out) => out.bytes(values as Uint8Array, offsets![row]!, offsets![row + 1]!);
    case "list":
      return listBinaryWriter(offsets!, data.child!, BUILT_IN[target.slice(0, -2)]![0]);
  }
}

function integerBinaryWriter(values: Int32Array, target: string): BinaryCellWriter {
  switch (target) {
    case "int2":
      return (row, out) => out.int16(values[row]!);
    case "int8":
      return (row, out) => out.words(values[row]! < 0 ? -1 : 0, values[row]!);
    default:
      return (row, out) => out.int32(values[row]!);
  }
}

function longBinaryWriter(values: BigInt64Array): BinaryCellWriter {
  const words = int32sOf(values);
  return (row, out) => out.words(words[row * 2 + 1]!, words[row * 2]!);
}

function int32sOf({ buffer, byteOffset, length }: BigInt64Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length * 2);
}

function dateBinaryWriter(values: Int32Array): BinaryCellWriter {
  return (row, out) => {
    const days = values[row]!;
    if (days === LEAST || days === GREATEST) return out.int32(days);
    if (days < MIN_DAY || days > MAX_DAY) throw out.outOfRange(dateText(days), "a date");
    out.int32(days - EPOCH_DAYS);
  };
}

function timestampBinaryWriter(values: BigInt64Array, utc: boolean): BinaryCellWriter {
  const words = int32sOf(values);
  return (row, out) => {
    let high = words[row * 2 + 1]!;
    let low = words[row * 2]! >>> 0;
    const infinite = high === GREATEST && low === 0xffff_ffff || high === LEAST && low === 0;
    if (infinite) return out.words(high, low);
    if (high <= FIRST_TIME_HIGH && values[row]! < FIRST_TIME) {
      throw out.outOfRange(timestampText(values[row]!, utc ? "+00" : ""), "a timestamp");
    }
    low -= EPOCH_LOW;
    high -= EPOCH_HIGH + (low < 0 ? 1 : 0);
    out.words(high, low);
  };
}

/** Writes decimals. Most of them fit into a number, which is several times as fast as a bigint. */
function decimalBinaryWriter(values: Uint32Array, scale: number): BinaryCellWriter {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  const padding = (4 - scale % 4) % 4;
  const factor = 10 ** padding;
  const maxExact = Math.floor(Number.MAX_SAFE_INTEGER / factor);
  const fraction = (scale + padding) / 4;
  return (row, out) => {
    const at = row * 4;
    const high = words[at + 1]!;
    const number = high * 2 ** 32 + (words[at]! >>> 0);
    const fits = words[at + 2] === high >> 31 && words[at + 3] === high >> 31;
    if (fits && number <= maxExact && number >= -maxExact) {
      return out.numeric(Math.abs(number) * factor, number < 0, fraction, scale);
    }
    const whole = BigInt.asIntN(128, [3, 2, 1, 0].reduce((sum, word) => sum << 32n | BigInt(values[at + word]!), 0n));
    out.largeNumeric((whole < 0n ? -whole : whole) * BigInt(factor), whole < 0n, fraction, scale);
  };
}

function listBinaryWriter(offsets: Int32Array, child: ColumnData, element: number): BinaryCellWriter {
  const { nullBitmap } = child;
  const write = binaryCellWriter(child, element);
  return (row, out) => {
    const [from, to] = [offsets[row]!, offsets[row + 1]!];
    let hasNulls = false;
    for (let at = from; at < to && nullBitmap !== undefined && !hasNulls; at++) hasNulls = !isSet(nullBitmap, at);
    const start = out.startList(to - from, element, hasNulls);
    for (let at = from; at < to; at++) write(at, out);
    out.endList(start);
  };
}
