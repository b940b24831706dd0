import { elapsedText, type TableOptions } from "../notebook/table.ts";
import { checkCall } from "../query/options.ts";
import type { FindSession } from "../query/run.ts";
import { type ExploreOptions, IS_USERS, kindIs, look } from "./look.ts";
import { fieldsFor, type Listing, makeListing } from "./listing.ts";
import { countText, sizeText } from "../amount_text.ts";

/** One row of `schemas()`. */
export interface SchemaInfo {
  /** Its name. */
  name: string;
  /** The role that owns it. */
  owner: string;
  /** How many tables are in it, foreign ones too; a partitioned table counts once. */
  tables: number;
  /** How many views are in it, materialized ones too. */
  views: number;
  /** The bytes of its tables and materialized views, with their indexes and TOAST. */
  size: number;
  /** Its comment. */
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

const FIELDS = fieldsFor({ name: "text", owner: "text", tables: "int8", views: "int8", size: "int8", comment: "text" });

/** Lists schemas, from the catalogue alone, in one round trip; see `Lakebase.schemas`. */
export async function listSchemas(find: FindSession, options: ExploreOptions): Promise<Listing<SchemaInfo>> {
  checkCall("list the schemas", options, {});
  const found = await look<SchemaInfo>(find, SCHEMAS, [], options);
  const { elapsed } = found;
  return makeListing({ rows: [...found], fields: FIELDS, elapsed, draw: (rows) => drawSchemas(rows, elapsed) }, {});
}

function drawSchemas(rows: readonly SchemaInfo[], elapsed: number): TableOptions {
  return {
    columns: FIELDS,
    rows: rows.map(({ name, owner, tables, views, size, comment }) => [
      ...[name, owner, tables, views, sizeText(size), comment ?? ""],
    ]),
    footer: `${countText(rows.length, "schema")}, ${elapsedText(elapsed)}`,
  };
}
