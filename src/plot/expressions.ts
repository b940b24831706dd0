import { outputSql } from "../explore/statistics_sql.ts";
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
  if (isWhole(column)) return `${value}::pg_catalog.float8`;
  return `CASE WHEN pg_catalog.abs(${value}) OPERATOR(pg_catalog.>) ${LARGEST} THEN NULL
    WHEN pg_catalog.abs(${value}) OPERATOR(pg_catalog.<) ${SMALLEST} THEN 0 ELSE ${value}::pg_catalog.float8 END`;
}

/** A point in time as `timestamp` in UTC; NULL outside the years that JavaScript and charts have a form of. */
export function timeSql({ type, position }: PlotColumn): string {
  const value = `q.c${position}`;
  const zone = type === "timestamptz" ? "+00" : "";
  const within = `${value} OPERATOR(pg_catalog.>=) '0001-01-02 00:00${zone}'::pg_catalog.${type}
    AND ${value} OPERATOR(pg_catalog.<=) '9999-12-30 00:00${zone}'::pg_catalog.${type}`;
  return `CASE WHEN ${within} THEN ${
    type === "timestamptz" ? `${value} AT TIME ZONE 'UTC'` : `${value}::pg_catalog.timestamp`
  } END`;
}

/** Any value as text, a time in UTC. */
function textSql({ type, position, builtIn }: PlotColumn): string {
  const value = `q.c${position}`;
  if (!builtIn) return outputSql(value);
  return type === "timestamptz"
    ? `((${value} AT TIME ZONE 'UTC')::pg_catalog.text
      OPERATOR(pg_catalog.||) CASE WHEN pg_catalog.isfinite(${value}) THEN 'Z' ELSE '' END)`
    : `${value}::pg_catalog.text`;
}

/**
 * What rows are grouped by.
 *
 * @param key The key.
 * @param kept The parameter that holds the texts to keep.
 */
export function keySql({ column, scale, bins, unit, keep }: Key, kept: string): string {
  if (keep !== undefined) {
    return `pg_catalog.array_position(${kept}::pg_catalog.text[], pg_catalog.left(${textSql(column)}, ${LONGEST}))`;
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

/** What is computed of a group. */
export function measureSql({ aggregate, column }: Measure): string {
  if (column === undefined) return "pg_catalog.count(*)";
  const value = `q.c${column.position}`;
  const filter = column.type.startsWith("float")
    ? ` FILTER (WHERE pg_catalog.abs(${value}) OPERATOR(pg_catalog.<=) ${LARGEST})`
    : ""; // one NaN would be the result
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
