import { Buffer } from "node:buffer";
import { LakebaseError } from "../../core/errors.ts";
import { type ColumnData, columnWords, isSet } from "./batch.ts";

/** Gives the value of a row as a query does; `null` for NULL. */
export type ValueReader = (row: number) => unknown;

const MAX_DAY = 2 ** 31 - 1;
const MIN_DAY = -(2 ** 31);
/** The values that stand for the infinite timestamps. */
export const MAX_TIME = 2n ** 63n - 1n;
export const MIN_TIME = -(2n ** 63n);

/** Reads a column's values as the JavaScript values that `await sql` gives with the default parsers. */
export function valueReader(data: ColumnData): ValueReader {
  const { nullBitmap } = data;
  const read = presentReader(data);
  if (nullBitmap === undefined) return read;
  return (row) => isSet(nullBitmap, row) ? read(row) : null;
}

function presentReader(data: ColumnData): ValueReader {
  const { type, values, offsets, child } = data;
  switch (type.kind) {
    case "int16":
    case "int32":
    case "uint32":
    case "float64":
      return (row) => values[row];
    case "float32":
      return (row) => shortestFloat4((values as Float32Array)[row]!);
    case "bool":
      return (row) => isSet(values as Uint8Array, row);
    case "int64":
      return wideNumbers(data);
    case "decimal":
      return (row) => decimalText(values as Uint32Array, row, type.scale);
    case "date":
      return (row) => dateOf((values as Int32Array)[row]!);
    case "time":
      return (row) => timeText(Number(values[row]));
    case "timestamp":
      return timestampReader(wideNumbers(data), type.utc);
    case "uuid":
      return (row) => uuidText((values as Uint8Array).subarray(row * 16, row * 16 + 16));
    case "text":
      return textReader(data);
    case "json":
      return jsonReader(textReader(data));
    case "binary":
      return (row) => (values as Uint8Array).slice(offsets![row], offsets![row + 1]);
    case "list":
      return listReader(offsets!, valueReader(child!));
  }
}

/** Reads 64-bit values from 32-bit words, and makes a bigint only for a value that a number can't hold exactly. */
function wideNumbers(data: ColumnData): (row: number) => number | bigint {
  const halves = columnWords(data);
  const values = data.values as BigInt64Array;
  return (row) => {
    const number = halves[row * 2 + 1]! * 2 ** 32 + (halves[row * 2]! >>> 0);
    return Number.isSafeInteger(number) ? number : values[row]!;
  };
}

/** Uses `Buffer`, which takes half the time of a `TextDecoder`. */
function textReader({ values, offsets }: ColumnData): (row: number) => string {
  const bytes = Buffer.from(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
  return (row) => {
    try {
      return bytes.toString("utf8", offsets![row], offsets![row + 1]);
    } catch (cause) {
      throw tooLong(offsets![row + 1]! - offsets![row]!, cause);
    }
  };
}

function tooLong(bytes: number, cause: unknown): LakebaseError {
  const size = Math.round(bytes / 1e6).toLocaleString("en");
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot read the value: it has ${size} MB, and a string in JavaScript has at most 512 MB; take its bytes from .values, or ` +
      "write them to a file with .pull()",
    { cause },
  );
}

function jsonReader(read: (row: number) => string): ValueReader {
  return (row) => JSON.parse(read(row));
}

function listReader(offsets: Int32Array, read: ValueReader): ValueReader {
  return (row) => {
    const from = offsets[row]!;
    return Array.from({ length: offsets[row + 1]! - from }, (_, at) => read(from + at));
  };
}

function dateOf(days: number): string {
  if (days === MAX_DAY) return "infinity";
  return days === MIN_DAY ? "-infinity" : dateText(days);
}

function timestampReader(read: (row: number) => number | bigint, utc: boolean): ValueReader {
  return (row) => {
    const microseconds = read(row);
    if (microseconds === MAX_TIME) return "infinity";
    if (microseconds === MIN_TIME) return "-infinity";
    return utc ? instantOf(microseconds) : timestampText(microseconds, "");
  };
}

/** Gives a `Date` where a query gives one; else the text. */
function instantOf(microseconds: number | bigint): string | Date {
  if (typeof microseconds === "number") return new Date(Math.floor(microseconds / 1000)); // the years 1684 to 2255
  const year = yearOf(microseconds);
  if (year < 1 || year > 9999) return timestampText(microseconds, "+00");
  const rest = ((microseconds % 1000n) + 1000n) % 1000n;
  return new Date(Number((microseconds - rest) / 1000n));
}

function uuidText(bytes: Uint8Array): string {
  return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** A number holds a whole number exactly if its upper 32-bit word is below this. */
const SAFE_HIGH = 2 ** 21;

/**
 * Writes a decimal as Postgres does.
 *
 * @param words 128-bit numbers of four words each, with the lowest word first.
 * @param row The number's index.
 * @param scale The number of digits after the point.
 */
function decimalText(words: Uint32Array, row: number, scale: number): string {
  const at = row * 4;
  const [low, high, upper, top] = [words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!];
  const fitsNumber = upper === 0 && top === 0 && high < SAFE_HIGH;
  if (fitsNumber) return withPoint(String(high * 2 ** 32 + low), scale);
  const value = BigInt.asIntN(128, [top, upper, high, low].reduce((sum, word) => sum << 32n | BigInt(word), 0n));
  return value < 0n ? `-${withPoint(String(-value), scale)}` : withPoint(String(value), scale);
}

function withPoint(digits: string, scale: number): string {
  if (scale === 0) return digits;
  const padded = digits.padStart(scale + 1, "0");
  return `${padded.slice(0, -scale)}.${padded.slice(-scale)}`;
}

const FLOAT = new Float32Array(1);
const BITS = new Int32Array(FLOAT.buffer);

/** A float4 below this has fewer than 6 significant digits. */
const MIN_NORMAL = 2 ** -126;

/**
 * Gives the number that the server writes for a float4, such as 0.1, where a `Float32Array` gives 0.10000000149011612. It is
 * the shortest decimal that is nearer to this float4 than to any other; of several, the nearest one.
 */
export function shortestFloat4(value: number): number {
  const size = Math.abs(value);
  if (!(size > 0 && size < Infinity)) return value;
  const low = (size + neighbor(size, -1)) / 2;
  const next = neighbor(size, 1);
  const high = next === Infinity ? size + (size - low) : (size + next) / 2;
  for (let digits = size < MIN_NORMAL ? 1 : 6; digits < 9; digits++) {
    const candidates = decimals(size, digits).filter((decimal) => decimal > low && decimal < high);
    if (candidates.length > 0) return Math.sign(value) * nearest(candidates, size);
  }
  return Number(value.toPrecision(9));
}

/** Gives the float4 before or after a float4. */
function neighbor(size: number, step: 1 | -1): number {
  FLOAT[0] = size;
  BITS[0]! += step;
  return FLOAT[0]!;
}

/** Gives the decimals of a number of digits that are next to a number. Those with an even last digit come first. */
function decimals(size: number, digits: number): number[] {
  if (digits === 6) return [Number(size.toPrecision(digits))]; // no other decimal is near enough
  const [mantissa, power] = size.toExponential(digits - 1).split("e");
  const whole = Number(mantissa!.replace(".", ""));
  const neighbors = whole % 2 === 0 ? [whole, whole - 1, whole + 1] : [whole - 1, whole + 1, whole];
  return neighbors.map((decimal) => Number(`${decimal}e${Number(power) - digits + 1}`));
}

/** Gives the nearest decimal; of two equally near ones, the first. The tolerance covers the rounding of doubles. */
function nearest(decimals: readonly number[], size: number): number {
  const isNearer = (a: number, b: number) => Math.abs(a - size) < Math.abs(b - size) * (1 - 1e-6);
  return decimals.reduce((best, decimal) => isNearer(decimal, best) ? decimal : best);
}

/** Days from March 1 of the year 0 to 1970-01-01. Counting from March 1 keeps the leap day at the end of a year. */
const DAYS_TO_1970 = 719_468;
const DAYS_IN_400_YEARS = 146_097;
/** The microseconds of a day, which are also the time 24:00:00. */
export const DAY_MICROSECONDS = 86_400_000_000;

/** A calendar day. Year 0 is 1 BC, since Postgres has no year 0; `text` has no BC. */
interface Day {
  year: number;
  text: string;
}

/**
 * Writes a date in the ISO style of Postgres, such as `2026-01-31` or `0044-03-15 BC`.
 *
 * @param days Days since 1970-01-01. Years above 275760, where `Date` ends, are possible.
 */
export function dateText(days: number): string {
  const { year, text } = dayOf(days);
  return year > 0 ? text : `${text} BC`;
}

/**
 * Writes a time of day, such as `12:34:56` or `12:34:56.789`.
 *
 * @param microseconds Microseconds since midnight.
 */
export function timeText(microseconds: number): string {
  const seconds = Math.floor(microseconds / 1e6);
  const fraction = microseconds % 1e6;
  const whole = `${twoDigits(Math.floor(seconds / 3600))}:${twoDigits(Math.floor(seconds / 60) % 60)}:${
    twoDigits(seconds % 60)
  }`;
  return fraction === 0 ? whole : `${whole}${fractionText(fraction)}`;
}

/**
 * Writes a timestamp, such as `2026-01-31 12:34:56.789`.
 *
 * @param microseconds Microseconds since 1970-01-01; a bigint if a number can't hold them exactly.
 * @param zone The text after the time, such as `+00`.
 */
export function timestampText(microseconds: number | bigint, zone: "" | "+00"): string {
  const { days, rest } = splitDays(microseconds);
  const { year, text } = dayOf(days);
  return `${text} ${timeText(rest)}${zone}${year > 0 ? "" : " BC"}`;
}

/** Gives the year of a timestamp; 0 is 1 BC. */
function yearOf(microseconds: number | bigint): number {
  return dayOf(splitDays(microseconds).days).year;
}

function splitDays(microseconds: number | bigint): { days: number; rest: number } {
  if (typeof microseconds === "number") {
    const days = Math.floor(microseconds / DAY_MICROSECONDS);
    return { days, rest: microseconds - days * DAY_MICROSECONDS };
  }
  const day = BigInt(DAY_MICROSECONDS);
  const rest = ((microseconds % day) + day) % day;
  return { days: Number((microseconds - rest) / day), rest: Number(rest) };
}

/** Converts days since 1970-01-01 to a calendar day. Years start in March here, so that a leap day ends its year. */
function dayOf(days: number): Day {
  const shifted = days + DAYS_TO_1970;
  const era = Math.floor(shifted / DAYS_IN_400_YEARS);
  const dayOfEra = shifted - era * DAYS_IN_400_YEARS;
  const leapDays = Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1;
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const shown = String(year > 0 ? year : 1 - year).padStart(4, "0");
  return { year, text: `${shown}-${twoDigits(month)}-${twoDigits(day)}` };
}

/** Writes the point and the digits after it, without trailing zeros. */
function fractionText(microseconds: number): string {
  const digits = String(1_000_000 + microseconds);
  let end = digits.length;
  while (digits.charCodeAt(end - 1) === 48) end--;
  return `.${digits.slice(1, end)}`;
}

const TWO_DIGITS = Array.from({ length: 100 }, (_, number) => String(number).padStart(2, "0"));

function twoDigits(number: number): string {
  return TWO_DIGITS[number]!;
}
