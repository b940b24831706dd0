import { CellProblem, type ColumnType, type ColumnValues } from "../batch.ts";

/** Bytes, and where the values in them begin. */
export interface Block {
  /** The bytes. */
  bytes: Uint8Array;
  /** A view of the same bytes, to read numbers. */
  view: DataView;
  /** Where each value begins, after its length; -1 for NULL. */
  index: Int32Array;
}

/** Reads the length of a value, which comes before the value. */
export function lengthAt(view: DataView, at: number): number {
  return view.getInt32(at - 4);
}

/** An array that collects values. */
export type ValueArray = Uint8Array | Int16Array | Int32Array | Uint32Array;

/** How values of a fixed size are read and stored. */
export interface Storage<R extends ValueArray = ValueArray> {
  /** The number of bytes of each value on the wire; -1 if it varies. */
  width: number;
  /** Makes an array for a number of values. */
  makeArray(rows: number): R;
  /**
   * Reads values of a block into the array.
   *
   * @param at The index of the first value in the array.
   * @param from The position of the first value in the block's index.
   * @param count The number of values.
   */
  fill(array: R, at: number, block: Block, from: number, count: number): void;
  /** Returns the column's values, in the memory of the array. */
  values(array: R, rows: number): ColumnValues;
}

/** Days from 1970-01-01, the epoch of a column, to 2000-01-01, the epoch of Postgres. */
export const EPOCH_DAYS = 10_957;
/** The same in microseconds, as the two words of a 64-bit number. */
export const EPOCH_LOW = 946_684_800_000_000 % 2 ** 32;
export const EPOCH_HIGH = Math.floor(946_684_800_000_000 / 2 ** 32);

const LEAST = -(2 ** 31);
const GREATEST = 2 ** 31 - 1;

// Each width has its own loop, because the engine does not inline a function that many loops call for each value. 64-bit
// values are written as two words, the lower first, which avoids BigInts. `values` then gives the memory its final type.

const bool: Storage<Uint8Array> = {
  width: 1,
  makeArray: (rows) => new Uint8Array((rows + 7) >> 3),
  fill(array, at, { bytes, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const position = index[from + i]!;
      if (position >= 0 && bytes[position] !== 0) array[(at + i) >> 3]! |= 1 << ((at + i) & 7);
    }
  },
  values: (array, rows) => array.subarray(0, (rows + 7) >> 3),
};

const int16: Storage<Int16Array> = {
  width: 2,
  makeArray: (rows) => new Int16Array(rows),
  fill(array, at, { view, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const position = index[from + i]!;
      if (position >= 0) array[at + i] = view.getInt16(position);
    }
  },
  values: (array, rows) => array.subarray(0, rows),
};

const word: Omit<Storage<Int32Array>, "values"> = {
  width: 4,
  makeArray: (rows) => new Int32Array(rows),
  fill(array, at, { view, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const position = index[from + i]!;
      if (position >= 0) array[at + i] = view.getInt32(position);
    }
  },
};

const int32: Storage<Int32Array> = { ...word, values: (array, rows) => array.subarray(0, rows) };
const uint32: Storage<Int32Array> = { ...word, values: ({ buffer }, rows) => new Uint32Array(buffer, 0, rows) };
const float32: Storage<Int32Array> = { ...word, values: ({ buffer }, rows) => new Float32Array(buffer, 0, rows) };

const twoWords: Omit<Storage<Int32Array>, "values"> = {
  width: 8,
  makeArray: (rows) => new Int32Array(rows * 2),
  fill(array, at, { view, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const position = index[from + i]!;
      if (position < 0) continue;
      array[(at + i) * 2] = view.getInt32(position + 4);
      array[(at + i) * 2 + 1] = view.getInt32(position);
    }
  },
};

const int64: Storage<Int32Array> = { ...twoWords, values: ({ buffer }, rows) => new BigInt64Array(buffer, 0, rows) };
const float64: Storage<Int32Array> = { ...twoWords, values: ({ buffer }, rows) => new Float64Array(buffer, 0, rows) };

const date: Storage<Int32Array> = {
  ...int32,
  fill(array, at, { view, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const position = index[from + i]!;
      if (position < 0) continue;
      const days = view.getInt32(position);
      array[at + i] = days === LEAST || days === GREATEST ? days : days + EPOCH_DAYS;
    }
  },
};

const timestamp: Storage<Int32Array> = {
  ...int64,
  fill(array, at, { view, index }, from, count) {
    for (let i = 0; i < count; i++) {
      const position = index[from + i]!;
      if (position < 0) continue;
      let high = view.getInt32(position);
      let low = view.getUint32(position + 4);
      if (!isInfinite(high, low)) {
        low += EPOCH_LOW;
        high += EPOCH_HIGH + (low > 0xffff_ffff ? 1 : 0);
        if (high > GREATEST) {
          throw new CellProblem(i, "microseconds since 1970 end in the year 294247; select it as ::text");
        }
      }
      array[(at + i) * 2] = low;
      array[(at + i) * 2 + 1] = high;
    }
  },
};

function isInfinite(high: number, low: number): boolean {
  return high === GREATEST && low === 0xffff_ffff || high === LEAST && low === 0;
}

const uuid: Storage<Uint32Array> = {
  width: 16,
  makeArray: (rows) => new Uint32Array(rows * 4),
  fill(array, at, { view, index }: Block, from, count) {
    for (let i = 0; i < count; i++) {
      const position = index[from + i]!;
      if (position < 0) continue;
      for (let word = 0; word < 4; word++) array[(at + i) * 4 + word] = view.getUint32(position + word * 4, true);
    }
  },
  values: (array, rows) => new Uint8Array(array.buffer, 0, rows * 16),
};

/** Kinds whose storage depends on nothing else. */
type FixedKind = Exclude<ColumnType["kind"], "decimal" | "text" | "json" | "binary" | "list">;

/** How values of a fixed size are stored, by their kind. {@linkcode decimal} also depends on the scale. */
export const FIXED: Readonly<Record<FixedKind, Storage>> = {
  bool,
  int16,
  int32,
  int64,
  uint32,
  float32,
  float64,
  date,
  time: int64,
  timestamp,
  uuid,
};

/** The header before the digits: the number of digits, the weight of the first digit, the sign and the display scale. */
const DECIMAL_HEADER_BYTES = 8;
const NEGATIVE = 0x4000;
/** The signs of NaN and of both infinities. */
const NOT_FINITE: readonly number[] = [0xc000, 0xd000, 0xf000];

const POWERS = Array.from({ length: 16 }, (_, power) => 10 ** power);
/** A double holds every whole number of this many digits. */
const EXACT_DIGITS = 15;

/**
 * Stores a decimal as four words, with the lowest first. On the wire, a numeric is a list of digits of base 10,000.
 *
 * @param scale The number of decimal digits after the point.
 */
export function decimal(scale: number): Storage<Uint32Array> {
  return {
    width: -1,
    makeArray: (rows) => new Uint32Array(rows * 4),
    fill(array, at, block, from, count) {
      const { view, index } = block;
      for (let i = 0; i < count; i++) {
        const position = index[from + i]!;
        if (position < 0) continue;
        const digits = digitsOf(view, position, i);
        if (digits === 0) continue;
        const target = (at + i) * 4;
        // The last digit counts units of 10^power, where 1 is the column's smallest unit.
        const power = (view.getInt16(position + 2) - digits + 1) * 4 + scale;
        const whole = power > -4 && digits * 4 + power <= EXACT_DIGITS
          ? smallNumber(view, position, digits, power)
          : -1;
        if (whole >= 0) {
          array[target] = whole; // modulo 2^32
          array[target + 1] = Math.floor(whole / 2 ** 32);
        } else storeLarge(array.subarray(target, target + 4), { view, position, digits, power }, i);
        if (view.getUint16(position + 4) === NEGATIVE) negate(array, target);
      }
    },
    values: (array, rows) => array.subarray(0, rows * 4),
  };
}

/** Checks a numeric. Returns the number of its digits. */
function digitsOf(view: DataView, position: number, at: number): number {
  const length = lengthAt(view, position);
  if (length < DECIMAL_HEADER_BYTES) throw new CellProblem(at, `${length} bytes are too few for a numeric`);
  const sign = view.getUint16(position + 4);
  if (NOT_FINITE.includes(sign)) throw new CellProblem(at, "a decimal can't be NaN; select it as ::float8 or ::text");
  const digits = view.getUint16(position);
  const isValid = length === DECIMAL_HEADER_BYTES + digits * 2 && (sign === 0 || sign === NEGATIVE);
  if (!isValid) throw new CellProblem(at, `its ${length} bytes are not a numeric`);
  return digits;
}

/** Computes the number as a double; -1 if the result is not exact. */
function smallNumber(view: DataView, position: number, digits: number, power: number): number {
  let whole = 0;
  for (let digit = 0; digit < digits; digit++) {
    whole = whole * 10_000 + view.getUint16(position + DECIMAL_HEADER_BYTES + digit * 2);
  }
  whole = power < 0 ? whole / POWERS[-power]! : whole * POWERS[power]!;
  return Number.isSafeInteger(whole) ? whole : -1;
}

/** The digits of a numeric. The last one counts units of 10^`power`. */
interface Digits {
  view: DataView;
  position: number;
  digits: number;
  power: number;
}

/** Computes the number in 32-bit words. */
function storeLarge(words: Uint32Array, { view, position, digits, power }: Digits, at: number): void {
  words.fill(0);
  for (let digit = 0; digit < digits; digit++) {
    const value = view.getUint16(position + DECIMAL_HEADER_BYTES + digit * 2);
    const digitPower = power + (digits - 1 - digit) * 4;
    // Decimal digits beyond the scale have to be 0.
    const beyond = digitPower >= 0 ? 1 : 10 ** Math.min(4, -digitPower);
    if (value % beyond !== 0) throw new CellProblem(at, "it has more digits than its column's scale");
    addTimes(words, 10_000 / beyond, value / beyond, at);
  }
  for (let left = power; left > 0; left -= 4) addTimes(words, 10 ** Math.min(4, left), 0, at);
}

/** `words = words * factor + value`. */
function addTimes(words: Uint32Array, factor: number, value: number, at: number): void {
  let carry = value;
  for (let word = 0; word < 4; word++) {
    const sum = words[word]! * factor + carry;
    words[word] = sum; // modulo 2^32
    carry = Math.floor(sum / 2 ** 32);
  }
  if (carry > 0 || words[3]! > 0x7fff_ffff) throw new CellProblem(at, "it has more than 38 digits");
}

/** Negates a number, in two's complement. */
function negate(array: Uint32Array, target: number): void {
  let carry = 1;
  for (let word = target; word < target + 4; word++) {
    const sum = (~array[word]! >>> 0) + carry;
    array[word] = sum;
    carry = sum > 0xffff_ffff ? 1 : 0;
  }
}
