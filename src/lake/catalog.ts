import { closest } from "../core/closest.ts";
import { LakebaseError } from "../core/errors.ts";
import { Fragment, Identifier } from "../sql/fragment.ts";

/** A table or a view of a lakehouse. */
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
  /** Whether it takes NULL. */
  nullable: boolean;
  /** The default as SQL; `null` if there is none. */
  default: string | null;
  /** The comment; `null` if there is none. */
  comment: string | null;
}

/** Runs a query for its rows. */
export type Ask = (query: Fragment) => Promise<readonly Record<string, unknown>[]>;

/** The parts of a name, from the catalog to the table. A missing part is `undefined`. */
interface TableName {
  catalog: string | undefined;
  schema: string | undefined;
  name: string;
}

/** The most characters of a name. Unity Catalog keeps 255 characters of each part, and quotes may double them. */
const LONGEST_NAME = 2000;

const PART = /\s*(?:`((?:[^`]|``)+)`|"((?:[^"]|"")+)"|([^`".]+))\s*/y;

/**
 * Reads `trips`, `taxi.trips` or `main.taxi.trips`. A part with other characters is in backticks or in double quotes.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` if the text can't be such a name.
 */
export function parseTableName(text: string): TableName {
  if (typeof text !== "string" || text.length > LONGEST_NAME) throw badName(text);
  const parts: string[] = [];
  for (let at = 0; at <= text.length && parts.length < 4;) {
    PART.lastIndex = at;
    const found = PART.exec(text);
    if (found === null) throw badName(text);
    const [whole, ticked, quoted, bare = ""] = found;
    parts.push(ticked?.replaceAll("``", "`") ?? quoted?.replaceAll('""', '"') ?? bare.trim());
    at += whole.length;
    if (at < text.length && text[at] !== ".") throw badName(text);
    at++;
  }
  if (parts.length > 3 || parts.includes("")) throw badName(text);
  return { catalog: parts.at(-3), schema: parts.at(-2), name: parts.at(-1)! };
}

function badName(name: unknown): LakebaseError {
  const found = Deno.inspect(name, { depth: 1, strAbbreviateSize: 100 });
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot look for a table: its name is ${found}; it must be like trips, taxi.trips or main.taxi.trips`,
  );
}

/** The name of a view in the information schema of a catalog, or of the current catalog if none is given. */
function view(catalog: string | undefined, name: string): Fragment {
  return new Identifier([...(catalog === undefined ? [] : [catalog]), "information_schema", name]);
}

function text(strings: TemplateStringsArray, ...values: unknown[]): Fragment {
  return new Fragment(strings, values);
}

/** The most tables that one call lists. */
const MOST_TABLES = 10_000;

/**
 * Lists the tables whose names match a pattern such as `taxi.trip*`; `*` is any text, `?` any character.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` if more than 10,000 tables match: a part of them would look like all.
 */
export async function listTables(ask: Ask, pattern: string, catalog: string | undefined): Promise<LakehouseTable[]> {
  const wanted = parseTableName(pattern);
  const from = view(wanted.catalog ?? catalog, "tables");
  const schema = wanted.schema === undefined
    ? text`table_schema NOT IN ('information_schema', 'pg_catalog')`
    : text`lower(table_schema) LIKE ${likePattern(wanted.schema)}`;
  const rows = await ask(
    text`SELECT * FROM ${from} WHERE ${schema} AND lower(table_name) LIKE ${likePattern(wanted.name)}
      ORDER BY table_schema, table_name LIMIT ${MOST_TABLES + 1}`,
  );
  if (rows.length > MOST_TABLES) {
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot list the tables: more than ${MOST_TABLES} match ${JSON.stringify(pattern)}; name fewer, as in "taxi.*"`,
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

/** The pattern for LIKE: `*` means any text and `?` any character. The wildcards of LIKE itself are escaped. */
function likePattern(pattern: string): string {
  return pattern.toLowerCase().replace(/[%_\\]/g, "\\$&").replaceAll("*", "%").replaceAll("?", "_");
}

function kindOf(type: string): string {
  return type === "BASE TABLE" || type === "MANAGED" || type === "EXTERNAL"
    ? "table"
    : type.toLowerCase().replaceAll("_", " ");
}

function optional(value: unknown): string | null {
  return value === undefined || value === null || value === "" ? null : String(value);
}

/** Lists the schemas of a catalog. */
export async function listSchemas(ask: Ask, catalog: string | undefined): Promise<LakehouseSchema[]> {
  const rows = await ask(
    text`SELECT * FROM ${
      view(catalog, "schemata")
    } WHERE schema_name NOT IN ('information_schema', 'pg_catalog', 'pg_toast')
      ORDER BY schema_name`,
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

/** Lists the columns of a catalog's tables, up to a given number. */
export async function listColumns(ask: Ask, catalog: string | undefined, most: number): Promise<CatalogColumn[]> {
  const rows = await ask(
    text`SELECT * FROM ${view(catalog, "columns")} WHERE table_schema NOT IN ('information_schema', 'pg_catalog')
      ORDER BY table_schema, table_name, ordinal_position LIMIT ${most}`,
  );
  return rows.map((row) => ({
    catalog: String(row["table_catalog"]),
    schema: String(row["table_schema"]),
    table: String(row["table_name"]),
    column: String(row["column_name"]),
    type: String(row["full_data_type"] ?? row["data_type"]),
    nullable: row["is_nullable"] !== "NO",
  }));
}

/**
 * Describes a table.
 *
 * @throws {LakebaseError} `QUERY_FAILED` with SQLSTATE 42P01 and a suggestion if there is no such table.
 */
export async function describeTable(
  ask: Ask,
  table: string,
  own: { catalog: string | undefined; schema: string | undefined },
): Promise<LakehouseColumn[]> {
  const { catalog = own.catalog, schema = own.schema, name } = parseTableName(table);
  const inSchema = schema === undefined
    ? text`table_schema = current_schema()`
    : text`lower(table_schema) = ${schema.toLowerCase()}`;
  const rows = await ask(
    text`SELECT * FROM ${view(catalog, "columns")} WHERE ${inSchema} AND lower(table_name) = ${name.toLowerCase()}
      ORDER BY ordinal_position`,
  );
  if (rows.length > 0) return rows.map(toColumn);
  const others = await ask(text`SELECT table_name FROM ${view(catalog, "tables")} WHERE ${inSchema} LIMIT 10000`);
  throw noTable(table, name, others.map((row) => String(row["table_name"])));
}

function toColumn(row: Record<string, unknown>): LakehouseColumn {
  return {
    name: String(row["column_name"]),
    type: String(row["full_data_type"] ?? row["data_type"]),
    nullable: row["is_nullable"] !== "NO",
    default: optional(row["column_default"]),
    comment: optional(row["comment"]),
  };
}

function noTable(table: string, name: string, names: readonly string[]): LakebaseError {
  const near = closest(name, names);
  const hint = near === undefined ? "" : `\nDid you mean ${near}?`;
  return new LakebaseError(
    "QUERY_FAILED",
    `[TABLE_OR_VIEW_NOT_FOUND] The table or view ${table} cannot be found (SQLSTATE 42P01)${hint}`,
    { sqlstate: "42P01" },
  );
}
