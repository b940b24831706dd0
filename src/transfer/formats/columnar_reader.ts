import { Worker } from "node:worker_threads";
import { LakebaseError } from "../../core/errors.ts";
import { workerUrl } from "../../core/worker_url.ts";
import type { CopyChoice, CopyRows } from "./copy_rows.ts";
import { type FileColumn, fileName, unreadable } from "./file_rows.ts";

/** What the worker may need beside the rows themselves: a damaged file can send its reader round in circles. */
const HEAP_MB = 512;

/**
 * Reads an Arrow file or stream, as the IPC format has them; also a Feather file.
 *
 * @param source A path, or the bytes.
 * @throws {LakebaseError} `BAD_FILE` for what is none, or is damaged, or has columns that Postgres has no form of.
 */
export function readArrow(source: string | AsyncIterable<Uint8Array>, pool?: ReaderPool): Promise<ColumnarFile> {
  return read("arrow", source, pool);
}

/** Reads a Parquet file, a row group at a time; throws as {@linkcode readArrow}. */
export function readParquet(path: string, pool?: ReaderPool): Promise<ColumnarFile> {
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
): Promise<ColumnarFile> {
  const reader = new ColumnarReader(source, pool);
  try {
    await reader.open(format);
    return reader;
  } catch (error) {
    await reader[Symbol.asyncDispose]();
    throw error;
  }
}

/** A file of columns that a worker reads. Disposing of it ends the worker, or gives it back to its pool. */
export interface ColumnarFile extends AsyncDisposable {
  /** The columns. */
  columns: readonly FileColumn[];
  /** Begins to read the chosen columns; gives their rows in COPY's text format, once. */
  copy(choice: CopyChoice): AsyncIterable<CopyRows>;
}

/** Pieces of rows that the worker makes before they are taken, so that the server never waits for them. */
const PIECES_AHEAD = 8;

/**
 * Reads in a worker: a damaged file can make the libraries fail where no `catch` is, run forever or fill the memory, and
 * must not end the process. The worker writes the rows as COPY's text too: the main thread only sends them.
 */
class ColumnarReader implements ColumnarFile {
  columns: readonly FileColumn[] = [];
  readonly #worker: Worker;
  readonly #pool: ReaderPool | undefined;
  readonly #source: string | AsyncIterator<Uint8Array>;
  readonly #name: string;
  /** What was asked and is not answered yet; the worker answers in this order. */
  readonly #asked: PromiseWithResolvers<FromReader>[] = [];
  #failure: { error: unknown } | undefined;

  constructor(source: string | AsyncIterable<Uint8Array>, pool: ReaderPool | undefined) {
    this.#pool = pool;
    this.#worker = pool?.take() ?? newWorker();
    this.#source = typeof source === "string" ? source : source[Symbol.asyncIterator]();
    this.#name = fileName(source);
    this.#worker.on("message", (message: FromReader) => this.#receive(message));
    this.#worker.on("error", ({ message }: Error) => this.#fail(unreadable(this.#name, `it is damaged (${message})`)));
    this.#worker.on("exit", () => this.#fail(unreadable(this.#name, "its reader has ended")));
  }

  async open(format: "arrow" | "parquet"): Promise<void> {
    const path = typeof this.#source === "string" ? this.#source : undefined;
    const answer = await this.#ask({ kind: "open", format, path });
    if (answer.kind === "opened") this.columns = answer.columns;
  }

  copy(choice: CopyChoice): AsyncGenerator<CopyRows, void, void> {
    this.#worker.postMessage({ kind: "copy", choice } satisfies ToReader);
    return this.#rows(Array.from({ length: PIECES_AHEAD }, () => this.#ask({ kind: "next" })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#asked.length === 0 && this.#failure === undefined && this.#pool !== undefined) {
      this.#worker.removeAllListeners();
      await this.#pool.put(this.#worker);
    } else await this.#worker.terminate();
    // Not awaited: a source that waits for its own next bytes learns of it only after them.
    if (typeof this.#source !== "string") Promise.resolve(this.#source.return?.()).catch(() => {});
  }

  async *#rows(ahead: Promise<FromReader>[]): AsyncGenerator<CopyRows, void, void> {
    for (let next = ahead.shift(); next !== undefined; next = ahead.shift()) {
      const answer = await next;
      if (answer.kind !== "rows" || answer.rows === undefined) break;
      ahead.push(this.#ask({ kind: "next" }));
      yield answer.rows;
    }
    await Promise.all(ahead); // after the last rows the worker answers that there are no more
  }

  #ask(question: ToReader): Promise<FromReader> {
    const answer = Promise.withResolvers<FromReader>();
    answer.promise.catch(() => {}); // nobody may be waiting
    if (this.#failure === undefined) {
      this.#asked.push(answer);
      this.#worker.postMessage(question);
    } else answer.reject(this.#failure.error);
    return answer.promise;
  }

  #receive(message: FromReader): void {
    if (message.kind === "more") this.#sendBytes().catch((error) => this.#fail(error));
    else if (message.kind === "failed") this.#fail(new LakebaseError("BAD_FILE", message.message));
    else this.#asked.shift()?.resolve(message);
  }

  async #sendBytes(): Promise<void> {
    if (typeof this.#source === "string") return;
    const { value, done } = await this.#source.next();
    this.#worker.postMessage({ kind: "bytes", bytes: done ? undefined : value } satisfies ToReader);
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    for (const answer of this.#asked.splice(0)) answer.reject(this.#failure.error);
  }
}

/** What the worker that reads files of columns is told. */
export type ToReader =
  /** Open a file, or the bytes that it may ask for. */
  | { kind: "open"; format: "arrow" | "parquet"; path: string | undefined }
  /** Begin to read these columns. */
  | { kind: "copy"; choice: CopyChoice }
  /** Give the next rows. */
  | { kind: "next" }
  /** The next bytes; none after the last. */
  | { kind: "bytes"; bytes: Uint8Array | undefined };

/** What the worker says. */
export type FromReader =
  /** The file is open. */
  | { kind: "opened"; columns: readonly FileColumn[] }
  /** The next rows; none after the last. */
  | { kind: "rows"; rows: CopyRows | undefined }
  /** It needs more bytes. */
  | { kind: "more" }
  /** It failed, and why. */
  | { kind: "failed"; message: string };
