import { Buffer } from "node:buffer";
import { LakebaseError } from "../../core/errors.ts";
import { jsonOf } from "../../core/text.ts";
import { encodeValue, temporalType } from "../../sql/parameter.ts";
import { badLoadOption } from "./options.ts";
import type { LoadColumn } from "./table.ts";

/**
 * The text of a JavaScript value for the server, the same as for a query's parameter. For a `json` column, a string is taken
 * as JSON text, and any other value becomes JSON.
 *
 * @param name Returns where the value is, for errors.
 * @returns The text; `null` for `null` and `undefined`.
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that has no form in Postgres.
 */
export function valueText(value: unknown, column: LoadColumn, name: () => string): string | null {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
      return Object.is(value, -0) ? "-0" : String(value); // `String` drops the sign of a zero
    case "boolean":
    case "bigint":
      return String(value);
    case "undefined":
      return null;
    case "object":
      if (value === null) return null;
      if (column.form === "json") return jsonText(value, name);
      if (column.form === "vector" && Array.isArray(value)) return value.join(" ");
      if (value instanceof Date && isUsual(value)) return value.toISOString();
  }
  return encoded(value, name);
}

/** Whether a date is in the years 1 to 9999, which ISO and Postgres write alike. */
function isUsual(date: Date): boolean {
  const time = date.getTime();
  return time >= -62_135_596_800_000 && time < 253_402_300_800_000;
}

function encoded(value: unknown, name: () => string): string | null {
  try {
    const text = encodeValue(value, name()).value;
    return Buffer.isBuffer(text) ? `\\x${text.toString("hex")}` : text;
  } catch (error) {
    if (!(error instanceof LakebaseError)) throw error;
    throw badLoadOption(error.message.replace(/^Cannot run the query: /, ""), error.cause);
  }
}

/** The JSON of an object, even of one that would otherwise become an array, a time or a text of Postgres. */
function jsonText(value: object, name: () => string): string | null {
  const kept = value instanceof Date || value instanceof URL || temporalType(value) !== undefined;
  if (!Array.isArray(value) && !kept) return encoded(value, name);
  try {
    return jsonOf(value) ?? null;
  } catch (cause) {
    throw badLoadOption(`${name()} is an array that has no JSON form (${(cause as Error).message})`, cause);
  }
}
