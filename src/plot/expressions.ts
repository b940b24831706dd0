import { isWhole, type PlotColumn } from "./column.ts";
import type { Measure } from "./measure.ts";
import type { Key } from "./source.ts";
import { LARGEST, LONGEST, SMALLEST } from "./value.ts";

// Columns go by their place, `q.c1`, so that no name is ever part of the text.

/**
 * A number as `float8`; NULL for what has no place on an axis, 0 for what is as good as that. A plain cast fails where a
 * `numeric` is too large or too small, and so does the arithmetic of axes.
 */
export function numberSql(column: PlotColumn): string {
  const value = `q.c${column.position}`;
  if (isWhole(column)) return `${value}::float8`;
  return `CASE WHEN abs(${value}) > ${LARGEST} THEN NULL WHEN abs(${value}) < ${SMALLEST} THEN 0 ELSE ${value}::float8 END`;
}

/** A point in time as `timestamp` in UTC; NULL outside the years that JavaScript and charts have a form of. */
export function timeSql({ type, position }: PlotColumn): string {
  const value = `q.c${position}`;
  const zone = type === "timestamptz" ? "+00" : "";
  const within = `${value} BETWEEN '0001-01-02 00:00${zone}'::${type} AND '9999-12-30 00:00${zone}'::${type}`;
  return `CASE WHEN ${within} THEN ${
    type === "timestamptz" ? `${value} AT TIME ZONE 'UTC'` : `${value}::timestamp`
  } END`;
}

/** Any value as text, a time in UTC. */
function textSql({ type, position }: PlotColumn): string {
  const value = `q.c${position}`;
  return type === "timestamptz"
    ? `((${value} AT TIME ZONE 'UTC')::text || CASE WHEN isfinite(${value}) THEN 'Z' ELSE '' END)`
    : `${value}::text`;
}

/**
 * What rows are grouped by.
 *
 * @param key The key.
 * @param kept The parameter that holds the texts to keep.
 */
export function keySql({ column, scale, bins, unit, keep }: Key, kept: string): string {
  if (keep !== undefined) return `array_position(${kept}::text[], left(${textSql(column)}, ${LONGEST}))`;
  if (scale === "text") return `${textSql(column)} COLLATE "C"`;
  if (scale === "time") return unit === undefined ? timeSql(column) : `date_trunc('${unit}', ${timeSql(column)})`;
  if (bins === undefined) return numberSql(column);
  return `width_bucket(${numberSql(column)}, '{${bins.slice(1, -1).join(",")}}'::float8[]) + 1`;
}

/** What is computed of a group. */
export function measureSql({ aggregate, column }: Measure): string {
  if (column === undefined) return "count(*)";
  const value = `q.c${column.position}`;
  const filter = column.type.startsWith("float") ? ` FILTER (WHERE abs(${value}) <= ${LARGEST})` : ""; // one NaN would be the result
  switch (aggregate) {
    case "median":
      return `percentile_cont(0.5) WITHIN GROUP (ORDER BY ${numberSql(column)})`;
    case "stddev":
      return `stddev_samp(${value})${filter}`;
    case "count":
      return `count(${value})`;
    default:
      return `${aggregate}(${value})${filter}`;
  }
}
