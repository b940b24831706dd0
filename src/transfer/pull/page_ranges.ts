import type { Chunk } from "../copy/messages.ts";

/** A table that has pages: a plain table or a partition. */
export interface PagedTable {
  /** The quoted name, with the schema. */
  name: string;
  /** The number of pages of the heap. */
  pages: number;
  /** The bytes of the heap and of its TOAST table. */
  bytes: number;
}

/** The pages of a table that one COPY reads. */
export interface PageRange {
  /** The quoted name of the table. */
  table: string;
  /** The first page. */
  from: number;
  /** The page after the last one; `undefined` for all pages that follow, because a table may grow. */
  to: number | undefined;
}

/**
 * The approximate bytes of all ranges that are read at the same time. The rows of all but the first range wait in memory for
 * their turn.
 */
const READ_AHEAD_BYTES = 32 * 1024 * 1024;
/** The least number of ranges for each connection, if there are enough pages. */
const RANGES_EACH = 4;
/** The least approximate bytes of a range. Starting a COPY costs the server as much as reading this many bytes. */
const MIN_RANGE_BYTES = 256 * 1024;

/**
 * Divides tables into ranges of similar size, in order.
 *
 * @param tables The table, or its partitions.
 * @param parallel The number of connections.
 * @returns Ranges with every page exactly once, and at least one range for each table.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(pageRanges([{ name: '"t"', pages: 100, bytes: 819_200 }], 2), [
 *   { table: '"t"', from: 0, to: 32 },
 *   { table: '"t"', from: 32, to: 64 },
 *   { table: '"t"', from: 64, to: 96 },
 *   { table: '"t"', from: 96, to: undefined },
 * ]);
 * ```
 */
export function pageRanges(tables: readonly PagedTable[], parallel: number): PageRange[] {
  const bytes = tables.reduce((sum, table) => sum + table.bytes, 0);
  const size = parallel === 1
    ? Infinity
    : Math.min(READ_AHEAD_BYTES / parallel, Math.max(MIN_RANGE_BYTES, bytes / (parallel * RANGES_EACH)));
  return tables.flatMap((table) => {
    const fittingPages = table.bytes > size ? Math.floor(table.pages * size / table.bytes) : table.pages;
    const step = Math.max(1, fittingPages);
    const starts = Array.from({ length: Math.max(1, Math.ceil(table.pages / step)) }, (_, index) => index * step);
    return starts.map((from, index) => ({ table: table.name, from, to: starts[index + 1] }));
  });
}

/** Gives the query for the rows of a range. */
export function rangeQuery(columns: string, { table, from, to }: PageRange): string {
  const end = to === undefined ? "" : ` AND ctid OPERATOR(pg_catalog.<) '(${to},0)'`;
  return `SELECT ${columns} FROM ONLY ${table} WHERE ctid OPERATOR(pg_catalog.>=) '(${from},0)'${end}`;
}

/** The most bytes that wait in the range that is being read. */
const MAX_CURRENT_BYTES = 4 * 1024 * 1024;

/** The chunks of a range that have not been read. */
interface WaitingRange {
  chunks: Chunk[];
  bytes: number;
  ended: boolean;
}

/**
 * Puts the chunks of ranges that arrive at the same time into the order of the ranges. Writers wait while the queue holds too
 * many bytes, except for the writer of the range that is being read. So the reader can always continue.
 */
export class RangeQueue implements AsyncIterable<Chunk> {
  readonly #ranges: WaitingRange[];
  /** The number of the range that is being read. */
  #current = 0;
  /** The bytes of all chunks in the queue. */
  #bytes = 0;
  #failure: { error: unknown } | undefined;
  #change = Promise.withResolvers<void>();

  /** Makes a queue for a number of ranges. */
  constructor(ranges: number) {
    this.#ranges = Array.from({ length: ranges }, () => ({ chunks: [], bytes: 0, ended: false }));
  }

  /** Adds a chunk to a range. Resolves when there is room for another. */
  async push(index: number, chunk: Chunk): Promise<void> {
    const range = this.#ranges[index]!;
    const kept = index === this.#current ? chunk : copyIfSmall(chunk);
    range.chunks.push(kept);
    this.#addBytes(range, kept.bytes.length);
    this.#notify();
    while (this.#failure === undefined && this.#isFull(index, range)) await this.#change.promise;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Marks a range as complete. */
  close(index: number): void {
    this.#ranges[index]!.ended = true;
    this.#notify();
  }

  /** Ends the queue. The reader and all writers get the error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk, void, void> {
    while (this.#current < this.#ranges.length) {
      const range = this.#ranges[this.#current]!;
      if (this.#failure !== undefined) throw this.#failure.error;
      const chunk = range.chunks.shift();
      if (chunk !== undefined) {
        this.#addBytes(range, -chunk.bytes.length);
        this.#notify();
        yield chunk;
      } else if (range.ended) {
        this.#current++;
        this.#notify();
      } else await this.#change.promise;
    }
  }

  #isFull(index: number, range: WaitingRange): boolean {
    return index === this.#current ? range.bytes >= MAX_CURRENT_BYTES : this.#bytes >= READ_AHEAD_BYTES;
  }

  #addBytes(range: WaitingRange, bytes: number): void {
    range.bytes += bytes;
    this.#bytes += bytes;
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
