import { closest } from "../core/closest.ts";
import type { Session } from "./session.ts";

/** The most characters of a message that is read; a function may raise a message of any length. */
export const LONGEST = 1000;

const RELATIONS = `SELECT pg_catalog.concat(CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN ''
    ELSE pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.') END, pg_catalog.quote_ident(c.relname)) AS name,
    c.relname AS bare
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,v,m,f,p}')
  AND n.nspname OPERATOR(pg_catalog.<>) ALL ('{pg_catalog,information_schema,pg_toast}') LIMIT 5000`;

const COLUMNS = `SELECT DISTINCT pg_catalog.quote_ident(a.attname) AS name, a.attname AS bare
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
  WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND pg_catalog.pg_table_is_visible(c.oid)
  AND c.relname OPERATOR(pg_catalog.=) ANY ($1) LIMIT 5000`;

/**
 * Finds the name that was probably meant by a table or column that does not exist.
 *
 * @param session Looks up names on a separate connection, because the error has aborted any transaction.
 * @param error The server's error.
 * @param text The statement.
 * @returns The closest name, quoted as SQL needs it; `undefined` if no name is close.
 */
export async function suggest(
  session: Pick<Session, "lookUp">,
  error: unknown,
  text: string,
): Promise<string | undefined> {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (typeof message !== "string" || message.length > LONGEST) return undefined;
  if (code === "42P01") {
    return await nearest(session, lastPart(/relation "(.+)" does not exist/.exec(message)?.[1]), RELATIONS, []);
  }
  if (code !== "42703") return undefined;
  const column = /column (?:"(.+?)"|(\S+)) (?:of relation .* )?does not exist/.exec(message);
  const words = [...new Set(text.slice(0, 100_000).toLowerCase().match(/[\p{L}_][\p{L}\p{N}_$]*/gu) ?? [])].slice(
    0,
    500,
  );
  return await nearest(session, lastPart(column?.[1] ?? column?.[2]), COLUMNS, [words]);
}

function lastPart(name: string | undefined): string | undefined {
  return name?.split(".").at(-1)?.replaceAll('"', "");
}

async function nearest(
  session: Pick<Session, "lookUp">,
  wanted: string | undefined,
  text: string,
  values: unknown[],
): Promise<string | undefined> {
  if (wanted === undefined) return undefined;
  const rows = await session.lookUp(text, values);
  const names = new Map(rows.map(({ bare, name }) => [String(bare), String(name)]));
  const bare = closest(wanted, names.keys());
  return bare === undefined ? undefined : names.get(bare);
}
