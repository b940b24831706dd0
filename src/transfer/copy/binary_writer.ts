import { type RefuseCell, RowBuffer } from "./text_writer.ts";

/** The size of the length before each value. */
const LENGTH_BYTES = 4;

const NUMERIC_HEADER = 8;
const NEGATIVE = 0x4000;

/** Writes rows in COPY's binary format; see "Binary Format" of COPY in PostgreSQL's documentation. */
export class CopyBinaryWriter extends RowBuffer {
  /** Whether values are the elements of a list, which do not count as values of the row. */
  #inList = false;
  readonly #columns: number;

  /**
   * @param columns The number of columns.
   * @param size The approximate number of bytes that are taken at once.
   */
  constructor(refuse: RefuseCell, columns: number, size: number) {
    super(refuse, size);
    this.#columns = columns;
  }

  /** Adds NULL. */
  null(): void {
    this.#begin(0, -1);
  }

  /** Adds one byte. */
  byte(value: number): void {
    this.#begin(1);
    this.buffer[this.at++] = value;
  }

  /** Adds an integer of 16 bits. */
  int16(value: number): void {
    this.#begin(2);
    this.view.setInt16(this.at, value);
    this.at += 2;
  }

  /** Adds an integer of 32 bits, with or without a sign. */
  int32(value: number): void {
    this.#begin(4);
    this.view.setInt32(this.at, value);
    this.at += 4;
  }

  /** Adds an integer of 64 bits. */
  words(high: number, low: number): void {
    this.#begin(8);
    this.view.setInt32(this.at, high);
    this.view.setInt32(this.at + 4, low);
    this.at += 8;
  }

  /** Adds a floating-point number of 32 bits. */
  float32(value: number): void {
    this.#begin(4);
    this.view.setFloat32(this.at, value);
    this.at += 4;
  }

  /** Adds a floating-point number of 64 bits. */
  float64(value: number): void {
    this.#begin(8);
    this.view.setFloat64(this.at, value);
    this.at += 8;
  }

  /**
   * Adds a numeric.
   *
   * @param whole The number without its sign, in units of 10,000^-`fraction`: a safe integer.
   * @param scale The digits after the point that are shown.
   */
  numeric(whole: number, negative: boolean, fraction: number, scale: number): void {
    let digits = 0;
    for (let remaining = whole; remaining > 0; remaining = Math.floor(remaining / 10_000)) digits++;
    const end = this.#startNumeric(digits, negative, fraction, scale);
    let remaining = whole;
    for (let digit = 1; digit <= digits; digit++) {
      const next = Math.floor(remaining / 10_000);
      this.view.setInt16(end - digit * 2, remaining - next * 10_000);
      remaining = next;
    }
  }

  /** Adds a numeric whose whole number is not safe. */
  largeNumeric(whole: bigint, negative: boolean, fraction: number, scale: number): void {
    const text = String(whole);
    const digits = Math.ceil(text.length / 4);
    const padded = text.padStart(digits * 4, "0");
    const start = this.#startNumeric(digits, negative, fraction, scale) - digits * 2;
    for (let digit = 0; digit < digits; digit++) {
      this.view.setInt16(start + digit * 2, Number(padded.slice(digit * 4, digit * 4 + 4)));
    }
  }

  /** Writes all of a numeric except for its digits. Returns the position where they end. */
  #startNumeric(digits: number, negative: boolean, fraction: number, scale: number): number {
    const length = NUMERIC_HEADER + digits * 2;
    this.#begin(length);
    const at = this.at;
    this.view.setInt16(at, digits);
    this.view.setInt16(at + 2, digits - fraction - 1);
    this.view.setInt16(at + 4, negative ? NEGATIVE : 0);
    this.view.setInt16(at + 6, scale);
    this.at = at + length;
    return this.at;
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
    this.buffer[this.at++] = 1;
    this.#copy(from, start, end);
    this.#expectNoZero(end - start);
  }

  /** Begins an array of one dimension, whose elements follow. Returns its start, which {@linkcode endList} needs. */
  startList(length: number, element: number, nulls: boolean): number {
    this.#begin(20);
    const start = this.at;
    const header = length === 0 ? [0, 0, element] : [1, nulls ? 1 : 0, element, length, 1];
    for (const number of header) {
      this.view.setInt32(this.at, number);
      this.at += 4;
    }
    this.#inList = true;
    return start;
  }

  /** Ends an array, whose length is only known now. */
  endList(start: number): void {
    this.view.setInt32(start - LENGTH_BYTES, this.at - start);
    this.#inList = false;
  }

  /** Makes the error for a value that its type can't hold. */
  outOfRange(text: string, type: string): Error {
    return this.refuse(
      this.rows + 1,
      this.#inList ? this.column - 1 : this.column, // a list has already been counted itself
      `has ${text}, which ${type} of Postgres can't hold; load it into a column of the type text`,
    );
  }

  /** Ends the row. */
  endRow(): void {
    this.column = 0;
    this.rows++;
  }

  /** Begins a value with its length. The row's first value also begins with the number of values. */
  #begin(room: number, length = room): void {
    this.reserve(room + LENGTH_BYTES + 2);
    if (!this.#inList && this.column++ === 0) {
      this.view.setInt16(this.at, this.#columns);
      this.at += 2;
    }
    this.view.setInt32(this.at, length);
    this.at += LENGTH_BYTES;
  }

  /** Copies short values byte by byte, which is faster than a call of `set`. */
  #copy(from: Uint8Array, start: number, end: number): void {
    const bytes = this.buffer;
    let at = this.at;
    if (end - start > 64) bytes.set(from.subarray(start, end), at);
    else for (let index = start; index < end; index++) bytes[at++] = from[index]!;
    this.at += end - start;
  }

  #expectNoZero(length: number): void {
    const bytes = this.buffer;
    const start = this.at - length;
    if (length > 64) {
      if (!bytes.subarray(start, this.at).includes(0)) return;
    } else {
      let at = start;
      while (at < this.at && bytes[at] !== 0) at++;
      if (at === this.at) return;
    }
    throw this.zeroCharacter();
  }
}
