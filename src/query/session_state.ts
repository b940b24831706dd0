// @ts-types="npm:@types/pg@^8.11.0"
import type pg from "npm:pg@^8.23.0";
import { sqlTokens } from "../sql_text.ts";

/** What a server session has of its own, by kind. */
export type SessionState = Record<string, string[]>;

const QUESTION = `SELECT pg_catalog.json_build_object(
  'settings', (SELECT pg_catalog.json_agg(name || '=' || setting) FROM pg_catalog.pg_settings WHERE source = 'session'),
  'the role', (SELECT pg_catalog.json_build_array(session_user || '/' || current_user)),
  'temporary tables', (SELECT pg_catalog.json_agg(relname::text) FROM pg_catalog.pg_class
    WHERE relnamespace = pg_catalog.pg_my_temp_schema() AND relkind IN ('r', 'v', 'S', 'p', 'm')),
  'prepared statements', (SELECT pg_catalog.json_agg(name) FROM pg_catalog.pg_prepared_statements),
  'cursors', (SELECT pg_catalog.json_agg(name) FROM pg_catalog.pg_cursors WHERE is_holdable),
  'LISTEN', (SELECT pg_catalog.json_agg(c) FROM pg_catalog.pg_listening_channels() AS c),
  'advisory locks', (SELECT pg_catalog.json_agg(classid || ' ' || objid) FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()),
  'settings of functions', (SELECT pg_catalog.json_agg(p.proname::text) FROM (SELECT proname FROM pg_catalog.pg_proc
    WHERE prosrc ~* $$set_config|\\mset\\s+((session|local)\\s+)?("[^"]+"|\\w+)\\s*\\.|execute[^;]*\\mset\\M$$
    AND pronamespace <> 'pg_catalog'::regnamespace AND pronamespace <> 'information_schema'::regnamespace
    ORDER BY 1 LIMIT 1) AS p))::text AS state`;

/**
 * Asks a server session what it has of its own. A setting that only an extension or a person has made up, such as
 * `app.tenant`, is in no catalogue: where a function might make one, that counts as one.
 */
export async function askState(client: pg.PoolClient): Promise<SessionState> {
  const { rows: [row] } = await client.query(QUESTION);
  const found: Record<string, string[] | null> = JSON.parse(row.state);
  return Object.fromEntries(Object.entries(found).map(([kind, items]) => [kind, items ?? []]));
}

/** The kinds of what a session has beside what it began with. */
export function heldKinds(state: SessionState, baseline: SessionState): string[] {
  return Object.keys(state).filter((kind) => {
    const before = new Set(baseline[kind]);
    if (kind === "settings of functions") return state[kind]!.length > 0;
    return state[kind]!.length !== before.size || state[kind]!.some((item) => !before.has(item));
  });
}

/** How statements begin that leave nothing in a session by themselves. */
const LEAVE_NOTHING = new Set(
  ("select insert update delete merge values table with explain show create drop alter truncate comment grant revoke " +
    "analyze vacuum refresh reindex cluster copy").split(" "),
);

const LEAVES = /^(?:temp|temporary|pg_temp\w*|set_config|pg_(?:try_)?advisory_lock\w*|dblink\w*)$/;

/** Characters of a statement that are looked at; a longer one counts as one that leaves something. */
const LONGEST = 100_000;

/** Whether the text of a statement shows that it leaves nothing in its session; functions that it calls may all the same. */
export function leavesNothing(text: string): boolean {
  if (text.length > LONGEST) return false;
  let begins = true;
  for (const { kind, start, end } of sqlTokens(text)) {
    if (kind === "space" || kind === "comment") continue;
    const word = kind === "word" ? text.slice(start, end).toLowerCase() : "";
    if (begins && text[start] !== "(" && text[start] !== ";" && !LEAVE_NOTHING.has(word)) return false;
    if (LEAVES.test(word)) return false;
    begins = text[start] === ";" || begins && text[start] === "(";
  }
  return true;
}
