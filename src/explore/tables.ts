import { elapsedText, type TableOptions } from "../notebook/table.ts";
import { checkCall } from "../query/options.ts";
import type { FindSession } from "../query/run.ts";
import { type ExploreOptions, IS_USERS, KIND, kindIs, look, ROWS, SIZE } from "./look.ts";
import { fieldsFor, type Listing, makeListing } from "./listing.ts";
import { parsePattern } from "./pattern.ts";
import { countText, sizeText } from "../amount_text.ts";

/** What keeps or shows rows under a name. */
export type TableKind = "table" | "partitioned table" | "view" | "materialized view" | "foreign table";

/** One row of `tables()`. */
export interface TableInfo {
  /** The schema that it is in. */
  schema: string;
  /** Its name. */
  name: string;
  /** What it is. */
  kind: TableKind;
  /** Its rows, as estimated when it was last analyzed; `null` where that never was, and for views. */
  rows: number | null;
  /** Its bytes, with its indexes, TOAST and partitions; `null` for views and foreign tables. */
  size: number | null;
  /** Its comment. */
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

const FIELDS = fieldsFor({ schema: "text", name: "text", kind: "text", rows: "int8", size: "int8", comment: "text" });

/** Lists tables, views and the like, from the catalogue alone, in one round trip; see `Lakebase.tables`. */
export async function listTables(
  find: FindSession,
  pattern: string,
  options: ExploreOptions,
): Promise<Listing<TableInfo>> {
  checkCall("list the tables", options, {});
  const { schema, name } = parsePattern(pattern);
  const found = await look<TableInfo>(find, TABLES, [schema, name], options);
  const { elapsed } = found;
  return makeListing({ rows: [...found], fields: FIELDS, elapsed, draw: (rows) => drawTables(rows, elapsed) }, {});
}

function drawTables(rows: readonly TableInfo[], elapsed: number): TableOptions {
  return {
    columns: FIELDS,
    rows: rows.map(({ schema, name, kind, rows, size, comment }) => [
      ...[schema, name, kind],
      ...[rows?.toLocaleString("en-US") ?? "", size === null ? "" : sizeText(size), comment ?? ""],
    ]),
    footer: `${countText(rows.length, "table")}, ${elapsedText(elapsed)}`,
  };
}
