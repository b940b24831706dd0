/** Characters that are encoded at once. */
const BATCH_CHARACTERS = 65_536;

const SPECIAL = /[\\\t\n\r]/;
const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" };
const UTF8_TEXT = new TextEncoder();

/** Says where something is that can't be written: a row's number, from 1, and a column's, from 0. */
export type RefuseCell = (row: number, column: number, state: string) => Error;

/** Writes rows in COPY's text format: PostgreSQL's documentation, COPY, "Text Format". */
export class CopyTextWriter {
  /** Rows so far. */
  rows = 0;
  #text = "";
  #first = true;
  #taken = 0;
  readonly #refuse: RefuseCell;

  constructor(refuse: RefuseCell) {
    this.#refuse = refuse;
  }

  /** The row's next value, as the server would read its text; `null` for NULL. */
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

  /** Whether it is time to take what there is. */
  get full(): boolean {
    return this.#text.length >= BATCH_CHARACTERS;
  }

  /** The rows since they were last taken, in UTF-8. @throws For text that UTF-8, or Postgres, has no form of. */
  take(): Uint8Array<ArrayBuffer> {
    const text = this.#text;
    if (!text.isWellFormed() || text.includes("\0")) throw this.#fault(text);
    this.#text = "";
    this.#taken = this.rows;
    return UTF8_TEXT.encode(text);
  }

  /** Looked for in what is written already: a look at each value would cost as much as writing it. */
  #fault(text: string): Error {
    const isBad = (part: string) => !part.isWellFormed() || part.includes("\0");
    const lines = text.split("\n");
    const line = lines.findIndex(isBad);
    const cells = lines[line]!.split("\t");
    const column = cells.findIndex(isBad);
    const what = cells[column]!.includes("\0")
      ? "has a zero character, which Postgres can't store in text"
      : "has half of a surrogate pair, which UTF-8 has no form of";
    return this.#refuse(this.#taken + line + 1, column, what);
  }
}

function escape(text: string): string {
  return text.replace(/[\\\t\n\r]/g, (special) => ESCAPES[special]!);
}

/** Bytes that are taken at once. */
const BATCH_BYTES = 65_536;
/** Beyond the bytes that are taken at once, for the row that is being written; a longer one has more made. */
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

const UTF8 = new TextEncoder();

/** Writes rows in COPY's text format from values that are bytes already: to make strings of them would take longer. */
export class CopyBytes {
  /** Rows so far. */
  rows = 0;
  #bytes: Uint8Array;
  #at = 0;
  #column = 0;
  readonly #refuse: RefuseCell;
  readonly #size: number;

  /** @param size About how many bytes are taken at once. */
  constructor(refuse: RefuseCell, size = BATCH_BYTES) {
    this.#refuse = refuse;
    this.#size = size;
    this.#bytes = new Uint8Array(size + SPARE);
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
    const bytes = UTF8.encode(text);
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
    return this.#at >= this.#size;
  }

  /** The rows since they were last taken. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#at);
    this.#bytes = new Uint8Array(this.#size + SPARE); // the last one is on its way
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
