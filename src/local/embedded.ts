import { randomBytes } from "node:crypto";
import type { Connection } from "./connection.ts";
import { type Database, DEFAULT_DATABASE, type Login } from "./database.ts";
import { Engine } from "./engine.ts";
import {
  errorResponse,
  type Frame,
  frame,
  Framer,
  int32,
  parameterStatus,
  query,
  readFields,
  readRow,
  ready,
  type,
} from "./messages.ts";
import { Refused } from "./refused.ts";
import { Requests } from "./requests.ts";
import type { Outcome } from "./responses.ts";
import {
  defaultsScript,
  identifier,
  literal,
  readSettings,
  type SessionSettings,
  SETTINGS_QUERY,
  settingsScript,
  startupSettings,
} from "./session_settings.ts";
import { joined, PreparedStatements, SessionStatements, sqlOf } from "./statements.ts";
import { Turn } from "./turn.ts";

/** What an embedded database starts with. */
export interface EmbeddedOptions {
  dataDir: string | undefined;
  /** The role that owns the workspace, and others that may log in. */
  roles: string[];
  /** Milliseconds that a session waits for another's transaction. */
  lockTimeout: number;
}

interface Session {
  process: number;
  secret: Uint8Array;
  client: Connection;
  requests: Requests;
  statements: SessionStatements;
  settings: SessionSettings;
  defaults: Map<string, string>;
  channels: Set<string>;
  /** Whether it may have changed its settings since they were last looked at. */
  dirty: boolean;
  temporary: boolean;
  status: Outcome["status"];
}

/** What the server tells a client at login, as far as it is a setting. */
const REPORTED = [
  "application_name",
  "client_encoding",
  "DateStyle",
  "default_transaction_read_only",
  "in_hot_standby",
  "integer_datetimes",
  "IntervalStyle",
  "is_superuser",
  "scram_iterations",
  "search_path",
  "server_encoding",
  "server_version",
  "session_authorization",
  "standard_conforming_strings",
  "TimeZone",
];

/**
 * PGlite as a server of many sessions.
 *
 * It has one backend, which sessions take in turns: a turn lasts for a query, or for the whole of a transaction. What
 * belongs to a session (settings, role, prepared statements, LISTEN) is put back when its turn comes. Temporary tables
 * and advisory locks belong to the backend, so all sessions share them.
 */
export class EmbeddedDatabase implements Database {
  readonly #engine = new Engine();
  readonly #options: EmbeddedOptions;
  readonly #sessions = new Map<number, Session>();
  readonly #prepared = new PreparedStatements();
  readonly #turn = new Turn<Session | symbol>();
  #lastProcess = 1000;
  /** Whose settings are in force, and the script that brought them. */
  #current: Session | undefined;
  #applied = "";
  #running: Session | undefined;

  private constructor(options: EmbeddedOptions) {
    this.#options = options;
  }

  /** Starts the database and makes its roles. */
  static async start(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
    const database = new EmbeddedDatabase(options);
    try {
      await database.#engine.start(options.dataDir);
      await database.#setUp();
    } catch (error) {
      await database.close();
      throw error;
    }
    return database;
  }

  async hasRole(role: string): Promise<boolean> {
    const rows = await this.#aside(() =>
      this.#query(`SELECT FROM pg_catalog.pg_roles WHERE rolname = ${literal(role)}`)
    );
    return rows.length > 0;
  }

  async serve(client: Connection, login: Login, onReady: () => void): Promise<void> {
    if (login.database !== DEFAULT_DATABASE) {
      throw new Refused({ sqlstate: "3D000", message: `database "${login.database}" does not exist` });
    }
    const session = this.#newSession(client, login);
    this.#sessions.set(session.process, session);
    try {
      await this.#greet(session);
      onReady();
      await Promise.race([this.#converse(session), this.#engine.crashed]);
    } catch (error) {
      if (error instanceof Refused) throw error;
      throw new Refused({ sqlstate: "57P02", message: `The local database has crashed: ${(error as Error).message}` });
    } finally {
      this.#sessions.delete(session.process);
      await this.#end(session).catch(() => {});
    }
  }

  cancel(process: number, secret: Uint8Array): void {
    const session = this.#sessions.get(process);
    if (!session || session.secret.some((byte, i) => byte !== secret[i])) return;
    const waited = this.#turn.refuse(session, new Refused(CANCELED));
    if (!waited && this.#running === session) this.#engine.cancel();
  }

  async close(): Promise<void> {
    await this.#engine.stop(this.#options.dataDir !== undefined);
  }

  #newSession(client: Connection, { role, parameters, readOnly }: Login): Session {
    const process = ++this.#lastProcess;
    const defaults = startupSettings(parameters, readOnly);
    return {
      process,
      secret: randomBytes(4),
      client,
      requests: new Requests(client),
      statements: new SessionStatements(process, this.#prepared),
      settings: { user: role, role: "none", values: new Map(defaults) },
      defaults,
      channels: new Set(),
      dirty: false,
      temporary: false,
      status: "I",
    };
  }

  /** Tells the client what it has logged in to. */
  async #greet(session: Session): Promise<void> {
    const { client, process, secret } = session;
    const values = await this.#aside(async () => {
      await this.#switchTo(session);
      const columns = REPORTED.map((name) => `pg_catalog.current_setting(${literal(name)}, true)`);
      return (await this.#query(`SELECT ${columns.join(", ")}`))[0] ?? [];
    });
    const statuses = REPORTED.flatMap((name, i) => values[i] == null ? [] : [parameterStatus(name, values[i])]);
    await client.write(joined([...statuses, frame("K", int32(process), secret), ready()]));
  }

  async #converse(session: Session): Promise<void> {
    for (;;) {
      const batch = await session.requests.batch();
      if (!batch) return;
      if (await this.#enter(session, batch)) await this.#answer(session, batch);
    }
  }

  /** Waits for the session's turn; false where it didn't come, and the client has been told so. */
  async #enter(session: Session, batch: Frame[]): Promise<boolean> {
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

  async #answer(session: Session, batch: Frame[]): Promise<void> {
    await this.#switchTo(session);
    const { restore, requests } = session.statements.rewrite(batch);
    if (restore.length) await this.#run([...restore, SYNC]);
    this.#running = session;
    const outcome = await this.#engine.run({
      input: joined(requests),
      prefix: session.statements.prefix,
      channels: session.channels,
      output: (bytes) => session.client.write(bytes),
      more: async () => await session.requests.next() ?? COPY_FAIL,
    });
    this.#running = undefined;
    session.status = outcome.status;
    await this.#attend(session, sqlOf(batch), outcome);
    if (session.status === "I") this.#turn.give(session);
  }

  /** Keeps track of what a batch has done to its session, and to others. */
  async #attend(session: Session, sql: string, { tags, notifications }: Outcome): Promise<void> {
    const idle = session.status === "I";
    if (tags.has("SET") || /set_config/i.test(sql)) session.dirty = true;
    if (/\btemp(orary)?\b/i.test(sql)) session.temporary = true;
    if (tags.has("DEALLOCATE ALL") || tags.has("DISCARD ALL")) session.statements.dropped();
    if (tags.has("RESET") || tags.has("DISCARD ALL")) {
      session.dirty = true;
      if (idle && session.defaults.size) await this.#query(defaultsScript(session.defaults));
    }
    if (tags.has("LISTEN")) { for (const channel of channelsOf(sql, "LISTEN")) session.channels.add(channel); }
    if (tags.has("UNLISTEN") || tags.has("DISCARD ALL")) {
      const gone = tags.has("UNLISTEN") ? channelsOf(sql, "UNLISTEN") : ["*"];
      for (const channel of gone.includes("*") ? [...session.channels] : gone) session.channels.delete(channel);
      if (idle) await this.#listen();
    }
    await this.#notify(session, notifications);
  }

  async #notify(from: Session, notifications: Frame[]): Promise<void> {
    for (const notification of notifications) {
      const channel = new TextDecoder().decode(notification.subarray(9, notification.indexOf(0, 9)));
      const others = [...this.#sessions.values()].filter((other) => other !== from && other.channels.has(channel));
      for (const other of others) await other.client.write(notification);
    }
  }

  /** Listens again to what other sessions listen to, after one has stopped. */
  async #listen(): Promise<void> {
    const channels = new Set([...this.#sessions.values()].flatMap((session) => [...session.channels]));
    if (channels.size) await this.#query([...channels].map((channel) => `LISTEN ${identifier(channel)}`).join("; "));
  }

  /** Puts a session's settings in force. */
  async #switchTo(session: Session | undefined): Promise<void> {
    if (this.#current === session && session) return;
    const before = this.#current;
    if (before?.dirty) {
      before.settings = readSettings(await this.#query(SETTINGS_QUERY));
      before.dirty = false;
      this.#applied = settingsScript(before.settings);
    }
    const script = settingsScript(session?.settings ?? SYSTEM);
    this.#current = undefined;
    if (script !== this.#applied) {
      this.#applied = "";
      await this.#query(script);
      this.#applied = script;
    }
    this.#current = session;
  }

  /** Undoes what a session leaves behind. */
  async #end(session: Session): Promise<void> {
    const others = [...this.#sessions.values()];
    const discard = session.temporary && !others.some((other) => other.temporary);
    const leftovers = session.statements.close();
    if (this.#turn.holder === session) await this.#run([SYNC, query("ROLLBACK")]);
    if (leftovers.length || session.channels.size || discard) {
      await this.#turn.take(session, Infinity, undefined);
      await this.#run([...leftovers, SYNC]);
      if (session.channels.size) await this.#query("UNLISTEN *").then(() => this.#listen());
      if (discard) await this.#query("DISCARD TEMP");
    }
    if (this.#current === session) this.#current = undefined;
    if (session.dirty) this.#applied = "";
    this.#turn.give(session);
  }

  /** Runs the server's own queries in a turn of their own. */
  async #aside<T>(task: () => Promise<T>): Promise<T> {
    const turn = Symbol();
    await this.#turn.take(turn, this.#options.lockTimeout, new Refused(BUSY));
    try {
      return await task();
    } finally {
      this.#turn.give(turn);
    }
  }

  /** The rows of a simple query. Only in a turn. */
  async #query(sql: string): Promise<(string | null)[][]> {
    const answers = await this.#run([query(sql)]);
    const error = answers.find((answer) => type(answer) === "E");
    if (error) {
      const { C: sqlstate = "XX000", M: message = "", D: detail, H: hint } = readFields(error);
      throw new Refused({ sqlstate, message, detail, hint });
    }
    return answers.filter((answer) => type(answer) === "D").map(readRow);
  }

  async #run(requests: Frame[]): Promise<Frame[]> {
    const framer = new Framer();
    await this.#engine.run({ input: joined(requests), output: (bytes) => Promise.resolve(framer.push(bytes)) });
    const answers: Frame[] = [];
    for (let answer = framer.next(); answer; answer = framer.next()) answers.push(answer);
    return answers;
  }

  /** Gives the workspace's people their roles, as a project's owner has them. */
  async #setUp(): Promise<void> {
    const known = new Set((await this.#query("SELECT rolname FROM pg_catalog.pg_roles")).map(([name]) => name));
    const attributes = "CREATEDB CREATEROLE BYPASSRLS";
    const script = known.has(SUPERUSER) ? [] : [
      `CREATE ROLE ${SUPERUSER} NOLOGIN ${attributes}`,
      `GRANT pg_monitor, pg_read_all_data, pg_write_all_data, pg_signal_backend TO ${SUPERUSER} WITH ADMIN OPTION`,
      `ALTER DATABASE ${DEFAULT_DATABASE} OWNER TO ${SUPERUSER}`,
    ];
    for (const role of new Set(this.#options.roles)) {
      if (!known.has(role)) script.push(`CREATE ROLE ${identifier(role)} LOGIN ${attributes} IN ROLE ${SUPERUSER}`);
    }
    if (script.length) await this.#query(script.join("; "));
  }
}

/** The channels that some SQL listens to, or stops listening to. */
function channelsOf(sql: string, command: "LISTEN" | "UNLISTEN"): string[] {
  const statements = sql.matchAll(new RegExp(`\\b${command}\\s+(?:"((?:[^"]|"")+)"|([\\w$]+|\\*))`, "gi"));
  return [...statements].map(([, quoted, bare]) => quoted?.replaceAll('""', '"') ?? bare?.toLowerCase() ?? "");
}

const SUPERUSER = "databricks_superuser";
const SYSTEM: SessionSettings = { user: "postgres", role: "none", values: new Map() };
const SYNC = frame("S");
const COPY_FAIL = frame("f", new TextEncoder().encode("client disconnected\0"));
const CANCELED = { sqlstate: "57014", message: "canceling statement due to user request" };
const BUSY = {
  sqlstate: "55P03",
  message: "another session's transaction is still open, and the embedded database runs one transaction at a time",
  hint: "End the other transaction, or give the local Lakebase a real Postgres with its database option.",
};
