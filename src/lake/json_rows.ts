import { keepTexts, type TextColumn } from "../draw/server_text.ts";
import type { Field } from "../sql/result.ts";
import { type ManifestColumn, postgresType, textReader, typeOf } from "./types.ts";

/** The values of a row in the format JSON_ARRAY: texts, and `null` for NULL. */
export type JsonRow = readonly (string | null)[];

/** The most rows whose texts are kept for drawing. */
const KEPT_TEXTS = 1000;

/**
 * Turns the rows of an inline result into objects.
 *
 * @param columns The columns of the manifest.
 * @param fields The same columns, with their keys in a row.
 */
export function jsonRowReader(columns: readonly ManifestColumn[], fields: readonly Field[]): (row: JsonRow) => unknown {
  const types = columns.map(typeOf);
  const readers = types.map(textReader);
  const keys = fields.map(({ key }) => key);
  // Each row is a copy of this. Every key is its own property, so a column "__proto__" does not set the prototype.
  const empty: Record<string, unknown> = Object.fromEntries(keys.map((key) => [key, null]));
  const drawn = new Map<string, TextColumn>(); // a `Date` has milliseconds only
  for (const [index, key] of keys.entries()) {
    if (postgresType(types[index]!) !== "timestamptz") continue;
    drawn.set(key, { index, type: fields[index]!.type, parse: readers[index]! });
  }
  let left = drawn.size === 0 ? 0 : KEPT_TEXTS;
  return (texts) => {
    const row = { ...empty };
    for (let index = 0; index < keys.length; index++) {
      const text = texts[index];
      if (text !== null && text !== undefined) row[keys[index]!] = readers[index]!(text);
    }
    if (left-- > 0) keepTexts(row, drawn, texts);
    return row;
  };
}
