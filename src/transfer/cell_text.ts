import { Buffer } from "node:buffer";
import { arrayText } from "../query/array.ts";
import type { ColumnData } from "./batch.ts";
import { isSet, valueReader } from "./column_value.ts";
import type { CopyBytes } from "./copy_bytes.ts";
import { timestampText } from "./time_text.ts";

/** Gives the text of a row's value as the server reads it, `null` for NULL. */
export type CellText = (row: number) => string | null;

const GREATEST_TIME = 2n ** 63n - 1n;
const LEAST_TIME = -(2n ** 63n);

/** A byte order mark is a character of the text like any other. */
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Writes a column's values to COPY, with every digit that they have. */
export function cellWriter(data: ColumnData): (row: number, out: CopyBytes) => void {
  const { nullBitmap } = data;
  const write = presentWriter(data);
  if (nullBitmap === undefined) return write;
  return (row, out) => isSet(nullBitmap, row) ? write(row, out) : out.plain("\\N");
}

function presentWriter(data: ColumnData): (row: number, out: CopyBytes) => void {
  const { type, values, offsets } = data;
  switch (type.kind) {
    case "text":
    case "json":
      return (row, out) => out.utf8(values as Uint8Array, offsets![row]!, offsets![row + 1]!);
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

/** Reads a column's values as texts, with every digit that they have. */
export function cellText(data: ColumnData): CellText {
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
      return listText(offsets!, cellText(data.child!));
    default: {
      const read = valueReader(data);
      return (row) => plainText(read(row));
    }
  }
}

/** `String` forgets the sign of a zero. */
function plainText(value: unknown): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

function momentText(microseconds: bigint, utc: boolean): string {
  const zone = utc ? "+00" : "";
  const number = Number(microseconds); // a number is reckoned with several times as fast
  if (Number.isSafeInteger(number)) return timestampText(number, zone);
  if (microseconds === GREATEST_TIME) return "infinity";
  return microseconds === LEAST_TIME ? "-infinity" : timestampText(microseconds, zone);
}

function listText(offsets: Int32Array, element: CellText): (row: number) => string {
  return (row) => {
    const from = offsets[row]!;
    const texts = Array.from({ length: offsets[row + 1]! - from }, (_, at) => element(from + at));
    return arrayText(texts, (text) => text as string | null);
  };
}
