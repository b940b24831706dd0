import { brackets, type Source } from "../explore/source.ts";
import { encodeParameter, type WireValue } from "../query/parameter.ts";
import { type FindSession, run } from "../query/run.ts";
import { parserSource } from "../query/types.ts";
import type { PlotColumn } from "./column.ts";
import { keySql, measureSql, numberSql, timeSql } from "./expressions.ts";
import type { Measure } from "./measure.ts";
import { type Box, type Group, type Key, OTHER, type PlotSource, type PlotValue, SPREAD } from "./source.ts";
import { LONGEST, timeValue } from "./value.ts";

const TYPES = parserSource({ numeric: Number, int8: Number });

/**
 * The data of a chart, computed by the database: what crosses the wire is what is drawn.
 *
 * @param find Where; all statements of a chart see one state of the database.
 * @param source The query.
 * @param columns Its columns.
 */
export function sqlSource(find: FindSession, source: Source, columns: readonly PlotColumn[]): PlotSource {
  const alias = `q(${columns.map(({ position }) => `c${position}`).join(", ")})`;
  const [open, close] = brackets(source);
  const ask = async (select: string, rest: string, values: readonly WireValue[] = [], [before, after] = ["", ""]) => {
    const statement = {
      prefix: `${before}SELECT ${select} FROM ${open}`,
      text: `${source.text}${close} AS ${alias} ${rest}${after}`,
      values: [...source.values, ...values],
    };
    return await run<Row>(find, statement, { types: TYPES, single: true });
  };
  const grouped = async (keys: readonly Key[], select: readonly string[], order: string, most: number) => {
    const { expressions, where, values } = keysSql(keys, source.values.length);
    const names = keys.map((_, index) => `k${index}`);
    const shown = expressions.map((key, index) => `${isCut(keys[index]!) ? `left(${key}, ${LONGEST})` : key} AS k${index}`);
    const list = [...shown, ...select, "count(*) AS rows", "count(*) OVER () AS of"];
    const rows = await ask(
      list.join(", "),
      `${where} ${names.length === 0 ? "" : `GROUP BY ${expressions.join(", ")}`} ` +
        `ORDER BY ${[order, ...names].join(", ")} LIMIT ${most}`,
      values,
    );
    return { rows, of: Number(rows[0]?.["of"] ?? 0) };
  };
  return {
    columns,
    extent: async (column) => {
      const value = column.scale === "time" ? timeSql(column) : numberSql(column);
      const [row] = await ask(`count(*) AS rows, min(${value}) AS least, max(${value}) AS greatest`, "");
      return { rows: Number(row!["rows"]), min: read(row!["least"], column), max: read(row!["greatest"], column) };
    },
    groups: async (keys, measure, most) => {
      const { rows, of } = await grouped(keys, [`${measureSql(measure)} AS value`], "value DESC NULLS LAST", most);
      return { groups: rows.map((row) => toGroup(row, keys)), of };
    },
    boxes: async (keys, column, most) => {
      const value = numberSql(column);
      const quartiles = `percentile_cont(ARRAY[0, 0.25, 0.5, 0.75, 1]::float8[]) WITHIN GROUP (ORDER BY ${value}) AS marks`;
      const { rows, of } = await grouped(keys, [quartiles, `count(${value}) AS filled`], "rows DESC", most);
      return { boxes: rows.map((row) => toBox(row, keys)), of };
    },
    points: async (wanted, most) => {
      const list = wanted.map((column, index) => `${valueSql(column)} AS v${index}`).join(", ");
      const values = (row: Row) => wanted.map((column, index) => read(row[`v${index}`], column));
      const all = await ask(list, `LIMIT ${most + 1}`);
      if (all.length <= most) return { rows: all.map(values), of: all.length };
      const of = Number((await ask("count(*) AS rows", ""))[0]!["rows"]);
      const numbered = ["SELECT * FROM (", `) AS n WHERE (n.place * ${SPREAD}) % 4294967296 < ${Math.ceil((most / of) * 2 ** 32)} LIMIT ${most}`];
      const some = await ask(`${list}, row_number() OVER () - 1 AS place`, "", [], numbered as [string, string]);
      return { rows: some.map(values), of };
    },
  };
}

type Row = Record<string, unknown>;

/** The keys as SQL, what rows they leave out, and the texts they keep as parameters behind those of the query. */
function keysSql(keys: readonly Key[], before: number) {
  const values: WireValue[] = [];
  const where: string[] = [];
  const expressions = keys.map((key) => {
    if (key.keep !== undefined) values.push(encodeParameter([...key.keep.texts], 0).value);
    const sql = keySql(key, `$${before + values.length}`);
    if (key.keep?.rest === "drop") where.push(`${sql} IS NOT NULL`);
    return sql;
  });
  return { expressions, values, where: where.length === 0 ? "" : `WHERE ${where.join(" AND ")}` };
}

/** A text is cut once it is grouped, which costs nothing for each row. */
function isCut({ scale, keep }: Key): boolean {
  return scale === "text" && keep === undefined;
}

function valueSql(column: PlotColumn): string {
  if (column.scale === "number") return numberSql(column);
  return column.scale === "time" ? timeSql(column) : `left(${keySql({ column, scale: "text" }, "")}, ${LONGEST})`;
}

function read(value: unknown, { scale }: Pick<PlotColumn, "scale">): number | null;
function read(value: unknown, { scale }: Pick<PlotColumn, "scale">): PlotValue {
  if (value === null || scale !== "time") return value as PlotValue;
  return timeValue(value);
}

function readKey(value: unknown, { scale, keep }: Key): PlotValue | typeof OTHER {
  if (keep === undefined) return read(value, { scale });
  return value === null ? OTHER : keep.texts[Number(value) - 1] ?? null;
}

function toGroup(row: Row, keys: readonly Key[]): Group {
  const value = row["value"] === null ? NaN : Number(row["value"]);
  return {
    keys: keys.map((key, index) => readKey(row[`k${index}`], key)),
    value: Number.isFinite(value) ? value : null,
    rows: Number(row["rows"]),
  };
}

function toBox(row: Row, keys: readonly Key[]): Box {
  const [marks, rows] = [row["marks"] as number[] | null, Number(row["rows"])];
  return {
    keys: keys.map((key, index) => readKey(row[`k${index}`], key)),
    marks: marks === null || marks.includes(null as never) ? null : marks,
    ...{ rows, empty: rows - Number(row["filled"]) },
  };
}
