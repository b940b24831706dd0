/** Makes the error for a value that can't be written. Rows count from 1, columns from 0. */
export type RefuseCell = (row: number, column: number, state: string) => Error;

/** The approximate number of characters that are encoded at once. */
const BATCH_CHARACTERS = 65_536;

const SPECIAL = /[\\\t\n\r]/;
const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" };
const UTF8_TEXT = new TextEncoder();

/** Writes rows in COPY's text format; see "Text Format" of COPY in PostgreSQL's documentation. */
export class CopyTextWriter {
  /** The number of rows so far. */
  rows = 0;
  #text = "";
  #first = true;
  /** The number of rows before those in `#text`. */
  #rowsTaken = 0;
  readonly #refuse: RefuseCell;

  constructor(refuse: RefuseCell) {
    this.#refuse = refuse;
  }

  /** Adds the row's next value, as text that the server reads; `null` for NULL. */
  add(text: string | null): void {
    const cell = text === null ? "\\N" : SPECIAL.test(text) ? escape(text) : text;
    this.#text += this.#first ? cell : "\t" + cell;
    this.#first = false;
  }

  /** Ends the row. */
  endRow(): void {
    this.#text += "\n";
    this.#first = true;
    this.rows++;
  }

  /** Whether there is enough text to take. */
  get full(): boolean {
    return this.#text.length >= BATCH_CHARACTERS;
  }

  /** Returns the rows since the last call, in UTF-8. @throws For text that UTF-8 or Postgres can't hold. */
  take(): Uint8Array<ArrayBuffer> {
    const text = this.#text;
    if (!text.isWellFormed() || text.includes("\0")) throw this.#fault(text);
    this.#text = "";
    this.#rowsTaken = this.rows;
    return UTF8_TEXT.encode(text);
  }

  /** The error for the first bad value of the text. Checking each value beforehand would cost as much as writing it. */
  #fault(text: string): Error {
    const isBad = (text: string) => !text.isWellFormed() || text.includes("\0");
    const lines = text.split("\n");
    const line = lines.findIndex(isBad);
    const cells = lines[line]!.split("\t");
    const column = cells.findIndex(isBad);
    const what = cells[column]!.includes("\0")
      ? "has a zero character, which Postgres can't store in text"
      : "has half of a surrogate pair, which UTF-8 can't represent";
    return this.#refuse(this.#rowsTaken + line + 1, column, what);
  }
}

function escape(text: string): string {
  return text.replace(/[\\\t\n\r]/g, (special) => ESCAPES[special]!);
}

/** Extra bytes of a buffer for the row that exceeds its size; a longer row makes the buffer grow. */
const SPARE = 16_384;

/** A buffer for the rows of a COPY, which grows with them. */
export abstract class RowBuffer {
  /** The number of rows so far. */
  rows = 0;
  /** The rows since the last {@linkcode take}, up to {@linkcode at}. */
  protected buffer: Uint8Array<ArrayBuffer>;
  /** The same bytes, for numbers. */
  protected view: DataView;
  /** The position of the next byte. */
  protected at = 0;
  /** The number of values in the current row so far. */
  protected column = 0;
  protected readonly refuse: RefuseCell;
  readonly #size: number;

  /** @param size The approximate number of bytes that are taken at once. */
  constructor(refuse: RefuseCell, size: number) {
    this.refuse = refuse;
    this.#size = size;
    this.buffer = new Uint8Array(size + SPARE);
    this.view = new DataView(this.buffer.buffer);
  }

  /** Whether the buffer holds enough bytes to take. */
  get full(): boolean {
    return this.at >= this.#size;
  }

  /** Returns the rows since the last call. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.buffer.subarray(0, this.at);
    this.#replace(new Uint8Array(this.#size + SPARE)); // the caller still uses the old bytes
    this.at = 0;
    return taken;
  }

  /** Makes room for that many bytes. */
  protected reserve(length: number): void {
    if (this.at + length <= this.buffer.length) return;
    const larger = new Uint8Array(this.at + length + Math.max(SPARE, this.at));
    larger.set(this.buffer.subarray(0, this.at));
    this.#replace(larger);
  }

  /** Makes the error for a zero character in the last value. */
  protected zeroCharacter(): Error {
    return this.refuse(this.rows + 1, this.column - 1, "has a zero character, which Postgres can't store in text");
  }

  #replace(buffer: Uint8Array<ArrayBuffer>): void {
    this.buffer = buffer;
    this.view = new DataView(buffer.buffer);
  }
}

/** The approximate number of bytes that are taken at once. */
const BATCH_BYTES = 65_536;

const TAB = 0x09;
const NEW_LINE = 0x0a;
const RETURN = 0x0d;
const BACK_SLASH = 0x5c;
const SPACE = 0x20;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;

/** The most characters of a number with its sign and point, besides its scale. */
const MAX_DIGITS = 20;
/** The most characters of a time of day with the space before it. */
const MAX_TIME = 16;

const UTF8 = new TextEncoder();

/** Writes rows in COPY's text format as bytes, which is faster than strings for values that are already bytes. */
export class CopyByteWriter extends RowBuffer {
  /** @param size The approximate number of bytes that are taken at once. */
  constructor(refuse: RefuseCell, size = BATCH_BYTES) {
    super(refuse, size);
  }

  /** Adds the row's next value, which has only ASCII characters that COPY does not escape. */
  plain(text: string): void {
    this.#begin(text.length);
    this.#characters(text);
  }

  /** Adds the row's next value: a safe integer, with a point before its last `scale` digits. */
  number(value: number, scale = 0): void {
    this.#begin(MAX_DIGITS + scale);
    const bytes = this.buffer;
    if (value < 0) bytes[this.at++] = MINUS;
    let remaining = Math.abs(value);
    let length = scale + 1;
    for (let above = 10 ** length; remaining >= above; above *= 10) length++;
    let at = this.at + length + (scale > 0 ? 1 : 0);
    this.at = at;
    for (let digit = 0; digit < length; digit++) {
      if (digit === scale && scale > 0) bytes[--at] = POINT;
      const next = remaining < 2 ** 31 ? (remaining / 10) | 0 : Math.floor(remaining / 10);
      bytes[--at] = ZERO + (remaining - next * 10); // exact, since the number is below 2^53
      remaining = next;
    }
  }

  /**
   * Adds the row's next value: a timestamp.
   *
   * @param day The date, as text.
   * @param time Microseconds since midnight.
   * @param zone The text after the time.
   */
  moment(day: string, time: number, zone: string): void {
    this.#begin(day.length + MAX_TIME + zone.length);
    this.#characters(day);
    const bytes = this.buffer;
    let at = this.at;
    const writeTwoDigits = (number: number) => {
      const tens = (number / 10) | 0;
      bytes[at++] = ZERO + tens;
      bytes[at++] = ZERO + number - tens * 10;
    };
    const seconds = Math.floor(time / 1e6);
    const minutes = (seconds / 60) | 0;
    const hours = (minutes / 60) | 0;
    bytes[at++] = SPACE;
    writeTwoDigits(hours);
    bytes[at++] = COLON;
    writeTwoDigits(minutes - hours * 60);
    bytes[at++] = COLON;
    writeTwoDigits(seconds - minutes * 60);
    const fraction = time - seconds * 1e6;
    if (fraction > 0) {
      bytes[at++] = POINT;
      const high = (fraction / 10_000) | 0;
      const low = fraction - high * 10_000;
      writeTwoDigits(high);
      writeTwoDigits((low / 100) | 0);
      writeTwoDigits(low % 100);
    }
    this.at = at;
    this.#characters(zone);
  }

  /** Adds the row's next value, which may have any characters. */
  text(text: string): void {
    const bytes = UTF8.encode(text);
    this.utf8(bytes, 0, bytes.length);
  }

  /** Adds the row's next value, which is in UTF-8. @throws For a zero character, which Postgres can't store. */
  utf8(from: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.#begin(length > SPARE ? length + countEscaped(from, start, end) : length * 2);
    const bytes = this.buffer;
    let at = this.at;
    for (let index = start; index < end; index++) {
      const byte = from[index]!;
      if (byte > RETURN && byte !== BACK_SLASH) bytes[at++] = byte;
      else if (byte === 0) throw this.zeroCharacter();
      else {
        const letter = letterOf(byte);
        if (letter !== 0) bytes[at++] = BACK_SLASH;
        bytes[at++] = letter === 0 ? byte : letter;
      }
    }
    this.at = at;
  }

  /** Ends the row. */
  endRow(): void {
    this.reserve(1);
    this.buffer[this.at++] = NEW_LINE;
    this.column = 0;
    this.rows++;
  }

  #characters(text: string): void {
    const bytes = this.buffer;
    let at = this.at;
    for (let index = 0; index < text.length; index++) bytes[at++] = text.charCodeAt(index);
    this.at = at;
  }

  #begin(length: number): void {
    this.reserve(length + 1);
    if (this.column++ > 0) this.buffer[this.at++] = TAB;
  }
}

/** The character after the backslash of an escaped byte; 0 for a byte that is not escaped. */
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

function countEscaped(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let index = start; index < end; index++) if (letterOf(bytes[index]!) !== 0) count++;
  return count;
}
