import type { Batch, BatchColumn } from "../batch.ts";
import { BatchDecoder } from "../binary/decoder.ts";
import type { Chunk } from "../copy_messages.ts";

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
