import type { Chunk } from "../copy/messages.ts";
import { READ_AHEAD_BYTES } from "./snapshot.ts";

/** The most bytes that wait in the part that is being read. */
const MAX_AHEAD_BYTES = 4 * 1024 * 1024;

/** The chunks of one part that wait to be read. */
interface Part {
  chunks: Chunk[];
  bytes: number;
  ended: boolean;
}

/**
 * Brings parts that arrive at the same time into their order. Writers wait while too many bytes are waiting, except for
 * the writer of the part that is being read. So reading always continues.
 */
export class InOrder implements AsyncIterable<Chunk> {
  readonly #parts: Part[];
  #reading = 0;
  #waiting = 0;
  #failure: { error: unknown } | undefined;
  #change = Promise.withResolvers<void>();

  /** Makes a queue for a number of parts. */
  constructor(parts: number) {
    this.#parts = Array.from({ length: parts }, () => ({ chunks: [], bytes: 0, ended: false }));
  }

  /** Adds to a part. Resolves when there is room for more. */
  async push(index: number, chunk: Chunk): Promise<void> {
    const part = this.#parts[index]!;
    const kept = index === this.#reading ? chunk : copyIfSmall(chunk);
    part.chunks.push(kept);
    this.#count(part, kept.bytes.length);
    this.#notify();
    while (this.#failure === undefined && this.#isFull(index, part)) await this.#change.promise;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Ends a part. */
  close(index: number): void {
    this.#parts[index]!.ended = true;
    this.#notify();
  }

  /** Ends all parts. The reader and the writers get the error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk, void, void> {
    while (this.#reading < this.#parts.length) {
      const part = this.#parts[this.#reading]!;
      if (this.#failure !== undefined) throw this.#failure.error;
      const chunk = part.chunks.shift();
      if (chunk !== undefined) {
        this.#count(part, -chunk.bytes.length);
        this.#notify();
        yield chunk;
      } else if (part.ended) {
        this.#reading++;
        this.#notify();
      } else await this.#change.promise;
    }
  }

  #isFull(index: number, part: Part): boolean {
    return index === this.#reading ? part.bytes >= MAX_AHEAD_BYTES : this.#waiting >= READ_AHEAD_BYTES;
  }

  #count(part: Part, bytes: number): void {
    part.bytes += bytes;
    this.#waiting += bytes;
  }

  #notify(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}

/** Copies a small chunk out of a large buffer, so that the buffer is freed while the chunk waits. */
function copyIfSmall({ bytes, rows }: Chunk): Chunk {
  return { bytes: bytes.length * 2 < bytes.buffer.byteLength ? bytes.slice() : bytes, rows };
}
