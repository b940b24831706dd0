import { Fragment } from "../sql/fragment.ts";
import type { Field } from "../sql/result.ts";
import {
  type Box,
  type Group,
  keptText,
  type Key,
  MAX_NUMBER,
  MAX_TEXT_LENGTH,
  type Measure,
  numberValue,
  type PlotColumn,
  type PlotSource,
  type PlotValue,
  type QueryRow,
  readPoints,
  timeValue,
} from "./source.ts";

/** Runs a query in a SQL warehouse, and returns its rows. */
export type QueryWarehouse = (query: Fragment) => Promise<WarehouseRows>;

type WarehouseRows = readonly QueryRow[] & { readonly fields: readonly Field[] };

/** SQL with bound values. */
function sql(strings: TemplateStringsArray, ...values: unknown[]): Fragment {
  return new Fragment(strings, values);
}

function raw(text: string): Fragment {
  return new Fragment([text], []);
}

function join(items: readonly Fragment[], separator = ", "): Fragment {
  return new Fragment(["", ...items.slice(1).map(() => separator), ""], items);
}

/** The columns of a query. */
export async function columnsInWarehouse(
  queryWarehouse: QueryWarehouse,
  query: Fragment,
): Promise<readonly Field[]> {
  return (await queryWarehouse(sql`SELECT * FROM (${query}) AS q LIMIT 0`)).fields;
}

/**
 * Computes the data of a chart in a SQL warehouse. Only values that are drawn are fetched. The SQL uses what Spark and Postgres
 * have in common, so that the local warehouse can test it. Unlike the statements for Postgres, these statements may see different
 * states of the tables.
 *
 * @param queryWarehouse Runs a query.
 * @param query The query.
 * @param columns The columns of the query.
 */
export function warehouseSource(
  queryWarehouse: QueryWarehouse,
  query: Fragment,
  columns: readonly PlotColumn[],
): PlotSource {
  const from = sql`FROM (${query}) AS q(${raw(columns.map(({ position }) => `c${position}`).join(", "))})`;
  const select: WarehouseSelect = (expressions, clauses) =>
    queryWarehouse(sql`SELECT ${join(expressions)} ${from} ${clauses}`);
  return {
    columns,
    extent: async (column) => {
      const value = valueSql(column);
      const expressions = ["count(*) AS n_rows", `min(${value}) AS least`, `max(${value}) AS greatest`];
      const [row] = await select(expressions.map(raw), raw(""));
      const [min, max] = ["least", "greatest"].map((name) => readValue(row![name], column) as number | null);
      return { rows: Number(row!["n_rows"]), min: min!, max: max! };
    },
    groups: async (keys, measure, limit) => {
      const value = raw(`${measureSql(measure)} AS v`);
      const { rows, total } = await selectGroups(select, keys, [value], "v DESC NULLS LAST", limit);
      const groups = rows.map((row) => ({
        keys: readKeys(row, keys),
        value: numberValue(row["v"]),
        rows: Number(row["n_rows"]),
      }));
      return { groups, total };
    },
    boxes: async (keys, column, limit) => {
      const { rows, total } = await selectGroups(select, keys, boxSql(column), "n_rows DESC", limit);
      return { boxes: rows.map((row) => toBox(row, keys)), total };
    },
    points: (drawn, limit) => {
      const expressions = drawn.map((column, index) => raw(`${pointSql(column)} AS v${index}`));
      return readPoints<QueryRow>(limit, {
        first: (rows) => select(expressions, sql`LIMIT ${rows}`),
        count: async () => Number((await select([raw("count(*) AS n_rows")], raw("")))[0]!["n_rows"]),
        sample: (total) => select(expressions, sql`WHERE random() < ${limit / total} LIMIT ${limit}`),
        values: (row) => drawn.map((column, index) => readValue(row[`v${index}`], column)),
      });
    },
  };
}

/** Runs a SELECT on the query's rows. */
type WarehouseSelect = (expressions: readonly Fragment[], clauses: Fragment) => Promise<WarehouseRows>;

/** Selects the first groups in an order, with the computed expressions of each. */
async function selectGroups(
  select: WarehouseSelect,
  keys: readonly Key[],
  computed: readonly Fragment[],
  order: string,
  limit: number,
): Promise<{ rows: WarehouseRows; total: number }> {
  const selectedKeys = keys.map((key, index) => sql`${keySql(key)} AS ${raw(`k${index}`)}`);
  const counts = ["count(*) AS n_rows", "count(*) OVER () AS n_groups"].map(raw);
  const conditions = keys.filter(({ keep }) => keep?.rest === "drop").map((key) => sql`${keySql(key)} IS NOT NULL`);
  const where = conditions.length === 0 ? raw("") : sql`WHERE ${join(conditions, " AND ")}`;
  const groupBy = keys.length === 0 ? "" : `GROUP BY ${keys.map((_, index) => index + 1).join(", ")} `;
  const orderBy = [order, ...keys.map((_, index) => `k${index}`)].join(", ");
  const rows = await select(
    [...selectedKeys, ...computed, ...counts],
    sql`${where} ${raw(`${groupBy}ORDER BY ${orderBy} LIMIT ${limit}`)}`,
  );
  return { rows, total: Number(rows[0]?.["n_groups"] ?? 0) };
}

/** A number or a time; NULL for a number without a position on an axis. NaN is greater than every number. */
function valueSql({ type, position }: PlotColumn): string {
  const value = `q.c${position}`;
  if (type === "date") return `CAST(${value} AS timestamp)`;
  return type.startsWith("float") ? `CASE WHEN abs(${value}) <= ${MAX_NUMBER} THEN ${value} END` : value;
}

/** Any value as text. `concat` is the only cast to text with the same name in Spark and Postgres. */
function textSql({ type, position }: PlotColumn): string {
  const value = `q.c${position}`;
  if (type === "bool") return `CASE WHEN ${value} THEN 'true' WHEN NOT ${value} THEN 'false' END`;
  return `CASE WHEN ${value} IS NOT NULL THEN left(concat(${value}, ''), ${MAX_TEXT_LENGTH}) END`;
}

function pointSql(column: PlotColumn): string {
  return column.scale === "text" ? textSql(column) : valueSql(column);
}

/** The expression that groups the rows. */
function keySql({ column, scale, bins, unit, keep }: Key): Fragment {
  if (keep !== undefined) {
    const text = textSql(column);
    const cases = keep.texts.map((kept, index) =>
      kept === null
        ? raw(`WHEN ${text} IS NULL THEN ${index + 1}`)
        : sql`WHEN ${raw(text)} = ${kept} THEN ${raw(`${index + 1}`)}`
    );
    return cases.length === 0 ? raw("NULL") : sql`CASE ${join(cases, " ")} END`;
  }
  if (scale === "text") return raw(textSql(column));
  const value = valueSql(column);
  if (scale === "time") return raw(unit === undefined ? value : `date_trunc('${unit}', ${value})`);
  if (bins === undefined) return raw(value);
  const cases = bins.slice(1, -1).map((bound, index) => `WHEN ${value} < ${bound} THEN ${index + 1}`);
  return raw(`CASE WHEN ${value} IS NULL THEN NULL ${cases.join(" ")} ELSE ${cases.length + 1} END`);
}

/** The expression of a measure. */
function measureSql({ aggregate, column }: Measure): string {
  if (column === undefined) return "count(*)";
  if (aggregate === "count") return `count(q.c${column.position})`;
  const value = valueSql(column);
  if (aggregate === "median") return `percentile_cont(0.5) WITHIN GROUP (ORDER BY ${value})`;
  return `${aggregate === "stddev" ? "stddev_samp" : aggregate}(${value})`;
}

/** The expressions of a box. */
function boxSql(column: PlotColumn): Fragment[] {
  const value = valueSql(column);
  const quartiles = [0.25, 0.5, 0.75].map((fraction, index) =>
    `percentile_cont(${fraction}) WITHIN GROUP (ORDER BY ${value}) AS m${index + 1}`
  );
  return [`min(${value}) AS m0`, ...quartiles, `max(${value}) AS m4`, `count(${value}) AS filled`].map(raw);
}

function readValue(value: unknown, { scale }: Pick<PlotColumn, "scale">): PlotValue {
  if (scale === "text") return value === null || value === undefined ? null : String(value);
  return scale === "time" ? timeValue(value) : numberValue(value);
}

function readKeys(row: QueryRow, keys: readonly Key[]): Group["keys"] {
  return keys.map(({ scale, keep, bins }, index) => {
    const value = row[`k${index}`];
    return keep === undefined
      ? readValue(value, { scale: bins === undefined ? scale : "number" })
      : keptText(value, keep.texts);
  });
}

function toBox(row: QueryRow, keys: readonly Key[]): Box {
  const marks = [0, 1, 2, 3, 4].map((index) => numberValue(row[`m${index}`]));
  const rows = Number(row["n_rows"]);
  return {
    keys: readKeys(row, keys),
    marks: marks.includes(null) ? null : marks as number[],
    rows,
    empty: rows - Number(row["filled"]),
  };
}
