import { outputSql } from "../catalog/source.ts";
import type { Field } from "../sql/result.ts";
import { isBuiltIn } from "../core/type_names.ts";

/** A column of the table or query to profile. */
export interface SourceColumn extends Field {
  /** The kind, which determines the column's statistics. */
  kind: ColumnKind;
}

/** The statistics that the server computes for a column, with values as text. */
export interface Statistics {
  /** The number of values that are not NULL. */
  count: number;
  /** The number of distinct values. */
  distinct: number;
  /** The least and the greatest value, for kinds without quartiles. */
  ends?: (string | null)[] | null;
  /** The statistics that depend on the order, for kinds with quartiles. */
  order?: {
    /** The mean of numbers. */
    mean: string | null;
    /** The least value, the two around each quartile, and the greatest. */
    marks: (string | null)[] | null;
    /** Each range of the histogram that has values, counted from 1, with the number of its values. */
    bars: [range: number, count: number][] | null;
  };
  /** The most frequent values, with their counts. */
  top: [value: string, count: number][] | null;
}

/** The maximum characters of a text that are kept. */
const MAX_TEXT_LENGTH = 1000;
/** The number of a column's most frequent values. */
const TOP = 5;

/** The number of ranges of a histogram. */
export const BARS = 12;

/** The fractions of the quartiles. */
export const QUARTILES = [0.25, 0.5, 0.75] as const;

/**
 * Writes the statement that computes the statistics of columns. The columns are called `c1`, `c2`, ... by position, so no
 * column's name is part of the SQL.
 *
 * @param source A query with the columns `c1`, `c2`, ...
 * @param columns The position, from 1, and the kind of each column.
 * @param readOnce Whether the server keeps a copy of the source, because it is a query or a sample. A table is read twice for
 * each column, which takes less time than copying the table.
 * @returns SQL whose rows have a `position` and its `statistics` as JSON. Position 0 has the count of all rows.
 */
export function statisticsSql(
  source: string,
  columns: readonly { position: number; kind: ColumnKind }[],
  readOnce: boolean,
): string {
  const branches = columns.map(({ position, kind }) => `(${columnSql(position, kind)})`);
  const all =
    "SELECT 0 AS position, pg_catalog.json_build_object('count', pg_catalog.count(*)) AS statistics FROM data";
  return `WITH data AS ${readOnce ? "" : "NOT "}MATERIALIZED (${source}) ${[all, ...branches].join("\nUNION ALL ")}`;
}

function columnSql(position: number, kind: ColumnKind): string {
  const column = `c${position}`;
  const value = isTyped(kind) ? column : kind === "text" ? `${column}::pg_catalog.text` : outputSql(column);
  const key = isTyped(kind) ? value : `(${value}) COLLATE pg_catalog."C"`;
  const groups = `SELECT ${key} AS k, pg_catalog.count(*) AS n FROM data WHERE (${value}) IS NOT NULL GROUP BY 1`;
  return isRanked(kind) ? rankedSql(position, kind, groups) : groupedSql(position, kind, groups);
}

/** SQL for the statistics of a kind without quartiles, which follow from the groups of equal values. */
function groupedSql(position: number, kind: ColumnKind, groups: string): string {
  const ends = kind === "ordered" || kind === "text"
    ? `ARRAY[${textSql("pg_catalog.min(k)", kind)}, ${textSql("pg_catalog.max(k)", kind)}]`
    : "NULL";
  return `WITH g AS MATERIALIZED (${groups})
  SELECT ${position}, pg_catalog.json_build_object('count', coalesce(pg_catalog.sum(n), 0), 'distinct', pg_catalog.count(*), 'ends', ${ends},
    'top', ${topSql(kind)}) FROM g`;
}

/** Up to this many groups, the statistics of the order come from the groups; otherwise from the values, by parallel scans. */
const MAX_GROUPS = 20_000;

/** SQL for the statistics of a kind with quartiles. The server runs one of the two queries for the statistics of the order. */
function rankedSql(position: number, kind: RankedKind, groups: string): string {
  const column = `c${position}`;
  const ranks = ["1", ...QUARTILES.flatMap((fraction) => rankSql(fraction, kind)), "total"].map((rank) => `(${rank})`);
  const filled = `FROM data WHERE ${column} IS NOT NULL`;
  return `WITH g AS MATERIALIZED (${groups}),
  c AS MATERIALIZED (SELECT pg_catalog.sum(n)::pg_catalog.int8 AS total, pg_catalog.count(*) AS groups FROM g),
  e AS MATERIALIZED (SELECT pg_catalog.min(x) AS low, pg_catalog.max(x) AS high, pg_catalog.count(x) AS placed
    FROM (SELECT ${positionSql(column, kind)} AS x ${filled}) AS x)
  SELECT ${position}, pg_catalog.json_build_object('count', coalesce(total, 0), 'distinct', groups, 'top', ${
    topSql(kind)
  },
    'order', CASE WHEN groups OPERATOR(pg_catalog.<=) ${MAX_GROUPS} THEN (${orderOfGroups(ranks, kind)})
      ELSE (${orderOfValues(ranks, kind, column, filled)}) END) FROM c`;
}

/** SQL that finds the values at ranks by a running count of the groups. */
function orderOfGroups(ranks: readonly string[], kind: RankedKind): string {
  const marks = ranks.map((rank) =>
    `pg_catalog.max(${textSql("k", kind)}) FILTER (WHERE upto OPERATOR(pg_catalog.>=) ${rank}
      AND (upto OPERATOR(pg_catalog.-) n) OPERATOR(pg_catalog.<) ${rank})`
  );
  const mean = kind === "moment" ? "NULL" : `(pg_catalog.sum(k::pg_catalog.numeric OPERATOR(pg_catalog.*) n)
      OPERATOR(pg_catalog./) pg_catalog.max(total))::pg_catalog.text`;
  const positions = `(SELECT ${positionSql("k", kind)} AS x, n FROM g) AS h`;
  return `SELECT pg_catalog.json_build_object('mean', ${mean}, 'marks', ARRAY[${marks.join(", ")}],
      'bars', ${barsSql(positions, `(SELECT pg_catalog.min(x) AS low, pg_catalog.max(x) AS high FROM ${positions})`)})
    FROM c, (SELECT k, n, (pg_catalog.sum(n) OVER (ORDER BY k ROWS UNBOUNDED PRECEDING))::pg_catalog.int8 AS upto FROM g) AS w`;
}

/** SQL that finds the values at ranks by sorting all values. */
function orderOfValues(ranks: readonly string[], kind: RankedKind, column: string, filled: string): string {
  // Each fraction is in the middle between two ranks, so rounding can't choose another rank.
  const fractions = ranks.map((rank) =>
    `(${rank}::pg_catalog.float8 OPERATOR(pg_catalog.-) 0.5::pg_catalog.float8)
      OPERATOR(pg_catalog./) total::pg_catalog.float8`
  );
  const positions = `(SELECT ${positionSql(column, kind)} AS x, 1 AS n ${filled}) AS h`;
  return `SELECT pg_catalog.json_build_object('mean', ${meanSql(kind, column, filled)}, 'marks',
      (SELECT pg_catalog.array_agg(${textSql("mark", kind)} ORDER BY place)
        FROM pg_catalog.unnest(marks) WITH ORDINALITY AS m (mark, place)), 'bars', ${barsSql(positions, "e")})
    FROM (SELECT pg_catalog.percentile_disc((SELECT ARRAY[${fractions.join(", ")}] FROM c))
      WITHIN GROUP (ORDER BY ${column}) AS marks ${filled}) AS sorted`;
}

/** `avg` squares numbers. The squares of numbers up to this do not overflow. */
const MAX_SQUARED = "1e140::pg_catalog.float8";

function meanSql(kind: RankedKind, column: string, filled: string): string {
  const mean = (value: string) => `(SELECT pg_catalog.avg(${value})::pg_catalog.text ${filled})`;
  if (kind === "moment") return "NULL";
  if (kind !== "float") return mean(column);
  return `CASE WHEN (SELECT placed OPERATOR(pg_catalog.=) (SELECT total FROM c) AND high OPERATOR(pg_catalog.<) ${MAX_SQUARED}
      AND low OPERATOR(pg_catalog.>) (OPERATOR(pg_catalog.-) ${MAX_SQUARED}) FROM e) THEN ${mean(column)}
    ELSE ${mean(`${column}::pg_catalog.numeric`)} END`;
}

/** SQL for the position of a value in the histogram, as `float8`; NULL for infinite values and NaN. */
function positionSql(value: string, kind: RankedKind): string {
  if (kind === "integer") return `${value}::pg_catalog.float8`;
  const number = kind === "moment" ? `pg_catalog.date_part('epoch', ${value})` : value;
  // A plain cast fails if a `numeric` is too large or too small for `float8`.
  return `CASE WHEN pg_catalog.abs(${number}) OPERATOR(pg_catalog.<=) 1e-300 THEN 0
    WHEN pg_catalog.abs(${number}) OPERATOR(pg_catalog.<=) 1e300 THEN ${number}::pg_catalog.float8 END`;
}

/** SQL for the histogram of positions `x`, each of which counts `n` times, between the ends `low` and `high`. */
function barsSql(positions: string, ends: string): string {
  return `(SELECT pg_catalog.json_agg(pg_catalog.json_build_array(b, n)) FROM (
    SELECT CASE WHEN low OPERATOR(pg_catalog.<) high THEN least(${BARS}, pg_catalog.width_bucket(x, low, high, ${BARS})) ELSE 1 END
      AS b, pg_catalog.sum(n)::pg_catalog.int8 AS n
    FROM ${positions}, ${ends} AS ends WHERE x IS NOT NULL GROUP BY 1) AS bars)`;
}

/** SQL for the two ranks around a quartile. They are equal for moments, where the quartile is one of the values. */
function rankSql(fraction: number, kind: RankedKind): string[] {
  if (kind === "moment") {
    return Array<string>(2).fill(`greatest(1, pg_catalog.ceil(${fraction} OPERATOR(pg_catalog.*) total))`);
  }
  return ["floor", "ceil"].map((round) =>
    `pg_catalog.${round}(1 OPERATOR(pg_catalog.+)
      (${fraction} OPERATOR(pg_catalog.*) (total OPERATOR(pg_catalog.-) 1)))`
  );
}

/** SQL for the most frequent values with their counts. */
function topSql(kind: ColumnKind): string {
  return `(SELECT pg_catalog.json_agg(pg_catalog.json_build_array(${textSql("k", kind)}, n) ORDER BY n DESC, k)
    FROM (SELECT k, n FROM g ORDER BY n DESC, k LIMIT ${TOP}) AS most)`;
}

/** SQL for a value's text as the server sends it, which a cast does not give for every type. Long texts are cut. */
function textSql(value: string, kind: ColumnKind): string {
  if (isTyped(kind)) return `pg_catalog.format('%s', ${value})`;
  return `CASE WHEN pg_catalog.length(${value}) OPERATOR(pg_catalog.>) ${MAX_TEXT_LENGTH}
    THEN pg_catalog.left(${value}, ${MAX_TEXT_LENGTH}) OPERATOR(pg_catalog.||) '…' ELSE ${value} END`;
}

/**
 * The kind of a column, which determines its statistics besides the counts and the most frequent values.
 *
 * - `integer`, `float`, `decimal`: all
 * - `moment`, a date or a time: all but the mean
 * - `ordered`: the least and the greatest value
 * - `text`: the least and the greatest value, by code points
 * - `plain`: none
 * - `opaque`: none. Values are compared as texts, because the type may have no equality operator
 */
type ColumnKind = RankedKind | "ordered" | "text" | "plain" | "opaque";

/** A kind with quartiles and a histogram. */
type RankedKind = "integer" | "float" | "decimal" | "moment";

function isRanked(kind: ColumnKind): kind is RankedKind {
  return kind === "moment" || isNumber(kind);
}

/** Whether values of this kind are numbers. */
export function isNumber(kind: ColumnKind): boolean {
  return kind === "integer" || kind === "float" || kind === "decimal";
}

const KINDS: Readonly<Record<Exclude<ColumnKind, "opaque">, string>> = {
  integer: "int2 int4 int8",
  float: "float4 float8",
  decimal: "numeric",
  moment: "date time timetz timestamp timestamptz interval",
  ordered: "oid money inet cidr pg_lsn",
  text: "text varchar bpchar name char",
  plain: "bool uuid macaddr macaddr8",
};

const KIND_OF = new Map<string, ColumnKind>(
  Object.entries(KINDS).flatMap(([kind, types]) => types.split(" ").map((type) => [type, kind as ColumnKind])),
);

/** Gives the kind of a column by its built-in type. Types that a database defines are `opaque`. */
export function kindOf({ type, oid }: Field): ColumnKind {
  return (isBuiltIn(oid) ? KIND_OF.get(type) : undefined) ?? "opaque";
}

/** Whether values of this kind are parsed. Those of other kinds stay texts, cut after 1,000 characters. */
export function isTyped(kind: ColumnKind): boolean {
  return kind !== "text" && kind !== "opaque";
}
