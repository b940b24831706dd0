import { setBy } from "./settings/set_by.ts";
import { LakebaseError } from "./errors.ts";
import { Lakebase, placeOf, sessionOf } from "./lakebase.ts";
import { answerSqlCells } from "./notebook/sql_cell.ts";
import { openConnection } from "./open_connection.ts";
import type { ConnectOptions } from "./settings/options.ts";
import { makeSql, type Sql } from "./query/sql.ts";
import { type ReadSettings, readSettings } from "./settings/read_settings.ts";
import type { Settings } from "./settings/settings.ts";

/**
 * Connects to a Lakebase: finds the endpoint, logs in, verifies the server and wakes the compute.
 *
 * Called again with the same settings, as a notebook's cell that is run twice does, it gives the connection that is open.
 * Called with other settings for the same database and role it closes the old one and opens a new one.
 *
 * @param options What is not given comes from the environment, then `.env`, then the workspace; see {@linkcode ConnectOptions}.
 * @returns A connection that has logged in once.
 * @throws {LakebaseError} With a `code` for each thing that can be wrong, within `connectTimeout`.
 *
 * @example On a Lakebase of this machine
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * assert.match(await db.version(), /^PostgreSQL \d+/);
 * ```
 */
export async function connect(options: ConnectOptions = {}): Promise<Lakebase> {
  const opening = open(options);
  pending.add(opening); // at once: `sql` has to see a connect() whose `await` was forgotten
  try {
    return await opening;
  } finally {
    pending.delete(opening);
  }
}

/** Every connect() that is under way, in their order. */
const pending = new Set<Promise<Lakebase>>();

async function open(options: ConnectOptions): Promise<Lakebase> {
  const found = await readSettings(options);
  const { settings, release } = found;
  const key = await identity(settings);
  for (let open = connections.get(key); open !== undefined; open = connections.get(key)) {
    const db = await open.connection.catch(() => undefined);
    if (db !== undefined && !db.closed && sameSettings(open.settings, settings)) {
      await release();
      return db;
    }
    if (connections.get(key) === open) connections.delete(key);
    await db?.close();
  }
  const opened: Connection = { settings, connection: openConnection(found) };
  connections.set(key, opened);
  try {
    const db = await opened.connection;
    onOpened();
    return db;
  } catch (error) {
    if (connections.get(key) === opened) connections.delete(key);
    await release();
    throw withOrigins(error, found.origins);
  }
}

function withOrigins(error: unknown, origins: ReadSettings["origins"]): unknown {
  const told = error instanceof LakebaseError ? setBy(error.code, origins) : "";
  if (!(error instanceof LakebaseError) || told === "") return error;
  const { code, message, cause, sqlstate } = error;
  return new LakebaseError(code, `${message}. ${told}`, { cause, sqlstate });
}

interface Connection {
  settings: Settings;
  connection: Promise<Lakebase>;
}

/** What is open or being opened, by {@linkcode identity}. */
const connections = new Map<string, Connection>();

/** What makes two connections the same one with other settings, not two: whom it talks to and as whom. */
async function identity(settings: Settings): Promise<string> {
  const { endpoint, instance, host, port, database, user, group, readOnly, profile, environment } = settings;
  // By its address: a cell that is run again makes a new client of the same workspace.
  const client = await settings.workspace?.config.getHost().then(String, () => undefined);
  const workspace = client ?? profile ?? environment["DATABRICKS_HOST"];
  return JSON.stringify([workspace, endpoint, instance, host, port, database, user, group, readOnly]);
}

function sameSettings(a: Settings, b: Settings): boolean {
  if (a.password !== b.password || a.workspace !== b.workspace || !sameTypes(a.types, b.types)) return false;
  return JSON.stringify(a) === JSON.stringify(b);
}

function sameTypes(a: Settings["types"], b: Settings["types"]): boolean {
  const names = Object.keys({ ...a, ...b });
  return names.every((name) => a[name] === b[name]);
}

/** The connection that was opened last, of those that are open. One that is being opened is waited for, and may fail. */
async function newest(): Promise<Lakebase> {
  await [...pending].at(-1);
  for (const { connection } of [...connections.values()].reverse()) {
    const db = await connection.catch(() => undefined);
    if (db !== undefined && !db.closed) return db;
  }
  return await connect();
}

/**
 * The `sql` tag on the connection that was opened last; where there is none, it connects as `connect()` does.
 *
 * `${values}` are bound parameters, never text. As the last expression of a cell a query runs and draws itself; `await` gives
 * its rows.
 *
 * @example Values, names and rows
 * ```ts
 * import { connect, sql } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using _db = await connect({ local: true });
 * const least = 2;
 * const rows = await sql<{ n: number }>`SELECT n FROM generate_series(1, 3) AS n WHERE n >= ${least}`;
 * assert.deepEqual(rows.map(({ n }) => n), [2, 3]);
 * assert.equal(await sql`SELECT count(*) FROM ${sql.id("pg_catalog", "pg_type")}`.value() as number > 100, true);
 * ```
 */
export const sql: Sql = makeSql(async () => sessionOf(await newest()));

const onOpened = answerSqlCells({
  newest,
  open: async () => {
    const opening = [...connections.values()].map(({ connection }) => Promise.race([connection, undefined]));
    const opened = await Promise.allSettled(opening);
    return opened.filter((db) => db.status === "fulfilled" && db.value?.closed === false).length;
  },
  session: (db) => db instanceof Lakebase ? { session: sessionOf(db), place: placeOf(db) } : undefined,
});
