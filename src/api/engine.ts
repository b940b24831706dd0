import { loadModule } from "../core/lazy_import.ts";
import { queryCatalog } from "../catalog/relation.ts";
import { LakebaseError } from "../core/errors.ts";
import { iterate } from "../sql/cursor.ts";
import { onlyReads } from "../sql/side_effects.ts";
import { type ArrowRows, compile, type Fragment } from "../sql/fragment.ts";
import type { StatementRows } from "../sql/result.ts";
import { type FindSession, run, type RunOptions } from "../sql/run.ts";
import type { StopOptions } from "../sql/stop.ts";
import { parserSource } from "../sql/types.ts";
import type { PlotOptions } from "../plot/options.ts";
import type { Plot } from "../plot/plot.ts";
import type { Columns } from "../transfer/columns/columns.ts";
import type { PullOptions, PullResult, PullTarget } from "../transfer/pull/pull.ts";
import type { Plan } from "./plan.ts";
import { type Result, runForResult } from "./result.ts";

/**
 * Runs queries, in a session of Postgres or in a SQL warehouse. `Query` is the same class for both: it decides what runs and
 * how often, and its engine decides how.
 * @internal
 */
export interface QueryEngine {
  /** Whether its queries run in a SQL warehouse. A statement for Postgres must not contain such a query. */
  readonly inWarehouse: boolean;
  /** The text that `console.log` prints for the query. Throws if the query can't run. */
  print(query: Fragment): string;
  /**
   * Whether a statement only reads, according to its words. If so, its first rows may be fetched alone, and the others
   * by a second run.
   */
  onlyReads(query: Fragment): boolean;
  /** Runs the query to its end, or to its first rows. */
  run<Row>(query: Fragment, options: EngineRun): Promise<Result<Row>>;
  /** Runs the query for a load, which needs every digit of each value. */
  exactRows(query: Fragment, stops: StopOptions): Promise<StatementRows | ArrowRows>;
  /** Yields the rows in constant memory. */
  iterate<Row>(query: Fragment, stops: StopOptions): AsyncGenerator<Row, void, void>;
  /** Asks for the plan. */
  explain(query: Fragment, analyze: boolean, stops: StopOptions): Promise<Plan>;
  /** Gives the rows column by column. */
  columns(query: Fragment, stops: StopOptions): Promise<Columns>;
  /** Writes the rows to a file or a stream. */
  pull(query: Fragment, target: PullTarget, options: PullOptions): Promise<PullResult>;
  /** Draws the rows as a chart. */
  plot(query: Fragment, options: PlotOptions, stops: StopOptions): Promise<Plot>;
}

/** How an engine runs a query. */
export type EngineRun = Pick<RunOptions, "signal" | "timeout" | "limit" | "again">;

/**
 * Keeps texts, because a `Date` loses microseconds, and parsed JSON loses digits and the difference between a string
 * and its JSON text.
 */
const EXACT = parserSource({ json: String, jsonb: String, timestamptz: String }, "all");

/**
 * Refuses to read rows whose numbers the server would round. The server reports settings of dates, but not this one.
 *
 * @throws {LakebaseError} `QUERY_FAILED`
 */
async function expectAllDigits(find: FindSession, stops: StopOptions): Promise<void> {
  const text = "SELECT pg_catalog.current_setting('extra_float_digits')::pg_catalog.int4 AS digits";
  const [row] = await queryCatalog<{ digits: number }>(find, text, [], stops);
  if (row!.digits > 0) return;
  throw new LakebaseError(
    "QUERY_FAILED",
    `Cannot read the rows of the query: a statement has set extra_float_digits to ${
      row!.digits
    }, so the server rounds numbers; ` +
      "RESET extra_float_digits",
  );
}

/**
 * Runs queries in a session of Postgres.
 *
 * @param find Finds the session of a query when the query runs.
 */
export function postgresEngine(find: FindSession): QueryEngine {
  return {
    inWarehouse: false,
    print: (query) => compile(query).text,
    onlyReads: (query) => onlyReads(compile(query)),
    run: (query, options) => runForResult(find, query, options),
    exactRows: async (query, stops) => {
      await expectAllDigits(find, stops);
      return await run(find, query, { ...stops, types: EXACT });
    },
    iterate: (query, stops) => iterate(find, compile(query), stops),
    explain: async (query, analyze, stops) => {
      const { explainStatement } = await loadModule(() => import("./plan.ts")); // loaded late, as are the rooms below
      return await explainStatement(find, compile(query), analyze, stops);
    },
    columns: async (query, stops) =>
      await (await loadModule(() => import("../transfer/columns/read_columns.ts"))).readColumns(find, query, stops),
    pull: async (query, target, options) =>
      await (await loadModule(() => import("../transfer/pull/pull.ts"))).pull(find, query, target, options),
    plot: async (query, options, stops) =>
      await (await loadModule(() => import("../plot/plot.ts"))).plotQuery(find, query, options, stops),
  };
}
