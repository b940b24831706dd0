import { loadModule } from "../core/lazy_import.ts";
import { LakebaseError } from "../core/errors.ts";
import { type Bundle, DISPLAY, holdIdle, holdIdleError } from "../draw/notebook.ts";
import { drawResult, SHOWN_ROWS } from "../draw/table.ts";
import type { PlotOptions } from "../plot/options.ts";
import type { Plot } from "../plot/plot.ts";
import {
  type ArrowRows,
  EXACT_ROWS,
  Fragment,
  IN_WAREHOUSE,
  inspectionText,
  PULL_STOPS,
  type RunnableFragment,
} from "../sql/fragment.ts";
import { markMade, markUsed } from "../sql/never_run.ts";
import {
  checkColumns,
  checkOptions,
  checkUnstoppable,
  type ExplainOptions,
  ON_OR_OFF,
  type QueryOptions,
  takesNothing,
} from "../sql/options.ts";
import type { StatementRows } from "../sql/result.ts";
import { notKept } from "../sql/run.ts";
import { eitherSignal, type StopOptions } from "../sql/stop.ts";
import type { Columns } from "../transfer/columns/columns.ts";
import type { PullOptions, PullResult, PullTarget } from "../transfer/pull/pull.ts";
import type { Browser } from "./browser.ts";
import { Lookup } from "./display.ts";
import type { EngineRun, QueryEngine } from "./engine.ts";
import type { Plan } from "./plan.ts";
import type { Result } from "./result.ts";

export type { ExplainOptions, QueryOptions };

/** What stops `columns()`. */
export type ColumnsOptions = Pick<QueryOptions, "signal" | "timeout">;

const WITH_OPTIONS = "write query.with({ timeout: 5 }) before it for a limit";

/** Runs a query for a `%%sql` cell, which shows the first rows. */
export const SHOWN_ROWS_OF: unique symbol = Symbol("lakebase.shownRows");

/**
 * A statement that has not run yet. `await` runs it and gives its rows. As the last expression of a cell it runs and draws
 * itself, and fetches only the rows that it shows. Inside another `sql` it is a fragment.
 *
 * The number of rows that are shown never changes what a statement does. If the statement may do more than read, because it
 * calls a function or takes a lock, it runs to its end, as in psql. If there are more rows than are shown, the server is asked
 * whether the statement may do more than read.
 *
 * Drawing, `first()`, `value()` and `await` share one run. There is one exception: if only the first rows of a statement that
 * just reads were fetched, `await` runs it again for all rows, in a read-only transaction. Each loop over the query and each
 * `explain({ analyze: true })` is a separate run.
 *
 * @throws {LakebaseError} When it runs: `QUERY_FAILED` with the SQLSTATE and a caret, `CONNECTION_LOST`, `CANCELED`, or what
 * `connect()` throws; `BAD_PARAMETER` for a value that can't be bound.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const query = db.sql<{ n: number }>`SELECT n FROM generate_series(1, 3) AS n`;
 * const rows = await query.with({ timeout: 5 }); // seconds
 * assert.deepEqual(rows.map(({ n }) => n), [1, 2, 3]);
 * assert.deepEqual(await query.first(), { n: 1 });
 * assert.equal(await db.sql`SELECT count(*) FROM (${query}) AS q`.value(), 3);
 * for await (const { n } of query) assert.ok(n > 0); // in constant memory
 * assert.equal((await query.explain()).root["Node Type"], "Function Scan");
 * ```
 */
export class Query<Row = Record<string, unknown>> extends Fragment
  implements PromiseLike<Result<Row>>, AsyncIterable<Row>, RunnableFragment {
  readonly #engine: QueryEngine;
  readonly #options: QueryOptions;
  #result: Promise<Result<Row>> | undefined;
  /** The last run that fetched only the first rows. */
  #peek: Promise<Result<Row>> | undefined;

  /** Made by the `sql` tag. */
  constructor(fragment: Pick<Fragment, "strings" | "values">, engine: QueryEngine, options: QueryOptions = {}) {
    super(fragment.strings, fragment.values);
    this.#engine = engine;
    this.#options = options;
  }

  /** @internal */
  [SHOWN_ROWS_OF](limit: number = SHOWN_ROWS): Promise<Result<Row>> {
    return this.#first(limit);
  }

  /** @internal */
  get [IN_WAREHOUSE](): boolean {
    return this.#engine.inWarehouse;
  }

  /** @internal */
  async [EXACT_ROWS](stop: AbortSignal | undefined): Promise<StatementRows | ArrowRows> {
    const { signal, timeout } = this.#options;
    return await this.#engine.exactRows(this, { signal: eitherSignal(signal, stop), timeout });
  }

  /** @internal */
  [PULL_STOPS](): StopOptions {
    const { limit } = this.#options;
    if (limit === undefined) return this.#stops();
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot pull: the query has .with({ limit: ${limit} }), which limits what a cell shows, but a pull writes all rows; ` +
        `write LIMIT ${limit} in the SQL, or leave the limit out`,
    );
  }

  /** Runs the query. Awaiting it again does not run it again. */
  then<T = Result<Row>, E = never>(
    onResult?: ((result: Result<Row>) => T | PromiseLike<T>) | null,
    onError?: ((error: unknown) => E | PromiseLike<E>) | null,
  ): Promise<T | E> {
    return this.#whole().then(onResult, onError);
  }

  /** Like {@linkcode then}, for errors only. */
  catch<E = never>(onError: (error: unknown) => E | PromiseLike<E>): Promise<Result<Row> | E> {
    return this.then(undefined, onError);
  }

  /** Like {@linkcode then}, for both outcomes. */
  finally(onEnd: () => void): Promise<Result<Row>> {
    return this.then().finally(onEnd);
  }

  /**
   * The value of the first column of the first row. The query runs in the same way as for {@linkcode first}.
   *
   * @returns The value; `undefined` if there is no row.
   * @throws {LakebaseError} The errors of `await`.
   */
  async value<T = unknown>(...none: []): Promise<T | undefined> {
    markUsed(this); // even if the call is refused
    takesNothing("value", none, WITH_OPTIONS, "run the query");
    const { 0: row, fields } = await this.#first(1);
    return row === undefined ? undefined : (row as Record<string, unknown>)[fields[0]?.key ?? ""] as T;
  }

  /**
   * The first row. If the statement can only read, no other row is fetched; any other statement runs to its end.
   *
   * @returns The row; `undefined` if there is none.
   * @throws {LakebaseError} The errors of `await`.
   */
  async first(...none: []): Promise<Row | undefined> {
    markUsed(this);
    takesNothing("first", none, WITH_OPTIONS, "run the query");
    return (await this.#first(1))[0];
  }

  /**
   * The same query with other options. It is a new query, with its own run.
   *
   * @param options What stops the query, and how many rows a cell shows. Options that are not given stay as they are.
   * @throws {LakebaseError} `BAD_PARAMETER` for an unknown option or an invalid value.
   */
  with(options: QueryOptions): Query<Row> {
    markUsed(this);
    const query = new Query<Row>(this, this.#engine, { ...this.#options, ...checkOptions(options) });
    markMade(query);
    return query;
  }

  /**
   * The plan of the statement.
   *
   * @param options `analyze` runs the statement, with all of its changes.
   * @throws {LakebaseError} The errors of `await`; `QUERY_FAILED` also if the text has several statements.
   */
  explain(options: ExplainOptions = {}): Lookup<Plan> {
    return new Lookup(async () => {
      markUsed(this); // not before: if nobody awaits the lookup, the statement was never run
      const { analyze = false } = checkUnstoppable("explain", options, { analyze: ON_OR_OFF }, "{ analyze: true }");
      return await this.#engine.explain(this, analyze, this.#stops());
    });
  }

  /**
   * The rows column by column, in typed arrays: several times as fast as objects, in less than half of the memory. This is
   * a separate run; as the last expression of a cell it draws the first rows. It does not use the parsers that were given to
   * `connect()`.
   *
   * @param options What stops the run; by default, what stops the query.
   * @throws {LakebaseError} The errors of `await`; `QUERY_FAILED` also for a value that a column can't hold, such as `NaN` in a
   * `numeric(10, 2)` or an array of two dimensions, with the row, the column and the cast that helps.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * const columns = await db.sql`SELECT n, n % 2 = 0 AS even FROM generate_series(1, 3) n`.columns();
   * assert.deepEqual(columns.get("n").values, Int32Array.of(1, 2, 3));
   * assert.deepEqual(columns.get("even").toArray(), [false, true, false]);
   * ```
   */
  columns(options: ColumnsOptions = {}): Lookup<Columns> {
    return new Lookup(async () => {
      markUsed(this);
      return await this.#engine.columns(this, { ...this.#stops(), ...checkColumns(options) });
    });
  }

  /**
   * Writes the rows to a file or a stream, at the speed of the server's COPY and in constant memory. This is a separate run,
   * and it starts at once. See {@linkcode Queryable.pull}.
   *
   * @param target A path such as `trips.parquet`, a `WritableStream`, or `-` for standard output.
   * @param options The format, and more. By default the pull is stopped by what stops the query.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * const file = `${await Deno.makeTempDir()}/zones.ndjson`;
   * const zone = "Harlem";
   * await db.sql`SELECT 1 AS id, ${zone} AS zone`.pull(file);
   * assert.equal(await Deno.readTextFile(file), `{"id":1,"zone":"Harlem"}\n`);
   * ```
   */
  async pull(target: PullTarget, options: PullOptions = {}): Promise<PullResult> {
    return await this.#engine.pull(this, target, options);
  }

  /**
   * Draws the rows as a chart. The database computes the numbers, such as `avg(fare)`, bins and quartiles, in a
   * read-only transaction, so a chart of a billion rows fetches a few hundred numbers. Times are drawn in UTC.
   *
   * @param options The columns and the kind of chart; by default the chart that fits the types of the columns.
   * @throws {LakebaseError} `BAD_PARAMETER` for a column that does not exist or can't be drawn; or an error of `await`.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * const { data } = await db.sql`SELECT n % 2 = 0 AS even, n FROM generate_series(1, 4) AS n`.plot({ x: "even", y: "avg(n)" });
   * assert.deepEqual(data, [{ x: "true", y: 3 }, { x: "false", y: 2 }]);
   * ```
   */
  plot(options: PlotOptions = {}): Lookup<Plot> {
    return new Lookup(async () => {
      markUsed(this);
      return await this.#engine.plot(this, options, this.#stops());
    });
  }

  /**
   * Draws the first 1,000 rows as a table to page, sort and search in, with the mouse or the keyboard.
   *
   * @returns The rows as a {@linkcode Browser}.
   * @throws {LakebaseError} The errors of `await`.
   */
  browse(...none: []): Lookup<Browser> {
    return new Lookup(async () => {
      markUsed(this);
      takesNothing("browse", none, "it always fetches the first 1,000 rows");
      const { Browser, BROWSED_ROWS } = await loadModule(() => import("./browser.ts"));
      return new Browser(await this.#first(BROWSED_ROWS));
    });
  }

  /** Yields the rows in constant memory, because they are fetched in batches. Leaving the loop ends the query. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Row, void, void> {
    yield* this.#engine.iterate<Row>(this, this.#stops());
  }

  /**
   * Makes a loop without `await` fail with an error that says what to write instead. The types leave the method out, so that
   * they refuse such a loop too.
   *
   * @throws {LakebaseError} `BAD_PARAMETER`
   */
  [Symbol.iterator as symbol](): never {
    throw new LakebaseError(
      "BAD_PARAMETER",
      "Cannot loop over a query that has not run; write for await (const row of query), or await the query",
    );
  }

  /** The output in a notebook: runs the query, and fetches the rows that are shown. */
  async [DISPLAY](): Promise<Bundle> {
    const { limit = SHOWN_ROWS } = this.#options;
    try {
      return holdIdle(drawResult(await this.#first(limit), limit));
    } catch (error) {
      throw error instanceof Error ? holdIdleError(error) : error;
    }
  }

  /** The text that `console.log` prints: the SQL. */
  [Symbol.for("Deno.customInspect")](): string {
    return inspectionText(() => this.#engine.print(this));
  }

  /** The result with all rows. A run that has fetched all rows, or will fetch them, is used again. */
  #whole(): Promise<Result<Row>> {
    markUsed(this);
    return this.#result ??= this.#peek === undefined ? this.#run() : this.#peek.then((first) => {
      if (!first.more) return first;
      if (hasEnded(first)) throw notKept(first.length, first.rowCount!);
      return this.#run({ again: true });
    });
  }

  /** At least the first rows. A statement that writes runs to its end, because fetching the rest later would write again. */
  #first(limit: number): Promise<Result<Row>> {
    const run = async (again: boolean) => {
      if (!this.#engine.onlyReads(this)) return await (this.#result = this.#run());
      return await this.#run({ limit, again });
    };
    if (this.#result !== undefined) return this.#result;
    const peek = this.#peek === undefined
      ? run(false)
      : this.#peek.then((first) => first.more && !hasEnded(first) && first.length < limit ? run(true) : first);
    return this.#peek = peek;
  }

  #run(how: EngineRun = {}): Promise<Result<Row>> {
    const { signal, timeout } = this.#options;
    return this.#engine.run<Row>(this, { signal, timeout, ...how });
  }

  #stops(): StopOptions {
    return { signal: this.#options.signal, timeout: this.#options.timeout };
  }
}

/** Whether a statement ran to its end and counted its rows, but not all of them are kept. */
function hasEnded({ rowCount }: Result<unknown>): boolean {
  return rowCount !== null;
}
