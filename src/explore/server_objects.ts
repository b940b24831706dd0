import { parsePattern } from "../catalog/names.ts";
import { IS_USERS, KIND, kindIs, queryCatalog } from "../catalog/relation.ts";
import { LakebaseError } from "../core/errors.ts";
import { countText, sizeText } from "../core/text.ts";
import { elapsedText } from "../draw/table.ts";
import { OUTCOME } from "../sql/result.ts";
import type { FindSession } from "../sql/run.ts";
import { fieldsFor, type ListingParts } from "./listing.ts";

/** A kind of object of the server, and how it is listed. */
interface ObjectKind {
  /** What one object is called. */
  noun: string;
  /** Whether the objects are in schemas. */
  inSchemas: boolean;
  /** The properties of a row, in order. */
  fields: Parameters<typeof fieldsFor>[0];
  /** A statement with the patterns of the schema as `$1`, where there is one, and those of the name as the last parameter. */
  sql: string;
}

/** SQL for whether the schema `n` is wanted: the one of the pattern, else any but the system's. */
const SCHEMA_WANTED = `CASE WHEN $1::pg_catalog.text[] IS NULL THEN ${IS_USERS}
  ELSE n.nspname::pg_catalog.text OPERATOR(pg_catalog.~~) ANY ($1) END`;

const nameWanted = (column: string, parameter: string) =>
  `(${parameter}::pg_catalog.text[] IS NULL OR ${column}::pg_catalog.text OPERATOR(pg_catalog.~~) ANY (${parameter}))`;

const VIEWS = `SELECT n.nspname AS schema, c.relname AS name, ${KIND} AS kind,
  pg_catalog.pg_get_userbyid(c.relowner) AS owner, pg_catalog.pg_get_viewdef(c.oid, true) AS definition,
  pg_catalog.obj_description(c.oid, 'pg_class') AS comment
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE ${kindIs("v", "m")} AND ${SCHEMA_WANTED} AND ${nameWanted("c.relname", "$2")} ORDER BY 1, 2`;

const INDEXES = `SELECT n.nspname AS schema, c.relname AS name, t.relname AS "table", i.indisprimary AS "primary",
  i.indisunique AS "unique", i.indisvalid AS valid, pg_catalog.pg_relation_size(c.oid) AS size,
  am.amname AS method, (SELECT pg_catalog.string_agg(pg_catalog.pg_get_indexdef(c.oid, n, true), ', ' ORDER BY n)
    FROM pg_catalog.generate_series(1, i.indnkeyatts) AS n) AS columns
  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
  JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) i.indrelid
  JOIN pg_catalog.pg_am AS am ON am.oid OPERATOR(pg_catalog.=) c.relam
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE ${SCHEMA_WANTED} AND ${nameWanted("c.relname", "$2")} ORDER BY 1, 2`;

const FUNCTIONS = `SELECT n.nspname AS schema, p.proname AS name,
  pg_catalog.json_object('{{f,function},{p,procedure},{a,aggregate},{w,window function}}')
    OPERATOR(pg_catalog.->>) p.prokind::pg_catalog.text AS kind,
  pg_catalog.pg_get_function_arguments(p.oid) AS arguments, pg_catalog.pg_get_function_result(p.oid) AS result,
  l.lanname AS language, pg_catalog.obj_description(p.oid, 'pg_proc') AS comment
  FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  JOIN pg_catalog.pg_language AS l ON l.oid OPERATOR(pg_catalog.=) p.prolang
  WHERE ${SCHEMA_WANTED} AND ${nameWanted("p.proname", "$2")} ORDER BY 1, 2, 4`;

const ROLES = `SELECT r.rolname AS name, pg_catalog.concat_ws(', ', CASE WHEN r.rolsuper THEN 'superuser' END,
    CASE WHEN r.rolcreaterole THEN 'may create roles' END, CASE WHEN r.rolcreatedb THEN 'may create databases' END,
    CASE WHEN r.rolreplication THEN 'may replicate' END, CASE WHEN r.rolbypassrls THEN 'bypasses row security' END,
    CASE WHEN NOT r.rolcanlogin THEN 'can''t log in' END) AS attributes,
  (SELECT pg_catalog.string_agg(g.rolname::pg_catalog.text, ', ' ORDER BY g.rolname)
    FROM pg_catalog.pg_auth_members AS m JOIN pg_catalog.pg_roles AS g ON g.oid OPERATOR(pg_catalog.=) m.roleid
    WHERE m.member OPERATOR(pg_catalog.=) r.oid) AS member_of,
  pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment
  FROM pg_catalog.pg_roles AS r
  WHERE CASE WHEN $1::pg_catalog.text[] IS NULL THEN NOT pg_catalog.starts_with(r.rolname::pg_catalog.text, 'pg_')
    ELSE r.rolname::pg_catalog.text OPERATOR(pg_catalog.~~) ANY ($1) END ORDER BY 1`;

const DATABASES = `SELECT d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner,
  pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS "collate",
  CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') THEN pg_catalog.pg_database_size(d.oid) END AS size,
  pg_catalog.shobj_description(d.oid, 'pg_database') AS comment
  FROM pg_catalog.pg_database AS d WHERE ${nameWanted("d.datname", "$1")} ORDER BY 1`;

const [text, bool, int8] = ["text", "bool", "int8"] as const;

/** The kinds of objects by psql's command for them. */
const KINDS: Readonly<Record<string, ObjectKind>> = {
  dv: {
    ...{ noun: "view", inSchemas: true, sql: VIEWS },
    fields: { schema: text, name: text, kind: text, owner: text, definition: text, comment: text },
  },
  di: {
    ...{ noun: "index", inSchemas: true, sql: INDEXES },
    fields: {
      ...{ schema: text, name: text, table: text, primary: bool, unique: bool, valid: bool },
      ...{ size: int8, method: text, columns: text },
    },
  },
  df: {
    ...{ noun: "function", inSchemas: true, sql: FUNCTIONS },
    fields: { schema: text, name: text, kind: text, arguments: text, result: text, language: text, comment: text },
  },
  du: {
    ...{ noun: "role", inSchemas: false, sql: ROLES },
    fields: { name: text, attributes: text, member_of: text, comment: text },
  },
  l: {
    ...{ noun: "database", inSchemas: false, sql: DATABASES },
    fields: { name: text, owner: text, encoding: text, collate: text, size: int8, comment: text },
  },
};

/** Whether {@linkcode listObjects} answers a command. */
export function listsObjects(command: string): boolean {
  return Object.hasOwn(KINDS, command);
}

/**
 * Lists what psql's `\dv`, `\di`, `\df`, `\du` or `\l` lists, in one round trip.
 *
 * @param find Finds the session.
 * @param command The command, without the backslash.
 * @param argument A pattern as `\dt` takes it; an empty one for everything that is not the system's.
 */
export async function listObjects(
  find: FindSession,
  command: string,
  argument: string,
): Promise<ListingParts<Record<string, unknown>>> {
  const { noun, inSchemas, fields: types, sql } = KINDS[command]!;
  const { schema, name } = argument === "" ? { schema: null, name: null } : parsePattern(argument);
  if (schema !== null && !inSchemas) {
    throw new LakebaseError("BAD_PARAMETER", `Cannot run \\${command} ${argument}: a ${noun} is in no schema`);
  }
  const found = await queryCatalog<Record<string, unknown>>(find, sql, inSchemas ? [schema, name] : [name]);
  const { elapsed } = found[OUTCOME];
  const fields = fieldsFor(types);
  return {
    rows: found,
    fields,
    elapsed,
    facts: {},
    draw: (rows) => ({
      columns: fields,
      rows: rows.map((row) => fields.map(({ key }) => cellOf(key, row[key]))),
      footer: `${countText(rows.length, "row")}, ${elapsedText(elapsed)}`,
    }),
  };
}

function cellOf(key: string, value: unknown): unknown {
  if (value === null || value === undefined) return "";
  return key === "size" ? sizeText(Number(value)) : value;
}
