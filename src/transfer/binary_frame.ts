import type { Chunk } from "./copy_messages.ts";

/** The signature and the flags of `COPY ... (FORMAT binary)`; the length of what else its header has follows. */
const HEADER_START = 15;

/** What ends a `COPY ... (FORMAT binary)`. */
export const BINARY_TRAILER: Chunk = { bytes: Uint8Array.of(0xff, 0xff), rows: 1 };

/**
 * Takes away what several binary COPYs have once each, so that they can stand one behind the other.
 *
 * @param chunks One of them. The server sends its header in the message of the first row, and its trailer in one of its own.
 * @param first Whether to leave the header.
 */
export async function* withoutFrame(chunks: AsyncIterable<Chunk>, first: boolean): AsyncGenerator<Chunk, void, void> {
  let last: Chunk | undefined;
  for await (const chunk of chunks) {
    if (last !== undefined) yield last;
    last = last === undefined && !first ? withoutHeader(chunk) : chunk;
  }
  if (last === undefined) return;
  const bytes = last.bytes.subarray(0, last.bytes.length - BINARY_TRAILER.bytes.length);
  if (bytes.length > 0) yield { bytes, rows: last.rows - BINARY_TRAILER.rows };
}

function withoutHeader({ bytes, rows }: Chunk): Chunk {
  const extension = new DataView(bytes.buffer, bytes.byteOffset).getInt32(HEADER_START);
  return { bytes: bytes.subarray(HEADER_START + 4 + extension), rows };
}
