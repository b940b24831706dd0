import { Worker } from "node:worker_threads";
import { concatBytes } from "../core/bytes.ts";
import { quoteName } from "../core/sql_text.ts";
import { workerUrl } from "../core/lazy_import.ts";
import type { DataFiles, FromWorker, ToWorker } from "./database_worker.ts";
import { type EmbeddedSession, ownSettings, ownSettingsIn, sqlOf } from "./embedded_session.ts";
import {
  type Frame,
  frame,
  Framer,
  type Outcome,
  parameterStatus,
  query,
  readFields,
  readRow,
  Refused,
  SHUTDOWN,
  type,
} from "./messages.ts";
import {
  defaultsScript,
  readSettings,
  REPORT_QUERY,
  REPORTED,
  type SessionSettings,
  settingsQuery,
  settingsScript,
} from "./session_settings.ts";
import { CANCEL, OUTSTANDING, SENT, SLOTS, STOP } from "./wasm_imports.ts";

/** The only Postgres backend of an embedded database, which all its sessions share. The caller gives them turns. */
export class Backend {
  readonly #engine = new Engine();
  readonly #sessions: ReadonlyMap<number, EmbeddedSession>;
  /** The session whose settings are in force, and the script that set them. */
  #current: EmbeddedSession | undefined;
  #applied = "";
  #running: EmbeddedSession | undefined;
  /** Names of custom settings that sessions may have set. */
  readonly #ownSettings = new Set<string>();
  /** Whether a function may set a custom setting, so that any statement may set one. */
  #setByFunctions = false;

  /** `sessions` has the open sessions by process number, and changes as they come and go. */
  constructor(sessions: ReadonlyMap<number, EmbeddedSession>) {
    this.#sessions = sessions;
  }

  /** The outcome of `work`. Rejects if the backend crashes first. */
  unlessCrashed<T>(work: Promise<T>): Promise<T> {
    return this.#engine.unlessCrashed(work);
  }

  /** Whether the backend has ended and cannot run anything. */
  get crashed(): boolean {
    return this.#engine.crashed;
  }

  async start(data: string | DataFiles | undefined): Promise<void> {
    await this.#engine.start(data);
    if (data === undefined) return;
    const functions = await this.query(SETTING_FUNCTIONS);
    this.#setByFunctions = functions.length > 0;
    for (const [source] of functions) for (const name of ownSettingsIn(source ?? "")) this.#ownSettings.add(name);
  }

  /** Copies the data files, even while a transaction is open, whose changes are not in the copy. */
  async copy(): Promise<DataFiles> {
    return await this.#engine.copy();
  }

  /**
   * Writes all changes to the data files, so that a copy of them needs no recovery. Only the session that has the turn
   * may call this.
   */
  async checkpoint(): Promise<void> {
    await this.#leave();
    this.#applied = "";
    // RESET would not change the role: a server of one process has no role to return to.
    await this.query("RESET ALL; SET SESSION AUTHORIZATION postgres; SET ROLE NONE; CHECKPOINT");
  }

  async stop(orderly: boolean): Promise<void> {
    await this.#engine.stop(orderly);
  }

  /** Runs a batch, and sends the answers to the session's client. Afterwards returns the transaction status. */
  async answer(session: EmbeddedSession, batch: Frame[]): Promise<Outcome["status"]> {
    await this.switchTo(session);
    const { restore, requests } = session.statements.rewrite(batch);
    if (restore.length) await this.run([...restore, SYNC]);
    this.#running = session;
    const outcome = await this.#engine.run({
      input: concatBytes(requests),
      prefix: session.statements.prefix,
      channels: session.channels,
      maySet: /set_config/i.test(sqlOf(batch)),
      output: (bytes) => session.client.write(bytes),
      // A malformed message is an error of the session and not of the backend. The session's next read reports it.
      copyInput: async () => concatBytes(await session.requests.copyData().catch(() => undefined) ?? [COPY_FAIL]),
    });
    this.#running = undefined;
    const toRestore = session.track(sqlOf(batch), outcome);
    this.#noteSettings(session, batch);
    if (outcome.status === "I") {
      if (toRestore.defaults) await this.query(defaultsScript(session.defaults));
      if (toRestore.listen) await this.#listen();
    }
    if (outcome.ready !== undefined) {
      const mayReport = outcome.status !== "E" && MAY_CHANGE_REPORTED.test(sqlOf(batch));
      const changed = mayReport ? await this.report(session) : [];
      await session.client.write(concatBytes([...changed, outcome.ready]));
    }
    await this.#notify(session, outcome.notifications);
    return outcome.status;
  }

  #noteSettings(session: EmbeddedSession, batch: Frame[]): void {
    if (this.#setByFunctions) session.dirty = true;
    if (!session.dirty || this.#ownSettings.size > MOST_OWN_SETTINGS) return;
    for (const name of ownSettings(batch)) this.#ownSettings.add(name);
    const sql = sqlOf(batch);
    if (/\bset_config\b/i.test(sql) && /\b(?:function|procedure)\b/i.test(sql)) this.#setByFunctions = true;
  }

  /** ParameterStatus messages for the settings in force whose values the session's client has not been sent yet. */
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
    this.#engine.unref();
  }

  /** Cancels the running batch if it belongs to this session. */
  cancel(session: EmbeddedSession): void {
    if (this.#running === session) this.#engine.cancel();
  }

  /** Puts a session's settings in force. */
  async switchTo(session: EmbeddedSession): Promise<void> {
    if (this.#current === session) return;
    await this.#leave();
    await this.#apply(session.settings);
    this.#current = session;
  }

  /**
   * The settings that Postgres accepts from a role. Postgres lets a role log in without those settings that are invalid
   * or that the role may not set. Only the session that has the turn may call this.
   */
  async accepted(role: string, values: ReadonlyMap<string, string>): Promise<ReadonlyMap<string, string>> {
    const accepted = new Map<string, string>();
    if (values.size === 0) return accepted;
    await this.#leave();
    for (const [name, value] of values) {
      this.#applied = "";
      const script = settingsScript({ user: role, role: "none", values: new Map([[name, value]]) });
      await this.query(script).then(() => accepted.set(name, value), (error) => {
        if (!(error instanceof Refused)) throw error;
      });
    }
    return accepted;
  }

  /** Saves the settings in force to the session that they belong to. */
  async #leave(): Promise<void> {
    const session = this.#current;
    this.#current = undefined;
    if (!session?.dirty) return;
    session.settings = readSettings(await this.query(settingsQuery([...this.#ownSettings])));
    session.dirty = false;
    this.#applied = settingsScript(session.settings);
  }

  /**
   * Removes a session's state from the backend: its transaction if `inTransaction` is set, its statements and its
   * LISTEN.
   */
  async forget(session: EmbeddedSession, inTransaction: boolean, discardTemporary: boolean): Promise<void> {
    if (inTransaction) await this.run([SYNC, query("ROLLBACK")]);
    const statements = session.statements.close();
    if (statements.length) await this.run([...statements, SYNC]);
    if (session.channels.size) await this.query("UNLISTEN *").then(() => this.#listen());
    if (discardTemporary) await this.query("DISCARD TEMP");
    if (this.#current !== session) return;
    this.#current = undefined;
    if (session.dirty) this.#applied = "";
  }

  /** Runs a simple query for the local server itself, and returns the rows. */
  async query(sql: string): Promise<(string | null)[][]> {
    const answers = await this.run([query(sql)]);
    const error = answers.find((answer) => type(answer) === "E");
    if (error) {
      const { C: sqlstate = "XX000", M: message = "", D: detail, H: hint } = readFields(error);
      throw new Refused({ sqlstate, message, detail, hint });
    }
    return answers.filter((answer) => type(answer) === "D").map(readRow);
  }

  /** Runs requests for the local server itself, and returns the answers. */
  async run(requests: Frame[]): Promise<Frame[]> {
    const framer = new Framer();
    await this.#engine.run({ input: concatBytes(requests), output: (bytes) => Promise.resolve(framer.push(bytes)) });
    const answers: Frame[] = [];
    for (let answer = framer.next(); answer; answer = framer.next()) answers.push(answer);
    return answers;
  }

  async #apply(settings: SessionSettings): Promise<void> {
    const script = settingsScript(settings);
    if (script === this.#applied) return;
    this.#applied = "";
    await this.query(script);
    this.#applied = script;
  }

  async #notify(from: EmbeddedSession, notifications: Frame[]): Promise<void> {
    for (const notification of notifications) {
      const channel = new TextDecoder().decode(notification.subarray(9, notification.indexOf(0, 9)));
      for (const session of this.#sessions.values()) {
        if (session !== from && session.channels.has(channel)) await session.client.write(notification);
      }
    }
  }

  /** Listens again to the channels of the other sessions, after one session has stopped listening. */
  async #listen(): Promise<void> {
    const channels = new Set([...this.#sessions.values()].flatMap((session) => [...session.channels]));
    if (channels.size) await this.query([...channels].map((channel) => `LISTEN ${quoteName(channel)}`).join("; "));
  }
}

/** Words of statements that may change a setting that the server reports to clients. */
const MAY_CHANGE_REPORTED = new RegExp(`\\b(${REPORTED.join("|")}|zone|names|all|role|authorization)\\b`, "i");
/** The texts of the functions of a database that may set a setting. */
const SETTING_FUNCTIONS = `SELECT pg_catalog.left(prosrc, 100000) FROM pg_catalog.pg_proc
  WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND pg_catalog.strpos(pg_catalog.lower(prosrc), 'set_config') OPERATOR(pg_catalog.>) 0
  LIMIT 1000`;
/** The most names that are looked up. Other names with a point, such as `schema.table`, count too. */
const MOST_OWN_SETTINGS = 1000;
const SYNC = frame("S");
const COPY_FAIL = frame("f", new TextEncoder().encode("client disconnected\0"));

/** Whole messages to run, and the receiver of their answers. */
interface Batch {
  /** The messages. Their buffer is transferred to the worker, so it must contain nothing else. */
  input: Uint8Array<ArrayBuffer>;
  prefix?: string;
  /** Whether settings may change without a command that says so. @default {false} */
  maySet?: boolean;
  channels?: Set<string>;
  /** Receives answers. The query waits while too many of them are unprocessed. */
  output(bytes: Uint8Array): Promise<void>;
  /** Reads the client's next messages when COPY asks for them. */
  copyInput?(): Promise<Uint8Array<ArrayBuffer>>;
}

/** Milliseconds that a database has to write its data to disk. */
const STOP_TIMEOUT = 3000;

/** One embedded Postgres in a worker, which runs one batch at a time. */
export class Engine {
  readonly #shared = new Int32Array(new SharedArrayBuffer(4 * SLOTS));
  readonly #channel = new MessageChannel();
  readonly #worker = new Worker(workerUrl(import.meta.resolve("./database_worker.ts")), {
    resourceLimits: { stackSizeMb: 64 }, // the thread's stack; V8 may use less, even with --stack-size
  });
  /** Rejects the work that waits for the database. */
  readonly #waiting = new Set<(crash: unknown) => void>();
  #crash: { error: unknown } | undefined;
  /** Settles when the messages that have arrived are processed. */
  #received: Promise<void> = Promise.resolve();
  #batch: Batch | undefined;
  #stopping: Promise<void> | undefined;
  #answer = Promise.withResolvers<FromWorker>();
  /** Settles when the last request is answered. */
  #busy: Promise<unknown> = Promise.resolve();

  constructor() {
    this.#worker.on("message", (message: FromWorker) => {
      this.#received = this.#received.then(() => this.#receive(message)).catch((error) => this.#end(error));
    });
    this.#worker.on("error", (error) => this.#end(error));
  }

  /** Starts Postgres with the data of a directory or of a copy, or without data. Only a directory's data are on disk. */
  async start(data: string | DataFiles | undefined): Promise<void> {
    const inbox = this.#channel.port2;
    const shared = this.#shared.buffer as SharedArrayBuffer;
    const copied = typeof data === "object" ? [data.bytes] : [];
    await this.#ask({ kind: "start", data, shared, inbox }, [inbox, ...copied]);
  }

  /** Copies the data files, between two batches. */
  async copy(): Promise<DataFiles> {
    const answer = await this.#inTurn(() => this.#ask({ kind: "copy" }));
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
    const { input, prefix = "", channels = new Set<string>(), maySet = false } = batch;
    return await this.#inTurn(async () => {
      this.#batch = batch;
      Atomics.store(this.#shared, CANCEL, 0);
      const answer = await this.#ask({ kind: "run", input: input.buffer, prefix, channels, maySet }, [input.buffer]);
      this.#batch = undefined;
      return (answer as Extract<FromWorker, { kind: "done" }>).outcome;
    });
  }

  /** Runs one task at a time, because a copy may be requested while a transaction is open. */
  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#busy.then(task);
    this.#busy = result.catch(() => {}); // the caller gets the error, and the next task runs anyway
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

  /** Ends the database, even during a query. An orderly stop first gives an idle database time to write its data. */
  stop(orderly: boolean): Promise<void> {
    return this.#stopping ??= this.#stop(orderly);
  }

  async #stop(orderly: boolean): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (orderly && !this.#batch) {
      const timeout = new Promise<void>((resolve) => timer = setTimeout(resolve, STOP_TIMEOUT));
      await Promise.race([this.#ask({ kind: "stop" }).catch(() => {}), timeout]); // it may have crashed
    }
    clearTimeout(timer);
    this.#end(new Refused(SHUTDOWN));
    Atomics.store(this.#shared, STOP, 1);
    this.#wake();
    Atomics.notify(this.#shared, SENT);
    await this.#worker.terminate();
    this.#channel.port1.close();
  }

  async #ask(message: ToWorker, transfer: Transferable[] = []): Promise<FromWorker> {
    this.#answer = Promise.withResolvers();
    this.#worker.postMessage(message, transfer as never[]);
    return await this.unlessCrashed(this.#answer.promise);
  }

  /**
   * The outcome of `work`. Rejects if the database crashes or stops first.
   *
   * `Promise.race` with a promise that lives as long as the database would keep every outcome in memory.
   */
  unlessCrashed<T>(work: Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    if (this.#crash !== undefined) reject(this.#crash.error);
    this.#waiting.add(reject);
    work.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    return promise;
  }

  #end(error: unknown): void {
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
