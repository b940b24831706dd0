import { parsePattern } from "../catalog/names.ts";
import {
  type ExploreOptions,
  IS_USERS,
  KIND,
  kindIs,
  queryCatalog,
  ROWS,
  SIZE,
  type TableKind,
} from "../catalog/relation.ts";
import { countText, sizeText } from "../core/text.ts";
import { elapsedText, type TableOptions } from "../draw/table.ts";
import { checkCall } from "../sql/options.ts";
import { OUTCOME } from "../sql/result.ts";
import type { FindSession } from "../sql/run.ts";
import { fieldsFor, type ListingParts } from "./listing.ts";

export type { TableKind };

/** One row of `tables()`. */
export interface TableInfo {
  /** The table's schema. */
  schema: string;
  /** The table's name. */
  name: string;
  /** The kind of table. */
  kind: TableKind;
  /** The rows, as estimated by the last analyze; `null` if the table was never analyzed, and for views. */
  rows: number | null;
  /** The size in bytes, with indexes, TOAST and partitions; `null` for views and foreign tables. */
  size: number | null;
  /** The table's comment; `null` if there is none. */
  comment: string | null;
}

const TABLES = `SELECT n.nspname AS schema, c.relname AS name, ${KIND} AS kind, ${ROWS} AS rows, ${SIZE} AS size,
  pg_catalog.obj_description(c.oid, 'pg_class') AS comment
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE ${kindIs("r", "p", "v", "m", "f")} AND CASE WHEN $1::pg_catalog.text[] IS NULL THEN ${IS_USERS}
    ELSE n.nspname::pg_catalog.text OPERATOR(pg_catalog.~~) ANY ($1) END
  AND CASE WHEN $2::pg_catalog.text[] IS NULL THEN NOT c.relispartition
    ELSE c.relname::pg_catalog.text OPERATOR(pg_catalog.~~) ANY ($2) END
  ORDER BY 1, 2`;

const TABLE_FIELDS = fieldsFor({
  schema: "text",
  name: "text",
  kind: "text",
  rows: "int8",
  size: "int8",
  comment: "text",
});

/** Lists tables, views and the like from the catalog in one round trip; see `Lakebase.tables`. */
export async function listTables(
  find: FindSession,
  pattern: string,
  options: ExploreOptions,
): Promise<ListingParts<TableInfo>> {
  checkCall("list the tables", options, {});
  const { schema, name } = parsePattern(pattern);
  const found = await queryCatalog<TableInfo>(find, TABLES, [schema, name], options);
  const { elapsed } = found[OUTCOME];
  return { rows: found, fields: TABLE_FIELDS, elapsed, facts: {}, draw: (rows) => drawTables(rows, elapsed) };
}

function drawTables(rows: readonly TableInfo[], elapsed: number): TableOptions {
  return {
    columns: TABLE_FIELDS,
    rows: rows.map(({ schema, name, kind, rows, size, comment }) => [
      ...[schema, name, kind],
      ...[rows?.toLocaleString("en-US") ?? "", size === null ? "" : sizeText(size), comment ?? ""],
    ]),
    footer: `${countText(rows.length, "table")}, ${elapsedText(elapsed)}`,
  };
}

/** One row of `schemas()`. */
export interface SchemaInfo {
  /** The schema's name. */
  name: string;
  /** The role that owns the schema. */
  owner: string;
  /** The number of tables, including foreign tables; a partitioned table counts once. */
  tables: number;
  /** The number of views, including materialized views. */
  views: number;
  /** The size in bytes of the tables and materialized views, with their indexes and TOAST. */
  size: number;
  /** The schema's comment; `null` if there is none. */
  comment: string | null;
}

const SCHEMAS = `SELECT n.nspname AS name, pg_catalog.pg_get_userbyid(n.nspowner) AS owner,
  pg_catalog.count(*) FILTER (WHERE ${kindIs("r", "p", "f")} AND NOT c.relispartition) AS tables,
  pg_catalog.count(*) FILTER (WHERE ${kindIs("v", "m")}) AS views,
  coalesce(pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid)) FILTER (WHERE ${kindIs("r", "m")}), 0)
    ::pg_catalog.int8 AS size,
  pg_catalog.obj_description(n.oid, 'pg_namespace') AS comment
  FROM pg_catalog.pg_namespace AS n LEFT JOIN pg_catalog.pg_class AS c
    ON c.relnamespace OPERATOR(pg_catalog.=) n.oid AND ${kindIs("r", "p", "f", "v", "m")}
  WHERE ${IS_USERS} GROUP BY n.oid, n.nspname, n.nspowner ORDER BY 1`;

const SCHEMA_FIELDS = fieldsFor({
  name: "text",
  owner: "text",
  tables: "int8",
  views: "int8",
  size: "int8",
  comment: "text",
});

/** Lists schemas from the catalog in one round trip; see `Lakebase.schemas`. */
export async function listSchemas(find: FindSession, options: ExploreOptions): Promise<ListingParts<SchemaInfo>> {
  checkCall("list the schemas", options, {});
  const found = await queryCatalog<SchemaInfo>(find, SCHEMAS, [], options);
  const { elapsed } = found[OUTCOME];
  return { rows: found, fields: SCHEMA_FIELDS, elapsed, facts: {}, draw: (rows) => drawSchemas(rows, elapsed) };
}

function drawSchemas(rows: readonly SchemaInfo[], elapsed: number): TableOptions {
  return {
    columns: SCHEMA_FIELDS,
    rows: rows.map(({ name, owner, tables, views, size, comment }) => [
      ...[name, owner, tables, views, sizeText(size), comment ?? ""],
    ]),
    footer: `${countText(rows.length, "schema")}, ${elapsedText(elapsed)}`,
  };
}
