import { basename } from "node:path";
import { pipeline, Readable as NodeReadable } from "node:stream";
import { createGunzip } from "node:zlib";
import { joinBytes } from "../../core/bytes.ts";
import { LakebaseError } from "../../core/errors.ts";
import { type FileSignature, SIGNATURE_BYTES, signatureOf } from "../formats/file_format.ts";
import { badLoadOption } from "./options.ts";
import { peek } from "./peek.ts";
import type { Readable } from "./readable.ts";
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

/** The size of a buffer for unpacking. A larger one is no faster. */
const READ_BYTES = 131_072;

/** Opens standard input; see {@linkcode openPath}. */
export async function openStandardInput(): Promise<LoadBytes> {
  return await unpacked("standard input", undefined, Deno.stdin.readable, async () => {});
}

/**
 * Opens a file. Unpacks gzip and zstd, whatever the file's extension.
 *
 * @throws {LakebaseError} `BAD_FILE` for a file that can't be read, and for any other archive or compression.
 */
export async function openPath(path: string, files: Readable): Promise<LoadBytes> {
  const { size, chunks, close } = await files.open(path);
  try {
    return await unpacked(basename(path), size, chunks, close);
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
  const peeked = await peek(chunks, untilBytes(SIGNATURE_BYTES));
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
export function untilBytes(bytes: number): (chunk: Uint8Array) => boolean {
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
  return pipeline(NodeReadable.from(packed, { objectMode: false }), createGunzip({ chunkSize }), () => {}); // the reader gets the error
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

async function* bytesOf(source: AsyncIterable<unknown> | Iterable<unknown>): AsyncGenerator<Uint8Array, void, void> {
  const encoder = new TextEncoder();
  for await (const chunk of source) {
    if (chunk instanceof Uint8Array) yield chunk;
    else if (typeof chunk === "string") yield encoder.encode(chunk);
    else {throw badLoadOption(
        `the stream gave ${chunk === null ? "null" : `a ${typeof chunk}`}; with a format it must give bytes`,
      );}
  }
}
