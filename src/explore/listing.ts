import type { TableOptions } from "../draw/table.ts";
import type { Field } from "../sql/result.ts";

/** Rows about the database, and how they are drawn: what the API makes a `Listing` of. */
export interface ListingParts<Row, Facts extends object = object> {
  /** The rows. */
  rows: readonly Row[];
  /** The rows' properties with their Postgres types, in order. */
  fields: readonly Field[];
  /** Milliseconds that finding them took. */
  elapsed: number;
  /** What else is known: properties of the listing, beside its rows. */
  facts: Facts;
  /** How the rows are drawn. */
  draw: (rows: readonly Row[]) => TableOptions;
  /** How the rows are written as text. @default {as a table, with long texts cut} */
  write?: (rows: readonly Row[]) => string;
}

const OIDS = { bool: 16, int8: 20, text: 25, json: 114, float8: 701 } as const;

/**
 * The fields of rows that no single query made.
 *
 * @param types The Postgres type of each property, in order.
 */
export function fieldsFor(types: Readonly<Record<string, keyof typeof OIDS>>): Field[] {
  return Object.entries(types).map(([name, type]) => ({ name, key: name, type, oid: OIDS[type] }));
}
