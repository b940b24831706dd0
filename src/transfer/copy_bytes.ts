import type { RefuseCell } from "./copy_text.ts";

/** Bytes that are taken at once, about. */
const BATCH = 65_536;
/** Beyond them, for the row that is being written; a longer one has more made. */
const SPARE = 16_384;

const TAB = 0x09;
const NEW_LINE = 0x0a;
const RETURN = 0x0d;
const BACK_SLASH = 0x5c;
const SPACE = 0x20;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;

/** Of a number, with its sign and point. */
const MOST_DIGITS = 20;
/** Of a time of day, with the space before it. */
const MOST_TIME = 16;

const encoder = new TextEncoder();

/** Writes rows in COPY's text format from values that are bytes already: to make strings of them would take longer. */
export class CopyBytes {
  /** Rows so far. */
  rows = 0;
  #bytes = new Uint8Array(BATCH + SPARE);
  #at = 0;
  #column = 0;
  readonly #refuse: RefuseCell;

  constructor(refuse: RefuseCell) {
    this.#refuse = refuse;
  }

  /** The row's next value, of characters of ASCII that mean nothing else to COPY. */
  plain(text: string): void {
    this.#begin(text.length);
    this.#characters(text);
  }

  /** The row's next value, a whole number that a number holds exactly; with a point before its last digits. */
  number(value: number, scale = 0): void {
    this.#begin(MOST_DIGITS + scale);
    const bytes = this.#bytes;
    if (value < 0) bytes[this.#at++] = MINUS;
    let left = Math.abs(value);
    let length = scale + 1;
    for (let above = 10 ** length; left >= above; above *= 10) length++;
    let at = this.#at + length + (scale > 0 ? 1 : 0);
    this.#at = at;
    for (let digit = 0; digit < length; digit++) {
      if (digit === scale && scale > 0) bytes[--at] = POINT;
      const next = left < 2 ** 31 ? (left / 10) | 0 : Math.floor(left / 10);
      bytes[--at] = ZERO + (left - next * 10); // a number of 2^53 and more holds no single digits
      left = next;
    }
  }

  /**
   * The row's next value, a moment.
   *
   * @param day The date.
   * @param time Microseconds of the day.
   * @param zone What stands behind.
   */
  moment(day: string, time: number, zone: string): void {
    this.#begin(day.length + MOST_TIME + zone.length);
    this.#characters(day);
    const bytes = this.#bytes;
    let at = this.#at;
    const two = (number: number) => {
      const tens = (number / 10) | 0;
      bytes[at++] = ZERO + tens;
      bytes[at++] = ZERO + number - tens * 10;
    };
    const seconds = Math.floor(time / 1e6);
    const minutes = (seconds / 60) | 0;
    const hours = (minutes / 60) | 0;
    bytes[at++] = SPACE;
    two(hours);
    bytes[at++] = COLON;
    two(minutes - hours * 60);
    bytes[at++] = COLON;
    two(seconds - minutes * 60);
    const fraction = time - seconds * 1e6;
    if (fraction > 0) {
      bytes[at++] = POINT;
      const high = (fraction / 10_000) | 0;
      const low = fraction - high * 10_000;
      two(high);
      two((low / 100) | 0);
      two(low % 100);
    }
    this.#at = at;
    this.#characters(zone);
  }

  /** The row's next value, of any characters. */
  text(text: string): void {
    const bytes = encoder.encode(text);
    this.utf8(bytes, 0, bytes.length);
  }

  /** The row's next value, in UTF-8. @throws For a zero, which Postgres has no form of. */
  utf8(from: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.#begin(length > SPARE ? length + specials(from, start, end) : length * 2);
    const bytes = this.#bytes;
    let at = this.#at;
    for (let index = start; index < end; index++) {
      const byte = from[index]!;
      if (byte > RETURN && byte !== BACK_SLASH) bytes[at++] = byte;
      else if (byte === 0) throw this.#zero();
      else {
        const letter = letterOf(byte);
        if (letter !== 0) bytes[at++] = BACK_SLASH;
        bytes[at++] = letter === 0 ? byte : letter;
      }
    }
    this.#at = at;
  }

  /** Ends the row. */
  endRow(): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = NEW_LINE;
    this.#column = 0;
    this.rows++;
  }

  /** Whether it is time to take what there is. */
  get full(): boolean {
    return this.#at >= BATCH;
  }

  /** The rows since they were last taken. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#at);
    this.#bytes = new Uint8Array(BATCH + SPARE); // the socket may still have the last one
    this.#at = 0;
    return taken;
  }

  #characters(text: string): void {
    const bytes = this.#bytes;
    let at = this.#at;
    for (let index = 0; index < text.length; index++) bytes[at++] = text.charCodeAt(index);
    this.#at = at;
  }

  #begin(length: number): void {
    this.#reserve(length + 1);
    if (this.#column++ > 0) this.#bytes[this.#at++] = TAB;
  }

  #reserve(length: number): void {
    if (this.#at + length <= this.#bytes.length) return;
    const more = new Uint8Array(this.#at + length + SPARE);
    more.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = more;
  }

  #zero(): Error {
    const state = "has a zero character, which Postgres can't store in text";
    return this.#refuse(this.rows + 1, this.#column - 1, state);
  }
}

/** What stands behind a back-slash for a byte; 0 where the byte stands for itself. */
function letterOf(byte: number): number {
  switch (byte) {
    case TAB:
      return 0x74;
    case NEW_LINE:
      return 0x6e;
    case RETURN:
      return 0x72;
    default:
      return byte === BACK_SLASH ? byte : 0;
  }
}

function specials(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let index = start; index < end; index++) if (letterOf(bytes[index]!) !== 0) count++;
  return count;
}
