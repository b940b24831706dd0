import type { Chunk } from "./copy_messages.ts";
import { READ_AHEAD_BYTES } from "./page_ranges.ts";

/** Bytes that the part which is read may be ahead of its reader. */
const MOST_AHEAD = 4 * 1024 * 1024;

/** What waits of one part. */
interface Part {
  chunks: Chunk[];
  bytes: number;
  over: boolean;
}

/**
 * Puts parts that come side by side one behind the other. Who writes waits while too much is waiting, but for the part
 * that is read: so it always goes on.
 */
export class InOrder implements AsyncIterable<Chunk> {
  readonly #parts: Part[];
  #reading = 0;
  #waiting = 0;
  #failure: { error: unknown } | undefined;
  #bell = Promise.withResolvers<void>();

  /** Made for a number of parts. */
  constructor(parts: number) {
    this.#parts = Array.from({ length: parts }, () => ({ chunks: [], bytes: 0, over: false }));
  }

  /** Adds to a part; resolves when there is room for more. */
  async push(index: number, chunk: Chunk): Promise<void> {
    const part = this.#parts[index]!;
    const kept = index === this.#reading ? chunk : compact(chunk);
    part.chunks.push(kept);
    this.#count(part, kept.bytes.length);
    this.#ring();
    while (this.#failure === undefined && this.#isFull(index, part)) await this.#bell.promise;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Ends a part. */
  close(index: number): void {
    this.#parts[index]!.over = true;
    this.#ring();
  }

  /** Ends everything: who reads and who writes gets the error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#ring();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk, void, void> {
    while (this.#reading < this.#parts.length) {
      const part = this.#parts[this.#reading]!;
      if (this.#failure !== undefined) throw this.#failure.error;
      const chunk = part.chunks.shift();
      if (chunk !== undefined) {
        this.#count(part, -chunk.bytes.length);
        this.#ring();
        yield chunk;
      } else if (part.over) {
        this.#reading++;
        this.#ring();
      } else await this.#bell.promise;
    }
  }

  #isFull(index: number, part: Part): boolean {
    return index === this.#reading ? part.bytes >= MOST_AHEAD : this.#waiting >= READ_AHEAD_BYTES;
  }

  #count(part: Part, bytes: number): void {
    part.bytes += bytes;
    this.#waiting += bytes;
  }

  #ring(): void {
    this.#bell.resolve();
    this.#bell = Promise.withResolvers();
  }
}

/** A small chunk that has to wait must not keep a large buffer. */
function compact({ bytes, rows }: Chunk): Chunk {
  return { bytes: bytes.length * 2 < bytes.buffer.byteLength ? bytes.slice() : bytes, rows };
}
