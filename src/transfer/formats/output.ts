import { joinBytes } from "../../core/bytes.ts";
import type { Batch, BatchColumn } from "../columns/batch.ts";
import { BatchDecoder } from "../columns/binary/decoder.ts";
import type { Chunk } from "../copy/messages.ts";

/** The approximate size of a write in bytes; each longer piece is a write of its own. */
const OUTPUT_BYTES = 1_048_576;

/** Collects the pieces of a file and joins the short ones. */
export class Output {
  /** The number of bytes so far. */
  offset = 0;
  #waiting = 0;
  #pieces: Uint8Array[] = [];

  /** Whether enough bytes are waiting for a write. */
  get isFull(): boolean {
    return this.#waiting >= OUTPUT_BYTES;
  }

  /** Adds bytes, which must not change afterwards. */
  put(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.offset += bytes.length;
    this.#waiting += bytes.length;
  }

  /** Returns the bytes that were added since the last call. */
  *take(): Generator<Uint8Array, void, void> {
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#waiting = 0;
    let short: Uint8Array[] = [];
    for (const piece of pieces) {
      if (piece.length < OUTPUT_BYTES) {
        short.push(piece);
        continue;
      }
      if (short.length > 0) yield joinBytes(short);
      yield piece;
      short = [];
    }
    if (short.length > 0) yield joinBytes(short);
  }
}

/** The size at which a batch is full: a number of rows or of bytes on the wire, whichever is reached first. */
export interface BatchLimit {
  /** The number of rows. A batch may have more, because a chunk is never split. */
  rows: number;
  /** The number of bytes. A longer row is a batch of its own. */
  bytes: number;
}

/** Decodes the rows of a binary COPY into batches. */
export async function* batches(
  chunks: AsyncIterable<Chunk>,
  columns: readonly BatchColumn[],
  limit: BatchLimit,
): AsyncGenerator<Batch, void, void> {
  const decoder = new BatchDecoder(columns);
  for await (const { bytes } of chunks) {
    if (decoder.rows > 0 && decoder.bytes + bytes.length > limit.bytes) yield decoder.take();
    decoder.push(bytes);
    if (decoder.rows >= limit.rows || decoder.bytes >= limit.bytes) yield decoder.take();
  }
  decoder.end();
  if (decoder.rows > 0) yield decoder.take();
}
