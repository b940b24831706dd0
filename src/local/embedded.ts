import { concatBytes } from "../core/bytes.ts";
import { quoteName } from "../core/sql_text.ts";
import { Backend } from "./backend.ts";
import type { Connection } from "./connection.ts";
import { DataFolder } from "./data_folder.ts";
import {
  type Database,
  DEFAULT_DATABASE,
  type Login,
  quoteLiteral,
  readRoleSettings,
  roleSettingsQuery,
  settingsScript,
} from "./database.ts";
import type { DataFiles } from "./database_worker.ts";
import { EmbeddedSession, PreparedStatements } from "./embedded_session.ts";
import { delay } from "./faults.ts";
import { errorResponse, type Frame, frame, int32, PostgresError, readCString, readyForQuery } from "./messages.ts";

/** Options of {@linkcode EmbeddedDatabase.start}. */
interface EmbeddedOptions {
  /** Directory of the data; undefined for a database in memory. */
  dataDir: string | undefined;
  /** Roles that may log in; missing ones are created. */
  roles: string[];
  /** Milliseconds that a session waits for another session's transaction. */
  lockTimeout: number;
}

/**
 * A PGlite that serves many sessions.
 *
 * The sessions take turns with its one backend. A turn lasts for a query or a whole transaction. It begins by restoring the
 * session's settings, role and prepared statements. All sessions share temporary tables and advisory locks, because these
 * belong to the backend.
 */
class RunningDatabase implements Omit<Database, "copy"> {
  readonly #options: EmbeddedOptions;
  readonly #sessions = new Map<number, EmbeddedSession>();
  readonly #backend = new Backend(this.#sessions);
  readonly #turn = new Turn<EmbeddedSession | symbol>();
  readonly #prepared = new PreparedStatements();
  /** ParameterStatus messages by the script of the settings, so that later logins with the same settings need no turn. */
  readonly #reports = new Map<string, Frame[]>();
  /** The settings of each role at its last login. */
  readonly #lastRoleSettings = new Map<string, ReadonlyMap<string, string>>();
  #lastProcess = 1000;

  private constructor(options: EmbeddedOptions) {
    this.#options = options;
  }

  /** Starts the database with its own data or with a copy, and creates the roles. */
  static async start(options: EmbeddedOptions, copy?: DataFiles): Promise<RunningDatabase> {
    const database = new RunningDatabase(options);
    try {
      await database.#backend.start(copy ?? options.dataDir);
      await database.#makeRoles();
    } catch (error) {
      await database.close();
      throw error;
    }
    return database;
  }

  /** Whether the backend has crashed or been stopped. */
  get crashed(): boolean {
    return this.#backend.crashed;
  }

  unref(): void {
    this.#backend.unref();
  }

  async hasRole(role: string): Promise<boolean> {
    if (this.#options.roles.includes(role)) return true;
    const find = `SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) ${quoteLiteral(role)}`;
    return (await this.#inServerTurn(() => this.#backend.query(find))).length > 0;
  }

  /** Copies the committed data, even while a transaction is open. */
  async copy(): Promise<DataFiles> {
    if (this.#turn.holder !== undefined) return await this.#backend.copy();
    return await this.#inServerTurn(async () => {
      await this.#backend.checkpoint();
      return await this.#backend.copy();
    });
  }

  /** The size of the data in bytes; `undefined` while a transaction is open. */
  async size(): Promise<number | undefined> {
    if (this.#turn.holder !== undefined) return undefined;
    const measure = () => this.#backend.query("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())");
    const rows = await this.#inServerTurn(measure, SHORT_WAIT).catch(() => undefined);
    return rows === undefined ? undefined : Number(rows[0]?.[0]);
  }

  async serve(client: Connection, login: Login, onReady: () => void): Promise<void> {
    if (login.database !== DEFAULT_DATABASE) {
      throw new PostgresError({ sqlstate: "3D000", message: `database "${login.database}" does not exist` });
    }
    const roleSettings = await this.#roleSettings(login.role);
    const session = new EmbeddedSession(++this.#lastProcess, client, login, roleSettings, this.#prepared);
    this.#sessions.set(session.process, session);
    const served = new AbortController();
    client.closed.then(() => this.#cancelOrphan(session, served.signal));
    let loggedIn = false;
    try {
      await this.#sendGreeting(session);
      loggedIn = true;
      onReady();
      await this.#backend.unlessCrashed(this.#serveQueries(session));
    } catch (error) {
      throw error instanceof PostgresError ? error : this.#crashError(error as Error);
    } finally {
      served.abort();
      this.#sessions.delete(session.process);
      const ended = this.#backend.unlessCrashed(this.#end(session)).catch(() => {}); // the session's own error says more
      if (loggedIn) await ended; // a client that could not log in gets its error now, not after another's transaction
    }
  }

  #crashError({ message }: Error): PostgresError {
    const restart = this.#options.dataDir === undefined
      ? "It starts again with an empty database, since it was in memory"
      : "It starts again with the content of its data folder";
    return new PostgresError({
      sqlstate: "57P02",
      message: `The local database has crashed (${message}), and all its sessions are over. ${restart}`,
    });
  }

  cancel(process: number, secret: Uint8Array): void {
    const session = this.#sessions.get(process);
    if (session?.secret.every((byte, i) => byte === secret[i])) this.#cancel(session);
  }

  async close(): Promise<void> {
    await this.#backend.stop(this.#options.dataDir !== undefined);
  }

  #cancel(session: EmbeddedSession): void {
    if (!this.#turn.refuse(session, new PostgresError(CANCELED))) this.#backend.cancel(session);
  }

  /** Cancels a query that still runs after its client has left, because the other clients wait for the same backend. */
  async #cancelOrphan(session: EmbeddedSession, served: AbortSignal): Promise<void> {
    await delay(ORPHAN_LIMIT, served);
    if (!served.aborted) this.#cancel(session);
  }

  /** The settings of `ALTER ROLE ... SET` and `ALTER DATABASE ... SET`. During a long transaction, those from before it. */
  async #roleSettings(role: string): Promise<ReadonlyMap<string, string>> {
    const read = async () => {
      const rows = await this.#backend.query(roleSettingsQuery(role));
      return await this.#backend.acceptedSettings(role, readRoleSettings(rows.map(([setting]) => setting)));
    };
    const settings = await this.#inServerTurn(read, SHORT_WAIT).catch((error) => {
      if (error instanceof PostgresError && error.failure === BUSY) {
        return this.#lastRoleSettings.get(role) ?? new Map();
      }
      throw error;
    });
    this.#lastRoleSettings.set(role, settings);
    return settings;
  }

  /** Sends the values of the settings, the key for cancel requests, and ReadyForQuery. */
  async #sendGreeting(session: EmbeddedSession): Promise<void> {
    const script = settingsScript(session.settings);
    const statuses = this.#reports.get(script) ?? await this.#inServerTurn(() => this.#report(session));
    this.#reports.set(script, statuses);
    for (const status of statuses) {
      const { text, next } = readCString(status, 5);
      session.reported.set(text, readCString(status, next).text);
    }
    await session.client.write(
      concatBytes([...statuses, frame("K", int32(session.process), session.secret), readyForQuery()]),
    );
  }

  async #report(session: EmbeddedSession): Promise<Frame[]> {
    await this.#backend.switchTo(session);
    return await this.#backend.report(session);
  }

  async #serveQueries(session: EmbeddedSession): Promise<void> {
    for (;;) {
      const batch = await session.requests.batch();
      if (!batch) return;
      if (!await this.#enter(session, batch)) continue;
      if (await this.#backend.answer(session, batch) === "I") this.#turn.give(session);
    }
  }

  /** Waits for the session's turn. If that takes too long, sends the client an error and returns false. */
  async #enter(session: EmbeddedSession, batch: Frame[]): Promise<boolean> {
    try {
      await this.#turn.take(session, this.#options.lockTimeout, new PostgresError(BUSY));
      return true;
    } catch (error) {
      if (!(error instanceof PostgresError)) throw error;
      await session.client.write(errorResponse(error.failure));
      await session.requests.abandon(batch);
      return false;
    }
  }

  /** Removes the session's state from the backend, in a last turn of the session. */
  async #end(session: EmbeddedSession): Promise<void> {
    const inTransaction = this.#turn.holder === session;
    const discardTemporary = session.temporary && ![...this.#sessions.values()].some((other) => other.temporary);
    await this.#turn.take(session, Infinity, undefined);
    try {
      await this.#backend.forget(session, inTransaction, discardTemporary);
    } finally {
      this.#turn.give(session);
    }
  }

  /** Runs queries of the local server itself, in a turn of their own. */
  async #inServerTurn<T>(task: () => Promise<T>, limit = this.#options.lockTimeout): Promise<T> {
    const turn = Symbol();
    await this.#turn.take(turn, limit, new PostgresError(BUSY));
    try {
      return await task();
    } finally {
      this.#turn.give(turn);
    }
  }

  /** Creates the missing roles with the privileges of a project's owner. */
  async #makeRoles(): Promise<void> {
    const rows = await this.#backend.query("SELECT rolname FROM pg_catalog.pg_roles");
    const existing = new Set(rows.map(([name]) => name));
    const script = existing.has(SUPERUSER) ? [] : [
      `CREATE ROLE ${SUPERUSER} NOLOGIN ${ATTRIBUTES}`,
      `GRANT pg_monitor, pg_read_all_data, pg_write_all_data, pg_signal_backend TO ${SUPERUSER} WITH ADMIN OPTION`,
      `ALTER DATABASE ${DEFAULT_DATABASE} OWNER TO ${SUPERUSER}`,
    ];
    for (const role of new Set(this.#options.roles)) {
      if (!existing.has(role)) script.push(`CREATE ROLE ${quoteName(role)} LOGIN ${ATTRIBUTES} IN ROLE ${SUPERUSER}`);
    }
    if (script.length) await this.#backend.query(script.join("; "));
  }
}

/** An embedded database. After a crash, the next session starts it again with the data on disk, or empty. */
export class EmbeddedDatabase implements Database {
  readonly #options: EmbeddedOptions;
  /** The folder of the data; undefined for a database in memory. */
  readonly #folder: DataFolder | undefined;
  #current: Promise<RunningDatabase>;
  #unreferenced = false;
  #closed = false;

  private constructor(options: EmbeddedOptions, first: RunningDatabase, folder?: DataFolder) {
    this.#options = options;
    this.#current = Promise.resolve(first);
    this.#folder = folder;
  }

  /**
   * Starts the database and creates the roles.
   *
   * @throws {Error} If the folder of the data can't be used.
   */
  static async start(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
    if (options.dataDir === undefined) return new EmbeddedDatabase(options, await RunningDatabase.start(options));
    const folder = await DataFolder.open(options.dataDir);
    const inFolder = { ...options, dataDir: folder.path };
    try {
      const database = await RunningDatabase.start(inFolder);
      await folder.complete();
      return new EmbeddedDatabase(inFolder, database, folder);
    } catch (error) {
      folder[Symbol.dispose]();
      const state = error instanceof Error ? error.message : String(error);
      throw new Error(
        `Cannot start the database in ${
          JSON.stringify(folder.path)
        }: ${state}. If you don't need its data, remove the folder`,
        { cause: error },
      );
    }
  }

  unref(): void {
    this.#unreferenced = true;
    this.#current.then((database) => database.unref(), () => {}); // a failed restart has nothing to unref
  }

  async hasRole(role: string): Promise<boolean> {
    return await (await this.#running()).hasRole(role);
  }

  async serve(client: Connection, login: Login, onReady: () => void): Promise<void> {
    await (await this.#running()).serve(client, login, onReady);
  }

  async copy(): Promise<EmbeddedDatabase> {
    const files = await (await this.#running()).copy();
    const options = { ...this.#options, dataDir: undefined };
    return new EmbeddedDatabase(options, await RunningDatabase.start(options, files));
  }

  async size(): Promise<number | undefined> {
    return await (await this.#running()).size();
  }

  cancel(process: number, secret: Uint8Array): void {
    this.#current.then((database) => database.cancel(process, secret), () => {}); // a failed restart runs nothing
  }

  async close(): Promise<void> {
    this.#closed = true;
    await (await this.#current.catch(() => undefined))?.close();
    this.#folder?.[Symbol.dispose]();
  }

  async #running(): Promise<RunningDatabase> {
    const current = this.#current;
    const database = await current.catch(() => undefined);
    if (database?.crashed === false || this.#closed && database !== undefined) return database;
    if (this.#current === current) this.#current = this.#restart(database);
    return await this.#current;
  }

  async #restart(crashed: RunningDatabase | undefined): Promise<RunningDatabase> {
    await crashed?.close();
    const database = await RunningDatabase.start(this.#options).catch((error) => {
      const message = `The local database has crashed, and can't be started again: ${(error as Error).message}`;
      throw new PostgresError({ sqlstate: "57P03", message });
    });
    if (this.#unreferenced) database.unref();
    return database;
  }
}

/** Milliseconds that a query may run after its client has left. A client may send a query and leave on purpose. */
const ORPHAN_LIMIT = 1000;

/** Milliseconds that the server waits for a turn that it can do without. */
const SHORT_WAIT = 200;

const SUPERUSER = "databricks_superuser";
const ATTRIBUTES = "CREATEDB CREATEROLE BYPASSRLS";
const CANCELED = { sqlstate: "57014", message: "canceling statement due to user request" };
const BUSY = {
  sqlstate: "55P03",
  message: "another session's transaction is still open, and the embedded database runs one transaction at a time",
  hint: "End the other transaction, or give the local Lakebase a real Postgres with its database option.",
};

/** A fair lock: one holder has it at a time, in the order of their requests. */
export class Turn<Holder> {
  #holder: Holder | undefined;
  readonly #queue: { holder: Holder; enter: () => void; refuse: (reason: unknown) => void }[] = [];

  /** The holder that has the turn; `undefined` if nobody has it. */
  get holder(): Holder | undefined {
    return this.#holder;
  }

  /** Resolves when this holder has the turn; rejects with `reason` after `limit` milliseconds. */
  async take(holder: Holder, limit: number, reason: unknown): Promise<void> {
    if (this.#holder === holder) return;
    if (this.#holder === undefined) {
      this.#holder = holder;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#queue.push({ holder, enter: resolve, refuse: reject });
    const timer = limit === Infinity ? undefined : setTimeout(() => this.refuse(holder, reason), limit);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Passes the turn to the holder that has waited longest. Does nothing if this holder does not have the turn. */
  give(holder: Holder): void {
    if (this.#holder !== holder) return;
    const next = this.#queue.shift();
    this.#holder = next?.holder;
    next?.enter();
  }

  /** Rejects the wait of a holder. Returns false if this holder is not waiting. */
  refuse(holder: Holder, reason: unknown): boolean {
    const at = this.#queue.findIndex((waiting) => waiting.holder === holder);
    const [waiting] = at < 0 ? [] : this.#queue.splice(at, 1);
    waiting?.refuse(reason);
    return waiting !== undefined;
  }
}
