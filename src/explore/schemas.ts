import { elapsedText, type TableOptions } from "../notebook/table.ts";
import { checkStops } from "../query/options.ts";
import type { FindSession } from "../query/run.ts";
import { type ExploreOptions, IS_USERS, look } from "./look.ts";
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

const SCHEMAS = `SELECT n.nspname AS name, pg_get_userbyid(n.nspowner) AS owner,
  count(*) FILTER (WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition) AS tables,
  count(*) FILTER (WHERE c.relkind IN ('v', 'm')) AS views,
  coalesce(sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relkind IN ('r', 'm')), 0)::int8 AS size,
  obj_description(n.oid, 'pg_namespace') AS comment
  FROM pg_namespace AS n LEFT JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
  WHERE ${IS_USERS} GROUP BY n.oid, n.nspname, n.nspowner ORDER BY 1`;

const FIELDS = fieldsFor({ name: "text", owner: "text", tables: "int8", views: "int8", size: "int8", comment: "text" });

/** Lists schemas, from the catalogue alone, in one round trip; see `Lakebase.schemas`. */
export async function listSchemas(find: FindSession, options: ExploreOptions): Promise<Listing<SchemaInfo>> {
  checkStops(options);
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
