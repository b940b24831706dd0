import { type RandomAccess, unreadable } from "./file_rows.ts";

/** The size of a block before the columns are known, when only the ends of the file are read. */
const FIRST_BLOCK = 65_536;
/** The most bytes that are kept. */
const KEPT_BYTES = 32 * 1024 ** 2;
/** The largest block: a larger one is no faster. */
const LARGEST_BLOCK = 4 * 1024 ** 2;
/** The most blocks of a range; a longer one is fetched by itself. */
const MOST_BLOCKS = 4;

/** Fetches a range of a file. */
export type FetchRange = (from: number, length: number) => Promise<Uint8Array<ArrayBuffer>>;

/**
 * A file that is far away, where each request takes long. It is read in blocks, the last of which are kept, and the block after
 * one that was used for the first time is fetched in advance.
 */
export class BlockFile implements RandomAccess {
  readonly name: string;
  readonly size: number;
  readonly #fetch: FetchRange;
  #blockSize = FIRST_BLOCK;
  /** The blocks by number, the one that was used last at the end. */
  readonly #blocks = new Map<number, Promise<Uint8Array>>();

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
    const known = this.#blocks.get(number);
    if (known === undefined && this.#blockSize > FIRST_BLOCK) this.#request(number + 1);
    const block = known ?? this.#request(number)!;
    this.#blocks.delete(number);
    this.#blocks.set(number, block);
    for (const oldest of this.#blocks.keys()) {
      if (this.#blocks.size * this.#blockSize <= KEPT_BYTES) break;
      this.#blocks.delete(oldest);
    }
    return block;
  }

  #request(number: number): Promise<Uint8Array> | undefined {
    const from = number * this.#blockSize;
    if (from >= this.size || this.#blocks.has(number)) return this.#blocks.get(number);
    const block = this.#fetch(from, Math.min(this.#blockSize, this.size - from));
    block.catch(() => {}); // it may be fetched in advance, and never be needed
    this.#blocks.set(number, block);
    return block;
  }
}
