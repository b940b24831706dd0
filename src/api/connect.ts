import { LakebaseError } from "../core/errors.ts";
import { announceConnection, announceEnvFile } from "../draw/notices.ts";
import type { ConnectOptions } from "../settings/options.ts";
import { originsBehind, originsOfDatabase, type Setting } from "../settings/origin.ts";
import { readSettings } from "../settings/read_settings.ts";
import type { Settings } from "../settings/settings.ts";
import { enclosingTransaction } from "../sql/transaction.ts";
import { fullAddress } from "./address.ts";
import { CLOSE_BECAUSE, type Lakebase, PARTS, SESSION } from "./lakebase.ts";
import { openConnection } from "./open_connection.ts";
import { leaseLocal } from "./local_server.ts";
import { makeSql, type Sql } from "./sql.ts";

/**
 * Connects to a Lakebase: finds the endpoint, verifies the server, logs in, and wakes the compute.
 *
 * A second call with the same settings, for example when a cell is run twice, returns the connection that is open. A call
 * with other settings for the same database and role closes the old connection and opens a new one.
 *
 * @param options Settings that are not given come from the environment, then from `.env`, then from the workspace; see
 * {@linkcode ConnectOptions}.
 * @returns A connection that has logged in.
 * @throws {LakebaseError} With a `code` for each kind of failure, within `connectTimeout`.
 *
 * @example A Lakebase on this machine
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
    return (await callConnect(options)).db;
  } catch (error) {
    lastFailure = error;
    throw error;
  }
}

async function callConnect(options: ConnectOptions): Promise<Opened> {
  const call = ++calls;
  const opening = open(options, call);
  pending.set(call, opening); // before any await: `sql` must see a connect() that was not awaited
  try {
    const opened = await opening;
    if (call > (current?.call ?? 0)) current = { call, db: opened.db };
    return opened;
  } finally {
    pending.delete(call);
  }
}

/** The outcome of a call of connect(). */
interface Opened {
  db: Lakebase;
  /** The settings that do not have their defaults, with their origins. */
  explicit: readonly Setting[];
}

/** The number of calls of connect(). A call is identified by its number. */
let calls = 0;
/** The calls that are under way, in their order. */
const pending = new Map<number, Promise<Opened>>();
/** The connection of the last call that did not fail, open or closed. */
let current: { call: number; db: Lakebase } | undefined;
/** The error of the last call that a person made and that failed. */
let lastFailure: unknown;

async function open(options: ConnectOptions, call: number): Promise<Opened> {
  const read = await readSettings(options, leaseLocal);
  const { settings, explicit, envFile, releaseLocal } = read;
  if (envFile !== undefined) announceEnvFile(envFile);
  const key = await identity(settings);
  for (let earlier = connections.get(key); earlier !== undefined; earlier = connections.get(key)) {
    const db = await earlier.connection.catch(() => undefined); // the caller of that connect() gets the error
    const changed = db === undefined || db.closed ? [] : changedSettings(earlier.settings, settings);
    if (db !== undefined && !db.closed && changed.length === 0) {
      await releaseLocal();
      return { db, explicit };
    }
    if (connections.get(key) === earlier) connections.delete(key);
    await (db === undefined ? undefined : db[CLOSE_BECAUSE](replacedBy(changed)));
  }
  const onClosed = async () => {
    if (connections.get(key) === opened) connections.delete(key); // otherwise the map would keep every login
    await releaseLocal();
  };
  const opened: OpenConnection = { settings, connection: openConnection({ ...read, releaseLocal: onClosed }) };
  connections.set(key, opened);
  try {
    const db = await opened.connection;
    // Only the last call sets the current connection.
    if (call === calls) openedListeners.forEach((listener) => listener());
    return { db, explicit };
  } catch (error) {
    await onClosed();
    throw withOrigins(error, explicit);
  }
}

const openedListeners: (() => void)[] = [];

/** Calls a listener each time a connection has opened, unless a later `connect()` is under way. */
export function whenOpened(listener: () => void): void {
  openedListeners.push(listener);
}

/** The number of open connections. Those that are being opened do not count. */
export async function countOpenConnections(): Promise<number> {
  const opening = [...connections.values()].map(({ connection }) => Promise.race([connection, undefined]));
  const opened = await Promise.allSettled(opening);
  return opened.filter((db) => db.status === "fulfilled" && db.value?.closed === false).length;
}

/** The name by which a person knows a setting. */
function nameOf(setting: string): string {
  return setting === "serverOptions" ? "PGOPTIONS" : setting;
}

function replacedBy(changed: readonly string[]): string {
  const names = changed.map(nameOf).join(", ");
  return `a later connect() for the same database and role had another ${names}. ` +
    "Use the connection that the later connect() returned";
}

function withOrigins(error: unknown, explicit: readonly Setting[]): unknown {
  if (!(error instanceof LakebaseError)) return error;
  const { code, message, cause, sqlstate } = error;
  const origins = originsBehind(code, explicit);
  return origins === ""
    ? error
    : new LakebaseError(code, `${message}${/[.?]$/.test(message) ? "" : "."} ${origins}`, { cause, sqlstate });
}

interface OpenConnection {
  settings: Settings;
  connection: Promise<Lakebase>;
}

/** The connections that are open or being opened, by {@linkcode identity}. */
const connections = new Map<string, OpenConnection>();

/** The server, the database and the role. Calls with the same identity share one connection. */
async function identity(settings: Settings): Promise<string> {
  const { endpoint, branch, instance, host, port, database, user, group, readOnly, login } = settings;
  // Uses the address, not the client, because a cell that runs again makes a new client of the same workspace.
  const client = await settings.workspace?.config.getHost().then(String, () => undefined);
  const workspace = client ?? login?.profile ?? login?.host;
  return JSON.stringify([workspace, endpoint, branch, instance, host, port, database, user, group, readOnly]);
}

/** The names of the settings that differ. */
function changedSettings(a: Settings, b: Settings): string[] {
  return (Object.keys({ ...a, ...b }) as (keyof Settings)[]).filter((name) => {
    // JSON can't compare functions, nor a client of the SDK, which has circular references.
    if (name === "workspace" || name === "password" || name === "onConnect") return a[name] !== b[name];
    return name === "types" ? !sameTypes(a.types, b.types) : JSON.stringify(a[name]) !== JSON.stringify(b[name]);
  });
}

function sameTypes(a: Settings["types"], b: Settings["types"]): boolean {
  const names = Object.keys({ ...a, ...b });
  return names.every((name) => a[name] === b[name]);
}

/**
 * The connection that the last call of `connect()` returned. If that call is still under way, this waits for it, and
 * fails if the call fails. If that connection was closed, this still returns it: any other connection would run the
 * statement on a database that nobody named. If there was no call, this connects.
 */
export async function currentConnection(): Promise<Lakebase> {
  const [call, opening] = [...pending].at(-1) ?? [];
  if (opening !== undefined && call! > (current?.call ?? 0)) return (await opening).db;
  if (current !== undefined) return current.db;
  if (lastFailure !== undefined) throw notConnected(lastFailure);
  return await (implicit ??= connectImplicitly().finally(() => implicit = undefined));
}

/** The connection that is being opened because a statement ran before any `connect()`. All such statements share it. */
let implicit: Promise<Lakebase> | undefined;

async function connectImplicitly(): Promise<Lakebase> {
  const { db, explicit } = await callConnect({});
  await announceConnection(
    `Connected to ${fullAddress(db[PARTS])}, because connect() was not called. ${originsOfDatabase(explicit)}`,
  );
  return db;
}

function notConnected(cause: unknown): LakebaseError {
  const { code = "CLOSED", message, sqlstate } = cause as Partial<LakebaseError>;
  return new LakebaseError(
    code,
    `Cannot run the statement: there is no connection, because connect() failed. Call connect() again. It failed with: ${message}`,
    { cause, sqlstate },
  );
}

/**
 * The `sql` tag of the current connection, which is the one that the last call of `connect()` returned. If `connect()` was
 * never called, the first statement connects with the settings of the environment, and a notebook shows where it connected.
 *
 * `${values}` are bound parameters, never text. As the last expression of a cell, a query runs and draws itself; `await`
 * gives its rows.
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
export const sql: Sql = makeSql(() => enclosingTransaction() ?? currentConnection().then((db) => db[SESSION]));
