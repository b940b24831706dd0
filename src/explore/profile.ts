import { type ExploreOptions, look } from "../catalog/relation.ts";
import { brackets, columnsOf, readOnly, type Source, sourceOf } from "../catalog/source.ts";
import { countText } from "../core/text.ts";
import { barsPicture, cellText } from "../draw/cell.ts";
import { elapsedText, type TableOptions } from "../draw/table.ts";
import type { Fragment } from "../sql/fragment.ts";
import { checkCall } from "../sql/options.ts";
import type { Field } from "../sql/result.ts";
import { type FindSession, run } from "../sql/run.ts";
import { stoppable } from "../sql/stop.ts";
import { parserSource } from "../sql/types.ts";
import { fieldsFor, type ListingParts } from "./listing.ts";
import { type ColumnKind, kindOf, type Statistics, statisticsSql, toProfile } from "./statistics.ts";

/** How a profile is made. */
export interface ProfileOptions extends ExploreOptions {
  /**
   * Rows that are looked at: of a larger table a random sample of about as many, of a query or a view the first ones.
   * `Infinity` looks at all.
   *
   * @default {1_000_000}
   */
  sample?: number;
}

/** A column of what is profiled. */
export interface SourceColumn extends Field {
  /** What can be computed of it. */
  kind: ColumnKind;
}

/** Columns of one statement: each keeps its own working memory on the server until the statement ends. */
const BATCH = 20;

/** Computes what is in each column of a table or of a query's rows; see `Lakebase.profile`. */
export async function profileRows(
  find: FindSession,
  what: string | Fragment,
  options: ProfileOptions,
): Promise<ListingParts<ColumnProfile, ProfileFacts>> {
  const { sample = 1_000_000 } = checkCall("make a profile", options, { sample: SAMPLE });
  using stop = stoppable(options);
  const started = performance.now();
  const source = await sourceOf(find, what, stop);
  const columns = (await columnsOf(find, source, stop)).map((field) => ({ ...field, kind: kindOf(field) }));
  const session = await find();
  const { statistics, of } = await readOnly(session, stop, async (tx) => {
    const { clause, of } = await chooseRows(tx, source, sample);
    return { statistics: await compute(tx, source, columns, clause), of };
  });
  const elapsed = performance.now() - started;
  const rows = statistics.get(0)!.count;
  const profile = columns.map((column, index) => toProfile(column, statistics.get(index + 1)!, rows, session.types));
  const facts = { rows, of, sampled: of !== null || (!source.samples && rows >= sample) };
  const draw = (drawn: readonly ColumnProfile[]) => drawProfile(facts, drawn, elapsed);
  return { rows: profile, fields: PROFILE_FIELDS, elapsed, facts, draw };
}

async function compute(
  tx: FindSession,
  source: Source,
  columns: readonly SourceColumn[],
  clause: string,
): Promise<Map<number, Statistics>> {
  const statistics = new Map<number, Statistics>();
  const positions = columns.map(({ kind }, index) => ({ kind, position: index + 1 }));
  const names = (of: typeof positions) => of.map(({ position }) => `c${position}`).join(", ");
  const alias = columns.length === 0 ? "s" : `s(${names(positions)})`;
  const from = brackets(source).join(source.text);
  const options = { types: parserSource(), single: true };
  for (let start = 0; start === 0 || start < positions.length; start += BATCH) {
    const batch = positions.slice(start, start + BATCH);
    const text = statisticsSql(`SELECT ${names(batch)} FROM ${from} AS ${alias} ${clause}`, batch);
    const found = await run<Found>(tx, { text, values: source.values }, options);
    for (const { position, statistics: one } of found) statistics.set(position, one);
  }
  return statistics;
}

interface Found {
  position: number;
  statistics: Statistics;
}

const SAMPLE = [
  (value: unknown) => value === Infinity || (Number.isInteger(value) && value as number > 0),
  "a whole number of rows above 0, or Infinity for all",
] as const;

/** One row of `profile()`: what is in a column. */
export interface ColumnProfile {
  /** The column's name. */
  column: string;
  /** Its type, such as `int4`. */
  type: string;
  /**
   * Of numbers and of dates and times how many there are in each twelfth of the way from the least to the greatest; `null`
   * for other types. What is infinite, or no number, is in none.
   */
  histogram: number[] | null;
  /** Its values that are not NULL. */
  count: number;
  /** Its NULLs. */
  nulls: number;
  /** Its different values; of json, arrays and the like, its different texts. */
  distinct: number;
  /** The least value, of text by its code points; `null` for types without a useful order. */
  min: unknown;
  /** A quarter of the values are at most this. For numbers interpolated and a `number`, for dates and times one of them, else `null`. */
  p25: unknown;
  /** Half of the values are at most this; as `p25`. */
  median: unknown;
  /** Three quarters of the values are at most this; as `p25`. */
  p75: unknown;
  /** The greatest value; as `min`. */
  max: unknown;
  /** The mean of numbers; else `null`. */
  mean: number | null;
  /** Up to five values that are there most often, the most frequent first. Long texts are cut after 1,000 characters. */
  top: { value: unknown; count: number }[];
}

/** What `profile()` knows beside the columns. */
export interface ProfileFacts {
  /** The rows that were looked at. */
  readonly rows: number;
  /** The table's rows, estimated; for what was looked at whole, and for queries, `null`. */
  readonly of: number | null;
  /** Whether there are, or may be, more rows than were looked at. */
  readonly sampled: boolean;
}

/** The fields of a profile's rows. */
export const PROFILE_FIELDS = fieldsFor({
  ...{ column: "text", type: "text", histogram: "json", count: "int8", nulls: "int8", distinct: "int8" },
  ...{ min: "text", p25: "text", median: "text", p75: "text", max: "text", mean: "float8", top: "json" },
});

/** How a profile is drawn: a line for each column; what it was made of below. */
export function drawProfile(
  facts: ProfileFacts,
  columns: readonly ColumnProfile[],
  elapsed: number,
): TableOptions {
  const types = { top: "text", histogram: "text" } as Record<string, string>;
  return {
    columns: PROFILE_FIELDS.map(({ name, type }) => ({ name, type: types[name] ?? type })),
    rows: columns.map(({ column, type, histogram, count, nulls, distinct, min, p25, median, p75, max, mean, top }) => [
      ...[column, type, bars(histogram, top)],
      ...[count, nulls, distinct].map((number) => number.toLocaleString("en-US")),
      ...[min ?? "", ...[p25, median, p75].map(valueText), max ?? "", valueText(mean)],
      topText(top),
    ]),
    footer: `${countText(columns.length, "column")} ${basis(facts)}, ${elapsedText(elapsed)}`,
  };
}

/** Other types have bars of what is there most often. */
function bars(histogram: number[] | null, top: ColumnProfile["top"]): unknown {
  const counts = histogram ?? (top.length > 1 && top[0]!.count > 1 ? top.map(({ count }) => count) : []);
  return counts.length === 0 ? "" : barsPicture(counts);
}

function basis({ rows, of, sampled }: ProfileFacts): string {
  if (!sampled) return `of ${countText(rows, "row")}`;
  if (of === null) return `on the first ${countText(rows, "row")}, there may be more`;
  return `on a sample of ${rows.toLocaleString("en-US")} of about ${countText(of, "row")}`;
}

/** Half a dozen digits tell what was computed; the value in the array has them all. */
function valueText(value: unknown): unknown {
  if (value === null) return "";
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

/** Characters of a frequent value that are drawn. */
const SHOWN = 40;

function topText(top: ColumnProfile["top"]): string {
  if (top.length > 1 && top[0]!.count === 1) return "each once";
  const texts = top.map(({ value, count }) => {
    const { text, cut } = cellText(value, "", SHOWN)!;
    return `${text}${cut ? "…" : ""} (${count.toLocaleString("en-US")})`;
  });
  return texts.join(", ");
}

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
