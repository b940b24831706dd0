import type { Fact, TableOptions } from "../draw/table.ts";
import type { Field } from "../sql/result.ts";

/** The parts of a `Listing`: rows about the database, and the functions that draw them. */
export interface ListingParts<Row, Facts extends object = object> {
  /** The rows. */
  rows: readonly Row[];
  /** The rows' properties with their Postgres types, in order. */
  fields: readonly Field[];
  /** The milliseconds that finding the rows took. */
  elapsed: number;
  /** Properties of the listing besides its rows. */
  facts: Facts;
  /** Lays out the rows as a table. */
  draw: (rows: readonly Row[]) => TableOptions;
  /** What to draw below the table. */
  below?: readonly Fact[];
  /** Writes the rows as text. @default {a table, with long texts cut} */
  write?: (rows: readonly Row[]) => string;
}

const OIDS = { bool: 16, int8: 20, text: 25, json: 114, float8: 701, timestamptz: 1184 } as const;

/**
 * Gives the fields of rows that do not come from a single query.
 *
 * @param types The Postgres type of each property, in order.
 */
export function fieldsFor(types: Readonly<Record<string, keyof typeof OIDS>>): Field[] {
  return Object.entries(types).map(([name, type]) => ({ name, key: name, type, oid: OIDS[type] }));
}
