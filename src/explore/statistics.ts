import { outputSql } from "../catalog/source.ts";
import type { Field } from "../sql/result.ts";
import { isBuiltIn } from "../core/type_names.ts";
import type { ParserSource } from "../sql/types.ts";
import type { ColumnProfile, SourceColumn } from "./profile.ts";

/** The statistics that the server computes for a column, with values as text. */
export interface Statistics {
  /** The number of values that are not NULL. */
  count: number;
  /** The number of distinct values. */
  distinct: number;
  /** The mean, for numbers. */
  mean?: string | null;
  /** The least and the greatest value; between them, for kinds with quartiles, the two values around each quartile. */
  marks: (string | null)[] | null;
  /** Each range of the histogram that has values, counted from 1, with the number of its values. */
  bars?: [range: number, count: number][] | null;
  /** The most frequent values, with their counts. */
  top: [value: string, count: number][] | null;
}

/**
 * Converts a column's statistics to a profile, with parsed values.
 *
 * @param column The column.
 * @param statistics The statistics that the server computed.
 * @param rows The number of rows that the server read.
 * @param types The connection's parsers.
 */
export function toProfile(
  { name, type, oid, kind }: SourceColumn,
  { count, distinct, mean, marks, bars, top }: Statistics,
  rows: number,
  types: ParserSource,
): ColumnProfile {
  const parse = isTyped(kind) ? types.getTypeParser(oid) : (text: string) => text;
  const value = (text: string | null | undefined) => text === null || text === undefined ? null : parse(text);
  const quartile = (index: number) => {
    const [low, high] = [marks?.[1 + 2 * index], marks?.[2 + 2 * index]];
    if (kind === "moment") return value(low);
    return kind === "number" ? between(low, high, QUARTILES[index]! * (count - 1)) : null;
  };
  return {
    ...{ column: name, type, histogram: bars ? histogramOf(bars) : null },
    ...{ count, nulls: rows - count, distinct },
    ...{ min: value(marks?.[0]), p25: quartile(0), median: quartile(1), p75: quartile(2), max: value(marks?.at(-1)) },
    mean: mean === null || mean === undefined ? null : Number(mean),
    top: (top ?? []).map(([text, count]) => ({ value: parse(text), count })),
  };
}

function histogramOf(bars: readonly [range: number, count: number][]): number[] {
  const counts = Array<number>(BARS).fill(0);
  for (const [range, count] of bars) counts[range - 1] = count;
  return counts;
}

/** Interpolates between the numbers at the two ranks around a rank. */
function between(low: string | null | undefined, high: string | null | undefined, rank: number): number | null {
  if (typeof low !== "string" || typeof high !== "string") return null;
  const start = Number(low);
  const part = rank % 1;
  return part === 0 || low === high ? start : start + part * (Number(high) - start);
}

/** The most characters of a text that are kept. */
const LONGEST = 1000;
/** How many of a column's most frequent values are listed. */
const TOP = 5;

/** The number of ranges of a histogram. */
export const BARS = 12;

/** The fractions of the quartiles. */
export const QUARTILES = [0.25, 0.5, 0.75] as const;

/**
 * Writes the statement that computes the statistics of columns. It reads the rows once. Columns are called `c1`, `c2`, ...
 * by position, so that no column name is part of the SQL.
 *
 * @param source A query with the columns `c1`, `c2`, ...
 * @param columns The position, from 1, and the kind of each column.
 * @returns SQL whose rows have a `position` and, as JSON, its `statistics`; position 0 has the count of all rows.
 */
export function statisticsSql(
  source: string,
  columns: readonly { position: number; kind: ColumnKind }[],
): string {
  const branches = columns.map(({ position, kind }) => `(${columnSql(position, kind)})`);
  const all =
    "SELECT 0 AS position, pg_catalog.json_build_object('count', pg_catalog.count(*)) AS statistics FROM data";
  return `WITH data AS MATERIALIZED (${source}) ${[all, ...branches].join("\nUNION ALL ")}`;
}

function columnSql(position: number, kind: ColumnKind): string {
  const column = `c${position}`;
  const value = isTyped(kind) ? column : kind === "text" ? `${column}::pg_catalog.text` : outputSql(column);
  const key = isTyped(kind) ? value : `(${value}) COLLATE pg_catalog."C"`;
  const groups = `SELECT ${key} AS k, pg_catalog.count(*) AS n FROM data WHERE (${value}) IS NOT NULL GROUP BY 1`;
  return kind === "number" || kind === "moment"
    ? rankedSql(position, kind, groups)
    : groupedSql(position, kind, groups);
}

/** Groups equal values and counts their rows. All statistics follow from the groups, which are few for most columns. */
function groupedSql(position: number, kind: ColumnKind, groups: string): string {
  const ends = kind === "ordered" || kind === "text"
    ? `ARRAY[${shown("pg_catalog.min(k)", kind)}, ${shown("pg_catalog.max(k)", kind)}]`
    : "NULL";
  return `WITH g AS MATERIALIZED (${groups})
  SELECT ${position}, pg_catalog.json_build_object('count', coalesce(pg_catalog.sum(n), 0), 'distinct', pg_catalog.count(*), 'marks', ${ends},
    'top', ${topSql(kind)}) FROM g`;
}

/** As {@linkcode groupedSql}, with a running count that finds the value at a rank without sorting the rows. */
function rankedSql(position: number, kind: ColumnKind, groups: string): string {
  const ranks = ["1::pg_catalog.int8", ...QUARTILES.flatMap((part) => rankSql(part, kind)), "total"];
  const marks = ranks.map((_, index) =>
    `pg_catalog.max(${shown("k", kind)}) FILTER (WHERE upto OPERATOR(pg_catalog.>=) r${index}
      AND (upto OPERATOR(pg_catalog.-) n) OPERATOR(pg_catalog.<) r${index})`
  );
  const mean = kind === "number"
    ? "(pg_catalog.sum(k::pg_catalog.numeric OPERATOR(pg_catalog.*) n) OPERATOR(pg_catalog./) pg_catalog.max(total))::pg_catalog.text"
    : "NULL";
  return `WITH g AS MATERIALIZED (SELECT k, n, (pg_catalog.sum(n) OVER (ORDER BY k ROWS UNBOUNDED PRECEDING))::pg_catalog.int8 AS upto
    FROM (${groups}) AS groups),
  r AS MATERIALIZED (SELECT total, ${ranks.map((rank, index) => `${rank} AS r${index}`).join(", ")}
    FROM (SELECT pg_catalog.max(upto) AS total FROM g) AS counted),
  h AS MATERIALIZED (SELECT ${
    placeSql(kind)
  } AS x, n FROM g), e AS (SELECT pg_catalog.min(x) AS low, pg_catalog.max(x) AS high FROM h)
  SELECT ${position}, pg_catalog.json_build_object('count', coalesce(pg_catalog.max(total), 0), 'distinct', pg_catalog.count(*), 'mean', ${mean},
    'marks', ARRAY[${marks.join(", ")}], 'bars', ${BARS_SQL}, 'top', ${topSql(kind)}) FROM g, r`;
}

/** SQL for a value's place in the histogram, as `float8`; NULL for infinite values and NaN. */
function placeSql(kind: ColumnKind): string {
  const value = kind === "moment" ? "extract(epoch FROM k)::pg_catalog.float8" : "k";
  // A plain cast fails if a `numeric` is too large or too small for `float8`.
  return `CASE WHEN pg_catalog.abs(${value}) OPERATOR(pg_catalog.<=) 1e-300 THEN 0
    WHEN pg_catalog.abs(${value}) OPERATOR(pg_catalog.<=) 1e300 THEN ${value}::pg_catalog.float8 END`;
}

const BARS_SQL = `(SELECT pg_catalog.json_agg(pg_catalog.json_build_array(b, n)) FROM (
    SELECT CASE WHEN low OPERATOR(pg_catalog.<) high THEN least(${BARS}, pg_catalog.width_bucket(x, low, high, ${BARS})) ELSE 1 END
      AS b, pg_catalog.sum(n)::pg_catalog.int8 AS n
    FROM h, e WHERE x IS NOT NULL GROUP BY 1) AS bars)`;

/** SQL for the two ranks around a quartile. They are equal for moments, whose quartile is one of the values. */
function rankSql(part: number, kind: ColumnKind): string[] {
  if (kind === "moment") {
    return Array<string>(2).fill(`greatest(1, pg_catalog.ceil(${part} OPERATOR(pg_catalog.*) total))::pg_catalog.int8`);
  }
  return ["floor", "ceil"].map((round) =>
    `pg_catalog.${round}(1 OPERATOR(pg_catalog.+)
      (${part} OPERATOR(pg_catalog.*) (total OPERATOR(pg_catalog.-) 1)))::pg_catalog.int8`
  );
}

function topSql(kind: ColumnKind): string {
  return `(SELECT pg_catalog.json_agg(pg_catalog.json_build_array(${shown("k", kind)}, n) ORDER BY n DESC, k)
    FROM (SELECT k, n FROM g ORDER BY n DESC, k LIMIT ${TOP}) AS most)`;
}

/** SQL for a value's text as the server sends it, which a cast does not give for every type. Long texts are cut. */
function shown(value: string, kind: ColumnKind): string {
  if (isTyped(kind)) return `pg_catalog.format('%s', ${value})`;
  return `CASE WHEN pg_catalog.length(${value}) OPERATOR(pg_catalog.>) ${LONGEST}
    THEN pg_catalog.left(${value}, ${LONGEST}) OPERATOR(pg_catalog.||) '…' ELSE ${value} END`;
}

/**
 * The kind of a column, which tells its statistics besides the counts and the most frequent values.
 *
 * - `number`: all
 * - `moment`: all but the mean
 * - `ordered`: the least and the greatest value
 * - `text`: as `ordered`, by code points
 * - `plain`: none
 * - `opaque`: as `plain`, but compares texts; for types that have no equality operator, or may have none
 */
export type ColumnKind = "number" | "moment" | "ordered" | "text" | "plain" | "opaque";

const KINDS: Readonly<Record<Exclude<ColumnKind, "opaque">, string>> = {
  number: "int2 int4 int8 float4 float8 numeric",
  moment: "date time timetz timestamp timestamptz interval",
  ordered: "oid money inet cidr pg_lsn",
  text: "text varchar bpchar name char",
  plain: "bool uuid macaddr macaddr8",
};

const KIND_OF = new Map<string, ColumnKind>(
  Object.entries(KINDS).flatMap(([kind, types]) => types.split(" ").map((type) => [type, kind as ColumnKind])),
);

/** Gives the kind of a column by its built-in type; types that a database defines itself are `opaque`. */
export function kindOf({ type, oid }: Field): ColumnKind {
  return (isBuiltIn(oid) ? KIND_OF.get(type) : undefined) ?? "opaque";
}

/** Whether values of this kind are parsed; other kinds stay text, cut after 1,000 characters. */
export function isTyped(kind: ColumnKind): boolean {
  return kind !== "text" && kind !== "opaque";
}
