import { basename } from "node:path";
import { LakebaseError } from "../../core/errors.ts";
import type { Batch, ColumnType } from "../columns/batch.ts";
import { openFile } from "../load/bytes.ts";

/** A column of a file. */
export interface FileColumn {
  /** Its name. */
  name: string;
  /** How its values are kept. */
  type: ColumnType;
  /** What Postgres has for it, such as `numeric(10,2)`. */
  postgres: string;
  /** Whether it has no type of its own, since all of its values are NULL. */
  untyped?: boolean;
}

/** The rows of a file of columns. Disposing of it closes the file. */
export interface FileRows extends AsyncDisposable {
  /** The columns. */
  columns: readonly FileColumn[];
  /**
   * The rows, some at a time, in the order of the file; once. What stands in the place of a NULL has no meaning.
   *
   * @param columns The positions of the columns that are read, from 0, in ascending order.
   */
  batches(columns: readonly number[]): AsyncIterable<Batch>;
}

/** What an error calls a file. */
export function fileName(source: unknown): string {
  return typeof source === "string" ? `"${basename(source)}"` : "the stream";
}

/** Says what a file has that can't be taken over here, though nothing is wrong with it. */
export class NotTakenOver extends Error {}

/** The error of a file that can't be read. */
export function unreadable(name: string, problem: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot read ${name}: ${problem}`, cause === undefined ? {} : { cause });
}

/** Bytes that are read at once where a file is read from its begin to its end. */
const READ_BYTES = 1_048_576;

/** A file that is read here and there. */
export class FileBytes implements AsyncDisposable {
  /** Its length when it was opened. */
  readonly size: number;
  /** What an error calls it. */
  readonly name: string;
  readonly #file: Deno.FsFile;
  #closed = false;

  private constructor(file: Deno.FsFile, size: number, name: string) {
    this.#file = file;
    this.size = size;
    this.name = name;
  }

  /**
   * Opens a file.
   *
   * @throws {LakebaseError} `BAD_FILE`
   */
  static async open(path: string): Promise<FileBytes> {
    const { file, size } = await openFile(path);
    return new FileBytes(file, size, fileName(path));
  }

  /** Some of the bytes, all of which must be there. */
  async read(from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (from < 0 || length < 0 || from + length > this.size) {
      throw unreadable(this.name, "it is cut off, or damaged: it points beyond its end");
    }
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      // At once, so that two readers don't move the place under each other.
      this.#file.seekSync(from + at, Deno.SeekMode.Start);
      const count = this.#file.readSync(bytes.subarray(at));
      if (count === null) throw unreadable(this.name, "it became shorter while it was read");
      at += count;
    }
    return await Promise.resolve(bytes);
  }

  /** The bytes from the first to the last. */
  async *all(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    for (let at = 0; at < this.size; at += READ_BYTES) yield await this.read(at, Math.min(READ_BYTES, this.size - at));
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) this.#file.close();
    this.#closed = true;
    return Promise.resolve();
  }
}

/** What Arrow's reader says of a type that it does not know. */
const UNKNOWN_TYPE = /^Unrecognized type: "(?!NONE|undefined)(\w+)"/;

/** An error of a library as ours; ours stay as they are. */
export function asUnreadable(name: string, error: unknown): LakebaseError {
  if (error instanceof LakebaseError) return error;
  const problem = error instanceof Error ? error.message : String(error);
  if (error instanceof NotTakenOver) return unreadable(name, problem);
  const unknown = UNKNOWN_TYPE.exec(problem)?.[1];
  if (unknown !== undefined) {
    return unreadable(
      name,
      `it has a column of the type ${unknown}, which can't be read here; write it as a plain one`,
    );
  }
  return unreadable(name, `it is cut off, or damaged (${problem})`, error);
}
