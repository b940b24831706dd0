import { Buffer } from "node:buffer";
import { arrayText } from "../../sql/parameter.ts";
import type { CopyByteWriter } from "../copy/text_writer.ts";
import { type ColumnData, isSet } from "./batch.ts";
import { dateText, DAY_MICROSECONDS, GREATEST_TIME, LEAST_TIME, timestampText, valueReader } from "./value.ts";

/** Gives the text of a row's value, in the form that the server reads; `null` for NULL. */
type ExactTextReader = (row: number) => string | null;

/** Keeps a byte order mark, since it is part of the text. */
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Writes a column's values to COPY, with all their digits. */
export function cellWriter(data: ColumnData): (row: number, out: CopyByteWriter) => void {
  const { nullBitmap } = data;
  const write = presentWriter(data);
  if (nullBitmap === undefined) return write;
  return (row, out) => isSet(nullBitmap, row) ? write(row, out) : out.plain("\\N");
}

function presentWriter(data: ColumnData): (row: number, out: CopyByteWriter) => void {
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
      return longWriter(values as BigInt64Array, 2, 0, presentText(data));
    case "decimal":
      return longWriter(values as Uint32Array, 4, type.scale, presentText(data));
    case "timestamp":
      return momentWriter(values as BigInt64Array, type.utc, presentText(data));
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

type CellWriter = (row: number, out: CopyByteWriter) => void;

/** Writes values of 64 and 128 bits. Most fit into a number, which is several times as fast as a bigint. */
function longWriter(
  values: BigInt64Array | Uint32Array,
  size: number,
  scale: number,
  text: (row: number) => string,
): CellWriter {
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

/** Writes timestamps. From 1970 to 2255, it keeps the text of the last date, since rows of one day often follow each other. */
function momentWriter(values: BigInt64Array, utc: boolean, text: (row: number) => string): CellWriter {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const zone = utc ? "+00" : "";
  let day = -1;
  let date = "";
  return (row, out) => {
    const moment = words[row * 2 + 1]! * 2 ** 32 + (words[row * 2]! >>> 0);
    // A number holds microseconds exactly up to 2^53, in the year 2255.
    if (!(moment >= 0 && Number.isSafeInteger(moment))) return out.plain(text(row));
    const days = Math.floor(moment / DAY_MICROSECONDS);
    if (days !== day) {
      day = days;
      date = dateText(days);
    }
    out.moment(date, moment - days * DAY_MICROSECONDS, zone);
  };
}

/** Reads a column's values as text, with all their digits. */
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
      return (row) => momentText((values as BigInt64Array)[row]!, type.utc);
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

function momentText(microseconds: bigint, utc: boolean): string {
  const zone = utc ? "+00" : "";
  const number = Number(microseconds); // several times as fast as a bigint
  if (Number.isSafeInteger(number)) return timestampText(number, zone);
  if (microseconds === GREATEST_TIME) return "infinity";
  return microseconds === LEAST_TIME ? "-infinity" : timestampText(microseconds, zone);
}

function listText(offsets: Int32Array, element: ExactTextReader): (row: number) => string {
  return (row) => {
    const from = offsets[row]!;
    const texts = Array.from({ length: offsets[row + 1]! - from }, (_, at) => element(from + at));
    return arrayText(texts, (text) => text as string | null);
  };
}
