import { basename } from "node:path";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { joinBytes } from "../../core/bytes.ts";
import { LakebaseError } from "../../core/errors.ts";
import { type FileSignature, SIGNATURE_BYTES, signatureOf } from "../formats/file_format.ts";
import { bad } from "./options.ts";
import { peek } from "./peek.ts";
import { unzstd } from "./zstd.ts";

/** Bytes to load, and what is known of them. */
export interface LoadBytes extends AsyncDisposable {
  /** What an error calls them. */
  readonly name: string;
  /** How many there are, where that is known. */
  readonly size: number | undefined;
  /** What they are by the first of them. */
  readonly signature: FileSignature | undefined;
  /** The bytes, unpacked. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** Bytes that a file is read by: a larger buffer is no faster, and all of the pipe's are of one size. */
const READ_BYTES = 131_072;

/**
 * Opens a file, or standard input for `-`. What is packed with gzip or zstd is unpacked, whatever it is called.
 *
 * @throws {LakebaseError} `BAD_FILE` for what can't be read.
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

/** Bytes that a program gives. @throws {LakebaseError} `BAD_PARAMETER` for what gives anything else. */
export async function openStream(source: AsyncIterable<unknown> | Iterable<unknown>): Promise<LoadBytes> {
  return await unpacked("the stream", undefined, bytesOf(source), async () => {});
}

/** An error for a file that is not what it should be. */
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

/** Goes on until so many bytes have come. */
export function enough(bytes: number): (chunk: Uint8Array) => boolean {
  let seen = 0;
  return (chunk) => (seen += chunk.length) < bytes;
}

/** What a file of bytes can't be, with what to do about it. */
const FOREIGN: ReadonlyMap<FileSignature | undefined, string> = new Map<FileSignature, string>([
  ["7z", "a 7z archive; unpack it, or pack it with gzip or zstd"],
  ["zip", "a ZIP archive, as .zip and .xlsx files are; unpack it, or save it as CSV"],
  ["bzip2", "packed with bzip2; unpack it with bunzip2, or pack it with gzip or zstd"],
  ["xz", "packed with xz; unpack it with unxz, or pack it with gzip or zstd"],
]);

/** Node's, since a file may be of several parts, which the web's `DecompressionStream` refuses. */
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

/** A file that was opened, and what is known of it. */
export interface OpenFile {
  /** The file. */
  file: Deno.FsFile;
  /** Its length. */
  size: number;
  /** Whether it is one on a disk, of which the length is right: a pipe has none. */
  isFile: boolean;
}

/**
 * Opens a file to load.
 *
 * @throws {LakebaseError} `BAD_FILE` for what is none, or can't be read.
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

/** The error of a file that the system does not let us read. */
export function unreadableFile(path: string, cause: Error): LakebaseError {
  const problem = cause instanceof Deno.errors.NotFound
    ? "there is no such file"
    : cause instanceof Deno.errors.PermissionDenied
    ? "it may not be read by this user"
    : cause.message;
  return new LakebaseError("BAD_FILE", `Cannot load ${path}: ${problem}`, { cause });
}
