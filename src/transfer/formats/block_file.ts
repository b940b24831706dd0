import { type RandomAccess, unreadable } from "./file_rows.ts";

/** The size of a block before the columns are known, when only the ends of the file are read. */
const FIRST_BLOCK = 65_536;
/** About the most bytes that are kept. */
const KEPT_BYTES = 32 * 1024 ** 2;
/** The largest block: a larger one is no faster. */
const LARGEST_BLOCK = 4 * 1024 ** 2;
/** The most blocks of a range; a longer one is fetched by itself. */
const MOST_BLOCKS = 4;

/** Fetches a range of a file. */
export type FetchRange = (from: number, length: number) => Promise<Uint8Array<ArrayBuffer>>;

interface Block {
  bytes: Promise<Uint8Array>;
  /** Whether a range of it was read; else it was fetched in advance. */
  used: boolean;
}

/**
 * A file that is far away, where each request takes long. It is read in blocks. When a block is used for the first time, the next
 * one is fetched in advance. Two blocks of each column are kept.
 */
export class BlockFile implements RandomAccess {
  readonly name: string;
  readonly size: number;
  readonly #fetch: FetchRange;
  #blockSize = FIRST_BLOCK;
  #mostBlocks = KEPT_BYTES / FIRST_BLOCK;
  /** The blocks by number, the one that was used last at the end. */
  readonly #blocks = new Map<number, Block>();

  /** Fetches nothing yet. */
  constructor(name: string, size: number, fetch: FetchRange) {
    this.name = name;
    this.size = size;
    this.#fetch = fetch;
  }

  /** Chooses the size of a block, so that two blocks of each column fit into the memory. */
  expectColumns(columns: number): void {
    const fit = KEPT_BYTES / (2 * Math.max(1, columns));
    this.#blockSize = Math.max(FIRST_BLOCK, Math.min(LARGEST_BLOCK, Math.floor(fit / FIRST_BLOCK) * FIRST_BLOCK));
    this.#mostBlocks = Math.min(2 * Math.max(1, columns), KEPT_BYTES / this.#blockSize);
    this.#blocks.clear();
  }

  async read(from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (from < 0 || length < 0 || from + length > this.size) {
      throw unreadable(this.name, "it is cut off, or damaged: it points beyond its end");
    }
    if (length > MOST_BLOCKS * this.#blockSize) return await this.#fetch(from, length);
    const first = Math.floor(from / this.#blockSize);
    const last = Math.floor(Math.max(from, from + length - 1) / this.#blockSize);
    const wanted: Promise<Uint8Array>[] = [];
    for (let number = first; number <= last; number++) wanted.push(this.#block(number));
    const bytes = new Uint8Array(length);
    let filled = 0;
    for (let at = from - first * this.#blockSize; filled < length; at = 0) {
      const piece = (await wanted.shift()!).subarray(at, at + length - filled);
      bytes.set(piece, filled);
      filled += piece.length;
    }
    return bytes;
  }

  #block(number: number): Promise<Uint8Array> {
    const block = this.#blocks.get(number) ?? this.#request(number);
    this.#blocks.delete(number);
    this.#blocks.set(number, block);
    if (!block.used && this.#blockSize > FIRST_BLOCK && (number + 1) * this.#blockSize < this.size) {
      if (!this.#blocks.has(number + 1)) this.#blocks.set(number + 1, this.#request(number + 1));
    }
    block.used = true;
    while (this.#blocks.size > this.#mostBlocks) this.#drop();
    return block.bytes;
  }

  /** Drops the block that was used the longest time ago. One that was fetched in advance is still needed. */
  #drop(): void {
    const blocks = [...this.#blocks];
    const [oldest] = blocks.find(([, { used }]) => used) ?? blocks[0]!;
    this.#blocks.delete(oldest);
  }

  #request(number: number): Block {
    const from = number * this.#blockSize;
    const bytes = this.#fetch(from, Math.min(this.#blockSize, this.size - from));
    bytes.catch(() => {}); // it may be fetched in advance, and never be needed
    return { bytes, used: false };
  }
}
