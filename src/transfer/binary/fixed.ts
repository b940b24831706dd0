import type { ColumnData, ColumnValues } from "../batch.ts";
import type { Block } from "./block.ts";
import type { Builder } from "./builder.ts";
import { Nulls } from "./nulls.ts";

/** Room for numbers. */
export type Room = Uint8Array | Int16Array | Int32Array | Uint32Array;

/** How values of one size are kept. */
export interface Storage<R extends Room = Room> {
  /** How many bytes each has on the wire; -1 where that differs. */
  width: number;
  /** Room for so many. */
  room(rows: number): R;
  /**
   * Reads values into the room.
   *
   * @param at The place in the room of the first.
   */
  fill(room: R, at: number, block: Block, from: number, count: number): void;
  /** What the column holds in the end, of the same memory. */
  values(room: R, rows: number): ColumnValues;
}

/** Rows that there is room for at first. */
const FIRST_ROOM = 1024;

/** Collects values of one size. */
export class FixedBuilder<R extends Room> implements Builder {
  readonly width: number;
  readonly #storage: Storage<R>;
  readonly #nulls = new Nulls();
  #room: R | undefined;
  #capacity = FIRST_ROOM;
  #length = 0;

  /** Made with how they are kept. */
  constructor(storage: Storage<R>) {
    this.width = storage.width;
    this.#storage = storage;
  }

  append(block: Block, from: number, count: number): void {
    const at = this.#length;
    this.#storage.fill(this.#reach(at + count), at, block, from, count);
    this.#nulls.note(block, from, count, at);
    this.#length += count;
  }

  take(): Omit<ColumnData, "name" | "type"> {
    const length = this.#length;
    const values = this.#storage.values(this.#reach(length), length);
    this.#length = 0;
    this.#room = undefined; // but the capacity stays: the next batch is most likely as large
    return { length, ...this.#nulls.take(length), values };
  }

  #reach(rows: number): R {
    if (this.#room !== undefined && rows <= this.#capacity) return this.#room;
    if (rows > this.#capacity) this.#capacity = Math.max(rows, this.#capacity * 2);
    const room = this.#storage.room(this.#capacity);
    if (this.#room !== undefined) room.set(this.#room);
    return this.#room = room;
  }
}
