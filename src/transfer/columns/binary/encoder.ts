import { BUILT_IN, typeName } from "../../../core/type_names.ts";
import type { CopyBinaryWriter } from "../../copy/binary_writer.ts";
import { type ColumnData, type ColumnType, isSet } from "../batch.ts";
import { dateText, timestampText } from "../value.ts";
import { EPOCH_DAYS, EPOCH_HIGH, EPOCH_LOW } from "./storage.ts";

/** Writes a row's value of one column. */
type CellEncoder = (row: number, out: CopyBinaryWriter) => void;

/** The first and the last day that Postgres can hold, in days since 1970-01-01. */
const LEAST_DAY = -2_440_588;
const GREATEST_DAY = 2_145_042_905;
/** The first timestamp that Postgres can hold, in microseconds. The last one is beyond the range of the 64 bits. */
const FIRST_TIME = BigInt(LEAST_DAY) * 86_400_000_000n;
const FIRST_TIME_HIGH = Number(FIRST_TIME >> 32n);

const LEAST = -(2 ** 31);
const GREATEST = 2 ** 31 - 1;

const TEXTS = ["text", "varchar", "bpchar", "json", "jsonb"];

/** The Postgres types that hold every value of a column just as its text would be read. */
const TARGETS: Readonly<Record<Exclude<ColumnType["kind"], "list">, readonly string[]>> = {
  bool: ["bool"],
  int16: ["int2", "int4", "int8"],
  int32: ["int4", "int8"],
  int64: ["int8"],
  uint32: ["oid", "int8"],
  float32: ["float4"], // not float8, in which the text 0.1 is another number than a float4 of 0.1
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
 * Whether a column can be sent in COPY's binary format: the server then reads it in about half the time. Its errors do not
 * show the value then, so a column is sent as text if its values may not fit.
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
  // The server reads a timestamp without a zone in the session's time zone, so that only its text can be sent to timestamptz.
  if (type.kind === "timestamp" && type.utc && name === "timestamptz") return true;
  return TARGETS[type.kind].includes(name);
}

/** Encodes a column's values for a type that {@linkcode hasBinaryForm}. */
export function cellEncoder(data: ColumnData, oid: number): CellEncoder {
  const { nullBitmap } = data;
  const write = presentEncoder(data, typeName(oid));
  if (nullBitmap === undefined) return write;
  return (row, out) => isSet(nullBitmap, row) ? write(row, out) : out.null();
}

function presentEncoder(data: ColumnData, target: string): CellEncoder {
  const { type, values, offsets } = data;
  switch (type.kind) {
    case "bool":
      return (row, out) => out.byte(isSet(values as Uint8Array, row) ? 1 : 0);
    case "int16":
    case "int32":
    case "uint32":
      return integerEncoder(values as Int32Array, target);
    case "int64":
    case "time":
      return longEncoder(values as BigInt64Array);
    case "float32":
      return (row, out) => out.float32((values as Float32Array)[row]!);
    case "float64":
      return (row, out) => out.float64((values as Float64Array)[row]!);
    case "decimal":
      return decimalEncoder(values as Uint32Array, type.scale);
    case "date":
      return dateEncoder(values as Int32Array);
    case "timestamp":
      return timestampEncoder(values as BigInt64Array, type.utc);
    case "uuid":
      return (row, out) => out.bytes(values as Uint8Array, row * 16, row * 16 + 16);
    case "text":
    case "json":
      if (target === "jsonb") return (row, out) => out.jsonb(values as Uint8Array, offsets![row]!, offsets![row + 1]!);
      return (row, out) => out.text(values as Uint8Array, offsets![row]!, offsets![row + 1]!);
    case "binary":
      return (row, out) => out.bytes(values as Uint8Array, offsets![row]!, offsets![row + 1]!);
    case "list":
      return listEncoder(offsets!, data.child!, BUILT_IN[target.slice(0, -2)]![0]);
  }
}

function integerEncoder(values: Int32Array, target: string): CellEncoder {
  switch (target) {
    case "int2":
      return (row, out) => out.int16(values[row]!);
    case "int8":
      return (row, out) => out.words(values[row]! < 0 ? -1 : 0, values[row]!);
    default:
      return (row, out) => out.int32(values[row]!);
  }
}

function longEncoder(values: BigInt64Array): CellEncoder {
  const words = wordsOf(values);
  return (row, out) => out.words(words[row * 2 + 1]!, words[row * 2]!);
}

function wordsOf({ buffer, byteOffset, length }: BigInt64Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length * 2);
}

function dateEncoder(values: Int32Array): CellEncoder {
  return (row, out) => {
    const days = values[row]!;
    if (days === LEAST || days === GREATEST) return out.int32(days);
    if (days < LEAST_DAY || days > GREATEST_DAY) throw out.outOfRange(dateText(days), "a date");
    out.int32(days - EPOCH_DAYS);
  };
}

function timestampEncoder(values: BigInt64Array, utc: boolean): CellEncoder {
  const words = wordsOf(values);
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

/** Most decimals fit into a number, which is several times as fast as a bigint. */
function decimalEncoder(values: Uint32Array, scale: number): CellEncoder {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  const padding = (4 - scale % 4) % 4;
  const factor = 10 ** padding;
  const most = Math.floor(Number.MAX_SAFE_INTEGER / factor);
  const fraction = (scale + padding) / 4;
  return (row, out) => {
    const at = row * 4;
    const high = words[at + 1]!;
    const number = high * 2 ** 32 + (words[at]! >>> 0);
    const fits = words[at + 2] === high >> 31 && words[at + 3] === high >> 31;
    if (fits && number <= most && number >= -most) {
      return out.numeric(Math.abs(number) * factor, number < 0, fraction, scale);
    }
    const whole = BigInt.asIntN(128, [3, 2, 1, 0].reduce((sum, word) => sum << 32n | BigInt(values[at + word]!), 0n));
    out.largeNumeric((whole < 0n ? -whole : whole) * BigInt(factor), whole < 0n, fraction, scale);
  };
}

function listEncoder(offsets: Int32Array, child: ColumnData, element: number): CellEncoder {
  const { nullBitmap } = child;
  const write = cellEncoder(child, element);
  return (row, out) => {
    const [from, to] = [offsets[row]!, offsets[row + 1]!];
    let nulls = false;
    for (let at = from; at < to && nullBitmap !== undefined && !nulls; at++) nulls = !isSet(nullBitmap, at);
    const start = out.startList(to - from, element, nulls);
    for (let at = from; at < to; at++) write(at, out);
    out.endList(start);
  };
}
