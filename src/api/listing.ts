import { DISPLAY, holdIdle } from "../draw/notebook.ts";
import { originText, type ResultOrigin } from "../draw/result.ts";
import { type HtmlAndText, renderFacts, renderTable } from "../draw/table.ts";
import type { ColumnInfo, TableFacts } from "../explore/describe.ts";
import type { RowDifference, TableDiffFacts } from "../explore/diff/rows.ts";
import type { SchemaDifference, SchemaDiffFacts } from "../explore/diff/schema.ts";
import type { ListingParts } from "../explore/listing.ts";
import type { ColumnProfile, ProfileFacts } from "../explore/profile.ts";
import { OUTCOME } from "../sql/result.ts";
import { Result } from "./result.ts";

const drawings = new WeakMap<object, () => HtmlAndText>();

/**
 * Rows about the database: an array that draws itself, with all of its rows, as a table in a cell and in `console.log`.
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

function drawing(listing: object): HtmlAndText {
  return drawings.get(listing)?.() ?? renderTable({ columns: [], rows: [] });
}

function joined(upper: HtmlAndText, lower: HtmlAndText): HtmlAndText {
  const [html, text] = ["text/html", "text/plain"] as const;
  return { [html]: upper[html] + lower[html], [text]: `${upper[text]}\n${lower[text]}` };
}

/** The columns of a table, as an array that draws itself, and what else is known of the table. */
export type TableDescription = Listing<ColumnInfo> & TableFacts;

/** A profile: an array that has a row for each column and draws itself. */
export type Profile = Listing<ColumnProfile> & ProfileFacts;

/** The rows of a table that differ in two databases: an array that draws itself. */
export type TableDiff = Listing<RowDifference> & TableDiffFacts;

/** What differs in the schemas of two databases: an array that draws itself. */
export type SchemaDiff = Listing<SchemaDifference> & SchemaDiffFacts;

/**
 * Makes a listing.
 *
 * @param parts The rows, and what else is known of them.
 * @param origin The connection that was asked.
 */
export function makeListing<Row, Facts extends object>(
  { rows, fields, elapsed, facts, draw, below = [], write }: ListingParts<Row, Facts>,
  origin: ResultOrigin = {},
): Listing<Row> & Facts {
  const listing = Listing.from(rows) as Listing<Row> & Facts;
  listing[OUTCOME] = {
    ...origin,
    fields,
    elapsed,
    tag: `SELECT ${rows.length}`,
    more: false,
    notices: [],
    describe: () => Promise.resolve(fields),
  };
  drawings.set(listing, () => {
    const { footer, ...options } = draw(listing);
    const table = renderTable({ ...options, footer: `${footer}${originText(origin)}` });
    if (below.length > 0) return joined(table, renderFacts(below));
    return write === undefined ? table : { ...table, "text/plain": write(listing) };
  });
  for (const [name, value] of Object.entries(facts)) Object.defineProperty(listing, name, { value });
  return listing;
}
