import type { DescribedField } from "./description.ts";

/** {@linkcode TABLE_COLUMNS} as it comes. */
export type TableColumns = [name: string, oid: number, modifier: number][] | null;

/**
 * The columns of a `pg_class` row `c`, for {@linkcode describedColumns}; NULL where a type is a domain, of which a query's
 * description says the type below.
 */
export const TABLE_COLUMNS = `(SELECT CASE WHEN pg_catalog.bool_or(t.typtype OPERATOR(pg_catalog.=) 'd') THEN NULL ELSE
    pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.atttypmod) ORDER BY a.attnum) END
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
  WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped)`;

/** The columns as a query's description would have them; `undefined` where they are not known. */
export function describedColumns(columns: TableColumns): DescribedField[] | undefined {
  return columns?.map(([name, dataTypeID, dataTypeModifier]) => ({ name, dataTypeID, dataTypeModifier }));
}
