import type { RefuseCell } from "./copy_text.ts";

/** Bytes that are taken at once, about. */
const BATCH = 65_536;
/** Beyond them, for the row that is being written; a longer one has more made. */
const SPARE = 16_384;

const TAB = 0x09;
const NEW_LINE = 0x0a;
const RETURN = 0x0d;
const BACK_SLASH = 0x5c;

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
    const bytes = this.#bytes;
    let at = this.#at;
    for (let index = 0; index < text.length; index++) bytes[at++] = text.charCodeAt(index);
    this.#at = at;
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
