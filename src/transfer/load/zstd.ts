import { pipeline, Readable } from "node:stream";
import { createZstdDecompress } from "node:zlib";

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
export async function* unzstd(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  chunkSize: number,
): AsyncGenerator<Uint8Array, void, void> {
  const bytes = new ByteReader(chunks);
  while (await bytes.more()) {
    const magic = toNumber(await bytes.take(4));
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE) {
      for await (const _ of bytes.takeAll(toNumber(await bytes.take(4)))); // a skippable frame
    } else if (magic === FRAME) yield* unpackFrame(bytes, chunkSize);
    else throw new RangeError("what follows is not a zstd frame");
  }
}

async function* unpackFrame(bytes: ByteReader, chunkSize: number): AsyncGenerator<Uint8Array, void, void> {
  const packed = Readable.from(frame(bytes), { objectMode: false });
  const unpacked = pipeline(packed, createZstdDecompress({ chunkSize }), () => {}); // the reader gets the error
  try {
    yield* unpacked;
  } catch (cause) {
    // The decoder's errors have no code, so their message tells them from errors of the source.
    const isDecoders = cause instanceof Error && cause.message.startsWith("Zstd");
    throw isDecoders ? new RangeError(cause.message, { cause }) : cause;
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
    const word = toNumber(block);
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

function toNumber(bytes: Uint8Array): number {
  return bytes.reduceRight((number, byte) => number * 256 + byte, 0);
}

/** Reads a given number of bytes from chunks of any size. */
class ByteReader {
  readonly #source: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
    this.#source = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }

  /** Whether a byte is left. */
  async more(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const next = await this.#source.next();
      if (next.done) return false;
      this.#rest = next.value;
    }
    return true;
  }

  /** The next bytes, in one piece. */
  async take(count: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count);
    let at = 0;
    for await (const part of this.takeAll(count)) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  /** The next bytes, in pieces as they arrive. */
  async *takeAll(count: number): AsyncGenerator<Uint8Array, void, void> {
    for (let left = count; left > 0;) {
      if (!await this.more()) throw new RangeError("it is cut off");
      const part = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(part.length);
      left -= part.length;
      yield part;
    }
  }
}
