import { type ExploreOptions, queryCatalog } from "../catalog/relation.ts";
import {
  columnsOf,
  outputSql,
  parentheses,
  plannedRows,
  readOnly,
  setLocally,
  type Source,
  sourceOf,
} from "../catalog/source.ts";
import { countText } from "../core/text.ts";
import { barsPicture, cellText } from "../draw/cell.ts";
import { elapsedText, type TableOptions } from "../draw/table.ts";
import type { Fragment } from "../sql/fragment.ts";
import { checkCall } from "../sql/options.ts";
import { type FindSession, run } from "../sql/run.ts";
import { stoppable } from "../sql/stop.ts";
import { DEFAULT_TYPES, type ParserSource } from "../sql/types.ts";
import { fieldsFor, type ListingParts } from "../sql/result.ts";
import {
  BARS,
  isNumber,
  isTyped,
  kindOf,
  QUARTILES,
  type SourceColumn,
  type Statistics,
  statisticsSql,
} from "./statistics.ts";

/** Options of `profile()`. */
export interface ProfileOptions extends ExploreOptions {
  /**
   * The maximum number of rows to read. If a table has more, a random sample of about this many rows is read; if a query, a
   * view or a foreign table has more, its first rows are read. `Infinity` reads all rows.
   *
   * @default {a sample of 50,000 rows of a table that has more than 200,000; the first 200,000 rows of anything else}
   */
  sample?: number;
}

/** The maximum columns of one statement. Each column uses working memory on the server until the statement ends. */
const COLUMNS_PER_STATEMENT = 20;
/** The maximum columns of one statement that reads more rows than by default. */
const COLUMNS_PER_LARGE_STATEMENT = 2;
/** From this many distinct values on, the server finds equal ones faster by sorting than by hashing. */
const MANY_VALUES = 100_000;
/** With this working memory, the server writes no groups to its disk. Compiling the queries would take longer than it saves. */
const SETTINGS = { work_mem: "64MB", jit: "off" };

/** Computes statistics for each column of a table or query. See `Lakebase.profile`. */
export async function profileRows(
  find: FindSession,
  what: string | Fragment,
  options: ProfileOptions,
): Promise<ListingParts<ColumnProfile, ProfileFacts>> {
  const { sample } = checkCall("make a profile", options, { sample: SAMPLE });
  using stop = stoppable(options, "the profile");
  const started = performance.now();
  const source = await sourceOf(find, what, stop);
  const columns = (await columnsOf(find, source, stop)).map((field) => ({ ...field, kind: kindOf(field) }));
  const session = await find();
  const { statistics, of } = await readOnly(session, stop, async (tx) => {
    const { clause, of } = await chooseSample(tx, source, sample);
    const isLarge = sample !== undefined && sample > READ_WHOLE;
    return { statistics: await computeStatistics(tx, source, columns, { clause, isLarge }), of };
  }, sample === undefined ? {} : SETTINGS);
  const elapsed = performance.now() - started;
  const rows = statistics.get(0)!.count;
  const profile = columns.map((column, index) => toProfile(column, statistics.get(index + 1)!, rows, session.types));
  const facts = { rows, of, sampled: of !== null || (!source.samples && rows >= (sample ?? READ_WHOLE)) };
  const draw = (drawn: readonly ColumnProfile[]) => drawProfile(facts, drawn, elapsed);
  return { rows: profile, fields: PROFILE_FIELDS, elapsed, facts, draw };
}

/** A column by its position, from 1. */
interface ColumnPosition {
  position: number;
  kind: SourceColumn["kind"];
}

/**
 * Computes the statistics of columns on the server.
 *
 * @param clause The SQL that chooses the rows.
 * @param isLarge Whether more rows are read than by default.
 * @returns The statistics by the position of the column; at 0, the count of all rows.
 */
async function computeStatistics(
  tx: FindSession,
  source: Source,
  columns: readonly SourceColumn[],
  { clause, isLarge }: { clause: string; isLarge: boolean },
): Promise<Map<number, Statistics>> {
  const statistics = new Map<number, Statistics>();
  const positions = columns.map(({ kind }, index): ColumnPosition => ({ kind, position: index + 1 }));
  const names = (columns: readonly ColumnPosition[]) => columns.map(({ position }) => `c${position}`).join(", ");
  const [open, close] = parentheses(source);
  const from = `${open}${source.text}${close} AS ${columns.length === 0 ? "s" : `s(${names(positions)})`}`;
  const step = isLarge ? COLUMNS_PER_LARGE_STATEMENT : COLUMNS_PER_STATEMENT;
  const readOnce = !source.samples || clause !== "";
  const compute = async (columns: readonly ColumnPosition[]) => {
    for (let start = 0; start === 0 || start < columns.length; start += step) {
      const batch = columns.slice(start, start + step);
      const text = statisticsSql(`SELECT ${names(batch)} FROM ${from} ${clause}`, batch, readOnce);
      const rows = await run<StatisticsRow>(tx, { ...source, text }, { types: DEFAULT_TYPES, single: true });
      for (const row of rows) statistics.set(row.position, row.statistics);
    }
  };
  const sorted = isLarge && !readOnce ? await columnsOfManyValues(tx, from, positions) : new Set<number>();
  await compute(positions.filter(({ position }) => !sorted.has(position)));
  if (sorted.size === 0) return statistics;
  await setLocally(tx, { enable_hashagg: "off" });
  await compute(positions.filter(({ position }) => sorted.has(position)));
  return statistics;
}

/** The positions of the columns that have many distinct values, which the server estimates from its last ANALYZE. */
async function columnsOfManyValues(
  tx: FindSession,
  from: string,
  columns: readonly ColumnPosition[],
): Promise<Set<number>> {
  const positions = new Set<number>();
  for (const { position, kind } of columns) {
    const value = isTyped(kind) ? `c${position}` : outputSql(`c${position}`);
    const estimate = await plannedRows(tx, `(SELECT FROM ${from} GROUP BY ${value}) AS g`);
    if (estimate >= MANY_VALUES) positions.add(position);
  }
  return positions;
}

interface StatisticsRow {
  position: number;
  statistics: Statistics;
}

/**
 * Converts a column's statistics to a profile, with parsed values.
 *
 * @param column The column.
 * @param statistics The statistics that the server computed.
 * @param rows The number of rows that the server read.
 * @param types The connection's parsers.
 */
function toProfile(
  { name, type, oid, kind }: SourceColumn,
  { count, distinct, ends, order, top }: Statistics,
  rows: number,
  types: ParserSource,
): ColumnProfile {
  const parse = isTyped(kind) ? types.getTypeParser(oid) : (text: string) => text;
  const value = (text: string | null | undefined) => text === null || text === undefined ? null : parse(text);
  const { mean = null, marks = ends, bars } = order ?? {};
  const quartile = (index: number) => {
    const [low, high] = [marks?.[1 + 2 * index], marks?.[2 + 2 * index]];
    if (kind === "moment") return value(low);
    return isNumber(kind) ? interpolate(low, high, QUARTILES[index]! * (count - 1)) : null;
  };
  return {
    column: name,
    type,
    histogram: bars ? histogramOf(bars) : null,
    count,
    nulls: rows - count,
    distinct,
    min: value(marks?.[0]),
    p25: quartile(0),
    median: quartile(1),
    p75: quartile(2),
    max: value(marks?.at(-1)),
    mean: mean === null ? null : Number(mean),
    top: (top ?? []).map(([text, count]) => ({ value: parse(text), count })),
  };
}

function histogramOf(bars: readonly [range: number, count: number][]): number[] {
  const counts = Array<number>(BARS).fill(0);
  for (const [range, count] of bars) counts[range - 1] = count;
  return counts;
}

/** Interpolates between the numbers at the two whole ranks around a rank. */
function interpolate(low: string | null | undefined, high: string | null | undefined, rank: number): number | null {
  if (typeof low !== "string" || typeof high !== "string") return null;
  const start = Number(low);
  const fraction = rank % 1;
  return fraction === 0 || low === high ? start : start + fraction * (Number(high) - start);
}

const SAMPLE = [
  (value: unknown) => value === Infinity || (Number.isInteger(value) && value as number > 0),
  "a whole number of rows above 0, or Infinity for all",
] as const;

/** One row of `profile()`: the statistics of a column. */
export interface ColumnProfile {
  /** The column's name. */
  column: string;
  /** The column's type, such as `int4`. */
  type: string;
  /**
   * The number of values in each of twelve ranges of equal width, from the least value to the greatest. Only numbers, dates
   * and times have a histogram; for other types it is `null`. Infinite values and NaN are not counted.
   */
  histogram: number[] | null;
  /** The number of values that are not NULL. */
  count: number;
  /** The number of NULLs. */
  nulls: number;
  /** The number of distinct values; for json, arrays and similar types, the number of distinct texts. */
  distinct: number;
  /** The least value; texts are ordered by code points. `null` for types without a useful order. */
  min: unknown;
  /**
   * A quarter of the values are at most this: an interpolated `number` for numbers, one of the values for dates and times,
   * `null` for other types.
   */
  p25: unknown;
  /** Half of the values are at most this. It has the type of `p25`. */
  median: unknown;
  /** Three quarters of the values are at most this. It has the type of `p25`. */
  p75: unknown;
  /** The greatest value, in the order of `min`; `null` for types without a useful order. */
  max: unknown;
  /** The mean of numbers; `null` for other types. */
  mean: number | null;
  /** At most five values, with the most frequent first. Texts are cut after 1,000 characters. */
  top: { value: unknown; count: number }[];
}

/** The facts of `profile()` besides the columns. */
export interface ProfileFacts {
  /** The number of rows that were read. */
  readonly rows: number;
  /** The estimated number of the table's rows; `null` if all were read, and for queries, views and foreign tables. */
  readonly of: number | null;
  /** Whether there are or may be more rows than were read. */
  readonly sampled: boolean;
}

/** The fields of a profile's rows. */
const PROFILE_FIELDS = fieldsFor({
  column: "text",
  type: "text",
  histogram: "json",
  count: "int8",
  nulls: "int8",
  distinct: "int8",
  min: "text",
  p25: "text",
  median: "text",
  p75: "text",
  max: "text",
  mean: "float8",
  top: "json",
});

/** Lays out a profile: a line for each column, and the number of rows that were read below them. */
function drawProfile(
  facts: ProfileFacts,
  columns: readonly ColumnProfile[],
  elapsed: number,
): TableOptions {
  const types = { top: "text", histogram: "text" } as Record<string, string>;
  return {
    columns: PROFILE_FIELDS.map(({ name, type }) => ({ name, type: types[name] ?? type })),
    rows: columns.map(({ column, type, histogram, count, nulls, distinct, min, p25, median, p75, max, mean, top }) => [
      column,
      type,
      drawBars(histogram, top),
      ...[count, nulls, distinct].map((number) => number.toLocaleString("en-US")),
      min ?? "",
      ...[p25, median, p75].map(valueText),
      max ?? "",
      valueText(mean),
      topText(top),
    ]),
    footer: `${countText(columns.length, "column")} ${sampleText(facts)}, ${elapsedText(elapsed)}`,
  };
}

/** Draws the histogram; for types that have none, the counts of the most frequent values. */
function drawBars(histogram: number[] | null, top: ColumnProfile["top"]): unknown {
  const counts = histogram ?? (top.length > 1 && top[0]!.count > 1 ? top.map(({ count }) => count) : []);
  return counts.length === 0 ? "" : barsPicture(counts);
}

function sampleText({ rows, of, sampled }: ProfileFacts): string {
  if (!sampled) return `of ${countText(rows, "row")}`;
  if (of === null) return `on the first ${countText(rows, "row")}; there may be more`;
  return `on a sample of ${rows.toLocaleString("en-US")} of about ${countText(of, "row")}`;
}

/** Rounds a computed number to six digits for the drawing. The row keeps all digits. */
function valueText(value: unknown): unknown {
  if (value === null) return "";
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

/** The maximum characters of a frequent value in the drawing. */
const MAX_TOP_LENGTH = 40;

function topText(top: ColumnProfile["top"]): string {
  if (top.length > 1 && top[0]!.count === 1) return "each once";
  const texts = top.map(({ value, count }) => {
    const { text, cut } = cellText(value, "", MAX_TOP_LENGTH)!;
    return `${text}${cut ? "…" : ""} (${count.toLocaleString("en-US")})`;
  });
  return texts.join(", ");
}

/** By default, up to this many rows are all read. */
const READ_WHOLE = 200_000;
/** The default number of rows of a sample. */
const SAMPLED_ROWS = 50_000;
/** A sample of at least this many rows takes whole pages, which is fast. A smaller one would have too few pages to be random. */
const MIN_PAGE_SAMPLE = 50_000;
/** The rows of a table that has up to this many are counted, because a wrong estimate would cost more than counting. */
const MAX_COUNTED_ROWS = 1_000_000;
/** A table may have this many times the estimated rows: before its first ANALYZE, the server assumes 32 bytes for each text. */
const MAX_UNDERESTIMATE = 8;
/** With a fixed seed, the sample stays the same until the table changes. */
const SEED = 1;

/** The rows of a source to read. */
interface Sample {
  /** The SQL that follows the source and its alias. */
  clause: string;
  /** The estimated number of the table's rows if only a sample is read; otherwise `null`. */
  of: number | null;
}

/**
 * Chooses the rows of a source to read.
 *
 * @param tx Finds the session that estimates the size of the source.
 * @param source The table or query.
 * @param sample The approximate maximum number of rows to read; `Infinity` for all; `undefined` for the default.
 */
async function chooseSample(tx: FindSession, source: Source, sample: number | undefined): Promise<Sample> {
  const readAllUpTo = sample ?? READ_WHOLE;
  const rows = sample ?? SAMPLED_ROWS;
  if (readAllUpTo === Infinity) return { clause: "", of: null };
  if (!source.samples) return { clause: `LIMIT ${readAllUpTo}`, of: null };
  const of = await estimateTableRows(tx, source, readAllUpTo);
  if (of <= readAllUpTo) return { clause: "", of: null };
  const method = rows >= MIN_PAGE_SAMPLE || of > 10 * MAX_COUNTED_ROWS ? "pg_catalog.system" : "pg_catalog.bernoulli";
  return { clause: `TABLESAMPLE ${method} (${(100 * rows) / of}) REPEATABLE (${SEED})`, of };
}

/**
 * Estimates the number of a table's rows. Counts them if the estimate is at most a million and there may be more rows than
 * `readAllUpTo`.
 */
async function estimateTableRows(tx: FindSession, { text: from }: Source, readAllUpTo: number): Promise<number> {
  const estimate = await plannedRows(tx, from);
  if (estimate <= readAllUpTo / MAX_UNDERESTIMATE || estimate > MAX_COUNTED_ROWS) return estimate;
  const [counted] = await queryCatalog<{ n: number }>(tx, `SELECT pg_catalog.count(*) AS n FROM ${from}`);
  return counted!.n;
}
