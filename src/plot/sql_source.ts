import { outputSql, parentheses, type Source } from "../catalog/source.ts";
import { encodeParameter, type WireValue } from "../sql/parameter.ts";
import { type FindSession, run } from "../sql/run.ts";
import { parserSource } from "../sql/types.ts";
import {
  type Box,
  type Group,
  isWhole,
  keptText,
  type Key,
  MAX_NUMBER,
  MAX_TEXT_LENGTH,
  type Measure,
  MIN_NUMBER,
  numberValue,
  type OTHER,
  type PlotColumn,
  type PlotSource,
  type PlotValue,
  type Points,
  type QueryRow,
  readPoints,
  SPREAD,
  timeValue,
} from "./source.ts";

const TYPES = parserSource({ numeric: Number, int8: Number }, "all");

/**
 * Computes the data of a chart in the database. Only values that are drawn are fetched.
 *
 * @param find Finds the session, whose statements see one state of the database.
 * @param source The query.
 * @param columns The columns of the query.
 * @param signal Ends the statements.
 */
export function sqlSource(
  find: FindSession,
  source: Source,
  columns: readonly PlotColumn[],
  signal: AbortSignal | undefined,
): PlotSource {
  const alias = `q(${columns.map(({ position }) => `c${position}`).join(", ")})`;
  const [open, close] = parentheses(source);
  const select: Select = async (expressions, clauses, { values = [], before = "", after = "" } = {}) => {
    const statement = {
      ...source,
      prefix: `${before}SELECT ${expressions} FROM ${open}`,
      text: `${source.text}${close} AS ${alias} ${clauses}${after}`,
      values: [...source.values, ...values],
    };
    return await run<QueryRow>(find, statement, { types: TYPES, single: true, signal });
  };
  const grouped = (keys: readonly Key[], computed: readonly string[], order: readonly string[], limit: number) =>
    selectGroups(select, keysSql(keys, source.values.length), computed, `ORDER BY ${order.join(", ")} LIMIT ${limit}`);
  return {
    columns,
    extent: async (column) => {
      const value = column.scale === "time" ? timeSql(column) : numberSql(column);
      const [row] = await select(
        `pg_catalog.count(*) AS rows, pg_catalog.min(${value}) AS least, pg_catalog.max(${value}) AS greatest`,
        "",
      );
      const [min, max] = ["least", "greatest"].map((name) => readValue(row![name], column) as number | null);
      return { rows: Number(row!["rows"]), min: min!, max: max! };
    },
    groups: async (keys, measure, limit) => {
      const value = `${measureSql(measure)} AS value`;
      const { rows, total } = await grouped(keys, [value], ["value DESC NULLS LAST", ...keyNames(keys)], limit);
      return { groups: rows.map((row) => toGroup(row, keys)), total };
    },
    boxes: async (keys, column, limit) => {
      const { rows, total } = await grouped(keys, boxSql(column), ["rows DESC", ...keyNames(keys)], limit);
      return { boxes: rows.map((row) => toBox(row, keys)), total };
    },
    points: (drawn, limit) => selectPoints(select, drawn, limit),
  };
}

/** Runs a SELECT on the query's rows. The texts `before` and `after` surround the statement, to make a subquery of it. */
type Select = (
  expressions: string,
  clauses: string,
  options?: { values?: readonly WireValue[]; before?: string; after?: string },
) => Promise<QueryRow[]>;

async function selectGroups(
  select: Select,
  { selected, grouped, where, values }: KeysSql,
  computed: readonly string[],
  order: string,
) {
  const counts = ["pg_catalog.count(*) AS rows", "pg_catalog.count(*) OVER () AS total"];
  const groupBy = grouped.length === 0 ? "" : `GROUP BY ${grouped.join(", ")}`;
  const rows = await select([...selected, ...computed, ...counts].join(", "), `${where} ${groupBy} ${order}`, {
    values,
  });
  return { rows, total: Number(rows[0]?.["total"] ?? 0) };
}

function selectPoints(select: Select, drawn: readonly PlotColumn[], limit: number): Promise<Points> {
  const list = drawn.map((column, index) => `${valueSql(column)} AS v${index}`).join(", ");
  return readPoints(limit, {
    first: (rows) => select(list, `LIMIT ${rows}`),
    count: async () => Number((await select("pg_catalog.count(*) AS rows", ""))[0]!["rows"]),
    sample: (total) => {
      const isChosen = `((n.place OPERATOR(pg_catalog.*) ${SPREAD}) OPERATOR(pg_catalog.%) 4294967296)
        OPERATOR(pg_catalog.<) ${Math.ceil((limit / total) * 2 ** 32)}`;
      return select(`${list}, pg_catalog.row_number() OVER () OPERATOR(pg_catalog.-) 1 AS place`, "", {
        before: "SELECT * FROM (",
        after: `) AS n WHERE ${isChosen} LIMIT ${limit}`,
      });
    },
    values: (row: QueryRow) => drawn.map((column, index) => readValue(row[`v${index}`], column)),
  });
}

/** The SQL for keys. */
interface KeysSql {
  /** The expressions to select. Texts are cut here, after grouping, and not for each row. */
  selected: string[];
  /** The expressions to group by. */
  grouped: string[];
  /** The condition that leaves rows out. */
  where: string;
  /** The texts to keep, as parameters after those of the query. */
  values: WireValue[];
}

/** Writes the SQL for keys. @param parameters The number of the query's own parameters. */
function keysSql(keys: readonly Key[], parameters: number): KeysSql {
  const values: WireValue[] = [];
  const where: string[] = [];
  const grouped = keys.map((key) => {
    if (key.keep !== undefined) values.push(encodeParameter([...key.keep.texts], 0).value);
    const sql = keySql(key, `$${parameters + values.length}`);
    if (key.keep?.rest === "drop") where.push(`${sql} IS NOT NULL`);
    return sql;
  });
  const selected = grouped.map((sql, index) => {
    const { scale, keep } = keys[index]!;
    return `${
      scale === "text" && keep === undefined ? `pg_catalog.left(${sql}, ${MAX_TEXT_LENGTH})` : sql
    } AS k${index}`;
  });
  return { selected, grouped, values, where: where.length === 0 ? "" : `WHERE ${where.join(" AND ")}` };
}

function keyNames(keys: readonly Key[]): string[] {
  return keys.map((_, index) => `k${index}`);
}

function valueSql(column: PlotColumn): string {
  if (column.scale === "number") return numberSql(column);
  return column.scale === "time"
    ? timeSql(column)
    : `pg_catalog.left(${keySql({ column, scale: "text" }, "")}, ${MAX_TEXT_LENGTH})`;
}

function readValue(value: unknown, { scale }: Pick<PlotColumn, "scale">): PlotValue {
  return value === null || scale !== "time" ? value as PlotValue : timeValue(value);
}

function readKey(value: unknown, { scale, keep }: Key): PlotValue | typeof OTHER {
  return keep === undefined ? readValue(value, { scale }) : keptText(value, keep.texts);
}

function toGroup(row: QueryRow, keys: readonly Key[]): Group {
  return {
    keys: keys.map((key, index) => readKey(row[`k${index}`], key)),
    value: numberValue(row["value"]),
    rows: Number(row["rows"]),
  };
}

function toBox(row: QueryRow, keys: readonly Key[]): Box {
  const [marks, rows] = [row["marks"] as number[] | null, Number(row["rows"])];
  return {
    keys: keys.map((key, index) => readKey(row[`k${index}`], key)),
    marks: marks === null || marks.includes(null as never) ? null : marks,
    rows,
    empty: rows - Number(row["filled"]),
  };
}

// The SQL names columns by position, such as `q.c1`, so that it contains no name of a column.

/**
 * A number as `float8`; NULL for a number without a position on an axis, and 0 for a number that is nearly 0. A plain cast, and
 * the arithmetic of axes, would fail for a `numeric` that is too large or too small.
 */
function numberSql(column: PlotColumn): string {
  const value = `q.c${column.position}`;
  if (isWhole(column)) return `${value}::pg_catalog.float8`;
  return `CASE WHEN pg_catalog.abs(${value}) OPERATOR(pg_catalog.>) ${MAX_NUMBER} THEN NULL
    WHEN pg_catalog.abs(${value}) OPERATOR(pg_catalog.<) ${MIN_NUMBER} THEN 0 ELSE ${value}::pg_catalog.float8 END`;
}

/** A time as `timestamp` in UTC; NULL for years that JavaScript and charts can't write. */
function timeSql({ type, position }: PlotColumn): string {
  const value = `q.c${position}`;
  const zone = type === "timestamptz" ? "+00" : "";
  const isDrawable = `${value} OPERATOR(pg_catalog.>=) '0001-01-02 00:00${zone}'::pg_catalog.${type}
    AND ${value} OPERATOR(pg_catalog.<=) '9999-12-30 00:00${zone}'::pg_catalog.${type}`;
  return `CASE WHEN ${isDrawable} THEN ${
    type === "timestamptz" ? `${value} AT TIME ZONE 'UTC'` : `${value}::pg_catalog.timestamp`
  } END`;
}

/** Any value as text. Times are in UTC. */
function textSql({ type, position, builtIn }: PlotColumn): string {
  const value = `q.c${position}`;
  if (!builtIn) return outputSql(value);
  return type === "timestamptz"
    ? `((${value} AT TIME ZONE 'UTC')::pg_catalog.text
      OPERATOR(pg_catalog.||) CASE WHEN pg_catalog.isfinite(${value}) THEN 'Z' ELSE '' END)`
    : `${value}::pg_catalog.text`;
}

/**
 * The expression that groups the rows.
 *
 * @param kept The parameter with the texts to keep.
 */
function keySql({ column, scale, bins, unit, keep }: Key, kept: string): string {
  if (keep !== undefined) {
    return `pg_catalog.array_position(${kept}::pg_catalog.text[], pg_catalog.left(${
      textSql(column)
    }, ${MAX_TEXT_LENGTH}))`;
  }
  if (scale === "text") return `(${textSql(column)}) COLLATE pg_catalog."C"`;
  if (scale === "time") {
    return unit === undefined ? timeSql(column) : `pg_catalog.date_trunc('${unit}', ${timeSql(column)})`;
  }
  if (bins === undefined) return numberSql(column);
  return `pg_catalog.width_bucket(${numberSql(column)}, '{${
    bins.slice(1, -1).join(",")
  }}'::pg_catalog.float8[]) OPERATOR(pg_catalog.+) 1`;
}

/** The expressions of a box. */
function boxSql(column: PlotColumn): string[] {
  const value = numberSql(column);
  return [
    `pg_catalog.percentile_cont(ARRAY[0, 0.25, 0.5, 0.75, 1]::pg_catalog.float8[]) WITHIN GROUP (ORDER BY ${value}) AS marks`,
    `pg_catalog.count(${value}) AS filled`,
  ];
}

/** The expression of a measure. */
function measureSql({ aggregate, column }: Measure): string {
  if (column === undefined) return "pg_catalog.count(*)";
  const value = `q.c${column.position}`;
  const filter = column.type.startsWith("float")
    ? ` FILTER (WHERE pg_catalog.abs(${value}) OPERATOR(pg_catalog.<=) ${MAX_NUMBER})`
    : ""; // one NaN would make the result NaN
  switch (aggregate) {
    case "median":
      return `pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY ${numberSql(column)})`;
    case "stddev":
      return `pg_catalog.stddev_samp(${value})${filter}`;
    case "count":
      return `pg_catalog.count(${value})`;
    default:
      return `pg_catalog.${aggregate}(${value})${filter}`;
  }
}
