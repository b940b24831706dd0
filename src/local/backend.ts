import { Worker } from "node:worker_threads";
import { concatBytes } from "../core/bytes.ts";
import { quoteName } from "../core/sql_text.ts";
import { workerUrl } from "../core/lazy_import.ts";
import type { DataFiles, FromWorker, ToWorker } from "./database_worker.ts";
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
  SHUTDOWN,
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
import { CANCEL, OUTSTANDING, SENT, SLOTS, STOP } from "./wasm_imports.ts";

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
const COPY_FAIL = frame("f", new TextEncoder().encode("client disconnected\0"));

/** Messages to run, and the receiver of their answers. {@linkcode ResponseScanner} has the meaning of the options. */
interface Batch {
  /** The messages. Their buffer is transferred to the worker, so it must contain nothing else. */
  input: Uint8Array<ArrayBuffer>;
  prefix?: string;
  /** @default {false} */
  settingsMayChange?: boolean;
  channels?: Set<string>;
  /** Receives answers. Postgres waits while too many of them are unprocessed. */
  output(bytes: Uint8Array): Promise<void>;
  /** Returns the client's next messages when a COPY needs them. */
  copyInput?(): Promise<Uint8Array<ArrayBuffer>>;
}

/** Milliseconds within which a database must write its data to disk when it is stopped. */
const STOP_TIMEOUT = 3000;

/** A PGlite in a worker thread, seen from the main thread. It runs one batch at a time. */
export class PostgresWorker {
  readonly #shared = new Int32Array(new SharedArrayBuffer(4 * SLOTS));
  readonly #channel = new MessageChannel();
  readonly #worker = new Worker(workerUrl(import.meta.resolve("./database_worker.ts")), {
    resourceLimits: { stackSizeMb: 64 }, // the thread's stack; V8 may use less, even with --stack-size
  });
  /** The functions that reject the calls that wait for the database. */
  readonly #waiting = new Set<(crash: unknown) => void>();
  #crash: { error: unknown } | undefined;
  /** Settles when the messages that have arrived from the worker are processed. */
  #received: Promise<void> = Promise.resolve();
  #batch: Batch | undefined;
  #stopping: Promise<void> | undefined;
  #answer = Promise.withResolvers<FromWorker>();
  /** Settles when the last of the queued tasks has ended. */
  #lastTask: Promise<unknown> = Promise.resolve();

  constructor() {
    this.#worker.on("message", (message: FromWorker) => {
      this.#received = this.#received.then(() => this.#receive(message)).catch((error) => this.#crashed(error));
    });
    this.#worker.on("error", (error) => this.#crashed(error));
  }

  /** Starts Postgres with the data in a directory, with a copy in memory, or with an empty database in memory. */
  async start(data: string | DataFiles | undefined): Promise<void> {
    const inbox = this.#channel.port2;
    const shared = this.#shared.buffer as SharedArrayBuffer;
    const copy = typeof data === "object" ? [data.bytes] : [];
    await this.#request({ kind: "start", data, shared, inbox }, [inbox, ...copy]);
  }

  /** Copies the data files, between two batches. */
  async copy(): Promise<DataFiles> {
    const answer = await this.#enqueue(() => this.#request({ kind: "copy" }));
    return (answer as Extract<FromWorker, { kind: "copied" }>).files;
  }

  /** Whether the database has crashed or stopped. */
  get crashed(): boolean {
    return this.#crash !== undefined;
  }

  /** Lets the process end while the database runs. */
  unref(): void {
    this.#worker.unref();
  }

  /** Runs a batch to its end. */
  async run(batch: Batch): Promise<Outcome> {
    const { input, prefix = "", channels = new Set<string>(), settingsMayChange = false } = batch;
    return await this.#enqueue(async () => {
      this.#batch = batch;
      Atomics.store(this.#shared, CANCEL, 0);
      const request: ToWorker = { kind: "run", input: input.buffer, prefix, channels, settingsMayChange };
      const answer = await this.#request(request, [input.buffer]);
      this.#batch = undefined;
      return (answer as Extract<FromWorker, { kind: "done" }>).outcome;
    });
  }

  /** Runs a task after those before it. Turns are not enough, because a copy may be requested in another session's turn. */
  #enqueue<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#lastTask.then(task);
    this.#lastTask = result.catch(() => {}); // the caller gets the error, and the next task runs anyway
    return result;
  }

  /** Cancels the running batch at its next system call. A batch that only computes in memory runs to its end. */
  cancel(): void {
    Atomics.store(this.#shared, CANCEL, 1);
    this.#wake();
  }

  #wake(): void {
    for (const slot of [CANCEL, OUTSTANDING]) Atomics.notify(this.#shared, slot);
  }

  /** Ends the database, even during a query. An orderly stop lets an idle database write its data first. */
  stop(orderly: boolean): Promise<void> {
    return this.#stopping ??= this.#stop(orderly);
  }

  async #stop(orderly: boolean): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (orderly && !this.#batch) {
      const timeout = new Promise<void>((resolve) => timer = setTimeout(resolve, STOP_TIMEOUT));
      await Promise.race([this.#request({ kind: "stop" }).catch(() => {}), timeout]); // it may have crashed
    }
    clearTimeout(timer);
    this.#crashed(new PostgresError(SHUTDOWN));
    Atomics.store(this.#shared, STOP, 1);
    this.#wake();
    Atomics.notify(this.#shared, SENT);
    await this.#worker.terminate();
    this.#channel.port1.close();
  }

  async #request(message: ToWorker, transfer: Transferable[] = []): Promise<FromWorker> {
    this.#answer = Promise.withResolvers();
    this.#worker.postMessage(message, transfer as never[]);
    return await this.unlessCrashed(this.#answer.promise);
  }

  /**
   * Returns the outcome of `work`. Rejects if the database crashes or stops first.
   *
   * `Promise.race` would keep every outcome in memory, because it would race with a promise as old as the database.
   */
  unlessCrashed<T>(work: Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    if (this.#crash !== undefined) reject(this.#crash.error);
    this.#waiting.add(reject);
    work.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    return promise;
  }

  /** Rejects the calls that wait, and all later ones. */
  #crashed(error: unknown): void {
    this.#crash ??= { error };
    for (const reject of this.#waiting) reject(this.#crash.error);
  }

  async #receive(message: FromWorker): Promise<void> {
    switch (message.kind) {
      case "output": {
        const { byteLength } = message.bytes; // read now, because the reader may transfer the buffer
        await this.#batch?.output(new Uint8Array(message.bytes));
        Atomics.sub(this.#shared, OUTSTANDING, byteLength);
        Atomics.notify(this.#shared, OUTSTANDING);
        return;
      }
      case "want": {
        const bytes = await this.#batch?.copyInput?.() ?? COPY_FAIL.slice();
        this.#channel.port1.postMessage(bytes, [bytes.buffer]);
        Atomics.add(this.#shared, SENT, 1);
        Atomics.notify(this.#shared, SENT);
        return;
      }
      case "crashed":
        throw new Error(message.message);
      default:
        this.#answer.resolve(message);
    }
  }
}
