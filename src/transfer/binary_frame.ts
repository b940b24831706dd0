import { type Chunk, type CopyItem, END_OF_COPY } from "./copy_messages.ts";

/** The signature and the flags of `COPY ... (FORMAT binary)`; the length of what else its header has follows. */
const HEADER_START = 15;

/** What begins a `COPY ... (FORMAT binary)`: the signature, no flags, and nothing more. */
export const BINARY_HEADER: Uint8Array<ArrayBuffer> = Uint8Array.fromHex("5047434f50590aff0d0a00" + "00".repeat(8));

/** What ends a `COPY ... (FORMAT binary)`. */
export const BINARY_TRAILER: Chunk = { bytes: Uint8Array.of(0xff, 0xff), rows: 1 };

/**
 * Takes away what several binary COPYs have once each, so that they can stand one behind the other.
 *
 * @param chunks Their rows, each COPY's with its end behind them. The server sends a header in the message of the first row,
 * and a trailer in one of its own.
 * @param headed Whether to leave the first one's header.
 */
export async function* withoutFrames(
  chunks: AsyncIterable<CopyItem>,
  headed: boolean,
): AsyncGenerator<CopyItem, void, void> {
  let last: Chunk | undefined;
  let headless = !headed;
  for await (const chunk of chunks) {
    if (chunk === END_OF_COPY) {
      if (last !== undefined) yield* withoutTrailer(last);
      yield chunk;
      last = undefined;
      headless = true;
      continue;
    }
    if (last !== undefined) yield last;
    last = last === undefined && headless ? withoutHeader(chunk) : chunk;
  }
}

function* withoutTrailer({ bytes, rows }: Chunk): Generator<Chunk, void, void> {
  const kept = bytes.subarray(0, bytes.length - BINARY_TRAILER.bytes.length);
  if (kept.length > 0) yield { bytes: kept, rows: rows - BINARY_TRAILER.rows };
}

function withoutHeader({ bytes, rows }: Chunk): Chunk {
  const extension = new DataView(bytes.buffer, bytes.byteOffset).getInt32(HEADER_START);
  return { bytes: bytes.subarray(HEADER_START + 4 + extension), rows };
}
