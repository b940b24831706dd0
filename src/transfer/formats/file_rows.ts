import { basename } from "node:path";
import { LakebaseError } from "../../core/errors.ts";
import type { Batch, ColumnType } from "../columns/batch.ts";

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
  /** Prepares to read this many columns, each from its own position. */
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
   * @param name Its name in errors.
   * @throws {LakebaseError} `BAD_FILE` if it can't be opened.
   */
  static async open(path: string, name: string = fileName(path)): Promise<FileBytes> {
    const { file, size } = await openFile(path);
    return new FileBytes(file, size, name);
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

/** The size of a block before the columns are known. Only the ends of the file are read then. */
const FIRST_BLOCK = 65_536;
/** The approximate number of bytes that are kept. */
const KEPT_BYTES = 16 * 1024 ** 2;
/** The largest block. Larger blocks are not faster. */
const MAX_BLOCK_BYTES = 2 * 1024 ** 2;
/** The most blocks of a range. A longer range is fetched separately. */
const MAX_BLOCKS = 4;

/** Fetches a range of a file. */
type FetchRange = (from: number, length: number) => Promise<Uint8Array<ArrayBuffer>>;

interface FetchedBlock {
  bytes: Promise<Uint8Array>;
  /** Whether a range of the block was read. Otherwise the block was fetched in advance. */
  used: boolean;
}

/**
 * A remote file, on which each request takes long. It is read in blocks. When a block is used for the first time, the
 * next block is fetched in advance. Two blocks of each column are kept.
 */
export class BlockFile implements RandomAccess {
  readonly name: string;
  readonly size: number;
  readonly #fetch: FetchRange;
  #blockSize = FIRST_BLOCK;
  #mostBlocks = KEPT_BYTES / FIRST_BLOCK;
  /** The blocks by number. The most recently used block is last. */
  readonly #blocks = new Map<number, FetchedBlock>();

  /** Keeps the file; fetches nothing yet. */
  constructor(name: string, size: number, fetch: FetchRange) {
    this.name = name;
    this.size = size;
    this.#fetch = fetch;
  }

  /** Chooses the size of a block, so that two blocks of each column fit into the memory. */
  expectColumns(columns: number): void {
    const fit = KEPT_BYTES / (2 * Math.max(1, columns));
    this.#blockSize = Math.max(FIRST_BLOCK, Math.min(MAX_BLOCK_BYTES, Math.floor(fit / FIRST_BLOCK) * FIRST_BLOCK));
    this.#mostBlocks = Math.min(2 * Math.max(1, columns), KEPT_BYTES / this.#blockSize);
    this.#blocks.clear();
  }

  async read(from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (from < 0 || length < 0 || from + length > this.size) {
      throw unreadable(this.name, "it is cut off, or damaged: it points beyond its end");
    }
    if (length > MAX_BLOCKS * this.#blockSize) return await this.#fetch(from, length);
    const first = Math.floor(from / this.#blockSize);
    const last = Math.floor(Math.max(from, from + length - 1) / this.#blockSize);
    const wanted: Promise<Uint8Array>[] = [];
    for (let number = first; number <= last; number++) wanted.push(this.#block(number));
    const bytes = new Uint8Array(length);
    let filled = 0;
    for (let at = from - first * this.#blockSize; filled < length; at = 0) {
      const piece = (await wanted.shift()!).subarray(at, at + length - filled);
      bytes.set(piece, filled);
      filled += piece.length;
    }
    return bytes;
  }

  #block(number: number): Promise<Uint8Array> {
    const block = this.#blocks.get(number) ?? this.#request(number);
    this.#blocks.delete(number);
    this.#blocks.set(number, block);
    if (!block.used && this.#blockSize > FIRST_BLOCK && (number + 1) * this.#blockSize < this.size) {
      if (!this.#blocks.has(number + 1)) this.#blocks.set(number + 1, this.#request(number + 1));
    }
    block.used = true;
    while (this.#blocks.size > this.#mostBlocks) this.#drop();
    return block.bytes;
  }

  /** Drops the least recently used block that was read. A block that was fetched in advance is still needed. */
  #drop(): void {
    const blocks = [...this.#blocks];
    const [oldest] = blocks.find(([, { used }]) => used) ?? blocks[0]!;
    this.#blocks.delete(oldest);
  }

  #request(number: number): FetchedBlock {
    const from = number * this.#blockSize;
    const bytes = this.#fetch(from, Math.min(this.#blockSize, this.size - from));
    bytes.catch(() => {}); // a block that was fetched in advance may never be needed
    return { bytes, used: false };
  }
}

/** An open file, and what is known about it. */
interface OpenFile {
  /** The file. */
  file: Deno.FsFile;
  /** Its size in bytes. */
  size: number;
  /** Whether it is a regular file; only then is `size` right. */
  isFile: boolean;
}

/**
 * Opens a file of this machine to load.
 *
 * @throws {LakebaseError} `BAD_FILE` for a folder, and for a file that does not exist or can't be read.
 */
export async function openFile(path: string): Promise<OpenFile> {
  const file = await Deno.open(path, { read: true }).catch((cause) => {
    throw unreadableFile(path, cause);
  });
  try {
    const { isDirectory, isFile, size } = await file.stat();
    if (!isDirectory) return { file, size, isFile };
    throw new LakebaseError("BAD_FILE", `Cannot load ${path}: it is a folder; name the file in it`);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Makes the error for a file that the system can't open or read. */
export function unreadableFile(path: string, cause: Error): LakebaseError {
  const problem = cause instanceof Deno.errors.NotFound
    ? "there is no such file"
    : cause instanceof Deno.errors.PermissionDenied
    ? "this user may not read it"
    : cause.message.replace(/ \(os error \d+\).*$/s, "");
  return new LakebaseError("BAD_FILE", `Cannot load ${path}: ${problem}`, { cause });
}
