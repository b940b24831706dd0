import { basename } from "node:path";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { LakebaseError } from "../errors.ts";
import { bad } from "./load_options.ts";
import { openFile, unreadableFile } from "./open_file.ts";
import { peek, type Peeked } from "./peek.ts";

/** Bytes to load, and what is known of them. */
export interface LoadBytes extends AsyncDisposable {
  /** What an error calls them. */
  readonly name: string;
  /** How many there are, where that is known. */
  readonly size: number | undefined;
  /** The bytes, unpacked. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** Bytes that a file is read by: a larger buffer is no faster, and all of the pipe's are of one size. */
const READ_BYTES = 131_072;

const GZIP = [0x1f, 0x8b] as const;

/** What files begin with that are packed in a way that is not unpacked here. */
const PACKED: readonly [kind: string, ...begin: number[]][] = [
  ["a ZIP archive", 0x50, 0x4b, 0x03, 0x04],
  ["packed with bzip2", 0x42, 0x5a, 0x68, 0x39, 0x31, 0x41],
  ["packed with xz", 0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
  ["a 7z archive", 0x37, 0x7a, 0xbc, 0xaf],
];
const MOST_BEGIN = 6;

/**
 * Opens a file, or standard input for `-`. What is packed with gzip is unpacked, whatever it is called.
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
  const peeked = await peek(chunks, enough(MOST_BEGIN));
  const begin = peeked.head.flatMap((chunk) => [...chunk.subarray(0, MOST_BEGIN)]);
  const packed = begin[0] === GZIP[0] && begin[1] === GZIP[1];
  const kind = PACKED.find(([, ...known]) => known.every((byte, at) => begin[at] === byte))?.[0];
  if (kind !== undefined) {
    peeked[Symbol.dispose]();
    throw badFile(`Cannot load ${name}: it is ${kind}, which load() does not unpack; unpack it, or pack it with gzip`);
  }
  return {
    name,
    size: packed ? undefined : size,
    chunks: packed ? gunzip(peeked, name) : peeked.rest() as AsyncIterable<Uint8Array>,
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

/** Node's, since a file may be of several parts, which the web's `DecompressionStream` refuses. */
async function* gunzip(packed: Peeked<Uint8Array>, name: string): AsyncGenerator<Uint8Array, void, void> {
  const source = Readable.from(packed.rest(), { objectMode: false });
  const stream = pipeline(source, createGunzip({ chunkSize: READ_BYTES }), () => {});
  try {
    for await (const chunk of stream) yield chunk;
  } catch (error) {
    if (error instanceof LakebaseError || !String((error as { code?: unknown }).code).startsWith("Z_")) throw error;
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
