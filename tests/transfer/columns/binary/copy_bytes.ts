import { BUILT_IN } from "../../../../src/core/type_names.ts";
import { type BatchColumn, columnType } from "../../../../src/transfer/columns/batch.ts";

/** The bytes before the rows of a binary COPY: the signature, the flags, the length of an extension. */
export const HEADER = "5047434f50590aff0d0a00" + "00000000" + "00000000";
export const TRAILER = "ffff";

/** The bytes of values that are written as hexadecimal digits. Spaces are for the reader. */
export function hex(digits: string): Uint8Array {
  return Uint8Array.fromHex(digits.replaceAll(/\s/g, ""));
}

/** A row of a binary copy as hexadecimal digits. */
export function row(values: readonly (string | null)[]): string {
  const fields = values.map((value) => value === null ? "ffffffff" : int32(hex(value).length) + value);
  return values.length.toString(16).padStart(4, "0") + fields.join("");
}

/** A whole binary copy. */
export function copyOf(rows: readonly (readonly (string | null)[])[]): Uint8Array {
  return hex(HEADER + rows.map(row).join("") + TRAILER);
}

export function int32(value: number): string {
  return (value >>> 0).toString(16).padStart(8, "0");
}

/** Columns by name. Each has the name of a Postgres type; that of a numeric includes precision and scale. */
export function columnsOf(types: Record<string, string>): BatchColumn[] {
  return Object.entries(types).map(([name, type]) => {
    const [, own, precision, scale, array] = /^(\w+)(?:\((\d+),(-?\d+)\))?(\[\])?$/.exec(type)!;
    const oid = BUILT_IN[own!]![array === undefined ? 0 : 1];
    const modifier = precision === undefined ? -1 : modifierOf(Number(precision), Number(scale));
    return { name, oid, type: columnType(oid, modifier).type };
  });
}

/** The type modifier of `numeric(precision, scale)`. */
export function modifierOf(precision: number, scale: number): number {
  return (precision << 16 | scale & 0x7ff) + 4;
}
