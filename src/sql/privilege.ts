import { sqlTokens } from "../core/sql_text.ts";
import type { Session } from "./session.ts";
import { LONGEST } from "./suggestion.ts";

/** What the server refused access to, according to its message. */
interface Refused {
  kind: "relation" | "schema" | "function" | "database" | "owner";
  name: string;
}

/** The words for relations in the server's messages. */
const RELATION = "(?:table|view|materialized view|foreign table|sequence|relation|index)";

const MESSAGES: readonly (readonly [RegExp, Refused["kind"]])[] = [
  [new RegExp(`^permission denied for ${RELATION} (.+)$`, "s"), "relation"],
  [new RegExp(`^must be owner of ${RELATION} (.+)$`, "s"), "owner"],
  [/^permission denied for schema (.+)$/s, "schema"],
  [/^permission denied for (?:function|procedure|routine|aggregate) (.+)$/s, "function"],
  [/^permission denied for database (.+)$/s, "database"],
  [/^permission denied to create temporary tables in database (.+)$/s, "database"],
];

/** Queries for the objects of a name: the current role, the owner, the object as in a GRANT, and what is missing. */
const QUERIES: Readonly<Record<Refused["kind"], string>> = {
  relation: relationQuery(`CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'S' THEN
      CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'USAGE') THEN '' ELSE 'USAGE' END
    ELSE (SELECT pg_catalog.string_agg(p, ', ') FROM pg_catalog.unnest($2::pg_catalog.text[]) p
      WHERE NOT pg_catalog.has_table_privilege(c.oid, p)) END`),
  owner: relationQuery("NULL::pg_catalog.text"),
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
};

function relationQuery(missing: string): string {
  return `SELECT * FROM (SELECT current_user AS me, pg_catalog.pg_get_userbyid(c.relowner) AS owner,
    pg_catalog.concat(CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END,
      pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname)) AS object, ${missing} AS missing,
    pg_catalog.pg_table_is_visible(c.oid) AS visible
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relname OPERATOR(pg_catalog.=) $1 AND $2::pg_catalog.text[] IS NOT NULL
      AND NOT pg_catalog.starts_with(n.nspname, 'pg_toast')) found
    ORDER BY visible DESC LIMIT 2`;
}

/** A row of {@linkcode QUERIES}. */
interface Found {
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
export async function explainRefusal(
  session: Pick<Session, "lookUp">,
  message: string,
  text: string,
): Promise<string | undefined> {
  const refused = refusedBy(message);
  if (refused === undefined) return undefined;
  const rows = await session.lookUp(QUERIES[refused.kind], [refused.name, wantedRights(refused, text)]);
  const [first, ...others] = rows as unknown as Found[];
  if (first === undefined) return undefined;
  const found = [first, ...others].find(({ missing }) => missing !== null && missing !== "") ?? first;
  return told(found, refused.kind);
}

function refusedBy(message: string): Refused | undefined {
  if (message.length > LONGEST) return undefined;
  for (const [pattern, kind] of MESSAGES) {
    const name = pattern.exec(message)?.[1];
    if (name !== undefined) return { kind, name: name.replace(/^"(.*)"$/s, "$1") };
  }
  return undefined;
}

function told({ me, owner, object, missing }: Found, kind: Refused["kind"]): string {
  const name = object.slice(object.indexOf(" ") + 1);
  const who = owner === "pg_database_owner" ? "the owner of the database" : `"${owner}"`;
  if (kind === "owner") return `you are "${me}", and ${name} belongs to ${who}, who alone may do that`;
  if (missing === null || missing === "") {
    return `"${me}" has the right: it is missing to the role that you have SET, or to the owner of a view or function in between`;
  }
  const role = `"${me.replaceAll('"', '""')}"`;
  return `you are "${me}". ${name} belongs to ${who}, who can run GRANT ${missing} ON ${object} TO ${role}`;
}

/** Returns the privileges that a statement needs on the object that it was refused. */
function wantedRights({ kind, name }: Refused, text: string): string[] {
  const words = wordsOf(text.slice(0, 100_000));
  const [first = ""] = words;
  if (kind === "schema") return first === "create" || first === "import" ? ["USAGE", "CREATE"] : ["USAGE"];
  if (kind === "database") return words.includes("schema") ? ["CREATE"] : ["TEMPORARY"];
  const rights = new Set(words.flatMap((word, index) => word === name.toLowerCase() ? rightsAt(words, index) : []));
  if (/^(truncate|refresh|lock)$/.test(first) && rights.size === 0) {
    return [first === "truncate" ? "TRUNCATE" : "UPDATE"];
  }
  return rights.size === 0 ? ["SELECT"] : [...rights];
}

/** Returns the privileges that a statement needs on the name at an index of its words. */
function rightsAt(words: readonly string[], index: number): string[] {
  let before = index - 1;
  while (words[before] === "." || words[before] === "only" || words[before] === "table" && before > 0) {
    before -= words[before] === "." ? 2 : 1;
  }
  const reads = words.includes("where") || words.includes("returning") ? ["SELECT"] : [];
  switch (words[before]) {
    case "into":
      return words.includes("conflict") ? ["INSERT", "SELECT", "UPDATE"] : ["INSERT", ...reads];
    case "update":
      return ["UPDATE", ...reads];
    case "truncate":
      return ["TRUNCATE"];
    case "copy":
      return words.includes("stdin") ? ["INSERT"] : ["SELECT"];
    case "references":
      return ["REFERENCES"];
    case "from":
      if (words[before - 1] === "delete") return ["DELETE", ...reads];
  }
  return words.includes("for") && words.includes("update") ? ["SELECT", "UPDATE"] : ["SELECT"];
}

/** Returns the words and names of a statement in lower case, and the dots between them. */
function wordsOf(text: string): string[] {
  const words: string[] = [];
  for (const { kind, start, end } of sqlTokens(text)) {
    const word = text.slice(start, end).toLowerCase();
    if (kind === "word" || word === ".") words.push(word);
    else if (kind === "name") words.push(word.slice(1, -1).replaceAll('""', '"'));
  }
  return words;
}
