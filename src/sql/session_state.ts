// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { firstWord, sqlTokens } from "../core/sql_text.ts";
import type { Statement } from "./fragment.ts";
import type { Lease } from "./session.ts";

/** The custom settings, such as `app.tenant`, that the statements of a connection may have made: no catalog lists them. */
interface CustomSettings {
  readonly names: Set<string>;
  /** Whether a statement may have made settings whose names its text does not show. */
  hasUnnamed: boolean;
}

const customSettings = new WeakMap<object, CustomSettings>();

function customSettingsOf(client: object): CustomSettings {
  const existing = customSettings.get(client);
  if (existing !== undefined) return existing;
  const settings = { names: new Set<string>(), hasUnnamed: false };
  customSettings.set(client, settings);
  return settings;
}

const SETS = /\bset(?:_config)?\b/i;
const SET = /\bset\s+(?:(?:session|local)\s+)?((?:"[^"]+"|[\w$]+)(?:\s*\.\s*(?:"[^"]+"|[\w$]+))+)/gi;
const SET_CONFIG = /\bset_config\s*\(\s*(?:'([^']*)'|\$(\d+))?/gi;
/** The number of characters of a statement that are searched for settings. */
const MAX_SEARCHED = 1_000_000;

/** Notes the custom settings that a statement may make in a session whose connection is kept. */
export function noteCustomSettings({ client }: Lease, statement: Pick<Statement, "text" | "values">): void {
  if (!SETS.test(statement.text)) return;
  const text = statement.text.slice(0, MAX_SEARCHED);
  const settings = customSettingsOf(client);
  for (const [, name] of text.matchAll(SET)) settings.names.add(name!.replace(/[\s"]/g, ""));
  for (const [, literal, parameter] of text.matchAll(SET_CONFIG)) {
    const name = literal ?? statement.values[Number(parameter) - 1];
    if (typeof name !== "string") settings.hasUnnamed = true;
    else if (name.includes(".")) settings.names.add(name);
  }
  const runsDynamicSql = firstWord(text) === "do" && /\bexecute\b/i.test(text);
  if (statement.text.length > MAX_SEARCHED || runsDynamicSql) settings.hasUnnamed = true;
}

/** The state of a server session: the items of each kind, such as the names of its temporary tables. */
export type SessionState = Record<string, string[]>;

const CUSTOM = "custom settings";
/** The kind for functions that may make custom settings; such a function is a possible source of state, and no state. */
const SETTING_FUNCTIONS = "settings of functions";

const STATE_QUERY = `SELECT pg_catalog.json_build_object(
  'settings', (SELECT pg_catalog.json_agg(s.name OPERATOR(pg_catalog.||) '=' OPERATOR(pg_catalog.||) s.setting)
    FROM pg_catalog.pg_settings AS s WHERE s.source OPERATOR(pg_catalog.=) 'session'
    AND s.name OPERATOR(pg_catalog.<>) 'client_encoding'),
  '${CUSTOM}', (SELECT pg_catalog.json_agg(n.name OPERATOR(pg_catalog.||) '=' OPERATOR(pg_catalog.||)
      pg_catalog.current_setting(n.name, true)) FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n (name)
    WHERE pg_catalog.current_setting(n.name, true) OPERATOR(pg_catalog.<>) ''),
  'the role', pg_catalog.json_build_array(session_user::pg_catalog.text OPERATOR(pg_catalog.||) '/'
    OPERATOR(pg_catalog.||) current_user::pg_catalog.text),
  'temporary tables', (SELECT pg_catalog.json_agg(relname::pg_catalog.text) FROM pg_catalog.pg_class
    WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
    AND relkind OPERATOR(pg_catalog.=) ANY ('{r,v,S,p,m}'::pg_catalog."char"[])),
  'temporary functions or types', (SELECT pg_catalog.json_agg(classid::pg_catalog.text OPERATOR(pg_catalog.||) ' '
      OPERATOR(pg_catalog.||) objid::pg_catalog.text) FROM pg_catalog.pg_depend
    WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid
    AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
    AND classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid),
  'prepared statements', (SELECT pg_catalog.json_agg(name) FROM pg_catalog.pg_prepared_statements),
  'cursors', (SELECT pg_catalog.json_agg(name) FROM pg_catalog.pg_cursors WHERE is_holdable),
  'LISTEN', (SELECT pg_catalog.json_agg(c) FROM pg_catalog.pg_listening_channels() AS c),
  'advisory locks', (SELECT pg_catalog.json_agg(classid::pg_catalog.text OPERATOR(pg_catalog.||) ' '
      OPERATOR(pg_catalog.||) objid::pg_catalog.text) FROM pg_catalog.pg_locks
    WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()),
  '${SETTING_FUNCTIONS}', (SELECT pg_catalog.json_agg(p.proname::pg_catalog.text) FROM (
    SELECT proname FROM pg_catalog.pg_proc WHERE prosrc OPERATOR(pg_catalog.~*)
      $$set_config|\\mset\\s+((session|local)\\s+)?("[^"]+"|\\w+)\\s*\\.|execute[^;]*\\mset\\M$$
    AND pronamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid
    AND pronamespace OPERATOR(pg_catalog.<>) 'information_schema'::pg_catalog.regnamespace::pg_catalog.oid
    ORDER BY 1 LIMIT 1) AS p))::pg_catalog.text AS state`;

/**
 * Reads the state of a server session. No catalog lists custom settings such as `app.tenant`, so the query looks up the
 * settings that statements of this client have named; a function that may make settings counts as one. The client
 * encoding is not state, because the pool sets it back to UTF-8 at once.
 */
export async function readState(client: pg.PoolClient): Promise<SessionState> {
  const settings = customSettingsOf(client);
  const names = [...settings.names];
  const { rows: [row] } = await client.query(STATE_QUERY, [names]);
  const kinds: Record<string, string[] | null> = JSON.parse(row.state);
  const state = Object.fromEntries(Object.entries(kinds).map(([kind, items]) => [kind, items ?? []]));
  const custom = state[CUSTOM]!;
  const stillSet = new Set(custom.map((item) => item.slice(0, item.indexOf("="))));
  for (const name of names) if (!stillSet.has(name)) settings.names.delete(name);
  if (settings.hasUnnamed) custom.push("others");
  return state;
}

/** Returns the kinds of state in which a session differs from its beginning. */
export function changedKinds(state: SessionState, baseline: SessionState): string[] {
  return Object.keys(state).filter((kind) => {
    const before = new Set(baseline[kind]);
    if (kind === SETTING_FUNCTIONS) return state[kind]!.length > 0;
    return state[kind]!.length !== before.size || state[kind]!.some((item) => !before.has(item));
  });
}

/** Leaves out the kind that is no state itself, for messages. */
export function withoutSettingFunctions(kinds: readonly string[]): string[] {
  return kinds.filter((kind) => kind !== SETTING_FUNCTIONS);
}

/** The first words of statements that leave no state in a session, unless they call a function that does. */
const STATELESS = new Set(
  ("select insert update delete merge values table with explain show create drop alter truncate comment grant revoke " +
    "analyze vacuum refresh reindex cluster copy").split(" "),
);

/** Words, such as functions, that leave state wherever they stand in a statement. */
const STATEFUL = /^(?:temp|temporary|pg_temp\w*|set_config|pg_(?:try_)?advisory_lock\w*|dblink\w*)$/;

/** The most characters of a statement that is read; a longer one is assumed to leave state. */
const MAX_READ = 100_000;

/** Tells by its text whether a statement leaves no state in its session; functions that it calls may still do so. */
export function leavesNoState(text: string): boolean {
  if (text.length > MAX_READ) return false;
  let beginsStatement = true;
  for (const { kind, start, end } of sqlTokens(text)) {
    if (kind === "space" || kind === "comment") continue;
    const word = kind === "word" ? text.slice(start, end).toLowerCase() : "";
    if (beginsStatement && text[start] !== "(" && text[start] !== ";" && !STATELESS.has(word)) return false;
    if (STATEFUL.test(word)) return false;
    beginsStatement = text[start] === ";" || beginsStatement && text[start] === "(";
  }
  return true;
}
