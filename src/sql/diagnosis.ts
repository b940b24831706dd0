import { closest } from "../core/closest.ts";
import { quoteName, sqlTokens, unquoteName } from "../core/sql_text.ts";
import type { Session } from "./session.ts";

/** The longest message that is read, in characters; a function may raise a message of any length. */
const MAX_MESSAGE = 1000;
/** The most characters of a statement, and the most of its words, that are taken for names of tables. */
const [MAX_TEXT, MAX_WORDS] = [100_000, 500];

const RELATION_NAMES = `SELECT pg_catalog.concat(CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN ''
    ELSE pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.') END, pg_catalog.quote_ident(c.relname)) AS name,
    c.relname AS bare
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,v,m,f,p}')
  AND n.nspname OPERATOR(pg_catalog.<>) ALL ('{pg_catalog,information_schema,pg_toast}') LIMIT 5000`;

const COLUMN_NAMES = `SELECT DISTINCT pg_catalog.quote_ident(a.attname) AS name, a.attname AS bare
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
  WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND pg_catalog.pg_table_is_visible(c.oid)
  AND c.relname OPERATOR(pg_catalog.=) ANY ($1) LIMIT 5000`;

/**
 * Finds the name that was probably meant where a table or column does not exist.
 *
 * @param session Looks up the names on another connection, because the error has aborted any transaction.
 * @param error The server's error.
 * @param text The statement.
 * @returns The closest name, quoted as SQL needs it; `undefined` if no name is close.
 */
export async function suggest(
  session: Pick<Session, "queryIfFree">,
  error: unknown,
  text: string,
): Promise<string | undefined> {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (typeof message !== "string" || message.length > MAX_MESSAGE) return undefined;
  if (code === "42P01") {
    const relation = /relation "(.+)" does not exist/.exec(message)?.[1];
    return await closestName(session, lastPart(relation), RELATION_NAMES, []);
  }
  if (code !== "42703") return undefined;
  const column = /column (?:"(.+?)"|(\S+)) (?:of relation .* )?does not exist/.exec(message);
  const words = new Set(text.slice(0, MAX_TEXT).toLowerCase().match(/[\p{L}_][\p{L}\p{N}_$]*/gu) ?? []);
  return await closestName(session, lastPart(column?.[1] ?? column?.[2]), COLUMN_NAMES, [
    [...words].slice(0, MAX_WORDS),
  ]);
}

function lastPart(name: string | undefined): string | undefined {
  return name?.split(".").at(-1)?.replaceAll('"', "");
}

async function closestName(
  session: Pick<Session, "queryIfFree">,
  missing: string | undefined,
  query: string,
  values: unknown[],
): Promise<string | undefined> {
  if (missing === undefined) return undefined;
  const rows = await session.queryIfFree(query, values);
  const names = new Map(rows.map(({ bare, name }) => [String(bare), String(name)]));
  const bare = closest(missing, names.keys());
  return bare === undefined ? undefined : names.get(bare);
}

/** The object that the server refused access to, according to its message. */
interface RefusedAccess {
  kind:
    | "relation"
    | "schema"
    | "function"
    | "database"
    | "type"
    | "language"
    | "role"
    | "server"
    | "parameter"
    | "owner"
    | "policy";
  name: string;
}

/** The words for relations in the server's messages. */
const RELATION = "(?:table|view|materialized view|foreign table|sequence|relation|index)";

const MESSAGES: readonly (readonly [RegExp, RefusedAccess["kind"]])[] = [
  [new RegExp(`^permission denied for ${RELATION} (.+)$`, "s"), "relation"],
  [new RegExp(`^must be owner of ${RELATION} (.+)$`, "s"), "owner"],
  [/^(?:new row|query would be affected by row-level security policy).* for table (.+)$/s, "policy"],
  [/^permission denied for schema (.+)$/s, "schema"],
  [/^permission denied for (?:function|procedure|routine|aggregate) (.+)$/s, "function"],
  [/^permission denied for database (.+)$/s, "database"],
  [/^permission denied to create temporary tables in database (.+)$/s, "database"],
  [/^permission denied for type (.+)$/s, "type"],
  [/^permission denied for language (.+)$/s, "language"],
  [/^permission denied for foreign server (.+)$/s, "server"],
  [/^permission denied to set parameter (.+)$/s, "parameter"],
  [/^permission denied to set role (.+)$/s, "role"],
  [/^must be (?:member of role|able to SET ROLE) (.+)$/s, "role"],
];

/** Queries for objects by name: the current role, the owner, the object as a GRANT names it, and the missing privileges. */
const QUERIES: Readonly<Record<RefusedAccess["kind"], string>> = {
  // The privileges on a sequence are in lower case. CASE keeps the server from checking the privileges of the other
  // kind.
  relation: relationQuery(`(SELECT pg_catalog.string_agg(pg_catalog.upper(p), ', ')
    FROM pg_catalog.unnest($2::pg_catalog.text[]) p
    WHERE NOT CASE
      WHEN (c.relkind OPERATOR(pg_catalog.=) 'S') OPERATOR(pg_catalog.<>) (p OPERATOR(pg_catalog.=) pg_catalog.lower(p))
        THEN true
      WHEN c.relkind OPERATOR(pg_catalog.=) 'S' THEN pg_catalog.has_sequence_privilege(c.oid, p)
      ELSE pg_catalog.has_table_privilege(c.oid, p) END)`),
  owner: relationQuery("NULL::pg_catalog.text"),
  policy: relationQuery(`(SELECT pg_catalog.string_agg(pg_catalog.quote_ident(p.polname), ', ' ORDER BY p.polname)
    FROM pg_catalog.pg_policy p WHERE p.polrelid OPERATOR(pg_catalog.=) c.oid)`),
  schema: `SELECT current_user AS me, pg_catalog.pg_get_userbyid(n.nspowner) AS owner,
    pg_catalog.concat('SCHEMA ', pg_catalog.quote_ident(n.nspname)) AS object,
    (SELECT pg_catalog.string_agg(p, ', ') FROM pg_catalog.unnest($2::pg_catalog.text[]) p
      WHERE NOT pg_catalog.has_schema_privilege(n.oid, p)) AS missing
    FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) $1`,
  function: `SELECT current_user AS me, pg_catalog.pg_get_userbyid(p.proowner) AS owner,
    pg_catalog.concat('FUNCTION ', p.oid::pg_catalog.regprocedure) AS object, 'EXECUTE' AS missing
    FROM pg_catalog.pg_proc p WHERE p.proname OPERATOR(pg_catalog.=) $1
      AND NOT pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AND $2::pg_catalog.text[] IS NOT NULL LIMIT 2`,
  database: `SELECT current_user AS me, pg_catalog.pg_get_userbyid(d.datdba) AS owner,
    pg_catalog.concat('DATABASE ', pg_catalog.quote_ident(d.datname)) AS object,
    (SELECT pg_catalog.string_agg(p, ', ') FROM pg_catalog.unnest($2::pg_catalog.text[]) p
      WHERE NOT pg_catalog.has_database_privilege(d.oid, p)) AS missing
    FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) $1`,
  type: objectQuery("TYPE", "pg_type", "typowner", {
    name: "pg_catalog.format_type(o.oid, NULL)",
    written: "pg_catalog.format_type(o.oid, NULL)",
    has: "has_type_privilege",
  }),
  language: objectQuery("LANGUAGE", "pg_language", "lanowner", { name: "o.lanname", has: "has_language_privilege" }),
  server: objectQuery("FOREIGN SERVER", "pg_foreign_server", "srvowner", {
    name: "o.srvname",
    has: "has_server_privilege",
  }),
  parameter:
    `SELECT current_user AS me, '' AS owner, pg_catalog.concat('PARAMETER ', s.name) AS object, 'SET' AS missing
    FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) $1 AND $2::pg_catalog.text[] IS NOT NULL`,
  role: `SELECT session_user AS me, '' AS owner, pg_catalog.quote_ident(r.rolname) AS object, 'SET' AS missing
    FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) $1 AND $2::pg_catalog.text[] IS NOT NULL`,
};

/** The query for an object whose only privilege is USAGE. */
function objectQuery(
  kind: string,
  catalog: string,
  owner: string,
  { name, written = `pg_catalog.quote_ident(${name})`, has }: { name: string; written?: string; has: string },
): string {
  return `SELECT current_user AS me, pg_catalog.pg_get_userbyid(o.${owner}) AS owner,
    pg_catalog.concat('${kind} ', ${written}) AS object,
    CASE WHEN pg_catalog.${has}(o.oid, 'USAGE') THEN '' ELSE 'USAGE' END AS missing
    FROM pg_catalog.${catalog} o WHERE ${name} OPERATOR(pg_catalog.=) $1 AND $2::pg_catalog.text[] IS NOT NULL LIMIT 2`;
}

function relationQuery(missing: string): string {
  return `SELECT * FROM (SELECT current_user AS me, pg_catalog.pg_get_userbyid(c.relowner) AS owner,
    pg_catalog.concat(CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END,
      pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname)) AS object, ${missing} AS missing,
    pg_catalog.pg_table_is_visible(c.oid) AS visible
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relname OPERATOR(pg_catalog.=) $1 AND $2::pg_catalog.text[] IS NOT NULL
      AND NOT pg_catalog.starts_with(n.nspname, 'pg_toast')) found
    ORDER BY visible DESC LIMIT 2`;
}

/** A row of {@linkcode QUERIES}. */
interface RefusedObject {
  me: string;
  owner: string;
  object: string;
  missing: string | null;
}

/**
 * Explains why a statement was refused for a missing privilege (SQLSTATE 42501): the current role, the owner of the object,
 * and the GRANT that the owner can run.
 *
 * @param session The session that looks up the object.
 * @param message The server's message.
 * @param text The statement.
 * @returns The text of a hint; `undefined` if the message is about something else, or the object is not found.
 */
export async function missingPrivilegeHint(
  session: Pick<Session, "queryIfFree">,
  message: string,
  text: string,
): Promise<string | undefined> {
  const refusal = parseRefusal(message);
  if (refusal === undefined) return undefined;
  const rows = await session.queryIfFree(QUERIES[refusal.kind], [refusal.name, neededPrivileges(refusal, text)]);
  const objects = rows as unknown as RefusedObject[];
  const object = objects.find(({ missing }) => missing !== null && missing !== "") ?? objects[0];
  return object === undefined ? undefined : hintText(object, refusal.kind);
}

function parseRefusal(message: string): RefusedAccess | undefined {
  if (message.length > MAX_MESSAGE) return undefined;
  for (const [pattern, kind] of MESSAGES) {
    const name = pattern.exec(message)?.[1];
    if (name !== undefined) return { kind, name: name.replace(/^"(.*)"$/s, "$1") };
  }
  return undefined;
}

function hintText({ me, owner, object, missing }: RefusedObject, kind: RefusedAccess["kind"]): string {
  const name = object.replace(/^(?:FOREIGN )?[A-Z]+ /, "");
  const who = owner === "pg_database_owner" ? "the owner of the database" : `"${owner}"`;
  if (kind === "policy") {
    const policies = missing === null ? "it has no policy, so it refuses all rows" : `its policies are ${missing}`;
    return `you are "${me}". ${name} belongs to ${who}, who decides with CREATE POLICY and ALTER POLICY which rows a role ` +
      `may read and write; ${policies}`;
  }
  if (kind === "owner") return `you are "${me}", and ${name} belongs to ${who}, who alone may do that`;
  if (missing === null || missing === "") {
    return `"${me}" has the privilege; the role that you have SET, or the owner of a view or function in between, does not have it`;
  }
  const role = quoteName(me);
  if (kind === "role") {
    return `you are "${me}". Superusers, and the roles that may grant ${object}, can run GRANT ${object} TO ${role}`;
  }
  if (kind === "parameter") {
    return `you are "${me}". Superusers may set ${name}, and can run GRANT SET ON ${object} TO ${role}`;
  }
  return `you are "${me}". ${name} belongs to ${who}, who can run GRANT ${missing} ON ${object} TO ${role}`;
}

/** Returns the privileges that a statement needs on the object that it was refused. */
function neededPrivileges({ kind, name }: RefusedAccess, text: string): string[] {
  const words = wordsOf(text.slice(0, 100_000));
  const [first = ""] = words;
  if (kind === "schema") return first === "create" || first === "import" ? ["USAGE", "CREATE"] : ["USAGE"];
  if (kind === "database") return words.includes("schema") ? ["CREATE"] : ["TEMPORARY"];
  // Names in quotes are compared without regard to case. At worst, this asks for too many privileges.
  const indexes = words.flatMap((word, index) => word === name.toLowerCase() ? [index] : []);
  const privileges = new Set(indexes.flatMap((index) => privilegesAt(words, index)));
  return [...privileges.size === 0 ? ["SELECT"] : privileges, ...sequencePrivileges(words, indexes.length > 0)];
}

/**
 * The privileges that the functions of sequences need. Their argument is a string, so the sequence's name is not among
 * the words.
 */
const SEQUENCE_FUNCTIONS = [
  ["setval", "update"],
  ["nextval", "usage"],
  ["currval", "usage"],
  ["lastval", "usage"],
] as const;

function sequencePrivileges(words: readonly string[], named: boolean): string[] {
  const privileges = SEQUENCE_FUNCTIONS.filter(([name]) => words.includes(name)).map(([, privilege]) => privilege);
  if (privileges.length > 0) return [...new Set(privileges)];
  return [named ? "select" : "usage"]; // a column's default calls nextval()
}

/** Returns the privileges that a statement needs on the table whose name is at an index of its words. */
function privilegesAt(words: readonly string[], index: number): string[] {
  let before = index - 1;
  while (words[before] === "." || words[before] === "only" || words[before] === "table" && before > 0) {
    before -= words[before] === "." ? 2 : 1;
  }
  const [first = ""] = words;
  const has = (word: string) => words.includes(word);
  const reads = has("where") || has("returning") ? ["SELECT"] : [];
  if (first === "truncate") return ["TRUNCATE"];
  if (first === "lock" || words[before] === "lock") return has("access") && has("share") ? ["SELECT"] : ["UPDATE"];
  switch (words[before]) {
    case "into":
      if (first === "merge") {
        return ["SELECT", ...["insert", "update", "delete"].filter(has).map((word) => word.toUpperCase())];
      }
      return has("conflict") ? ["INSERT", "SELECT", "UPDATE"] : ["INSERT", ...reads];
    case "update":
      return ["UPDATE", ...reads];
    case "copy":
      return has("stdin") ? ["INSERT"] : ["SELECT"];
    case "references":
      return ["REFERENCES"];
    case "on":
      if (first === "create" && has("trigger")) return ["TRIGGER"];
      break;
    case "from":
      if (words[before - 1] === "delete") return ["DELETE", ...reads];
  }
  return has("for") && (has("update") || has("share")) ? ["SELECT", "UPDATE"] : ["SELECT"];
}

/** Returns the words and names of a statement in lower case, and the dots between them. */
function wordsOf(text: string): string[] {
  const words: string[] = [];
  for (const { kind, start, end } of sqlTokens(text)) {
    const word = text.slice(start, end).toLowerCase();
    if (kind === "word" || word === ".") words.push(word);
    else if (kind === "name") words.push(unquoteName(word.slice(1, -1)));
  }
  return words;
}
