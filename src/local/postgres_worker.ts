import { Worker } from "node:worker_threads";
import { workerUrl } from "../core/lazy_import.ts";
import type { DataFiles, FromWorker, ToWorker } from "./database_worker.ts";
import { frame, type Outcome, PostgresError, SHUTDOWN } from "./messages.ts";
import { CANCEL, OUTSTANDING, SENT, SLOTS, STOP } from "./wasm_imports.ts";

/** Ends a COPY whose client has left. */
export const COPY_FAIL = frame("f", new TextEncoder().encode("client disconnected\0"));

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

/** The PGlite of `database_worker.ts`, seen from the main thread. It runs one batch at a time. */
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
