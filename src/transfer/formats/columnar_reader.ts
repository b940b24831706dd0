import { Worker } from "node:worker_threads";
import { LakebaseError } from "../../core/errors.ts";
import type { StoredRanges } from "../../core/file_store.ts";
import { workerUrl } from "../../core/lazy_import.ts";
import type { CopyChoice, CopyRows } from "./copy_rows.ts";
import { type FileColumn, fileName, unreadable } from "./file_rows.ts";

/** The worker's heap limit in MB, without the row data. A damaged file can make a library allocate without end. */
const HEAP_MB = 512;

/**
 * Reads an Arrow IPC file or stream, or a Feather file.
 *
 * @param source A path, the bytes, or ranges of them.
 * @throws {LakebaseError} `BAD_FILE` if the source is not in this format, is damaged, or has columns that Postgres has no
 * type for.
 */
export function readArrow(
  source: string | AsyncIterable<Uint8Array> | RangeSource,
  options: ReadOptions = {},
): Promise<ColumnarFile> {
  return read("arrow", source, options);
}

/**
 * Reads Arrow IPC streams that follow each other and have the same columns, each in one piece. The worker takes over the bytes.
 * Throws the same errors as {@linkcode readArrow}.
 */
export function readArrowStreams(streams: AsyncIterable<Uint8Array<ArrayBuffer>>): Promise<ColumnarFile> {
  return read("arrow streams", streams, {});
}

/** How a file is read. */
interface ReadOptions {
  /** The workers that read it. @default {a worker for this file alone} */
  pool?: ReaderPool | undefined;
  /** The file's name in errors. @default {the last part of its path} */
  name?: string | undefined;
}

/** A file whose ranges the main thread reads, because a worker has no login for its store. */
export interface RangeSource {
  /** The file's name in errors. */
  name: string;
  /** Its bytes. */
  ranges: StoredRanges;
}

/** Reads a Parquet file, a row group at a time. Throws the same errors as {@linkcode readArrow}. */
export function readParquet(source: string | RangeSource, options: ReadOptions = {}): Promise<ColumnarFile> {
  return read("parquet", source, options);
}

/**
 * Reuses one worker for many files, one file after another. Starting a worker takes as much processor time as reading
 * some hundred thousand rows.
 */
export class ReaderPool implements AsyncDisposable {
  #idle: Worker | undefined;
  #taken = false;
  #closed = false;
  readonly #waiting: PromiseWithResolvers<void>[] = [];

  /** Waits until the worker is free, and starts it if there is none. */
  async take(): Promise<Worker> {
    while (this.#taken) {
      const turn = Promise.withResolvers<void>();
      this.#waiting.push(turn);
      await turn.promise;
    }
    this.#taken = true;
    const worker = this.#idle ?? newWorker();
    this.#idle = undefined;
    return worker;
  }

  /** Keeps the worker for the next file. Without a worker, the next file gets a new one. */
  async put(worker?: Worker): Promise<void> {
    this.#taken = false;
    this.#idle = this.#closed ? undefined : worker;
    this.#waiting.shift()?.resolve();
    if (this.#closed) await worker?.terminate();
  }

  /** Ends the worker: at once if it is idle, otherwise when it is given back. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#idle?.terminate();
    this.#idle = undefined;
  }
}

function newWorker(): Worker {
  return new Worker(workerUrl(import.meta.resolve("./columnar_worker.ts")), {
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
}

/** The format that a worker reads. */
type ReaderFormat = "arrow" | "arrow streams" | "parquet";

async function read(
  format: ReaderFormat,
  source: ReaderSource,
  options: ReadOptions,
): Promise<ColumnarFile> {
  const reader = new ColumnarReader(format, source, await options.pool?.take() ?? newWorker(), options);
  try {
    await reader.open();
    return reader;
  } catch (error) {
    await reader[Symbol.asyncDispose]();
    throw error;
  }
}

type ReaderSource = string | AsyncIterable<Uint8Array> | RangeSource;

/** A columnar file that a worker reads. Disposing of it ends the worker or returns it to its pool. */
export interface ColumnarFile extends AsyncDisposable {
  /** The columns. */
  columns: readonly FileColumn[];
  /** Reads the chosen columns and returns their rows in COPY's text format. Call it only once. */
  copy(choice: CopyChoice): AsyncIterable<CopyRows>;
}

/** The number of pieces that the worker prepares in advance, so that the server never waits for them. */
const PIECES_AHEAD = 8;

/**
 * Reads a file in a worker. A damaged file can make the libraries throw uncaught errors, run forever or use up the memory,
 * and must not end the process. The worker also converts the rows to COPY's text format; the main thread only sends them.
 */
class ColumnarReader implements ColumnarFile {
  columns: readonly FileColumn[] = [];
  readonly #format: ReaderFormat;
  readonly #worker: Worker;
  readonly #pool: ReaderPool | undefined;
  readonly #source: string | AsyncIterator<Uint8Array> | RangeSource;
  readonly #name: string;
  readonly #opened = Promise.withResolvers<void>();
  /**
   * The worker's use of the file. The worker can read another file when it has only opened this one, or has sent the
   * last rows.
   */
  #state: "opening" | "open" | "copying" | "ended" = "opening";
  /** The rows that have arrived and have not been taken yet. */
  readonly #arrived: CopyRows[] = [];
  /** Wakes the caller who waits for rows. */
  #wake: (() => void) | undefined;
  #failure: { error: unknown } | undefined;
  #released = false;

  constructor(format: ReaderFormat, source: ReaderSource, worker: Worker, { pool, name }: ReadOptions) {
    this.#format = format;
    this.#pool = pool;
    this.#worker = worker;
    this.#source = typeof source === "string" || "ranges" in source ? source : source[Symbol.asyncIterator]();
    this.#name = name === undefined ? fileName(source) : `"${name}"`;
    this.#worker.on("message", (message: FromReader) => this.#receive(message));
    this.#worker.on("error", ({ message }: Error) => this.#fail(unreadable(this.#name, `it is damaged (${message})`)));
    this.#worker.on("exit", () => this.#fail(unreadable(this.#name, "its reader has ended")));
  }

  async open(): Promise<void> {
    const source = this.#source;
    const format = this.#format;
    const path = typeof source === "string" ? source : undefined;
    const ranges = typeof source !== "string" && "ranges" in source ? { size: source.ranges.size } : undefined;
    this.#worker.postMessage({ kind: "open", format, name: this.#name, path, ranges } satisfies ToReader);
    await this.#opened.promise;
  }

  copy(choice: CopyChoice): AsyncGenerator<CopyRows, void, void> {
    this.#state = "copying";
    this.#worker.postMessage({ kind: "copy", choice, ahead: PIECES_AHEAD } satisfies ToReader);
    return this.#rows();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closeSource();
    await this.#release();
  }

  /** Gives the worker back to its pool, or ends it. */
  async #release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    const usable = (this.#state === "open" || this.#state === "ended") && this.#failure === undefined &&
      this.#pool !== undefined;
    if (usable) this.#worker.removeAllListeners();
    else await this.#worker.terminate();
    await this.#pool?.put(usable ? this.#worker : undefined);
  }

  /** Does not wait, because a stream such as standard input may never answer. */
  #closeSource(): void {
    if (typeof this.#source === "string") return;
    const closing = "ranges" in this.#source ? this.#source.ranges.close() : this.#source.return?.();
    closing?.catch(() => {}); // nobody needs more of the source
  }

  async *#rows(): AsyncGenerator<CopyRows, void, void> {
    for (;;) {
      const rows = this.#arrived.shift();
      if (rows !== undefined) {
        if (this.#state === "copying") this.#worker.postMessage({ kind: "next" } satisfies ToReader);
        yield rows;
      } else if (this.#failure !== undefined) throw this.#failure.error;
      else if (this.#state === "ended") return;
      else await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  #receive(message: FromReader): void {
    if (message.kind === "more") this.#sendBytes().catch((error) => this.#fail(error));
    else if (message.kind === "range") this.#sendRange(message).catch((error) => this.#fail(error));
    else if (message.kind === "failed") this.#fail(new LakebaseError("BAD_FILE", message.message));
    else if (message.kind === "opened") this.#setOpen(message.columns);
    else this.#add(message.rows);
  }

  #setOpen(columns: readonly FileColumn[]): void {
    this.columns = columns;
    this.#state = "open";
    this.#opened.resolve();
  }

  #add(rows: CopyRows | undefined): void {
    if (rows === undefined) this.#state = "ended";
    else this.#arrived.push(rows);
    this.#wake?.();
    // The worker reads the next file while the server takes the last rows of this one.
    if (rows === undefined && this.#pool !== undefined) this.#release().catch(() => {}); // only ending the worker can fail
  }

  async #sendBytes(): Promise<void> {
    if (typeof this.#source === "string" || "ranges" in this.#source) return;
    const { value, done } = await this.#source.next();
    if (done) return this.#worker.postMessage({ kind: "bytes", bytes: undefined } satisfies ToReader);
    // The bytes are copied, because the stream's owner may reuse them.
    const bytes = this.#format === "arrow streams" ? ownBuffer(value) : value.slice().buffer;
    this.#worker.postMessage({ kind: "bytes", bytes } satisfies ToReader, [bytes]);
  }

  async #sendRange({ id, from, length }: FromReader & { kind: "range" }): Promise<void> {
    if (typeof this.#source === "string" || !("ranges" in this.#source)) return;
    const bytes = await this.#source.ranges.read(from, length);
    if (bytes.length !== length) throw unreadable(this.#name, "it became shorter while it was read");
    const buffer = ownBuffer(bytes);
    this.#worker.postMessage({ kind: "range", id, bytes: buffer } satisfies ToReader, [buffer]);
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#opened.reject(this.#failure.error);
    this.#wake?.();
  }
}

/**
 * A buffer that has exactly these bytes. Deno checks each element of a typed array in a message, which takes seconds
 * for 10 MB, but transfers a buffer at once.
 */
function ownBuffer(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteLength } = bytes;
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? buffer : bytes.slice().buffer;
}

/** A message to the worker. */
export type ToReader =
  /** Open a file by its path or by ranges, or else a stream; the worker then requests the ranges, or the bytes. */
  | {
    kind: "open";
    format: ReaderFormat;
    /** The file's name in errors. */
    name: string;
    path: string | undefined;
    ranges: { size: number } | undefined;
  }
  /** Start to read these columns, and send the first pieces. */
  | { kind: "copy"; choice: CopyChoice; ahead: number }
  /** Send one more piece. */
  | { kind: "next" }
  /** The next bytes of the stream, or `undefined` at its end. */
  | { kind: "bytes"; bytes: ArrayBuffer | undefined }
  /** A range that was requested. */
  | { kind: "range"; id: number; bytes: ArrayBuffer };

/** A message from the worker. */
export type FromReader =
  /** The file is open. */
  | { kind: "opened"; columns: readonly FileColumn[] }
  /** The next rows, or `undefined` after the last. */
  | { kind: "rows"; rows: CopyRows | undefined }
  /** The worker needs more bytes. */
  | { kind: "more" }
  /** The worker needs a range of the file. */
  | { kind: "range"; id: number; from: number; length: number }
  /** The worker failed for this reason. */
  | { kind: "failed"; message: string };
