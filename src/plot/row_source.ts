import { binNumber, truncate } from "./bins.ts";
import {
  type Box,
  type Group,
  type Key,
  type Measure,
  numberValue,
  OTHER,
  type PlotColumn,
  type PlotSource,
  plotValue,
  type QueryRow,
  SPREAD,
} from "./source.ts";

/**
 * Computes the data of a chart from rows in memory.
 *
 * @param rows The rows.
 * @param columns The columns of the rows.
 */
export function rowSource(rows: readonly QueryRow[], columns: readonly PlotColumn[]): PlotSource {
  return {
    columns,
    extent: (column) => {
      const values = numbersOf(rows, column);
      const [min, max] = [
        values.reduce((a, b) => Math.min(a, b), Infinity),
        values.reduce((a, b) => Math.max(a, b), -Infinity),
      ];
      return Promise.resolve({ rows: rows.length, min: values.length ? min : null, max: values.length ? max : null });
    },
    groups: (keys, measure, limit) => {
      const all = groupRows(rows, keys).map(({ keys, rows }) => ({
        keys,
        rows: rows.length,
        value: computeMeasure(measure, rows),
      }));
      all.sort((a, b) => compareValues(b.value, a.value) || compareKeys(a, b));
      return Promise.resolve({ groups: all.slice(0, limit), total: all.length });
    },
    boxes: (keys, column, limit) => {
      const all = groupRows(rows, keys).map(({ keys, rows }) => toBox(keys, rows, column));
      all.sort((a, b) => b.rows - a.rows || compareKeys(a, b));
      return Promise.resolve({ boxes: all.slice(0, limit), total: all.length });
    },
    points: (drawn, limit) => {
      const threshold = Math.ceil((limit / rows.length) * 2 ** 32);
      const chosen = rows.length <= limit
        ? rows
        : rows.filter((_, index) => (Math.imul(index, SPREAD) >>> 0) < threshold).slice(0, limit);
      return Promise.resolve({
        rows: chosen.map((row) => drawn.map((column) => plotValue(row[column.name], column))),
        total: rows.length,
      });
    },
  };
}

function groupRows(rows: readonly QueryRow[], keys: readonly Key[]): { keys: Group["keys"]; rows: QueryRow[] }[] {
  const groups = new Map<string, { keys: Group["keys"]; rows: QueryRow[] }>();
  for (const row of rows) {
    const values = keys.map((key) => keyValue(row, key));
    if (values.includes(undefined)) continue;
    const id = JSON.stringify(values.map((value) => value === OTHER ? [] : value)); // no value is a list
    const group = groups.get(id);
    if (group === undefined) groups.set(id, { keys: values as Group["keys"], rows: [row] });
    else group.rows.push(row);
  }
  if (keys.length === 0 && groups.size === 0) return [{ keys: [], rows: [] }];
  return [...groups.values()];
}

/** The value of a row's key; `undefined` if the row is left out. */
function keyValue(row: QueryRow, { column, scale, bins, unit, keep }: Key): Group["keys"][number] | undefined {
  const value = plotValue(row[column.name], { type: column.type, scale });
  if (keep !== undefined && !keep.texts.includes(value as string | null)) {
    return keep.rest === "combine" ? OTHER : undefined;
  }
  if (typeof value !== "number") return value;
  return bins !== undefined ? binNumber(bins, value) : unit !== undefined ? truncate(unit, value) : value;
}

/** The values of a column that have a position on an axis. Times are in milliseconds. */
function numbersOf(rows: readonly QueryRow[], column: PlotColumn): number[] {
  return rows.map((row) => plotValue(row[column.name], column)).filter((value) => typeof value === "number");
}

function computeMeasure({ aggregate, column }: Measure, rows: readonly QueryRow[]): number | null {
  if (column === undefined) return rows.length;
  if (aggregate === "count") return rows.filter((row) => (row[column.name] ?? null) !== null).length;
  const values = numbersOf(rows, column);
  if (values.length === 0) return null;
  return numberValue(AGGREGATES[aggregate](values));
}

const AGGREGATES: Record<Exclude<Measure["aggregate"], "count">, (values: number[]) => number | null> = {
  sum,
  avg: (values) => sum(values) / values.length,
  min: (values) => values.reduce((a, b) => Math.min(a, b)),
  max: (values) => values.reduce((a, b) => Math.max(a, b)),
  median: (values) => quantile(values.toSorted((a, b) => a - b), 0.5),
  stddev: (values) => {
    if (values.length < 2) return null;
    const mean = sum(values) / values.length;
    return Math.sqrt(sum(values.map((value) => (value - mean) ** 2)) / (values.length - 1));
  },
};

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Interpolates between two values, as `percentile_cont` does. */
function quantile(sorted: readonly number[], fraction: number): number {
  const rank = fraction * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(rank)]!, sorted[Math.ceil(rank)]!];
  return low + (rank % 1) * (high - low);
}

function toBox(keys: Group["keys"], rows: readonly QueryRow[], column: PlotColumn): Box {
  const sorted = numbersOf(rows, column).sort((a, b) => a - b);
  const marks = sorted.length === 0 ? null : [0, 0.25, 0.5, 0.75, 1].map((fraction) => quantile(sorted, fraction));
  return { keys, marks, rows: rows.length, empty: rows.length - sorted.length };
}

/** Compares numbers. NULL is less than every number. */
function compareValues(a: number | null, b: number | null): number {
  return (a ?? -Infinity) < (b ?? -Infinity) ? -1 : a === b ? 0 : 1;
}

function compareKeys(a: Pick<Group, "keys">, b: Pick<Group, "keys">): number {
  for (const [index, one] of a.keys.entries()) {
    const other = b.keys[index]!;
    if (one === other) continue;
    if (one === null || one === OTHER) return 1;
    if (other === null || other === OTHER) return -1;
    return one < other ? -1 : 1;
  }
  return 0;
}
