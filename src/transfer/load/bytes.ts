import { basename } from "node:path";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { joinBytes } from "../../core/bytes.ts";
import { LakebaseError } from "../../core/errors.ts";
import { type FileSignature, SIGNATURE_BYTES, signatureOf } from "../formats/file_format.ts";
import { bad } from "./options.ts";
import { peek } from "./peek.ts";
import { unzstd } from "./zstd.ts";

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

/** The size of a buffer for reading and unpacking. A larger one is no faster. */
const READ_BYTES = 131_072;

/**
 * Opens a file, or standard input for `-`. Unpacks gzip and zstd, whatever the file's extension.
 *
 * @throws {LakebaseError} `BAD_FILE` for a file that can't be read, and for any other archive or compression.
 */
export async function openPath(path: string): Promise<LoadBytes> {
  if (path === "-") return await unpacked("standard input", undefined, Deno.stdin.readable, async () => {});
  const name = basename(path);
  const { file, isFile, size } = await openFile(path);
  try {
    return await unpacked(name, isFile ? size : undefined, readAll(file, path), () => Promise.resolve(file.close()));
  } catch (error) {
    file.close();
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
  return await unpacked("the stream", undefined, bytesOf(source), async () => {});
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
  const peeked = await peek(chunks, enough(SIGNATURE_BYTES));
  const signature = signatureOf(joinBytes(peeked.head));
  const foreign = FOREIGN.get(signature);
  if (foreign !== undefined) {
    peeked[Symbol.dispose]();
    throw badFile(`Cannot load ${name}: it is ${foreign}`);
  }
  const unpack = signature === "gzip" ? gunzip : signature === "zstd" ? unzstd : undefined;
  return {
    name,
    size: unpack === undefined ? size : undefined,
    signature,
    chunks: unpack === undefined
      ? peeked.rest() as AsyncIterable<Uint8Array>
      : orDamaged(unpack(peeked.rest(), READ_BYTES), name),
    [Symbol.asyncDispose]: async () => {
      peeked[Symbol.dispose]();
      await close();
    },
  };
}

/** A condition for `peek`: reads on until this many bytes have arrived. */
export function enough(bytes: number): (chunk: Uint8Array) => boolean {
  let seen = 0;
  return (chunk) => (seen += chunk.length) < bytes;
}

/** File types that can't be loaded, with the text of their errors. */
const FOREIGN: ReadonlyMap<FileSignature | undefined, string> = new Map<FileSignature, string>([
  ["7z", "a 7z archive; unpack it, or pack it with gzip or zstd"],
  ["zip", "a ZIP archive, as .zip and .xlsx files are; unpack it, or save it as CSV"],
  ["bzip2", "packed with bzip2; unpack it with bunzip2, or pack it with gzip or zstd"],
  ["xz", "packed with xz; unpack it with unxz, or pack it with gzip or zstd"],
]);

/** Unpacks gzip with Node, because the web's `DecompressionStream` refuses a file of several members. */
function gunzip(
  packed: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  chunkSize: number,
): AsyncIterable<Uint8Array> {
  return pipeline(Readable.from(packed, { objectMode: false }), createGunzip({ chunkSize }), () => {});
}

async function* orDamaged(
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

async function* readAll(file: Deno.FsFile, path: string): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    const buffer = new Uint8Array(READ_BYTES);
    const read = await file.read(buffer).catch((cause) => {
      throw unreadableFile(path, cause);
    });
    if (read === null) return;
    yield buffer.subarray(0, read);
  }
}

async function* bytesOf(source: AsyncIterable<unknown> | Iterable<unknown>): AsyncGenerator<Uint8Array, void, void> {
  const encoder = new TextEncoder();
  for await (const chunk of source) {
    if (chunk instanceof Uint8Array) yield chunk;
    else if (typeof chunk === "string") yield encoder.encode(chunk);
    else {throw bad(
        `the stream gave ${chunk === null ? "null" : `a ${typeof chunk}`}; with a format it must give bytes`,
      );}
  }
}

/** An open file, and what is known about it. */
export interface OpenFile {
  /** The file. */
  file: Deno.FsFile;
  /** Its size in bytes. */
  size: number;
  /** Whether it is a regular file; only then is `size` right. */
  isFile: boolean;
}

/**
 * Opens a file to load.
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
    ? "it may not be read by this user"
    : cause.message;
  return new LakebaseError("BAD_FILE", `Cannot load ${path}: ${problem}`, { cause });
}
