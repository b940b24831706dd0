import { closest } from "../closest.ts";
import type { Session } from "./session.ts";

/** Characters of a message that can be the server's own; one that a function raised may be any text. */
export const LONGEST = 1000;

const RELATIONS = `SELECT CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE quote_ident(n.nspname) || '.' END ||
  quote_ident(c.relname) AS name, c.relname AS bare
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  LIMIT 5000`;

const COLUMNS = `SELECT DISTINCT quote_ident(a.attname) AS name, a.attname AS bare
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  WHERE a.attnum > 0 AND NOT a.attisdropped AND pg_table_is_visible(c.oid) AND c.relname = ANY($1)
  LIMIT 5000`;

/**
 * What a person probably meant by a table or column that is not there.
 *
 * @param session Where to look; on a connection of its own, since a transaction is aborted by the error.
 * @param error What the server said.
 * @param text The statement.
 * @returns The name that is nearest, quoted as SQL needs it; `undefined` where nothing is near.
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
