import { loadModule } from "../core/lazy_import.ts";
import { LakebaseError } from "../core/errors.ts";
import { type Bundle, DISPLAY, holdIdle } from "../draw/notebook.ts";
import {
  drawResult,
  type HtmlAndText,
  originText,
  renderFacts,
  renderTable,
  type ResultOrigin,
} from "../draw/table.ts";
import type { ColumnInfo, TableFacts } from "../explore/describe.ts";
import type { RowDifference, TableDiffFacts } from "../explore/diff/rows.ts";
import type { SchemaDifference, SchemaDiffFacts } from "../explore/diff/schema.ts";
import { type Field, type ListingParts, OUTCOME, StatementRows } from "../sql/result.ts";
import type { ColumnProfile, ProfileFacts } from "../explore/profile.ts";
import type { PlotOptions } from "../plot/options.ts";
import type { Plot } from "../plot/plot.ts";
import type { Notice } from "../sql/exchange.ts";
import type { Fragment, Statement } from "../sql/fragment.ts";
import { takesNothing } from "../sql/options.ts";
import { type FindSession, run, type RunOptions } from "../sql/run.ts";
import type { LoadOptions } from "../transfer/load/options.ts";
import type { LoadResult } from "../transfer/load/load.ts";
import type { PullOptions, PullResult, PullTarget } from "../transfer/pull/pull.ts";
import { Lookup } from "./display.ts";

/**
 * The rows of a query: an array of objects, which also has the columns, the command and the notices. `map`, `filter` and
 * similar methods give plain arrays.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const rows = await db.sql`VALUES ('Harlem', 12.50), ('SoHo', 8.00)`;
 * assert.equal(rows.length, 2);
 * assert.deepEqual(rows.fields.map(({ name, type }) => `${name} ${type}`), ["column1 text", "column2 numeric"]);
 * assert.deepEqual([rows.command, rows.rowCount, rows.more], ["SELECT", 2, false]);
 * console.log(`${rows.elapsed} ms`);
 * ```
 */
export class Result<Row = Record<string, unknown>> extends StatementRows<Row> {
  /** The columns, in their order. */
  get fields(): readonly Field[] {
    return this[OUTCOME].fields;
  }
  /** The command, such as `SELECT` or `INSERT`. */
  get command(): string {
    return /^\D*/.exec(this.tag)![0].trimEnd(); // `INSERT 0 3` becomes `INSERT`; `CREATE TABLE` stays
  }
  /** The command as the server reports it, such as `INSERT 0 3`. */
  get tag(): string {
    return this[OUTCOME].tag;
  }
  /** Whether the server had more rows than were fetched. */
  get more(): boolean {
    return this[OUTCOME].more;
  }
  /** The number of rows that were returned or changed; `null` for commands without a count. */
  get rowCount(): number | null {
    const count = / (\d+)$/.exec(this.tag);
    return count === null ? null : Number(count[1]);
  }
  /** Milliseconds from sending the query to receiving its last row. */
  get elapsed(): number {
    return this[OUTCOME].elapsed;
  }
  /** The server's notices and warnings. */
  get notices(): readonly Notice[] {
    return this[OUTCOME].notices;
  }
  /**
   * The connection, such as `app at db.example.com:5432`, if more than one was open when the query ran; otherwise
   * `undefined`.
   */
  get place(): string | undefined {
    return this[OUTCOME].place;
  }
  /** The transaction that the session was in after the query, if any: an open or a failed one. */
  get transaction(): "open" | "failed" | undefined {
    return this[OUTCOME].transaction;
  }
  /**
   * The columns, with what only the catalog knows: the names of types that the database defines, and `nullable`. The catalog
   * is asked about columns that this connection has not asked about before; `await` of a query never asks it.
   *
   * @throws {LakebaseError} The errors of a query.
   */
  async describe(...none: []): Promise<readonly Field[]> {
    takesNothing("describe", none, "the columns of a result are looked up at once", "describe the columns");
    return await this[OUTCOME].describe();
  }

  /**
   * Draws the rows as a chart, like `Query.plot`, but computes the numbers from the rows in memory.
   *
   * @param options The columns and the kind of chart; by default the chart that fits the types of the columns.
   * @throws {LakebaseError} `BAD_PARAMETER`.
   */
  plot(options: PlotOptions = {}): Lookup<Plot> {
    return new Lookup(async () => {
      const { plotRows } = await loadModule(() => import("../plot/plot.ts"));
      return await plotRows(this, this.fields, options, this[OUTCOME]);
    });
  }

  /**
   * Writes these rows to a file or a stream, like the query's `pull`, but without running the query again. A `Date` has only
   * milliseconds, and a `numeric` goes into Arrow and Parquet as text.
   *
   * @param target The path or URL of a file, a stream, or `-`.
   * @param options The options of `pull`, except for those that need the server: `parallel`, and folders.
   * @throws {LakebaseError} `BAD_PARAMETER`, also if the program has set a value that the column's type does not have;
   * `BAD_FILE`.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * const rows = await db.sql`SELECT n FROM generate_series(1, 3) AS n`;
   * const file = `${await Deno.makeTempDir()}/n.csv`;
   * await rows.pull(file);
   * assert.equal(await Deno.readTextFile(file), "n\n1\n2\n3\n");
   * assert.equal((await rows.load("numbers", { create: true })).rows, 3);
   * ```
   */
  async pull(target: PullTarget, options?: PullOptions): Promise<PullResult> {
    const { batchOfRows, columnsOfFields } = await loadModule(() => import("../transfer/columns/read_columns.ts"));
    const { pullFromMemory } = await loadModule(() => import("../transfer/pull/in_memory.ts"));
    const columns = columnsOfFields(this.fields);
    const { session } = this[OUTCOME];
    return await pullFromMemory(
      columns,
      () => batchOfRows(this as readonly unknown[] as object[], columns),
      target,
      options,
      session && (() => session),
    );
  }

  /**
   * Loads these rows into a table, without running the query again.
   *
   * @param table A table in any form that `describe` takes.
   * @param options Whether to create the table, and whether to replace the rows in it.
   * @throws {LakebaseError} The errors of `load`.
   */
  async load(table: string | Fragment, options?: LoadOptions): Promise<LoadResult> {
    const { session } = this[OUTCOME];
    if (session === undefined) {
      throw new LakebaseError(
        "BAD_PARAMETER",
        "Cannot load: these rows don't come from a query of a Lakebase, so they have no connection; use db.load(table, rows)",
      );
    }
    const { loadTable } = await loadModule(() => import("../transfer/load/load.ts"));
    return await loadTable(() => session, table, this, options);
  }

  /** The output in a notebook: the first rows as a table, or one line for a command without rows. */
  [DISPLAY](): Bundle {
    return holdIdle(drawResult(this));
  }
}

const makeRows = () => new Result<unknown>();

/** Like {@linkcode run}, with rows for a person. */
export function runForResult<Row>(
  find: FindSession,
  what: Fragment | Statement,
  options: RunOptions = {},
): Promise<Result<Row>> {
  return run<Row>(find, what, { ...options, makeRows }) as Promise<Result<Row>>;
}

/** The drawing of each listing. */
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
  /** The output in a notebook. */
  override [DISPLAY](): Record<string, string> {
    return holdIdle({ ...drawListing(this) });
  }

  /** The text that `console.log` prints. */
  [Symbol.for("Deno.customInspect")](): string {
    return drawListing(this)["text/plain"];
  }

  /** The same text for Node's `util.inspect`. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return drawListing(this)["text/plain"];
  }
}

function drawListing(listing: object): HtmlAndText {
  return drawings.get(listing)?.() ?? renderTable({ columns: [], rows: [] });
}

function stacked(upper: HtmlAndText, lower: HtmlAndText): HtmlAndText {
  const [html, text] = ["text/html", "text/plain"] as const;
  return { [html]: upper[html] + lower[html], [text]: `${upper[text]}\n${lower[text]}` };
}

/** The columns of a table, as an array that draws itself, and what else is known about the table. */
export type TableDescription = Listing<ColumnInfo> & TableFacts;

/** A profile: an array that has a row for each column and draws itself. */
export type Profile = Listing<ColumnProfile> & ProfileFacts;

/** The rows of a table that differ in two databases: an array that draws itself. */
export type TableDiff = Listing<RowDifference> & TableDiffFacts;

/** The differences in the schemas of two databases: an array that draws itself. */
export type SchemaDiff = Listing<SchemaDifference> & SchemaDiffFacts;

/**
 * Makes a listing.
 *
 * @param parts The rows, and what else is known about them.
 * @param origin The connection on which the rows were read.
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
    if (below.length > 0) return stacked(table, renderFacts(below));
    return write === undefined ? table : { ...table, "text/plain": write(listing) };
  });
  for (const [name, value] of Object.entries(facts)) Object.defineProperty(listing, name, { value });
  return listing;
}
