import { nameOf, parsePattern } from "../catalog/names.ts";
import {
  type ExploreOptions,
  IS_USER_SCHEMA,
  KIND,
  kindIs,
  queryCatalog,
  ROWS,
  SIZE,
  type TableKind,
} from "../catalog/relation.ts";
import { LakebaseError } from "../core/errors.ts";
import { countText, sizeText } from "../core/text.ts";
import { elapsedText, type TableOptions } from "../draw/table.ts";
import { Fragment } from "../sql/fragment.ts";
import { checkCall } from "../sql/options.ts";
import { fieldsFor, type ListingParts, OUTCOME } from "../sql/result.ts";
import type { FindSession } from "../sql/run.ts";

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
  WHERE ${kindIs("r", "p", "v", "m", "f")} AND CASE WHEN $1::pg_catalog.text[] IS NULL THEN ${IS_USER_SCHEMA}
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

/** Lists tables, views and similar objects from the catalog in one round trip. See `Lakebase.tables`. */
export async function listTables(
  find: FindSession,
  pattern: string,
  options: ExploreOptions,
): Promise<ListingParts<TableInfo>> {
  checkCall("list the tables", options, {});
  const { schema, name } = parsePattern(pattern);
  const rows = await queryCatalog<TableInfo>(find, TABLES, [schema, name], options);
  const { elapsed } = rows[OUTCOME];
  return { rows, fields: TABLE_FIELDS, elapsed, facts: {}, draw: (drawn) => drawTables(drawn, elapsed) };
}

function drawTables(rows: readonly TableInfo[], elapsed: number): TableOptions {
  return {
    columns: TABLE_FIELDS,
    rows: rows.map(({ schema, name, kind, rows, size, comment }) => [
      schema,
      name,
      kind,
      rows?.toLocaleString("en-US") ?? "",
      size === null ? "" : sizeText(size),
      comment ?? "",
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
  /** The number of tables, including foreign tables. A partitioned table counts once. */
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
  WHERE ${IS_USER_SCHEMA} GROUP BY n.oid, n.nspname, n.nspowner ORDER BY 1`;

const SCHEMA_FIELDS = fieldsFor({
  name: "text",
  owner: "text",
  tables: "int8",
  views: "int8",
  size: "int8",
  comment: "text",
});

/** Lists schemas from the catalog in one round trip. See `Lakebase.schemas`. */
export async function listSchemas(find: FindSession, options: ExploreOptions): Promise<ListingParts<SchemaInfo>> {
  checkCall("list the schemas", options, {});
  const rows = await queryCatalog<SchemaInfo>(find, SCHEMAS, [], options);
  const { elapsed } = rows[OUTCOME];
  return { rows, fields: SCHEMA_FIELDS, elapsed, facts: {}, draw: (drawn) => drawSchemas(drawn, elapsed) };
}

function drawSchemas(rows: readonly SchemaInfo[], elapsed: number): TableOptions {
  return {
    columns: SCHEMA_FIELDS,
    rows: rows.map(({ name, owner, tables, views, size, comment }) => [
      name,
      owner,
      tables,
      views,
      sizeText(size),
      comment ?? "",
    ]),
    footer: `${countText(rows.length, "schema")}, ${elapsedText(elapsed)}`,
  };
}

/** A kind of object of the server, with the statement that lists it. */
interface ObjectKind {
  /** The word for one object. */
  noun: string;
  /** Whether the objects are in schemas. */
  inSchemas: boolean;
  /** The properties of a row, in order. */
  fields: Parameters<typeof fieldsFor>[0];
  /**
   * Gives the statement. Its last parameter has the patterns of the name; if `inSchemas`, `$1` has those of the schema.
   *
   * @param moreColumns SQL of further columns.
   */
  sql: (moreColumns: string) => string;
  /** The SQL of further columns, which a `+` after the command shows, by property. They are texts. */
  details?: Readonly<Record<string, string>>;
}

/** SQL for whether the schema `n` matches the pattern. Without a pattern, all schemas match except those of the system. */
const SCHEMA_MATCHES = `CASE WHEN $1::pg_catalog.text[] IS NULL THEN ${IS_USER_SCHEMA}
  ELSE n.nspname::pg_catalog.text OPERATOR(pg_catalog.~~) ANY ($1) END`;

const nameMatches = (column: string, parameter: string) =>
  `(${parameter}::pg_catalog.text[] IS NULL OR ${column}::pg_catalog.text OPERATOR(pg_catalog.~~) ANY (${parameter}))`;

const VIEWS = (moreColumns: string) =>
  `SELECT n.nspname AS schema, c.relname AS name, ${KIND} AS kind,
  pg_catalog.pg_get_userbyid(c.relowner) AS owner, pg_catalog.pg_get_viewdef(c.oid, true) AS definition,
  pg_catalog.obj_description(c.oid, 'pg_class') AS comment${moreColumns}
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE ${kindIs("v", "m")} AND ${SCHEMA_MATCHES} AND ${nameMatches("c.relname", "$2")} ORDER BY 1, 2`;

const INDEXES = (moreColumns: string) =>
  `SELECT n.nspname AS schema, c.relname AS name, t.relname AS "table", i.indisprimary AS "primary",
  i.indisunique AS "unique", i.indisvalid AS valid, pg_catalog.pg_relation_size(c.oid) AS size,
  am.amname AS method, (SELECT pg_catalog.string_agg(pg_catalog.pg_get_indexdef(c.oid, n, true), ', ' ORDER BY n)
    FROM pg_catalog.generate_series(1, i.indnkeyatts) AS n) AS columns${moreColumns}
  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
  JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) i.indrelid
  JOIN pg_catalog.pg_am AS am ON am.oid OPERATOR(pg_catalog.=) c.relam
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE ${SCHEMA_MATCHES} AND ${nameMatches("c.relname", "$2")} ORDER BY 1, 2`;

const FUNCTIONS = (moreColumns: string) =>
  `SELECT n.nspname AS schema, p.proname AS name,
  pg_catalog.json_object('{{f,function},{p,procedure},{a,aggregate},{w,window function}}')
    OPERATOR(pg_catalog.->>) p.prokind::pg_catalog.text AS kind,
  pg_catalog.pg_get_function_arguments(p.oid) AS arguments, pg_catalog.pg_get_function_result(p.oid) AS result,
  l.lanname AS language, pg_catalog.obj_description(p.oid, 'pg_proc') AS comment${moreColumns}
  FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  JOIN pg_catalog.pg_language AS l ON l.oid OPERATOR(pg_catalog.=) p.prolang
  WHERE ${SCHEMA_MATCHES} AND ${nameMatches("p.proname", "$2")} ORDER BY 1, 2, 4`;

const ROLES = (moreColumns: string) =>
  `SELECT r.rolname AS name, pg_catalog.concat_ws(', ', CASE WHEN r.rolsuper THEN 'superuser' END,
    CASE WHEN r.rolcreaterole THEN 'may create roles' END, CASE WHEN r.rolcreatedb THEN 'may create databases' END,
    CASE WHEN r.rolreplication THEN 'may replicate' END, CASE WHEN r.rolbypassrls THEN 'bypasses row security' END,
    CASE WHEN NOT r.rolcanlogin THEN 'can''t log in' END) AS attributes,
  (SELECT pg_catalog.string_agg(g.rolname::pg_catalog.text, ', ' ORDER BY g.rolname)
    FROM pg_catalog.pg_auth_members AS m JOIN pg_catalog.pg_roles AS g ON g.oid OPERATOR(pg_catalog.=) m.roleid
    WHERE m.member OPERATOR(pg_catalog.=) r.oid) AS member_of,
  pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment${moreColumns}
  FROM pg_catalog.pg_roles AS r
  WHERE CASE WHEN $1::pg_catalog.text[] IS NULL THEN NOT pg_catalog.starts_with(r.rolname::pg_catalog.text, 'pg_')
    ELSE r.rolname::pg_catalog.text OPERATOR(pg_catalog.~~) ANY ($1) END ORDER BY 1`;

const DATABASES = (moreColumns: string) =>
  `SELECT d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner,
  pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS "collate",
  CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') THEN pg_catalog.pg_database_size(d.oid) END AS size,
  pg_catalog.shobj_description(d.oid, 'pg_database') AS comment${moreColumns}
  FROM pg_catalog.pg_database AS d WHERE ${nameMatches("d.datname", "$1")} ORDER BY 1`;

const [text, bool, int8] = ["text", "bool", "int8"] as const;

/** The kinds of objects, by psql's command that lists them. */
const KINDS: Readonly<Record<string, ObjectKind>> = {
  dv: {
    noun: "view",
    inSchemas: true,
    sql: VIEWS,
    fields: { schema: text, name: text, kind: text, owner: text, definition: text, comment: text },
  },
  di: {
    noun: "index",
    inSchemas: true,
    sql: INDEXES,
    fields: {
      schema: text,
      name: text,
      table: text,
      primary: bool,
      unique: bool,
      valid: bool,
      size: int8,
      method: text,
      columns: text,
    },
    details: {
      owner: "pg_catalog.pg_get_userbyid(c.relowner)",
      persistence: `pg_catalog.json_object('{{p,permanent},{u,unlogged},{t,temporary}}')
        OPERATOR(pg_catalog.->>) c.relpersistence::pg_catalog.text`,
      comment: "pg_catalog.obj_description(c.oid, 'pg_class')",
    },
  },
  df: {
    noun: "function",
    inSchemas: true,
    sql: FUNCTIONS,
    fields: { schema: text, name: text, kind: text, arguments: text, result: text, language: text, comment: text },
    details: {
      volatility: `pg_catalog.json_object('{{i,immutable},{s,stable},{v,volatile}}')
        OPERATOR(pg_catalog.->>) p.provolatile::pg_catalog.text`,
      parallel: `pg_catalog.json_object('{{s,safe},{r,restricted},{u,unsafe}}')
        OPERATOR(pg_catalog.->>) p.proparallel::pg_catalog.text`,
      security: "CASE WHEN p.prosecdef THEN 'definer' ELSE 'invoker' END",
      owner: "pg_catalog.pg_get_userbyid(p.proowner)",
      source: "coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc)",
    },
  },
  du: {
    noun: "role",
    inSchemas: false,
    sql: ROLES,
    fields: { name: text, attributes: text, member_of: text, comment: text },
  },
  l: {
    noun: "database",
    inSchemas: false,
    sql: DATABASES,
    fields: { name: text, owner: text, encoding: text, collate: text, size: int8, comment: text },
    details: {
      tablespace: `(SELECT ts.spcname FROM pg_catalog.pg_tablespace AS ts
        WHERE ts.oid OPERATOR(pg_catalog.=) d.dattablespace)`,
      privileges: "pg_catalog.array_to_string(d.datacl, ', ')",
    },
  },
};

/** Whether {@linkcode listObjects} answers a command of psql. */
export function isListCommand(command: string): boolean {
  return Object.hasOwn(KINDS, command);
}

/**
 * Lists the objects of psql's `\dv`, `\di`, `\df`, `\du` or `\l`, in one round trip.
 *
 * @param find Finds the session.
 * @param command The command, without the backslash.
 * @param argument A pattern in the form of `\dt`; an empty one for all objects except those of the system.
 * @param detailed Whether to list what psql shows after a `+`.
 */
export async function listObjects(
  find: FindSession,
  command: string,
  argument: string,
  detailed: boolean,
): Promise<ListingParts<Record<string, unknown>>> {
  const { noun, inSchemas, fields: types, sql, details = {} } = KINDS[command]!;
  const { schema, name } = argument === "" ? { schema: null, name: null } : parsePattern(argument);
  if (schema !== null && !inSchemas) {
    throw new LakebaseError("BAD_PARAMETER", `Cannot run \\${command} ${argument}: a ${noun} is in no schema`);
  }
  const moreColumns = detailed ? Object.entries(details) : [];
  const statement = sql(moreColumns.map(([name, value]) => `, ${value} AS "${name}"`).join(""));
  const rows = await queryCatalog<Record<string, unknown>>(find, statement, inSchemas ? [schema, name] : [name]);
  const { elapsed } = rows[OUTCOME];
  const fields = fieldsFor({ ...types, ...Object.fromEntries(moreColumns.map(([name]) => [name, text])) });
  const draw = (drawn: readonly Record<string, unknown>[]) => ({
    columns: fields,
    rows: drawn.map((row) => fields.map(({ key }) => drawnValue(key, row[key]))),
    footer: `${countText(drawn.length, "row")}, ${elapsedText(elapsed)}`,
  });
  return { rows, fields, elapsed, facts: {}, draw };
}

function drawnValue(key: string, value: unknown): unknown {
  if (value === null || value === undefined) return "";
  return key === "size" ? sizeText(Number(value)) : value;
}

/**
 * Gives the table's name in an argument that must be one.
 *
 * @param action What the method does with the table, such as `describe`.
 * @param method The method that takes the name, such as `describe()`.
 * @throws {LakebaseError} `BAD_PARAMETER` for anything but a table's name, such as a query.
 */
export function tableName(table: string | Fragment, action: string, method: string): string {
  const name = table instanceof Fragment ? nameOf(table) : table;
  if (typeof name === "string") return name;
  const value = table instanceof Fragment ? "a query" : table === null ? "null" : typeof table;
  throw new LakebaseError(
    "BAD_PARAMETER",
    `Cannot ${action} ${value}; ${method} takes a table's name: "trips", "public.trips" or sql.id("public", "trips")`,
  );
}
