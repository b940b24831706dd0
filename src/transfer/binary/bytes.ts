import type { ColumnData } from "../batch.ts";
import { type Block, CellProblem, lengthAt } from "./block.ts";
import type { Builder } from "./builder.ts";
import { Nulls } from "./nulls.ts";
import { Offsets } from "./offsets.ts";

/** What offsets of 32 bits reach. */
const MOST_BYTES = 2 ** 31 - 1;
/** Up to here a loop copies faster than a call does. */
const SHORT = 32;
/** The version of jsonb that stands before its text. */
const JSONB_VERSION = 1;

/** Collects texts, or bytes, one behind the other. */
export class BytesBuilder implements Builder {
  readonly width = -1;
  readonly #skip: number;
  readonly #nulls = new Nulls();
  #bytes = new Uint8Array();
  #used = 0;
  readonly #offsets = new Offsets();
  #length = 0;

  /** Made with the bytes in front of each value that are a version: 1 for jsonb, else 0. */
  constructor(skip: 0 | 1) {
    this.#skip = skip;
  }

  append(block: Block, from: number, count: number): void {
    const { bytes, view, index } = block;
    const at = this.#length;
    const offsets = this.#offsets.reach(at + count);
    for (let i = 0; i < count; i++) {
      const place = index[from + i]!;
      if (place >= 0) {
        const skip = this.#skip;
        const length = lengthAt(view, place) - skip;
        if (skip > 0 && (length < 0 || bytes[place] !== JSONB_VERSION)) {
          throw new CellProblem(i, "it is a jsonb of a version that is not known; select it as ::json");
        }
        this.#copy(bytes, place + skip, length, i);
      }
      offsets[at + i + 1] = this.#used;
    }
    this.#nulls.note(block, from, count, at);
    this.#length += count;
  }

  take(): Omit<ColumnData, "name" | "type"> {
    const length = this.#length;
    const values = this.#bytes.subarray(0, this.#used);
    const offsets = this.#offsets.take(length);
    this.#bytes = new Uint8Array();
    this.#length = this.#used = 0;
    return { length, ...this.#nulls.take(length), values, offsets };
  }

  #copy(bytes: Uint8Array, place: number, length: number, at: number): void {
    const used = this.#used;
    if (used + length > this.#bytes.length) this.#grow(used + length, at);
    const own = this.#bytes;
    if (length > SHORT) own.set(bytes.subarray(place, place + length), used);
    else for (let byte = 0; byte < length; byte++) own[used + byte] = bytes[place + byte]!;
    this.#used = used + length;
  }

  #grow(least: number, at: number): void {
    if (least > MOST_BYTES) {
      throw new CellProblem(at, "the column's values are above 2 GB; select fewer rows, or pull() them to a file");
    }
    const grown = new Uint8Array(Math.min(MOST_BYTES, Math.max(least, this.#bytes.length * 2, 4096)));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}
