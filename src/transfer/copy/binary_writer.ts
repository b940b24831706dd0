import type { RefuseCell } from "./text_writer.ts";

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
      this.#inList ? this.#column - 1 : this.#column, // the list itself counts already
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
