import { partsOfName } from "../catalog/names.ts";
import { closest } from "../core/closest.ts";
import { LakebaseError } from "../core/errors.ts";
import { unquoteName } from "../core/sql_text.ts";
import { Fragment, Identifier } from "../sql/fragment.ts";

/** A table or view of a lakehouse. */
export interface LakehouseTable {
  /** The catalog. */
  catalog: string;
  /** The schema. */
  schema: string;
  /** The name. */
  name: string;
  /** The kind: `table`, `view`, `materialized view`, `streaming table`, `foreign`. */
  kind: string;
  /** The comment; `null` if there is none. */
  comment: string | null;
}

/** A schema of a lakehouse. */
export interface LakehouseSchema {
  /** The catalog. */
  catalog: string;
  /** The name. */
  name: string;
  /** The owner; `null` if it is not known. */
  owner: string | null;
  /** The comment; `null` if there is none. */
  comment: string | null;
}

/** A column of a table of a lakehouse. */
export interface LakehouseColumn {
  /** The name. */
  name: string;
  /** The type, such as `DECIMAL(10,2)`. */
  type: string;
  /** Whether the column may be NULL. */
  nullable: boolean;
  /** The default as SQL; `null` if there is none. */
  default: string | null;
  /** The comment; `null` if there is none. */
  comment: string | null;
}

/** Runs a query, and returns its rows. */
export type QueryRows = (query: Fragment) => Promise<readonly Record<string, unknown>[]>;

/** The parts of a table's name. A part that the name does not have is `undefined`. */
interface TableName {
  catalog: string | undefined;
  schema: string | undefined;
  name: string;
}

/** The maximum characters of a name. Unity Catalog allows 255 characters in each part, and quotes may double them. */
const MAX_NAME_LENGTH = 2000;

const PART = /\s*(?:`((?:[^`]|``)+)`|"((?:[^"]|"")+)"|([^`".]+))\s*/y;

/**
 * Reads a name such as `trips`, `taxi.trips` or `main.taxi.trips`. A part may be in backticks or in double quotes.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` if the text can't be such a name.
 */
export function parseTableName(text: string): TableName {
  if (typeof text !== "string" || text.length > MAX_NAME_LENGTH) throw badName(text);
  const parts = partsOfName(text, PART)?.map(([, inBackticks, quoted, bare = ""]) =>
    inBackticks?.replaceAll("``", "`") ?? (quoted === undefined ? undefined : unquoteName(quoted)) ?? bare.trim()
  );
  if (parts === undefined || parts.length > 3 || parts.includes("")) throw badName(text);
  return { catalog: parts.at(-3), schema: parts.at(-2), name: parts.at(-1)! };
}

function badName(name: unknown): LakebaseError {
  const shown = Deno.inspect(name, { depth: 1, strAbbreviateSize: 100 });
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot look for a table: its name is ${shown}; it must be like trips, taxi.trips or main.taxi.trips`,
  );
}

/** A view of the information schema of a catalog, or of the current catalog if `catalog` is `undefined`. */
function informationSchema(catalog: string | undefined, view: string): Fragment {
  return new Identifier([...(catalog === undefined ? [] : [catalog]), "information_schema", view]);
}

/** SQL with bound values. */
function sql(strings: TemplateStringsArray, ...values: unknown[]): Fragment {
  return new Fragment(strings, values);
}

/** The maximum number of tables that one call lists. */
const MAX_TABLES = 10_000;

/**
 * Lists the tables whose names match a pattern such as `taxi.trip*`. `*` means any text, and `?` any character.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` if more than 10,000 tables match, because a part of them would look like all.
 */
export async function listTables(
  queryRows: QueryRows,
  pattern: string,
  catalog: string | undefined,
): Promise<LakehouseTable[]> {
  const patterns = parseTableName(pattern);
  const inSchema = patterns.schema === undefined
    ? sql`table_schema NOT IN ('information_schema', 'pg_catalog')`
    : sql`lower(table_schema) LIKE ${likePattern(patterns.schema)}`;
  const rows = await queryRows(
    sql`SELECT * FROM ${informationSchema(patterns.catalog ?? catalog, "tables")}
      WHERE ${inSchema} AND lower(table_name) LIKE ${likePattern(patterns.name)}
      ORDER BY table_schema, table_name LIMIT ${MAX_TABLES + 1}`,
  );
  if (rows.length > MAX_TABLES) {
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot list the tables: more than ${MAX_TABLES} match ${JSON.stringify(pattern)}; name fewer, as in "taxi.*"`,
    );
  }
  return rows.map((row) => ({
    catalog: String(row["table_catalog"]),
    schema: String(row["table_schema"]),
    name: String(row["table_name"]),
    kind: kindOf(String(row["table_type"])),
    comment: optional(row["comment"]),
  }));
}

/** Turns a pattern with `*` and `?` into a pattern for LIKE, whose own wildcards are escaped. */
function likePattern(pattern: string): string {
  return pattern.toLowerCase().replace(/[%_\\]/g, "\\$&").replaceAll("*", "%").replaceAll("?", "_");
}

/** Names the kind of a table as the module does for every database. */
function kindOf(type: string): string {
  return type === "BASE TABLE" || type === "MANAGED" || type === "EXTERNAL"
    ? "table"
    : type.toLowerCase().replaceAll("_", " ");
}

function optional(value: unknown): string | null {
  return value === undefined || value === null || value === "" ? null : String(value);
}

/** Lists the schemas of a catalog. */
export async function listSchemas(queryRows: QueryRows, catalog: string | undefined): Promise<LakehouseSchema[]> {
  const rows = await queryRows(
    sql`SELECT * FROM ${informationSchema(catalog, "schemata")}
      WHERE schema_name NOT IN ('information_schema', 'pg_catalog', 'pg_toast') ORDER BY schema_name`,
  );
  return rows.map((row) => ({
    catalog: String(row["catalog_name"]),
    name: String(row["schema_name"]),
    owner: optional(row["schema_owner"]),
    comment: optional(row["comment"]),
  }));
}

/** A column, with its table. */
export interface CatalogColumn {
  catalog: string;
  schema: string;
  table: string;
  column: string;
  type: string;
  nullable: boolean;
}

/** Lists the columns of a catalog's tables, up to a limit. */
export async function listColumns(
  queryRows: QueryRows,
  catalog: string | undefined,
  limit: number,
): Promise<CatalogColumn[]> {
  const rows = await queryRows(
    sql`SELECT * FROM ${informationSchema(catalog, "columns")}
      WHERE table_schema NOT IN ('information_schema', 'pg_catalog')
      ORDER BY table_schema, table_name, ordinal_position LIMIT ${limit}`,
  );
  return rows.map((row) => ({
    catalog: String(row["table_catalog"]),
    schema: String(row["table_schema"]),
    table: String(row["table_name"]),
    column: String(row["column_name"]),
    ...columnType(row),
  }));
}

/**
 * Describes a table.
 *
 * @param defaults The catalog and the schema of a name without them.
 * @throws {LakebaseError} `QUERY_FAILED` with SQLSTATE 42P01 and a suggestion if there is no such table.
 */
export async function describeTable(
  queryRows: QueryRows,
  table: string,
  defaults: { catalog: string | undefined; schema: string | undefined },
): Promise<LakehouseColumn[]> {
  const { catalog = defaults.catalog, schema = defaults.schema, name } = parseTableName(table);
  const inSchema = schema === undefined
    ? sql`table_schema = current_schema()`
    : sql`lower(table_schema) = ${schema.toLowerCase()}`;
  const rows = await queryRows(
    sql`SELECT * FROM ${informationSchema(catalog, "columns")}
      WHERE ${inSchema} AND lower(table_name) = ${name.toLowerCase()} ORDER BY ordinal_position`,
  );
  if (rows.length > 0) {
    return rows.map((row) => ({
      name: String(row["column_name"]),
      ...columnType(row),
      default: optional(row["column_default"]),
      comment: optional(row["comment"]),
    }));
  }
  const tables = await queryRows(
    sql`SELECT table_name FROM ${informationSchema(catalog, "tables")} WHERE ${inSchema} LIMIT ${MAX_TABLES}`,
  );
  throw noTable(table, name, tables.map((row) => String(row["table_name"])));
}

/** The type of a row of the view `columns`. Unity Catalog has the complete type in a column of its own. */
function columnType(row: Record<string, unknown>): Pick<LakehouseColumn, "type" | "nullable"> {
  return { type: String(row["full_data_type"] ?? row["data_type"]), nullable: row["is_nullable"] !== "NO" };
}

function noTable(table: string, name: string, names: readonly string[]): LakebaseError {
  const suggestion = closest(name, names);
  const hint = suggestion === undefined ? "" : `\nDid you mean ${suggestion}?`;
  return new LakebaseError(
    "QUERY_FAILED",
    `[TABLE_OR_VIEW_NOT_FOUND] The table or view ${table} cannot be found (SQLSTATE 42P01)${hint}`,
    { sqlstate: "42P01" },
  );
}
