import { basename } from "node:path";
import { pipeline, Readable as NodeReadable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { joinBytes } from "../../core/bytes.ts";
import { LakebaseError } from "../../core/errors.ts";
import { typeText } from "../../core/text.ts";
import { type FileSignature, SIGNATURE_BYTES, signatureOf } from "../formats/file_format.ts";
import type { ReadableFiles } from "../stores.ts";
import { badLoadOption } from "./options.ts";

/** The bytes of a source, and what is known about them. */
export interface LoadBytes extends AsyncDisposable {
  /** The source's name in errors. */
  readonly name: string;
  /** The number of bytes; `undefined` if unknown, as for packed files and streams. */
  readonly size: number | undefined;
  /** The file type that the first bytes show; `undefined` if they show none. */
  readonly signature: FileSignature | undefined;
  /** The unpacked bytes. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** The size of the buffer for unpacking. A larger one is no faster. */
const UNPACK_BYTES = 131_072;

/** Opens standard input; see {@linkcode openPath}. */
export async function openStandardInput(): Promise<LoadBytes> {
  return await unpacked("standard input", undefined, Deno.stdin.readable, async () => {});
}

/**
 * Opens a file. Unpacks gzip and zstd, whatever the file's extension.
 *
 * @param name The file's name in errors.
 * @throws {LakebaseError} `BAD_FILE` for a file that can't be read, and for any other archive or compression.
 */
export async function openPath(
  path: string,
  files: ReadableFiles,
  name: string = basename(path),
): Promise<LoadBytes> {
  const { size, chunks, close } = await files.open(path);
  try {
    return await unpacked(name, size, chunks, close);
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Opens a stream of bytes or strings.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a chunk of another type, `BAD_FILE` for an archive or a compression other than
 * gzip and zstd.
 */
export async function openStream(source: AsyncIterable<unknown> | Iterable<unknown>): Promise<LoadBytes> {
  return await unpacked("the stream", undefined, encodeChunks(source), async () => {});
}

/** Makes the error for a file that can't be loaded. */
export function badFile(message: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_FILE", message, { cause });
}

async function unpacked(
  name: string,
  size: number | undefined,
  chunks: AsyncIterable<Uint8Array>,
  close: () => Promise<void>,
): Promise<LoadBytes> {
  const peeked = await peek(chunks, untilBytes(SIGNATURE_BYTES));
  const signature = signatureOf(joinBytes(peeked.head));
  const unsupported = unsupportedFile(name, signature);
  if (unsupported !== undefined) {
    peeked[Symbol.dispose]();
    throw unsupported;
  }
  const unpack = signature === "gzip" ? gunzip : signature === "zstd" ? unzstd : undefined;
  return {
    name,
    size: unpack === undefined ? size : undefined,
    signature,
    chunks: unpack === undefined
      ? peeked.all() as AsyncIterable<Uint8Array>
      : reportingDamage(unpack(peeked.all(), UNPACK_BYTES), name),
    [Symbol.asyncDispose]: async () => {
      peeked[Symbol.dispose]();
      await close();
    },
  };
}

/** A condition for {@linkcode peek}: to read until this many bytes have arrived. */
export function untilBytes(bytes: number): (chunk: Uint8Array) => boolean {
  let read = 0;
  return (chunk) => (read += chunk.length) < bytes;
}

/** The error for a file of a type that can't be loaded; `undefined` for all others. */
export function unsupportedFile(
  name: string,
  signature: FileSignature | "json" | undefined,
): LakebaseError | undefined {
  const unsupported = UNSUPPORTED.get(signature);
  return unsupported === undefined ? undefined : badFile(`Cannot load ${name}: it is ${unsupported}`);
}

/** File types that can't be loaded, with the text of their errors. */
const UNSUPPORTED: ReadonlyMap<FileSignature | "json" | undefined, string> = new Map<FileSignature, string>([
  ["7z", "a 7z archive; unpack it, or pack it with gzip or zstd"],
  ["zip", "a ZIP archive, as .zip and .xlsx files are; unpack it, or save it as CSV"],
  ["bzip2", "packed with bzip2; unpack it with bunzip2, or pack it with gzip or zstd"],
  ["xz", "packed with xz; unpack it with unxz, or pack it with gzip or zstd"],
  ["feather v1", "a Feather file of version 1; write it again with pyarrow, as version 2"],
]);

/** Unpacks gzip with Node, because the web's `DecompressionStream` refuses a file of several members. */
function gunzip(
  packed: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  chunkSize: number,
): AsyncIterable<Uint8Array> {
  return pipeline(NodeReadable.from(packed, { objectMode: false }), createGunzip({ chunkSize }), () => {}); // the reader gets the error
}

async function* reportingDamage(
  unpacked: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* unpacked;
  } catch (error) {
    const isDamage = error instanceof RangeError || /^(?:Z_|ZSTD_)/.test(String((error as { code?: unknown }).code));
    if (error instanceof LakebaseError || !isDamage) throw error;
    throw badFile(`Cannot load ${name}: it is damaged, or not whole: ${(error as Error).message}`, error);
  }
}

async function* encodeChunks(
  source: AsyncIterable<unknown> | Iterable<unknown>,
): AsyncGenerator<Uint8Array, void, void> {
  const encoder = new TextEncoder();
  for await (const chunk of source) {
    if (chunk instanceof Uint8Array) yield chunk;
    else if (typeof chunk === "string") yield encoder.encode(chunk);
    else throw badLoadOption(`the stream gave ${typeText(chunk)}; with a format it must give bytes`);
  }
}

/** The magic numbers of a zstd frame, and of a frame that readers skip: RFC 8878, section 3.1. */
const FRAME = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;

/** The sizes in bytes of a frame header's optional fields, by their flags: RFC 8878, section 3.1.1.1. */
const DICTIONARY_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];

/**
 * Unpacks zstd in constant memory.
 *
 * Deno's decoder does not notice a truncated file, and fails at a second frame, which pzstd writes. So each frame gets its own
 * decoder, and the lengths of its blocks tell where it ends.
 *
 * @throws {RangeError} For a file that is truncated or damaged, or has other data after a frame.
 */
async function* unzstd(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  chunkSize: number,
): AsyncGenerator<Uint8Array, void, void> {
  const bytes = new ByteReader(chunks);
  while (await bytes.hasMore()) {
    const magic = littleEndian(await bytes.take(4));
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE) {
      for await (const _ of bytes.takeAll(littleEndian(await bytes.take(4)))); // a skippable frame
    } else if (magic === FRAME) yield* unpackFrame(bytes, chunkSize);
    else throw new RangeError("what follows is not a zstd frame");
  }
}

async function* unpackFrame(bytes: ByteReader, chunkSize: number): AsyncGenerator<Uint8Array, void, void> {
  const packed = NodeReadable.from(frame(bytes), { objectMode: false });
  const unpacked = pipeline(packed, createZstdDecompress({ chunkSize }), () => {}); // the reader gets the error
  try {
    yield* unpacked;
  } catch (cause) {
    // Errors of the decoder have no code; only their message distinguishes them from errors of the source.
    const isFromDecoder = cause instanceof Error && cause.message.startsWith("Zstd");
    throw isFromDecoder ? new RangeError(cause.message, { cause }) : cause;
  }
}

/** The bytes of one frame, whose magic number has been read. */
async function* frame(bytes: ByteReader): AsyncGenerator<Uint8Array, void, void> {
  const flags = (await bytes.take(1))[0]!;
  yield Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, flags);
  yield await bytes.take(headerBytes(flags));
  for (let isLast = false; !isLast;) {
    const block = await bytes.take(3);
    yield block;
    const word = littleEndian(block);
    isLast = (word & 1) === 1;
    const isRun = (word >> 1 & 3) === 1; // one byte that is repeated
    yield* bytes.takeAll(isRun ? 1 : word >> 3);
  }
  const hasChecksum = (flags & 4) !== 0; // the decoder checks it
  if (hasChecksum) yield await bytes.take(4);
}

/** The number of header bytes after the first one. */
function headerBytes(flags: number): number {
  const isSingle = (flags & 0x20) !== 0;
  const contentSize = CONTENT_SIZE_BYTES[flags >> 6]!;
  const window = isSingle ? 0 : 1;
  return window + DICTIONARY_BYTES[flags & 3]! + (isSingle ? contentSize || 1 : contentSize);
}

function littleEndian(bytes: Uint8Array): number {
  return bytes.reduceRight((number, byte) => number * 256 + byte, 0);
}

/** Reads a given number of bytes from chunks of any size. */
class ByteReader {
  readonly #source: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
    this.#source = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }

  /** Whether more bytes follow. */
  async hasMore(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const next = await this.#source.next();
      if (next.done) return false;
      this.#rest = next.value;
    }
    return true;
  }

  /** The next bytes as one array. */
  async take(count: number): Promise<Uint8Array> {
    return joinBytes(await Array.fromAsync(this.takeAll(count)));
  }

  /** The next bytes, in chunks as they arrive. */
  async *takeAll(count: number): AsyncGenerator<Uint8Array, void, void> {
    for (let missing = count; missing > 0;) {
      if (!await this.hasMore()) throw new RangeError("it is cut off");
      const chunk = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(chunk.length);
      missing -= chunk.length;
      yield chunk;
    }
  }
}

/** The byte order mark of UTF-8. */
export const BYTE_ORDER_MARK: readonly number[] = [0xef, 0xbb, 0xbf];

/** The encoding that a UTF-16 byte order mark shows; `undefined` for UTF-8, which needs no decoding. */
export function markedEncoding(head: Uint8Array): string | undefined {
  if (head[0] === 0xff && head[1] === 0xfe) return "utf-16le";
  return head[0] === 0xfe && head[1] === 0xff ? "utf-16be" : undefined;
}

/** Converts bytes to UTF-8. @throws {LakebaseError} `BAD_FILE` for bytes that are invalid in their encoding. */
export async function* inUtf8(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  encoding: string | undefined,
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  if (encoding === undefined || new TextDecoder(encoding).encoding === "utf-8") return yield* chunks;
  const decoder = new TextDecoder(encoding, { fatal: true });
  const encoder = new TextEncoder();
  let lines = 1;
  const decode = (chunk?: Uint8Array) => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch (cause) {
      throw badFile(`Cannot load ${name}: it is not in ${encoding}, at line ${lines} or soon after it`, cause);
    }
  };
  for await (const chunk of chunks) {
    const text = decode(chunk);
    for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) lines++;
    yield encoder.encode(text);
  }
  yield encoder.encode(decode());
}

/** A source whose first items have been read. Disposing of it stops the source. */
export interface Peeked<T> extends Disposable {
  /** The items that have been read. */
  readonly head: readonly T[];
  /** Whether `head` holds all items of the source. */
  readonly whole: boolean;
  /** All items of the source, those of `head` too; can be read once. */
  all(): AsyncIterable<T> | Iterable<T>;
}

/**
 * Reads the first items of a source. A synchronous source stays synchronous, because a promise for each row takes longer than
 * the row.
 *
 * @param source Anything that can be iterated.
 * @param readsOn Is called with each item; returns whether to read another one.
 */
export async function peek<T>(
  source: AsyncIterable<T> | Iterable<T>,
  readsOn: (item: T) => boolean,
): Promise<Peeked<T>> {
  const synchronous = Symbol.iterator in source;
  const iterator = synchronous ? source[Symbol.iterator]() : source[Symbol.asyncIterator]();
  const reading = new Reading<T>(iterator);
  for (let more = true; more;) {
    const next = reading.note(synchronous ? (iterator as Iterator<T>).next() : await iterator.next());
    if (next.done) break;
    reading.head.push(next.value);
    more = readsOn(next.value);
  }
  return {
    head: reading.head,
    whole: reading.isOver,
    all: () => synchronous ? allItems(reading) : allItemsAsync(reading),
    [Symbol.dispose]: () => reading.stop(),
  };
}

/** The reading of a source. */
class Reading<T> {
  readonly head: T[] = [];
  readonly iterator: Iterator<T> | AsyncIterator<T>;
  isOver = false;

  constructor(iterator: Iterator<T> | AsyncIterator<T>) {
    this.iterator = iterator;
  }

  /** Notes whether a result is the last one, and returns it. */
  note(next: IteratorResult<T>): IteratorResult<T> {
    this.isOver ||= next.done === true;
    return next;
  }

  /** Stops the source without waiting for its end: a source that itself waits may never answer. */
  stop(): void {
    if (this.isOver) return;
    this.isOver = true;
    (async () => await this.iterator.return?.())().catch(() => {}); // its items are no longer needed
  }
}

function* allItems<T>(reading: Reading<T>): Generator<T, void, void> {
  const iterator = reading.iterator as Iterator<T>;
  try {
    yield* reading.head.splice(0);
    while (!reading.isOver) {
      const next = reading.note(iterator.next());
      if (!next.done) yield next.value;
    }
  } finally {
    reading.stop();
  }
}

async function* allItemsAsync<T>(reading: Reading<T>): AsyncGenerator<T, void, void> {
  const { iterator } = reading;
  try {
    yield* reading.head.splice(0);
    while (!reading.isOver) {
      const next = reading.note(await iterator.next());
      if (!next.done) yield next.value;
    }
  } finally {
    reading.stop();
  }
}
