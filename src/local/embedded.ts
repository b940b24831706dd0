import { concatBytes } from "../core/bytes.ts";
import { quoteName } from "../core/sql_text.ts";
import { Backend } from "./backend.ts";
import type { Connection } from "./connection.ts";
import { DataFolder } from "./data_folder.ts";
import { type Database, DEFAULT_DATABASE, type Login } from "./database.ts";
import type { DataFiles } from "./database_worker.ts";
import { EmbeddedSession, PreparedStatements } from "./embedded_session.ts";
import { delay } from "./faults.ts";
import { errorResponse, type Frame, frame, int32, readCString, ready, Refused } from "./messages.ts";
import { literal, readRoleSettings, roleSettingsQuery, settingsScript } from "./session_settings.ts";

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
 * PGlite as a server of many sessions.
 *
 * The sessions use the one backend in turns. A turn lasts for a query or for a whole transaction. At the start of a
 * session's turn its settings, role, prepared statements and LISTEN are restored. Temporary tables and advisory locks belong
 * to the backend, so all sessions share them.
 */
class RunningDatabase implements Omit<Database, "copy"> {
  readonly #options: EmbeddedOptions;
  readonly #sessions = new Map<number, EmbeddedSession>();
  readonly #backend = new Backend(this.#sessions);
  readonly #turn = new Turn<EmbeddedSession | symbol>();
  readonly #prepared = new PreparedStatements();
  /** ParameterStatus messages by settings: a login with settings that were reported before needs no turn. */
  readonly #reports = new Map<string, Frame[]>();
  /** The result of {@linkcode RunningDatabase.#roleSettings} for the last login of each role. */
  readonly #kept = new Map<string, ReadonlyMap<string, string>>();
  #lastProcess = 1000;

  private constructor(options: EmbeddedOptions) {
    this.#options = options;
  }

  /** Starts the database, with the data of a copy if there is one, and creates the roles. */
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

  /** Whether the backend has ended, so that no session can be served. */
  get crashed(): boolean {
    return this.#backend.crashed;
  }

  unref(): void {
    this.#backend.unref();
  }

  async hasRole(role: string): Promise<boolean> {
    if (this.#options.roles.includes(role)) return true;
    const find = `SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) ${literal(role)}`;
    return (await this.#inOwnTurn(() => this.#backend.query(find))).length > 0;
  }

  /** Copies the data, even while a transaction is open. */
  async copy(): Promise<DataFiles> {
    if (this.#turn.holder !== undefined) return await this.#backend.copy();
    return await this.#inOwnTurn(async () => {
      await this.#backend.checkpoint();
      return await this.#backend.copy();
    });
  }

  /** Size of the data in bytes; undefined while a transaction is open. */
  async size(): Promise<number | undefined> {
    if (this.#turn.holder !== undefined) return undefined;
    const measure = () => this.#backend.query("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())");
    const rows = await this.#inOwnTurn(measure, SHORT_WAIT).catch(() => undefined);
    return rows === undefined ? undefined : Number(rows[0]?.[0]);
  }

  async serve(client: Connection, login: Login, onReady: () => void): Promise<void> {
    if (login.database !== DEFAULT_DATABASE) {
      throw new Refused({ sqlstate: "3D000", message: `database "${login.database}" does not exist` });
    }
    const kept = await this.#roleSettings(login.role);
    const session = new EmbeddedSession(++this.#lastProcess, client, login, kept, this.#prepared);
    this.#sessions.set(session.process, session);
    const served = new AbortController();
    client.closed.then(() => this.#cancelOrphan(session, served.signal));
    let greeted = false;
    try {
      await this.#sendGreeting(session);
      greeted = true;
      onReady();
      await this.#backend.unlessCrashed(this.#serveQueries(session));
    } catch (error) {
      if (error instanceof Refused) throw error;
      const restart = this.#options.dataDir === undefined
        ? "It starts again with an empty database, since it was in memory"
        : "It starts again with the content of its data folder";
      const message = `The local database has crashed (${
        (error as Error).message
      }), and all its sessions are over. ${restart}`;
      throw new Refused({ sqlstate: "57P02", message });
    } finally {
      served.abort();
      this.#sessions.delete(session.process);
      const ended = this.#backend.unlessCrashed(this.#end(session)).catch(() => {}); // the session's own error says more
      if (greeted) await ended; // else the client would get its error only when the other transaction ends
    }
  }

  cancel(process: number, secret: Uint8Array): void {
    const session = this.#sessions.get(process);
    if (session?.secret.every((byte, i) => byte === secret[i])) this.#cancel(session);
  }

  async close(): Promise<void> {
    await this.#backend.stop(this.#options.dataDir !== undefined);
  }

  #cancel(session: EmbeddedSession): void {
    if (!this.#turn.refuse(session, new Refused(CANCELED))) this.#backend.cancel(session);
  }

  /** Cancels a query that still runs for a client that has left, because all other clients wait for the same backend. */
  async #cancelOrphan(session: EmbeddedSession, served: AbortSignal): Promise<void> {
    await delay(ORPHAN_TIME, served);
    if (!served.aborted) this.#cancel(session);
  }

  /**
   * The settings that `ALTER ROLE ... SET` and `ALTER DATABASE ... SET` keep for a role. During a long transaction,
   * these are the settings from before it.
   */
  async #roleSettings(role: string): Promise<ReadonlyMap<string, string>> {
    const read = async () => {
      const found = readRoleSettings((await this.#backend.query(roleSettingsQuery(role))).map(([setting]) => setting));
      return await this.#backend.accepted(role, found);
    };
    const kept = await this.#inOwnTurn(read, SHORT_WAIT).catch((error) => {
      if (error instanceof Refused && error.failure === BUSY) return this.#kept.get(role) ?? new Map();
      throw error;
    });
    this.#kept.set(role, kept);
    return kept;
  }

  /** Sends the client the settings, the key for cancel requests, and ReadyForQuery. */
  async #sendGreeting(session: EmbeddedSession): Promise<void> {
    const script = settingsScript(session.settings);
    const statuses = this.#reports.get(script) ?? await this.#inOwnTurn(() => this.#report(session));
    this.#reports.set(script, statuses);
    for (const status of statuses) {
      const { text, next } = readCString(status, 5);
      session.reported.set(text, readCString(status, next).text);
    }
    await session.client.write(concatBytes([...statuses, frame("K", int32(session.process), session.secret), ready()]));
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

  /** Waits for the session's turn. Returns false if the wait took too long and the client was sent the error. */
  async #enter(session: EmbeddedSession, batch: Frame[]): Promise<boolean> {
    try {
      await this.#turn.take(session, this.#options.lockTimeout, new Refused(BUSY));
      return true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      await session.client.write(errorResponse(error.failure));
      await session.requests.abandon(batch);
      return false;
    }
  }

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

  /** Runs queries for the local server itself, in a separate turn. */
  async #inOwnTurn<T>(task: () => Promise<T>, limit = this.#options.lockTimeout): Promise<T> {
    const turn = Symbol();
    await this.#turn.take(turn, limit, new Refused(BUSY));
    try {
      return await task();
    } finally {
      this.#turn.give(turn);
    }
  }

  /** Creates the missing roles with the privileges of a project's owner. */
  async #makeRoles(): Promise<void> {
    const rows = await this.#backend.query("SELECT rolname FROM pg_catalog.pg_roles");
    const present = new Set(rows.map(([name]) => name));
    const script = present.has(SUPERUSER) ? [] : [
      `CREATE ROLE ${SUPERUSER} NOLOGIN ${ATTRIBUTES}`,
      `GRANT pg_monitor, pg_read_all_data, pg_write_all_data, pg_signal_backend TO ${SUPERUSER} WITH ADMIN OPTION`,
      `ALTER DATABASE ${DEFAULT_DATABASE} OWNER TO ${SUPERUSER}`,
    ];
    for (const role of new Set(this.#options.roles)) {
      if (!present.has(role)) script.push(`CREATE ROLE ${quoteName(role)} LOGIN ${ATTRIBUTES} IN ROLE ${SUPERUSER}`);
    }
    if (script.length) await this.#backend.query(script.join("; "));
  }
}

/** An embedded database. After a crash the next session starts it again, with the data on disk or with no data. */
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
  static async start(given: EmbeddedOptions): Promise<EmbeddedDatabase> {
    if (given.dataDir === undefined) return new EmbeddedDatabase(given, await RunningDatabase.start(given));
    const folder = await DataFolder.open(given.dataDir);
    const options = { ...given, dataDir: folder.path };
    try {
      const database = await RunningDatabase.start(options);
      await folder.complete();
      return new EmbeddedDatabase(options, database, folder);
    } catch (error) {
      folder[Symbol.dispose]();
      const state = error instanceof Error ? error.message : String(error);
      throw new Error(
        `Cannot start the database in ${
          JSON.stringify(folder.path)
        }: ${state}. Without need for its data, remove the folder`,
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

  async #restart(before: RunningDatabase | undefined): Promise<RunningDatabase> {
    await before?.close();
    const database = await RunningDatabase.start(this.#options).catch((error) => {
      const message = `The local database has crashed, and can't be started again: ${(error as Error).message}`;
      throw new Refused({ sqlstate: "57P03", message });
    });
    if (this.#unreferenced) database.unref();
    return database;
  }
}

/** Milliseconds that a query may run after its client has left, because a client may send a query and leave on purpose. */
const ORPHAN_TIME = 1000;

/** Milliseconds for which a question waits for its turn if another answer is available. */
const SHORT_WAIT = 200;

const SUPERUSER = "databricks_superuser";
const ATTRIBUTES = "CREATEDB CREATEROLE BYPASSRLS";
const CANCELED = { sqlstate: "57014", message: "canceling statement due to user request" };
const BUSY = {
  sqlstate: "55P03",
  message: "another session's transaction is still open, and the embedded database runs one transaction at a time",
  hint: "End the other transaction, or give the local Lakebase a real Postgres with its database option.",
};

/** A fair lock: holders have it one at a time, in the order in which they asked. */
export class Turn<Holder> {
  #holder: Holder | undefined;
  readonly #queue: { holder: Holder; enter: () => void; refuse: (reason: unknown) => void }[] = [];

  /** The holder that has the turn; undefined if it is free. */
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

  /** Rejects a holder's wait with a reason. Returns whether the holder was waiting. */
  refuse(holder: Holder, reason: unknown): boolean {
    const at = this.#queue.findIndex((waiting) => waiting.holder === holder);
    const [waiting] = at < 0 ? [] : this.#queue.splice(at, 1);
    waiting?.refuse(reason);
    return waiting !== undefined;
  }
}
