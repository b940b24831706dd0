import { Worker } from "node:worker_threads";
import { workerUrl } from "../core/late.ts";
import type { DataFiles, FromWorker, ToWorker } from "./database_worker.ts";
import { Refused, SHUTDOWN } from "./messages.ts";
import type { Outcome } from "./responses.ts";
import { CANCEL, OUTSTANDING, SENT, SLOTS, STOP } from "./wasm_imports.ts";

/** Whole messages to run, and the destination of their answers. */
export interface Batch {
  /** The messages. Their buffer is transferred to the worker, so it must hold nothing else. */
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
    resourceLimits: { stackSizeMb: 64 }, // of its thread: more than V8 may use where Deno runs with a larger --stack-size
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

  /** Runs one task at a time: a copy may be asked for while a transaction is open. */
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
      await Promise.race([this.#ask({ kind: "stop" }).catch(() => {}), timeout]); // a crash has ended it already
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
   * The outcome of `work`; rejects if the database crashes or stops first.
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
        const { byteLength } = message.bytes; // read now: the reader may transfer the buffer
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

/** CopyFail without a reason. */
const COPY_FAIL = new Uint8Array([0x66, 0, 0, 0, 5, 0]);
