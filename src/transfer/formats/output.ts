import { joinBytes } from "../../core/bytes.ts";
import type { Batch, BatchColumn } from "../columns/batch.ts";
import { BatchDecoder } from "../columns/binary/decoder.ts";
import type { Chunk } from "../copy/messages.ts";

/** Bytes that go to a file at once, about; a longer piece goes as it is. */
const OUTPUT_BYTES = 1_048_576;

/** Pieces of a file on their way there: short ones are joined. */
export class Output {
  /** Bytes put so far. */
  offset = 0;
  #waiting = 0;
  #pieces: Uint8Array[] = [];

  /** Whether it is time to take. */
  get isFull(): boolean {
    return this.#waiting >= OUTPUT_BYTES;
  }

  /** Adds bytes, which must stay as they are. */
  put(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.offset += bytes.length;
    this.#waiting += bytes.length;
  }

  /** What was put since the last time. */
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

/** When a batch is full: at about so many rows, or so many bytes on the wire, whichever comes first. */
export interface BatchLimit {
  /** Rows; a chunk is not split, so it may be some more. */
  rows: number;
  /** Bytes; a single longer row is a batch of its own. */
  bytes: number;
}

/** The rows of a binary copy, some at a time. */
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
