import { DISPLAY, holdIdle } from "../draw/notebook.ts";
import { type Bundle, renderTable, type TableOptions } from "../draw/table.ts";
import { type Field, makeResult, Result } from "../sql/result.ts";

const drawings = new WeakMap<object, () => Bundle>();

/**
 * What was found in the database: an array of rows that draws itself, whole, as a table, in a cell and in `console.log`.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * await db.sql`CREATE TABLE stations (id int); CREATE TABLE trips (id int)`;
 * const tables = await db.tables();
 * assert.deepEqual(tables.map(({ name }) => name), ["stations", "trips"]);
 * assert.match(Deno.inspect(tables), /stations[^]*trips/);
 * ```
 */
export class Listing<Row = Record<string, unknown>> extends Result<Row> {
  /** How a notebook draws it. */
  override [DISPLAY](): Record<string, string> {
    return holdIdle({ ...drawing(this) });
  }

  /** How `console.log` prints it. */
  [Symbol.for("Deno.customInspect")](): string {
    return drawing(this)["text/plain"];
  }

  /** As `console.log`, for Node's `util.inspect`. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return drawing(this)["text/plain"];
  }
}

function drawing(listing: object): Bundle {
  return drawings.get(listing)?.() ?? renderTable({ columns: [], rows: [] });
}

/** What a {@linkcode Listing} is made of. */
export interface ListingParts<Row> {
  /** The rows. */
  rows: Row[];
  /** The rows' properties with their Postgres types, in order. */
  fields: readonly Field[];
  /** Milliseconds that finding them took. */
  elapsed: number;
  /** How it is drawn. */
  draw: (rows: readonly Row[]) => TableOptions;
  /** How it is written as text. @default {as a table, with long texts cut} */
  write?: (rows: readonly Row[]) => string;
}

/**
 * Makes a listing.
 *
 * @param parts The rows, and how they are drawn.
 * @param about What else is known, as properties beside the rows.
 */
export function makeListing<Row, About extends object>(
  { rows, fields, elapsed, draw, write }: ListingParts<Row>,
  about: About,
): Listing<Row> & About {
  const result = makeResult(Result.from(rows) as Result<Row>, {
    ...{ fields, elapsed, tag: `SELECT ${rows.length}`, more: false, notices: [] },
    describe: () => Promise.resolve(fields),
  });
  const listing = Object.setPrototypeOf(result, Listing.prototype) as Listing<Row> & About;
  drawings.set(listing, () => {
    const table = renderTable(draw(listing));
    return write === undefined ? table : { ...table, "text/plain": write(listing) };
  });
  for (const [name, value] of Object.entries(about)) Object.defineProperty(listing, name, { value });
  return listing;
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
