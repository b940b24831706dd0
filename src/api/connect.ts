import { LakebaseError } from "../core/errors.ts";
import { announceConnection, announceEnvFile } from "../draw/notices.ts";
import type { ConnectOptions } from "../settings/options.ts";
import { setBy, setByAll, type Setting } from "../settings/origin.ts";
import { readSettings } from "../settings/read_settings.ts";
import type { Settings } from "../settings/settings.ts";
import { enclosing } from "../sql/transaction.ts";
import { CLOSE_BECAUSE, type Lakebase, PARTS, SESSION } from "./lakebase.ts";
import { openConnection } from "./open_connection.ts";
import { placeInFull } from "./place.ts";
import { makeSql, type Sql } from "./sql.ts";

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
  try {
    return (await begin(options)).db;
  } catch (error) {
    lastFailure = error;
    throw error;
  }
}

async function begin(options: ConnectOptions): Promise<Opened> {
  const call = ++calls;
  const opening = open(options, call);
  pending.set(call, opening); // at once: `sql` has to see a connect() whose `await` was forgotten
  try {
    const opened = await opening;
    if (call > (current?.call ?? 0)) current = { call, db: opened.db };
    return opened;
  } finally {
    pending.delete(call);
  }
}

/** What a call of connect() gives. */
interface Opened {
  db: Lakebase;
  /** Where its settings came from. */
  found: readonly Setting[];
}

/** How often connect() was called: its calls in their order. */
let calls = 0;
/** Every call that is under way, in their order. */
const pending = new Map<number, Promise<Opened>>();
/** The connection of the last call that did not fail, open or closed, and which call that was. */
let current: { call: number; db: Lakebase } | undefined;
/** What the last call by a person failed with. */
let lastFailure: unknown;

async function open(options: ConnectOptions, call: number): Promise<Opened> {
  const found = await readSettings(options);
  const { settings, release } = found;
  if (found.envFile !== undefined) announceEnvFile(found.envFile);
  const key = await identity(settings);
  for (let open = connections.get(key); open !== undefined; open = connections.get(key)) {
    const db = await open.connection.catch(() => undefined);
    const changed = db === undefined || db.closed ? [] : changedSettings(open.settings, settings);
    if (db !== undefined && !db.closed && changed.length === 0) {
      await release();
      return { db, found: found.found };
    }
    if (connections.get(key) === open) connections.delete(key);
    await (db === undefined ? undefined : db[CLOSE_BECAUSE](replacedBy(changed)));
  }
  const closed = async () => { // else a program that opens many would keep all of them, with their logins
    if (connections.get(key) === opened) connections.delete(key);
    await release();
  };
  const opened: Connection = { settings, connection: openConnection({ ...found, release: closed }) };
  connections.set(key, opened);
  try {
    const db = await opened.connection;
    // The kernel is told of the current connection: a call before the last one says nothing.
    if (call === calls) openedListeners.forEach((listener) => listener());
    return { db, found: found.found };
  } catch (error) {
    await closed();
    throw withOrigins(error, found.found);
  }
}

const openedListeners: (() => void)[] = [];

/** Calls a listener each time that a connection has been opened and no later `connect()` is under way. */
export function whenOpened(listener: () => void): void {
  openedListeners.push(listener);
}

/** How many connections are open; those that are being opened do not count. */
export async function countOpenConnections(): Promise<number> {
  const opening = [...connections.values()].map(({ connection }) => Promise.race([connection, undefined]));
  const opened = await Promise.allSettled(opening);
  return opened.filter((db) => db.status === "fulfilled" && db.value?.closed === false).length;
}

/** A setting as a person knows it. */
function nameOf(setting: string): string {
  return setting === "serverOptions" ? "PGOPTIONS" : setting;
}

function replacedBy(changed: readonly string[]): string {
  return `connect() was called for the same database and role with another ${
    changed.map(nameOf).join(", ")
  }, which closed it. ` +
    "Use the connection that connect() gave then";
}

function withOrigins(error: unknown, found: readonly Setting[]): unknown {
  const told = error instanceof LakebaseError ? setBy(error.code, found) : "";
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
  const { endpoint, instance, host, port, database, user, group, readOnly, login } = settings;
  // By its address: a cell that is run again makes a new client of the same workspace.
  const client = await settings.workspace?.config.getHost().then(String, () => undefined);
  const workspace = client ?? login?.profile ?? login?.host;
  return JSON.stringify([workspace, endpoint, instance, host, port, database, user, group, readOnly]);
}

/** The settings that differ, by name. */
function changedSettings(a: Settings, b: Settings): string[] {
  return (Object.keys({ ...a, ...b }) as (keyof Settings)[]).filter((name) => {
    // A client of the SDK refers to itself, and is the same one or another.
    if (name === "workspace" || name === "password") return a[name] !== b[name];
    return name === "types" ? !sameTypes(a.types, b.types) : JSON.stringify(a[name]) !== JSON.stringify(b[name]);
  });
}

function sameTypes(a: Settings["types"], b: Settings["types"]): boolean {
  const names = Object.keys({ ...a, ...b });
  return names.every((name) => a[name] === b[name]);
}

/**
 * The connection that connect() was last called for. One that is being opened is waited for, and may fail. One that was
 * closed is no reason to take another: the statement would change a database that nobody named.
 */
export async function currentConnection(): Promise<Lakebase> {
  const [call, opening] = [...pending].at(-1) ?? [];
  if (opening !== undefined && call! > (current?.call ?? 0)) return (await opening).db;
  if (current !== undefined) return current.db;
  if (lastFailure !== undefined) throw notConnected(lastFailure);
  return await (unasked ??= connectUnasked().finally(() => unasked = undefined));
}

/** Connecting that nobody asked for, which every statement shares that waits for it. */
let unasked: Promise<Lakebase> | undefined;

async function connectUnasked(): Promise<Lakebase> {
  const { db, found } = await begin({});
  await announceConnection(
    `Connected to ${placeInFull(db[PARTS])}, since connect() was not called. ${setByAll(found)}`,
  );
  return db;
}

function notConnected(cause: unknown): LakebaseError {
  const { code = "CLOSED", message, sqlstate } = cause as Partial<LakebaseError>;
  return new LakebaseError(
    code,
    `Cannot run the statement: there is no connection, since connect() failed before. Call connect() again. It said: ${message}`,
    { cause, sqlstate },
  );
}

/**
 * The `sql` tag on the current connection: the one that `connect()` was last called for, also where that one was open already.
 * Where `connect()` was never called, it connects as `connect()` does, and a notebook shows to what.
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
export const sql: Sql = makeSql(() => enclosing() ?? currentConnection().then((db) => db[SESSION]));
