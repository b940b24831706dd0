import { Worker } from "node:worker_threads";
import { LakebaseError } from "../../core/errors.ts";
import { workerUrl } from "../../core/worker_url.ts";
import type { Batch } from "../columns/batch.ts";
import { type FileColumn, fileName, type FileRows, unreadable } from "./file_rows.ts";

/** What the worker may need beside the rows themselves: a damaged file can send its reader round in circles. */
const HEAP_MB = 512;

/**
 * Reads an Arrow file or stream, as the IPC format has them; also a Feather file.
 *
 * @param source A path, or the bytes.
 * @throws {LakebaseError} `BAD_FILE` for what is none, or is damaged, or has columns that Postgres has no form of.
 */
export function readArrow(source: string | AsyncIterable<Uint8Array>, pool?: ReaderPool): Promise<FileRows> {
  return read("arrow", source, pool);
}

/** Reads a Parquet file, a row group at a time; throws as {@linkcode readArrow}. */
export function readParquet(path: string, pool?: ReaderPool): Promise<FileRows> {
  return read("parquet", path, pool);
}

/** Workers for many files, one after the other: to start one takes longer than to read a small file. */
export class ReaderPool implements AsyncDisposable {
  readonly #idle: Worker[] = [];
  #closed = false;

  /** A worker, new or used. */
  take(): Worker {
    return this.#idle.pop() ?? newWorker();
  }

  /** Keeps a worker that waits for its next file. */
  async put(worker: Worker): Promise<void> {
    if (this.#closed) await worker.terminate();
    else this.#idle.push(worker);
  }

  /** Ends those that wait, and those that come later. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#idle.splice(0).map((worker) => worker.terminate()));
  }
}

function newWorker(): Worker {
  return new Worker(workerUrl(import.meta.resolve("./columnar_worker.ts")), {
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
}

async function read(
  format: "arrow" | "parquet",
  source: string | AsyncIterable<Uint8Array>,
  pool: ReaderPool | undefined,
): Promise<FileRows> {
  const reader = new ColumnarReader(source, pool);
  try {
    await reader.open(format);
    return reader;
  } catch (error) {
    await reader[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Reads in a worker: a damaged file can make the libraries fail where no `catch` is, go on for ever or fill the memory, and
 * must not end the process with it. And while some rows are sent to the server the next are read.
 */
class ColumnarReader implements FileRows {
  columns: readonly FileColumn[] = [];
  readonly batches: AsyncIterable<Batch> = this.#batches();
  readonly #worker: Worker;
  readonly #pool: ReaderPool | undefined;
  /** Whether the worker has answered all that it was asked, and can be asked for another file. */
  #idle = false;
  readonly #source: string | AsyncIterator<Uint8Array>;
  readonly #name: string;
  #answer = Promise.withResolvers<FromReader>();

  constructor(source: string | AsyncIterable<Uint8Array>, pool: ReaderPool | undefined) {
    this.#pool = pool;
    this.#worker = pool?.take() ?? newWorker();
    this.#source = typeof source === "string" ? source : source[Symbol.asyncIterator]();
    this.#name = fileName(source);
    this.#worker.on("message", (message: FromReader) => this.#hear(message));
    this.#worker.on("error", ({ message }: Error) => this.#fail(unreadable(this.#name, `it is damaged (${message})`)));
    this.#worker.on("exit", () => this.#fail(unreadable(this.#name, "its reader has ended")));
  }

  async open(format: "arrow" | "parquet"): Promise<void> {
    const path = typeof this.#source === "string" ? this.#source : undefined;
    const answer = await this.#ask({ kind: "open", format, path });
    if (answer.kind === "opened") this.columns = answer.columns;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#idle && this.#pool !== undefined) {
      this.#worker.removeAllListeners();
      await this.#pool.put(this.#worker);
    } else await this.#worker.terminate();
    // Not waited for: a source that is waiting for its own next bytes only hears of it after them.
    if (typeof this.#source !== "string") Promise.resolve(this.#source.return?.()).catch(() => {});
  }

  async *#batches(): AsyncGenerator<Batch, void, void> {
    let next = this.#ask({ kind: "next" });
    for (;;) {
      const answer = await next;
      if (answer.kind !== "batch" || answer.batch === undefined) return;
      next = this.#ask({ kind: "next" });
      next.catch(() => {}); // whoever leaves the loop does not wait for it
      yield answer.batch;
    }
  }

  #ask(question: ToReader): Promise<FromReader> {
    this.#answer = Promise.withResolvers();
    this.#idle = false;
    this.#worker.postMessage(question);
    return this.#answer.promise;
  }

  #hear(message: FromReader): void {
    if (message.kind === "more") this.#feed().catch((error) => this.#fail(error));
    else if (message.kind === "failed") this.#fail(new LakebaseError("BAD_FILE", message.message));
    else {
      this.#idle = true;
      this.#answer.resolve(message);
    }
  }

  async #feed(): Promise<void> {
    if (typeof this.#source === "string") return;
    const { value, done } = await this.#source.next();
    this.#worker.postMessage({ kind: "bytes", bytes: done ? undefined : value } satisfies ToReader);
  }

  #fail(error: unknown): void {
    this.#answer.promise.catch(() => {}); // nobody may be waiting
    this.#answer.reject(error);
  }
}

/** What the worker that reads files of columns is told. */
export type ToReader =
  /** Open a file, or the bytes that it may ask for. */
  | { kind: "open"; format: "arrow" | "parquet"; path: string | undefined }
  /** Give the next rows. */
  | { kind: "next" }
  /** The next of those bytes; none after the last. */
  | { kind: "bytes"; bytes: Uint8Array | undefined };

/** What it says. */
export type FromReader =
  /** It is open. */
  | { kind: "opened"; columns: readonly FileColumn[] }
  /** The next rows; none after the last. */
  | { kind: "batch"; batch: Batch | undefined }
  /** It needs more bytes. */
  | { kind: "more" }
  /** It can't, and why. */
  | { kind: "failed"; message: string };
