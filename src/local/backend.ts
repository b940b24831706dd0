import { concatBytes } from "../core/bytes.ts";
import { quoteName } from "../core/sql_text.ts";
import type { DataFiles } from "./database_worker.ts";
import { customSettings, customSettingsIn, type EmbeddedSession, sqlOf } from "./embedded_session.ts";
import {
  type Frame,
  frame,
  Framer,
  messageType,
  type Outcome,
  parameterStatus,
  PostgresError,
  query,
  readFields,
  readRow,
} from "./messages.ts";
import {
  defaultsScript,
  readSettings,
  REPORT_QUERY,
  REPORTED,
  type SessionSettings,
  settingsQuery,
  settingsScript,
} from "./database.ts";
import { COPY_FAIL, PostgresWorker } from "./postgres_worker.ts";

/** The one Postgres backend of an embedded database, which all sessions share. The caller gives them turns. */
export class Backend {
  readonly #worker = new PostgresWorker();
  readonly #sessions: ReadonlyMap<number, EmbeddedSession>;
  /** The session whose settings are in force. */
  #current: EmbeddedSession | undefined;
  /** The script whose settings are in force; empty if they may have changed. */
  #appliedScript = "";
  /** The session whose batch runs. */
  #running: EmbeddedSession | undefined;
  /** Names of custom settings, such as `app.tenant`, that sessions may have set. */
  readonly #customSettings = new Set<string>();
  /** Whether there may be a function that sets custom settings. If so, any statement may set one. */
  #functionsMaySet = false;

  /** `sessions` are the open sessions by process number. The caller adds and removes them. */
  constructor(sessions: ReadonlyMap<number, EmbeddedSession>) {
    this.#sessions = sessions;
  }

  /** Returns the outcome of `work`. Rejects if the backend crashes first. */
  unlessCrashed<T>(work: Promise<T>): Promise<T> {
    return this.#worker.unlessCrashed(work);
  }

  /** Whether the backend has crashed or been stopped. */
  get crashed(): boolean {
    return this.#worker.crashed;
  }

  async start(data: string | DataFiles | undefined): Promise<void> {
    await this.#worker.start(data);
    if (data === undefined) return;
    const functions = await this.query(SETTING_FUNCTIONS);
    this.#functionsMaySet = functions.length > 0;
    for (const [source] of functions) for (const name of customSettingsIn(source ?? "")) this.#customSettings.add(name);
  }

  /** Copies the data files. The changes of an open transaction are not in the copy. */
  async copy(): Promise<DataFiles> {
    return await this.#worker.copy();
  }

  /** Writes all changes to the data files, so that a copy of them needs no recovery. Call it only in a turn. */
  async checkpoint(): Promise<void> {
    await this.#saveCurrent();
    this.#appliedScript = "";
    // RESET does not restore the role, because the login of this backend set none.
    await this.query("RESET ALL; SET SESSION AUTHORIZATION postgres; SET ROLE NONE; CHECKPOINT");
  }

  async stop(orderly: boolean): Promise<void> {
    await this.#worker.stop(orderly);
  }

  /** Runs a batch, and sends the answers to the session's client. Returns the transaction status after the batch. */
  async answer(session: EmbeddedSession, batch: Frame[]): Promise<Outcome["status"]> {
    await this.switchTo(session);
    const sql = sqlOf(batch);
    const { restore, requests } = session.statements.rewrite(batch);
    if (restore.length) await this.run([...restore, SYNC]);
    this.#running = session;
    const outcome = await this.#worker.run({
      input: concatBytes(requests),
      prefix: session.statements.prefix,
      channels: session.channels,
      settingsMayChange: /set_config/i.test(sql),
      output: (bytes) => session.client.write(bytes),
      // A malformed message is the session's error, not the backend's: the session's next read throws it.
      copyInput: async () => concatBytes(await session.requests.copyData().catch(() => undefined) ?? [COPY_FAIL]),
    });
    this.#running = undefined;
    const toRestore = session.track(sql, outcome);
    this.#noteCustomSettings(session, batch, sql);
    if (outcome.status === "I") {
      if (toRestore.defaults) await this.query(defaultsScript(session.defaults));
      if (toRestore.listen) await this.#listenAgain();
    }
    if (outcome.ready !== undefined) {
      const mayReport = outcome.status !== "E" && MAY_CHANGE_REPORTED.test(sql);
      const changed = mayReport ? await this.report(session) : [];
      await session.client.write(concatBytes([...changed, outcome.ready]));
    }
    await this.#notify(session, outcome.notifications);
    return outcome.status;
  }

  /** Records the custom settings that a batch may have set, and whether it may have created a function that sets some. */
  #noteCustomSettings(session: EmbeddedSession, batch: Frame[], sql: string): void {
    if (this.#functionsMaySet) session.dirty = true;
    if (!session.dirty || this.#customSettings.size > MAX_CUSTOM_SETTINGS) return;
    for (const name of customSettings(batch)) this.#customSettings.add(name);
    if (/\bset_config\b/i.test(sql) && /\b(?:function|procedure)\b/i.test(sql)) this.#functionsMaySet = true;
  }

  /** ParameterStatus messages for the settings in force whose values the session's client does not know yet. */
  async report(session: EmbeddedSession): Promise<Frame[]> {
    const [values = []] = await this.query(REPORT_QUERY);
    return REPORTED.flatMap((name, index) => {
      const value = values[index];
      if (value == null || session.reported.get(name) === value) return [];
      session.reported.set(name, value);
      return [parameterStatus(name, value)];
    });
  }

  /** Lets the process end while the backend runs. */
  unref(): void {
    this.#worker.unref();
  }

  /** Cancels the running batch if it belongs to this session. */
  cancel(session: EmbeddedSession): void {
    if (this.#running === session) this.#worker.cancel();
  }

  /** Saves the settings of the current session, and puts those of another one in force. */
  async switchTo(session: EmbeddedSession): Promise<void> {
    if (this.#current === session) return;
    await this.#saveCurrent();
    await this.#apply(session.settings);
    this.#current = session;
  }

  /**
   * Returns the settings that Postgres accepts for a role. Like Postgres at a login, it ignores those that are invalid or
   * that the role may not set. Call it only in a turn.
   */
  async acceptedSettings(role: string, values: ReadonlyMap<string, string>): Promise<ReadonlyMap<string, string>> {
    const accepted = new Map<string, string>();
    if (values.size === 0) return accepted;
    await this.#saveCurrent();
    for (const [name, value] of values) {
      this.#appliedScript = "";
      const script = settingsScript({ user: role, role: "none", values: new Map([[name, value]]) });
      await this.query(script).then(() => accepted.set(name, value), (error) => {
        if (!(error instanceof PostgresError)) throw error;
      });
    }
    return accepted;
  }

  /** Saves the settings in force in the session that they belong to. */
  async #saveCurrent(): Promise<void> {
    const session = this.#current;
    this.#current = undefined;
    if (!session?.dirty) return;
    session.settings = readSettings(await this.query(settingsQuery([...this.#customSettings])));
    session.dirty = false;
    this.#appliedScript = settingsScript(session.settings);
  }

  /**
   * Removes a session's state from the backend: its transaction if `inTransaction` is true, its statements, its LISTEN,
   * and all temporary objects if `discardTemporary` is true.
   */
  async forget(session: EmbeddedSession, inTransaction: boolean, discardTemporary: boolean): Promise<void> {
    if (inTransaction) await this.run([SYNC, query("ROLLBACK")]);
    const statements = session.statements.close();
    if (statements.length) await this.run([...statements, SYNC]);
    if (session.channels.size) await this.query("UNLISTEN *").then(() => this.#listenAgain());
    if (discardTemporary) await this.query("DISCARD TEMP");
    if (this.#current !== session) return;
    this.#current = undefined;
    if (session.dirty) this.#appliedScript = "";
  }

  /**
   * Runs a query for the local server itself, and returns its rows.
   *
   * @throws {PostgresError} If the query fails.
   */
  async query(sql: string): Promise<(string | null)[][]> {
    const answers = await this.run([query(sql)]);
    const error = answers.find((answer) => messageType(answer) === "E");
    if (error) {
      const { C: sqlstate = "XX000", M: message = "", D: detail, H: hint } = readFields(error);
      throw new PostgresError({ sqlstate, message, detail, hint });
    }
    return answers.filter((answer) => messageType(answer) === "D").map(readRow);
  }

  /** Sends requests for the local server itself, and returns Postgres's answers. */
  async run(requests: Frame[]): Promise<Frame[]> {
    const framer = new Framer();
    await this.#worker.run({ input: concatBytes(requests), output: (bytes) => Promise.resolve(framer.push(bytes)) });
    const answers: Frame[] = [];
    for (let answer = framer.next(); answer; answer = framer.next()) answers.push(answer);
    return answers;
  }

  async #apply(settings: SessionSettings): Promise<void> {
    const script = settingsScript(settings);
    if (script === this.#appliedScript) return;
    this.#appliedScript = "";
    await this.query(script);
    this.#appliedScript = script;
  }

  /** Sends notifications to the sessions that listen, except to the one whose batch caused them. */
  async #notify(from: EmbeddedSession, notifications: Frame[]): Promise<void> {
    for (const notification of notifications) {
      const channel = new TextDecoder().decode(notification.subarray(9, notification.indexOf(0, 9)));
      for (const session of this.#sessions.values()) {
        if (session !== from && session.channels.has(channel)) await session.client.write(notification);
      }
    }
  }

  /** Listens to the channels of all sessions, because the UNLISTEN of one session ends the LISTEN of all. */
  async #listenAgain(): Promise<void> {
    const channels = new Set([...this.#sessions.values()].flatMap((session) => [...session.channels]));
    if (channels.size) await this.query([...channels].map((channel) => `LISTEN ${quoteName(channel)}`).join("; "));
  }
}

/** Matches a statement that may change a setting that the server reports to clients. */
const MAY_CHANGE_REPORTED = new RegExp(`\\b(${REPORTED.join("|")}|zone|names|all|role|authorization)\\b`, "i");
/** SQL that reads the sources of the functions that may set a setting. */
const SETTING_FUNCTIONS = `SELECT pg_catalog.left(prosrc, 100000) FROM pg_catalog.pg_proc
  WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND pg_catalog.strpos(pg_catalog.lower(prosrc), 'set_config') OPERATOR(pg_catalog.>) 0
  LIMIT 1000`;
/** Limit of the names that are looked up as custom settings. Names such as `schema.table` count, too. */
const MAX_CUSTOM_SETTINGS = 1000;
const SYNC = frame("S");
