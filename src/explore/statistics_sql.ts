import { type ColumnKind, isTyped } from "./column_kind.ts";

/** Characters of a text that are kept. */
const LONGEST = 1000;
/** Values of a column that come with how often they do. */
const TOP = 5;

/** Ranges of a histogram. */
export const BARS = 12;

/** The fractions of the quartiles. */
export const QUARTILES = [0.25, 0.5, 0.75] as const;

/**
 * The statement that computes the statistics of columns in one pass over the rows, which are read once. Columns go by
 * their position, `c1`, `c2`, ..., so that no name is ever part of the text.
 *
 * @param source A query with the columns `c1`, `c2`, ...
 * @param columns Position, counted from 1, and kind of each.
 * @returns SQL whose rows are `position`, 0 for the count of all rows, and `statistics` as JSON.
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

/**
 * Any value's text as its type writes it, NULL for NULL. A cast could be a function of whoever made the type; and a row of
 * NULLs is NULL to `IS NULL`, but has a text.
 */
export function outputSql(value: string): string {
  return `CASE WHEN pg_catalog.num_nulls(${value}) OPERATOR(pg_catalog.=) 0 THEN pg_catalog.format('%s', ${value}) END`;
}

/** Each value once, with how many rows have it: everything follows from that, and it is small for most columns. */
function groupedSql(position: number, kind: ColumnKind, groups: string): string {
  const ends = kind === "ordered" || kind === "text"
    ? `ARRAY[${shown("pg_catalog.min(k)", kind)}, ${shown("pg_catalog.max(k)", kind)}]`
    : "NULL";
  return `WITH g AS MATERIALIZED (${groups})
  SELECT ${position}, pg_catalog.json_build_object('count', coalesce(pg_catalog.sum(n), 0), 'distinct', pg_catalog.count(*), 'marks', ${ends},
    'top', ${topSql(kind)}) FROM g`;
}

/** The same, with a running count, so that the value at a rank is found without sorting the rows. */
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

/** A value as `float8`, which is its place in a histogram; NULL for what has none. */
function placeSql(kind: ColumnKind): string {
  const value = kind === "moment" ? "extract(epoch FROM k)::pg_catalog.float8" : "k";
  // A plain cast fails where a `numeric` is too large or too small.
  return `CASE WHEN pg_catalog.abs(${value}) OPERATOR(pg_catalog.<=) 1e-300 THEN 0
    WHEN pg_catalog.abs(${value}) OPERATOR(pg_catalog.<=) 1e300 THEN ${value}::pg_catalog.float8 END`;
}

const BARS_SQL = `(SELECT pg_catalog.json_agg(pg_catalog.json_build_array(b, n)) FROM (
    SELECT CASE WHEN low OPERATOR(pg_catalog.<) high THEN least(${BARS}, pg_catalog.width_bucket(x, low, high, ${BARS})) ELSE 1 END
      AS b, pg_catalog.sum(n)::pg_catalog.int8 AS n
    FROM h, e WHERE x IS NOT NULL GROUP BY 1) AS bars)`;

/** The ranks that a quartile lies between: numbers are interpolated, of moments it is one that there is. */
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

/** A value as the wire would have it, which a cast to text is not for each type. */
function shown(value: string, kind: ColumnKind): string {
  if (isTyped(kind)) return `pg_catalog.format('%s', ${value})`;
  return `CASE WHEN pg_catalog.length(${value}) OPERATOR(pg_catalog.>) ${LONGEST}
    THEN pg_catalog.left(${value}, ${LONGEST}) OPERATOR(pg_catalog.||) '…' ELSE ${value} END`;
}
