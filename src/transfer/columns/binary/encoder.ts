import { BUILT_IN, typeName } from "../../../core/type_names.ts";
import type { RefuseCell } from "../../copy/text_writer.ts";
import type { ColumnData, ColumnType } from "../batch.ts";
import { dateText, isSet, timestampText } from "../value.ts";

/** Writes a row's value of one column. */
export type CellEncoder = (row: number, out: CopyBinary) => void;

/** What precedes the first row in COPY's binary format: the signature, no flags, and an empty extension. */
export const BINARY_HEADER = Uint8Array.of(
  0x50,
  0x47,
  0x43,
  0x4f,
  0x50,
  0x59,
  0x0a,
  0xff,
  0x0d,
  0x0a,
  ...Array(9).fill(0),
);

/** Days from 1970-01-01, the epoch of a column, to 2000-01-01, the epoch of Postgres. */
const EPOCH_DAYS = 10_957;
/** The same in microseconds, as the two words of a 64-bit number. */
const EPOCH_LOW = 946_684_800_000_000 % 2 ** 32;
const EPOCH_HIGH = Math.floor(946_684_800_000_000 / 2 ** 32);

/** The first and the last day that Postgres can hold, in days since 1970-01-01. */
const LEAST_DAY = -2_440_588;
const GREATEST_DAY = 2_145_042_905;
/** The first timestamp that Postgres can hold, in microseconds. The last one is beyond the range of the 64 bits. */
const LEAST_TIME = BigInt(LEAST_DAY) * 86_400_000_000n;
const LEAST_TIME_HIGH = Number(LEAST_TIME >> 32n);

const LEAST = -(2 ** 31);
const GREATEST = 2 ** 31 - 1;

const TEXTS = ["text", "varchar", "bpchar", "json", "jsonb"];

/** The Postgres types that hold every value of a column just as its text would be read. */
const TARGETS: Readonly<Record<Exclude<ColumnType["kind"], "list">, readonly string[]>> = {
  bool: ["bool"],
  int16: ["int2", "int4", "int8"],
  int32: ["int4", "int8"],
  int64: ["int8"],
  uint32: ["oid", "int8"],
  float32: ["float4"], // not float8, in which the text 0.1 is another number than a float4 of 0.1
  float64: ["float8"],
  decimal: ["numeric"],
  date: ["date"],
  time: ["time"],
  timestamp: ["timestamp"],
  uuid: ["uuid"],
  text: TEXTS,
  json: TEXTS,
  binary: ["bytea"],
};

/**
 * Whether a column can be sent in COPY's binary format: the server then reads it in about half the time. Its errors do not
 * show the value then, so a column is sent as text if its values may not fit.
 *
 * @param target The type of the table's column. A domain or a type of an extension has no binary form here.
 */
export function hasBinaryForm(type: ColumnType, target: { oid: number; type: string }): boolean {
  const name = typeName(target.oid);
  const limits = /\((\d+)(?:,(-?\d+))?\)/.exec(target.type)?.slice(1).map((limit) => Number(limit ?? 0));
  if (type.kind === "list") return name.endsWith("[]") && isTarget(type.element, name.slice(0, -2), limits);
  return isTarget(type, name, limits);
}

/** @param limits The numbers in the type's parentheses: a length, or a precision and a scale. */
function isTarget(type: ColumnType, name: string, limits: readonly number[] | undefined): boolean {
  if (type.kind === "list") return false;
  if (limits !== undefined && (name === "varchar" || name === "bpchar")) return false;
  if (limits !== undefined && type.kind === "decimal") {
    const [precision, scale] = limits as [number, number];
    return name === "numeric" && precision - scale >= type.precision - type.scale && scale >= type.scale;
  }
  // The server reads a timestamp without a zone in the session's time zone, so that only its text can be sent to timestamptz.
  if (type.kind === "timestamp" && type.utc && name === "timestamptz") return true;
  return TARGETS[type.kind].includes(name);
}

/** Encodes a column's values for a type that {@linkcode hasBinaryForm}. */
export function cellEncoder(data: ColumnData, oid: number): CellEncoder {
  const { nullBitmap } = data;
  const write = presentEncoder(data, typeName(oid));
  if (nullBitmap === undefined) return write;
  return (row, out) => isSet(nullBitmap, row) ? write(row, out) : out.null();
}

function presentEncoder(data: ColumnData, target: string): CellEncoder {
  const { type, values, offsets } = data;
  switch (type.kind) {
    case "bool":
      return (row, out) => out.byte(isSet(values as Uint8Array, row) ? 1 : 0);
    case "int16":
    case "int32":
    case "uint32":
      return integerEncoder(values as Int32Array, target);
    case "int64":
    case "time":
      return longEncoder(values as BigInt64Array);
    case "float32":
      return (row, out) => out.float32((values as Float32Array)[row]!);
    case "float64":
      return (row, out) => out.float64((values as Float64Array)[row]!);
    case "decimal":
      return decimalEncoder(values as Uint32Array, type.scale);
    case "date":
      return dateEncoder(values as Int32Array);
    case "timestamp":
      return timestampEncoder(values as BigInt64Array, type.utc);
    case "uuid":
      return (row, out) => out.bytes(values as Uint8Array, row * 16, row * 16 + 16);
    case "text":
    case "json":
      if (target === "jsonb") return (row, out) => out.jsonb(values as Uint8Array, offsets![row]!, offsets![row + 1]!);
      return (row, out) => out.text(values as Uint8Array, offsets![row]!, offsets![row + 1]!);
    case "binary":
      return (row, out) => out.bytes(values as Uint8Array, offsets![row]!, offsets![row + 1]!);
    case "list":
      return listEncoder(offsets!, data.child!, BUILT_IN[target.slice(0, -2)]![0]);
  }
}

function integerEncoder(values: Int32Array, target: string): CellEncoder {
  switch (target) {
    case "int2":
      return (row, out) => out.int16(values[row]!);
    case "int8":
      return (row, out) => out.words(values[row]! < 0 ? -1 : 0, values[row]!);
    default:
      return (row, out) => out.int32(values[row]!);
  }
}

function longEncoder(values: BigInt64Array): CellEncoder {
  const words = wordsOf(values);
  return (row, out) => out.words(words[row * 2 + 1]!, words[row * 2]!);
}

function wordsOf({ buffer, byteOffset, length }: BigInt64Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length * 2);
}

function dateEncoder(values: Int32Array): CellEncoder {
  return (row, out) => {
    const days = values[row]!;
    if (days === LEAST || days === GREATEST) return out.int32(days);
    if (days < LEAST_DAY || days > GREATEST_DAY) throw out.outOfRange(dateText(days), "a date");
    out.int32(days - EPOCH_DAYS);
  };
}

function timestampEncoder(values: BigInt64Array, utc: boolean): CellEncoder {
  const words = wordsOf(values);
  return (row, out) => {
    let high = words[row * 2 + 1]!;
    let low = words[row * 2]! >>> 0;
    const infinite = high === GREATEST && low === 0xffff_ffff || high === LEAST && low === 0;
    if (infinite) return out.words(high, low);
    if (high <= LEAST_TIME_HIGH && values[row]! < LEAST_TIME) {
      throw out.outOfRange(timestampText(values[row]!, utc ? "+00" : ""), "a timestamp");
    }
    low -= EPOCH_LOW;
    high -= EPOCH_HIGH + (low < 0 ? 1 : 0);
    out.words(high, low);
  };
}

/** Most decimals fit into a number, which is several times as fast as a bigint. */
function decimalEncoder(values: Uint32Array, scale: number): CellEncoder {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  const padding = (4 - scale % 4) % 4;
  const factor = 10 ** padding;
  const most = Math.floor(Number.MAX_SAFE_INTEGER / factor);
  const fraction = (scale + padding) / 4;
  return (row, out) => {
    const at = row * 4;
    const high = words[at + 1]!;
    const number = high * 2 ** 32 + (words[at]! >>> 0);
    const fits = words[at + 2] === high >> 31 && words[at + 3] === high >> 31;
    if (fits && number <= most && number >= -most) {
      return out.numeric(Math.abs(number) * factor, number < 0, fraction, scale);
    }
    const whole = BigInt.asIntN(128, [3, 2, 1, 0].reduce((sum, word) => sum << 32n | BigInt(values[at + word]!), 0n));
    out.largeNumeric((whole < 0n ? -whole : whole) * BigInt(factor), whole < 0n, fraction, scale);
  };
}

function listEncoder(offsets: Int32Array, child: ColumnData, element: number): CellEncoder {
  const { nullBitmap } = child;
  const write = cellEncoder(child, element);
  return (row, out) => {
    const [from, to] = [offsets[row]!, offsets[row + 1]!];
    let nulls = false;
    for (let at = from; at < to && nullBitmap !== undefined && !nulls; at++) nulls = !isSet(nullBitmap, at);
    const start = out.startList(to - from, element, nulls);
    for (let at = from; at < to; at++) write(at, out);
    out.endList(start);
  };
}

/** The bytes of the length that precedes each value. */
const LENGTH = 4;
/** Extra bytes of the buffer for the row that exceeds its size; a longer row makes the buffer grow. */
const SPARE = 16_384;

const NUMERIC_HEADER = 8;
const NEGATIVE = 0x4000;

/** Writes rows in COPY's binary format; see "Binary Format" of COPY in PostgreSQL's documentation. */
export class CopyBinary {
  /** The rows so far. */
  rows = 0;
  #bytes: Uint8Array;
  #view: DataView;
  #at = 0;
  /** The number of values in the current row so far. The elements of a list do not count. */
  #column = 0;
  #inList = false;
  readonly #refuse: RefuseCell;
  readonly #columns: number;
  readonly #size: number;

  /**
   * @param columns The number of columns.
   * @param size About how many bytes are taken at once.
   */
  constructor(refuse: RefuseCell, columns: number, size: number) {
    this.#refuse = refuse;
    this.#columns = columns;
    this.#size = size;
    this.#bytes = new Uint8Array(size + SPARE);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Adds NULL. */
  null(): void {
    this.#begin(0, -1);
  }

  /** Adds one byte. */
  byte(value: number): void {
    this.#begin(1);
    this.#bytes[this.#at++] = value;
  }

  /** Adds an integer of 16 bits. */
  int16(value: number): void {
    this.#begin(2);
    this.#view.setInt16(this.#at, value);
    this.#at += 2;
  }

  /** Adds an integer of 32 bits, with or without a sign. */
  int32(value: number): void {
    this.#begin(4);
    this.#view.setInt32(this.#at, value);
    this.#at += 4;
  }

  /** Adds an integer of 64 bits. */
  words(high: number, low: number): void {
    this.#begin(8);
    this.#view.setInt32(this.#at, high);
    this.#view.setInt32(this.#at + 4, low);
    this.#at += 8;
  }

  /** Adds a floating-point number of 32 bits. */
  float32(value: number): void {
    this.#begin(4);
    this.#view.setFloat32(this.#at, value);
    this.#at += 4;
  }

  /** Adds a floating-point number of 64 bits. */
  float64(value: number): void {
    this.#begin(8);
    this.#view.setFloat64(this.#at, value);
    this.#at += 8;
  }

  /**
   * Adds a numeric.
   *
   * @param whole The number without its sign, in units of 10,000^-`fraction`: a safe integer.
   * @param scale The digits after the point that are shown.
   */
  numeric(whole: number, negative: boolean, fraction: number, scale: number): void {
    let digits = 0;
    for (let left = whole; left > 0; left = Math.floor(left / 10_000)) digits++;
    const end = this.#startNumeric(digits, negative, fraction, scale);
    let left = whole;
    for (let digit = 1; digit <= digits; digit++) {
      const next = Math.floor(left / 10_000);
      this.#view.setInt16(end - digit * 2, left - next * 10_000);
      left = next;
    }
  }

  /** Adds a numeric whose whole number is not safe. */
  largeNumeric(whole: bigint, negative: boolean, fraction: number, scale: number): void {
    const text = String(whole);
    const digits = Math.ceil(text.length / 4);
    const padded = text.padStart(digits * 4, "0");
    const start = this.#startNumeric(digits, negative, fraction, scale) - digits * 2;
    for (let digit = 0; digit < digits; digit++) {
      this.#view.setInt16(start + digit * 2, Number(padded.slice(digit * 4, digit * 4 + 4)));
    }
  }

  /** Writes all of a numeric except for its digits; returns where they end. */
  #startNumeric(digits: number, negative: boolean, fraction: number, scale: number): number {
    const length = NUMERIC_HEADER + digits * 2;
    this.#begin(length);
    const at = this.#at;
    this.#view.setInt16(at, digits);
    this.#view.setInt16(at + 2, digits - fraction - 1);
    this.#view.setInt16(at + 4, negative ? NEGATIVE : 0);
    this.#view.setInt16(at + 6, scale);
    this.#at = at + length;
    return this.#at;
  }

  /** Adds bytes. */
  bytes(from: Uint8Array, start: number, end: number): void {
    this.#begin(end - start);
    this.#copy(from, start, end);
  }

  /** Adds text in UTF-8. @throws For a zero character, which Postgres can't store. */
  text(from: Uint8Array, start: number, end: number): void {
    this.bytes(from, start, end);
    this.#expectNoZero(end - start);
  }

  /** Adds JSON for a `jsonb`, whose binary form begins with its version. */
  jsonb(from: Uint8Array, start: number, end: number): void {
    this.#begin(end - start + 1);
    this.#bytes[this.#at++] = 1;
    this.#copy(from, start, end);
    this.#expectNoZero(end - start);
  }

  /** Begins an array of one dimension; its elements follow. Returns what {@linkcode endList} needs. */
  startList(length: number, element: number, nulls: boolean): number {
    this.#begin(20);
    const start = this.#at;
    const header = length === 0 ? [0, 0, element] : [1, nulls ? 1 : 0, element, length, 1];
    for (const number of header) {
      this.#view.setInt32(this.#at, number);
      this.#at += 4;
    }
    this.#inList = true;
    return start;
  }

  /** Ends an array: only now is its length known. */
  endList(start: number): void {
    this.#view.setInt32(start - LENGTH, this.#at - start);
    this.#inList = false;
  }

  /** Makes the error for a value that its type can't hold. */
  outOfRange(text: string, type: string): Error {
    return this.#refuse(
      this.rows + 1,
      this.#column,
      `has ${text}, which ${type} of Postgres can't hold; load it into a column of the type text`,
    );
  }

  /** Ends the row. */
  endRow(): void {
    this.#column = 0;
    this.rows++;
  }

  /** Whether there are enough bytes to take. */
  get full(): boolean {
    return this.#at >= this.#size;
  }

  /** Gives the rows since the last call. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#at);
    this.#bytes = new Uint8Array(this.#size + SPARE); // the caller still uses the old bytes
    this.#view = new DataView(this.#bytes.buffer);
    this.#at = 0;
    return taken;
  }

  /** Begins a value with its length; the row's first value with the number of values. */
  #begin(room: number, length = room): void {
    if (this.#at + room + LENGTH + 2 > this.#bytes.length) this.#grow(room + LENGTH + 2);
    if (!this.#inList && this.#column++ === 0) {
      this.#view.setInt16(this.#at, this.#columns);
      this.#at += 2;
    }
    this.#view.setInt32(this.#at, length);
    this.#at += LENGTH;
  }

  #grow(room: number): void {
    const more = new Uint8Array(this.#at + room + Math.max(SPARE, this.#at));
    more.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = more;
    this.#view = new DataView(more.buffer);
  }

  /** Copies byte by byte up to a length at which a call of `set` is faster. */
  #copy(from: Uint8Array, start: number, end: number): void {
    const bytes = this.#bytes;
    let at = this.#at;
    if (end - start > 64) bytes.set(from.subarray(start, end), at);
    else for (let index = start; index < end; index++) bytes[at++] = from[index]!;
    this.#at += end - start;
  }

  #expectNoZero(length: number): void {
    const bytes = this.#bytes;
    const start = this.#at - length;
    if (length > 64) {
      if (!bytes.subarray(start, this.#at).includes(0)) return;
    } else {
      let at = start;
      while (at < this.#at && bytes[at] !== 0) at++;
      if (at === this.#at) return;
    }
    throw this.#refuse(this.rows + 1, this.#column - 1, "has a zero character, which Postgres can't store in text");
  }
}
