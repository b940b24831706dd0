import { basename } from "node:path";
import { LakebaseError } from "../../core/errors.ts";
import type { Batch, ColumnType } from "../columns/batch.ts";
import { openFile } from "../load/readable.ts";

/** A column of a file. */
export interface FileColumn {
  /** The column's name. */
  name: string;
  /** The type of the values in memory. */
  type: ColumnType;
  /** The matching Postgres type, such as `numeric(10,2)`. */
  postgres: string;
  /** Whether the file gives the column no type, because all of its values are NULL. */
  untyped?: boolean;
}

/** The rows of a columnar file. Disposing of it closes the file. */
export interface FileRows extends AsyncDisposable {
  /** The columns. */
  columns: readonly FileColumn[];
  /**
   * Reads the rows in batches, in the order of the file. Call it only once. Data in the place of a NULL has no meaning.
   *
   * @param columns The positions of the columns to read, starting at 0, in ascending order.
   */
  batches(columns: readonly number[]): AsyncIterable<Batch>;
}

/** Returns the name of a file or stream for error messages. */
export function fileName(source: unknown): string {
  const name = typeof source === "object" && source !== null && "name" in source ? source.name : source;
  return typeof name === "string" ? `"${basename(name)}"` : "the stream";
}

/** The error for a feature of a valid file that is not supported here. */
export class UnsupportedFeature extends Error {}

/** Creates the error for a file that can't be read. */
export function unreadable(name: string, problem: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot read ${name}: ${problem}`, cause === undefined ? {} : { cause });
}

/** The number of bytes per read when a whole file is read in sequence. */
const READ_BYTES = 1_048_576;

/** The bytes of a file with random access. */
export interface RandomAccess {
  /** The file's length in bytes when it was opened. */
  readonly size: number;
  /** The file's name in error messages. */
  readonly name: string;
  /**
   * Reads a range of bytes.
   *
   * @throws {LakebaseError} `BAD_FILE` if the file ends before the range does.
   */
  read(from: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Prepares for the reading of this many columns, each from its own place on. */
  expectColumns?(columns: number): void;
}

/** Reads a whole file in sequence. */
export async function* allOf(file: RandomAccess): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  const { size } = file;
  for (let at = 0; at < size; at += READ_BYTES) yield await file.read(at, Math.min(READ_BYTES, size - at));
}

/** A file of this machine. */
export class FileBytes implements RandomAccess, AsyncDisposable {
  readonly size: number;
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
   * @throws {LakebaseError} `BAD_FILE` if it can't be opened.
   */
  static async open(path: string): Promise<FileBytes> {
    const { file, size } = await openFile(path);
    return new FileBytes(file, size, fileName(path));
  }

  async read(from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (from < 0 || length < 0 || from + length > this.size) {
      throw unreadable(this.name, "it is cut off, or damaged: it points beyond its end");
    }
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      // Synchronous, so that a concurrent reader can't move the position between the two calls.
      this.#file.seekSync(from + at, Deno.SeekMode.Start);
      const count = this.#file.readSync(bytes.subarray(at));
      if (count === null) throw unreadable(this.name, "it became shorter while it was read");
      at += count;
    }
    return await Promise.resolve(bytes);
  }

  /** Closes the file. */
  [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) this.#file.close();
    this.#closed = true;
    return Promise.resolve();
  }
}

/** The message of Arrow's reader for a type that it does not know. */
const UNKNOWN_TYPE = /^Unrecognized type: "(?!NONE|undefined)(\w+)"/;

/** Converts an error of a library to a `LakebaseError`. Returns a `LakebaseError` unchanged. */
export function asUnreadable(name: string, error: unknown): LakebaseError {
  if (error instanceof LakebaseError) return error;
  const problem = error instanceof Error ? error.message : String(error);
  if (error instanceof UnsupportedFeature) return unreadable(name, problem);
  const unknown = UNKNOWN_TYPE.exec(problem)?.[1];
  if (unknown !== undefined) {
    return unreadable(
      name,
      `it has a column of the type ${unknown}, which can't be read here; write it as a plain one`,
    );
  }
  return unreadable(name, `it is cut off, or damaged (${problem})`, error);
}
