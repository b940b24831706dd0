import type { DescribedField } from "../sql/description.ts";

/** The value of {@linkcode TABLE_COLUMNS}. */
export type TableColumns = [name: string, oid: number, modifier: number][] | null;

/**
 * SQL for the columns of a `pg_class` row `c`, for {@linkcode describedColumns}. NULL if a column's type is a domain, since
 * a query's description has the base type instead.
 */
export const TABLE_COLUMNS = `(SELECT CASE WHEN pg_catalog.bool_or(t.typtype OPERATOR(pg_catalog.=) 'd') THEN NULL ELSE
    pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.atttypmod) ORDER BY a.attnum) END
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
  WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped)`;

/** Gives the columns as a query's description would; `undefined` if they are not known. */
export function describedColumns(columns: TableColumns): DescribedField[] | undefined {
  return columns?.map(([name, dataTypeID, dataTypeModifier]) => ({ name, dataTypeID, dataTypeModifier }));
}
