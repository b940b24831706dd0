import type { ColumnData, ColumnType, ColumnValues } from "../batch.ts";
import type { Builder } from "./builders.ts";
import { type Block, CellProblem } from "./decoder.ts";

/** Days from 1970-01-01, the epoch of a column, to 2000-01-01, the epoch of Postgres. */
export const EPOCH_DAYS = 10_957;
/** The same in microseconds, as the two words of a 64-bit number. */
export const EPOCH_LOW = 946_684_800_000_000 % 2 ** 32;
export const EPOCH_HIGH = Math.floor(946_684_800_000_000 / 2 ** 32);

const LEAST = -(2 ** 31);
const GREATEST = 2 ** 31 - 1;

// Each width has its own loop, because the engine does not inline a function that many loops call for each value. 64-bit
// values are written as two words, the lower first, to avoid BigInts; `values` then gives the memory its final type.

const bool: Storage<Uint8Array> = {
  width: 1,
  room: (rows) => new Uint8Array((rows + 7) >> 3),
  fill(room, at, { bytes, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const place = index[from + i]!;
      if (place >= 0 && bytes[place] !== 0) room[(at + i) >> 3]! |= 1 << ((at + i) & 7);
    }
  },
  values: (room, rows) => room.subarray(0, (rows + 7) >> 3),
};

const int16: Storage<Int16Array> = {
  width: 2,
  room: (rows) => new Int16Array(rows),
  fill(room, at, { view, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const place = index[from + i]!;
      if (place >= 0) room[at + i] = view.getInt16(place);
    }
  },
  values: (room, rows) => room.subarray(0, rows),
};

const word: Omit<Storage<Int32Array>, "values"> = {
  width: 4,
  room: (rows) => new Int32Array(rows),
  fill(room, at, { view, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const place = index[from + i]!;
      if (place >= 0) room[at + i] = view.getInt32(place);
    }
  },
};

const int32: Storage<Int32Array> = { ...word, values: (room, rows) => room.subarray(0, rows) };
const uint32: Storage<Int32Array> = { ...word, values: ({ buffer }, rows) => new Uint32Array(buffer, 0, rows) };
const float32: Storage<Int32Array> = { ...word, values: ({ buffer }, rows) => new Float32Array(buffer, 0, rows) };

const twoWords: Omit<Storage<Int32Array>, "values"> = {
  width: 8,
  room: (rows) => new Int32Array(rows * 2),
  fill(room, at, { view, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const place = index[from + i]!;
      if (place < 0) continue;
      room[(at + i) * 2] = view.getInt32(place + 4);
      room[(at + i) * 2 + 1] = view.getInt32(place);
    }
  },
};

const int64: Storage<Int32Array> = { ...twoWords, values: ({ buffer }, rows) => new BigInt64Array(buffer, 0, rows) };
const float64: Storage<Int32Array> = { ...twoWords, values: ({ buffer }, rows) => new Float64Array(buffer, 0, rows) };

const date: Storage<Int32Array> = {
  ...int32,
  fill(room, at, { view, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const place = index[from + i]!;
      if (place < 0) continue;
      const days = view.getInt32(place);
      room[at + i] = days === LEAST || days === GREATEST ? days : days + EPOCH_DAYS;
    }
  },
};

const timestamp: Storage<Int32Array> = {
  ...int64,
  fill(room, at, { view, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const place = index[from + i]!;
      if (place < 0) continue;
      let high = view.getInt32(place);
      let low = view.getUint32(place + 4);
      if (!isInfinite(high, low)) {
        low += EPOCH_LOW;
        high += EPOCH_HIGH + (low > 0xffff_ffff ? 1 : 0);
        if (high > GREATEST) {
          throw new CellProblem(i, "microseconds since 1970 end in the year 294247; select it as ::text");
        }
      }
      room[(at + i) * 2] = low;
      room[(at + i) * 2 + 1] = high;
    }
  },
};

function isInfinite(high: number, low: number): boolean {
  return high === GREATEST && low === 0xffff_ffff || high === LEAST && low === 0;
}

const uuid: Storage<Uint32Array> = {
  width: 16,
  room: (rows) => new Uint32Array(rows * 4),
  fill(room, at, { view, index }: Block, from, count) {
    for (let i = 0; i < count; i++) {
      const place = index[from + i]!;
      if (place < 0) continue;
      for (let word = 0; word < 4; word++) room[(at + i) * 4 + word] = view.getUint32(place + word * 4, true);
    }
  },
  values: (room, rows) => new Uint8Array(room.buffer, 0, rows * 16),
};

/** Kinds whose values have a fixed size. */
type FixedKind = Exclude<ColumnType["kind"], "decimal" | "text" | "json" | "binary" | "list">;

/** Makes the builder for each kind whose values have a fixed size. */
export const FIXED: Readonly<Record<FixedKind, () => Builder>> = {
  bool: () => new FixedBuilder(bool),
  int16: () => new FixedBuilder(int16),
  int32: () => new FixedBuilder(int32),
  int64: () => new FixedBuilder(int64),
  uint32: () => new FixedBuilder(uint32),
  float32: () => new FixedBuilder(float32),
  float64: () => new FixedBuilder(float64),
  date: () => new FixedBuilder(date),
  time: () => new FixedBuilder(int64),
  timestamp: () => new FixedBuilder(timestamp),
  uuid: () => new FixedBuilder(uuid),
};

/** An array that values are collected in. */
export type Room = Uint8Array | Int16Array | Int32Array | Uint32Array;

/** How values of a fixed size are read and stored. */
export interface Storage<R extends Room = Room> {
  /** Bytes of each value on the wire; -1 if they vary. */
  width: number;
  /** Makes an array for so many values. */
  room(rows: number): R;
  /**
   * Reads values of a block into the array.
   *
   * @param at The index of the first value in the array.
   * @param from Where the first value is in the block's index.
   * @param count The number of values.
   */
  fill(room: R, at: number, block: Block, from: number, count: number): void;
  /** Gives the column's values, in the memory of the array. */
  values(room: R, rows: number): ColumnValues;
}

/** The rows that the first array has space for. */
const FIRST_ROOM = 1024;

/** Collects values of a fixed size. */
export class FixedBuilder<R extends Room> implements Builder {
  readonly width: number;
  readonly #storage: Storage<R>;
  readonly #nulls = new Nulls();
  #room: R | undefined;
  #capacity = FIRST_ROOM;
  #length = 0;

  /** Takes the storage of the values. */
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
    this.#room = undefined; // the capacity stays, since the next batch is probably as large
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

/** Collects which values of a column are NULL; a column without NULLs has no bitmap. */
export class Nulls {
  /** The number of NULLs. */
  count = 0;
  #bitmap: Uint8Array | undefined;

  /** Notes the NULLs among a block's values; the first of these values has the index `at` in the column. */
  note({ index }: Block, from: number, count: number, at: number): void {
    for (let i = 0; i < count; i++) {
      if (index[from + i]! >= 0) continue;
      const place = at + i;
      const bitmap = this.#reaching(place);
      bitmap[place >> 3]! &= ~(1 << (place & 7));
      this.count++;
    }
  }

  /** Gives the NULLs in the form of Arrow, and starts over. */
  take(length: number): { nullCount: number; nullBitmap?: Uint8Array } {
    const nullCount = this.count;
    if (nullCount === 0) return { nullCount };
    const nullBitmap = this.#reaching(length - 1).subarray(0, (length + 7) >> 3);
    this.count = 0;
    this.#bitmap = undefined;
    return { nullCount, nullBitmap };
  }

  #reaching(place: number): Uint8Array {
    const bitmap = this.#bitmap ?? new Uint8Array();
    if (place >> 3 < bitmap.length) return bitmap;
    const grown = new Uint8Array(Math.max(128, ((place >> 3) + 1) * 2)).fill(0xff, bitmap.length);
    grown.set(bitmap);
    return this.#bitmap = grown;
  }
}

/** Collects where each value begins, and where the last one ends. */
export class Offsets {
  #offsets = new Int32Array(1024);

  /** Gives the offsets, with space for so many values. */
  reach(values: number): Int32Array {
    if (values < this.#offsets.length) return this.#offsets;
    const grown = new Int32Array(Math.max(values + 1, this.#offsets.length * 2));
    grown.set(this.#offsets);
    return this.#offsets = grown;
  }

  /** Gives the offsets of so many values, and starts over. */
  take(values: number): Int32Array {
    const offsets = this.reach(values).subarray(0, values + 1);
    this.#offsets = new Int32Array(1024);
    return offsets;
  }
}
