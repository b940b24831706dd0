import type { FindSession } from "../query/run.ts";
import { look } from "./look.ts";
import type { Source } from "./source.ts";

/** From this many rows on whole pages are sampled: few pages would be too alike, and to read a table for few rows is slow. */
const PAGES_FROM = 100_000;
/** Up to here counting costs less than a wrong estimate. */
const COUNTED_UNTIL = 1_000_000;
/** The same rows each time, as long as the table stays as it is. */
const SEED = 1;

/** How rows are chosen. */
export interface Sample {
  /** What stands after the source and its alias. */
  clause: string;
  /** The table's rows, where a part of them is looked at. */
  of: number | null;
}

/**
 * Chooses rows of a source that may be large.
 *
 * @param tx Where to ask how large it is.
 * @param source What to look at.
 * @param most Rows, about; `Infinity` for all.
 */
export async function chooseRows(tx: FindSession, source: Source, most: number): Promise<Sample> {
  if (most === Infinity) return { clause: "", of: null };
  if (!source.samples) return { clause: `LIMIT ${most}`, of: null };
  const of = await rowsOf(tx, source, most);
  if (of <= most) return { clause: "", of: null };
  const method = most >= PAGES_FROM || of > 10 * COUNTED_UNTIL ? "pg_catalog.system" : "pg_catalog.bernoulli";
  return { clause: `TABLESAMPLE ${method} (${(100 * most) / of}) REPEATABLE (${SEED})`, of };
}

/** The planner's estimate goes by the table's present size, so that it holds where nothing was ever analyzed. */
async function rowsOf(tx: FindSession, { text: from }: Source, most: number): Promise<number> {
  type Explained = { "QUERY PLAN": { Plan: { "Plan Rows": number } }[] };
  const [plan] = await look<Explained>(tx, `EXPLAIN (FORMAT JSON) SELECT FROM ${from}`);
  const estimate = plan!["QUERY PLAN"][0]!.Plan["Plan Rows"];
  if (estimate <= most || estimate > COUNTED_UNTIL) return estimate;
  const [counted] = await look<{ n: number }>(tx, `SELECT pg_catalog.count(*) AS n FROM ${from}`);
  return counted!.n;
}
