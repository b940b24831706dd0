import { CellProblem, lengthAt } from "./decoder.ts";
import type { Storage } from "./storage.ts";

/** The header before the digits: the number of digits, the weight of the first digit, the sign and the display scale. */
const HEADER_BYTES = 8;
const NEGATIVE = 0x4000;
/** The signs of NaN and of both infinities. */
const NO_NUMBERS: readonly number[] = [0xc000, 0xd000, 0xf000];

const POWERS = Array.from({ length: 16 }, (_, power) => 10 ** power);
/** A double holds every whole number of so many digits. */
const MOST_DECIMAL_DIGITS = 15;

/**
 * Stores a decimal as four words, with the lowest first. On the wire, a numeric is a list of digits of base 10,000.
 *
 * @param scale The number of decimal digits after the point.
 */
export function decimal(scale: number): Storage<Uint32Array> {
  return {
    width: -1,
    room: (rows) => new Uint32Array(rows * 4),
    fill(room, at, block, from, count) {
      const { view, index } = block;
      for (let i = 0; i < count; i++) {
        const place = index[from + i]!;
        if (place < 0) continue;
        const digits = digitsOf(view, place, i);
        if (digits === 0) continue;
        const target = (at + i) * 4;
        // The last digit counts units of 10^power, where 1 is the column's smallest unit.
        const power = (view.getInt16(place + 2) - digits + 1) * 4 + scale;
        const whole = power > -4 && digits * 4 + power <= MOST_DECIMAL_DIGITS ? small(view, place, digits, power) : -1;
        if (whole >= 0) {
          room[target] = whole; // modulo 2^32
          room[target + 1] = Math.floor(whole / 2 ** 32);
        } else large(room.subarray(target, target + 4), { view, place, digits, power }, i);
        if (view.getUint16(place + 4) === NEGATIVE) negate(room, target);
      }
    },
    values: (room, rows) => room.subarray(0, rows * 4),
  };
}

/** Checks a numeric, and gives the number of its digits. */
function digitsOf(view: DataView, place: number, at: number): number {
  const length = lengthAt(view, place);
  if (length < HEADER_BYTES) throw new CellProblem(at, `a numeric of ${length} bytes is none`);
  const sign = view.getUint16(place + 4);
  if (NO_NUMBERS.includes(sign)) throw new CellProblem(at, "a decimal can't be NaN; select it as ::float8 or ::text");
  const digits = view.getUint16(place);
  const sound = length === HEADER_BYTES + digits * 2 && (sign === 0 || sign === NEGATIVE);
  if (!sound) throw new CellProblem(at, `its ${length} bytes are not a numeric`);
  return digits;
}

/** Computes the number as a double; -1 if the result is not exact. */
function small(view: DataView, place: number, digits: number, power: number): number {
  let whole = 0;
  for (let digit = 0; digit < digits; digit++) {
    whole = whole * 10_000 + view.getUint16(place + HEADER_BYTES + digit * 2);
  }
  whole = power < 0 ? whole / POWERS[-power]! : whole * POWERS[power]!;
  return Number.isSafeInteger(whole) ? whole : -1;
}

interface Digits {
  view: DataView;
  place: number;
  digits: number;
  power: number;
}

/** Computes the number in 32-bit words. */
function large(words: Uint32Array, { view, place, digits, power }: Digits, at: number): void {
  words.fill(0);
  for (let digit = 0; digit < digits; digit++) {
    const value = view.getUint16(place + HEADER_BYTES + digit * 2);
    const own = power + (digits - 1 - digit) * 4;
    // Decimal digits beyond the scale have to be 0.
    const beyond = own >= 0 ? 1 : 10 ** Math.min(4, -own);
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
function negate(room: Uint32Array, target: number): void {
  let carry = 1;
  for (let word = target; word < target + 4; word++) {
    const sum = (~room[word]! >>> 0) + carry;
    room[word] = sum;
    carry = sum > 0xffff_ffff ? 1 : 0;
  }
}
