import type { Dialect } from "./dialect.ts";

const LINE_FEED = 10;
const RETURN = 13;
const SPACE = 0x20;
const POINT = 0x2e;
const BACKSLASH = 0x5c;

/** Where the scan stands in a record of CSV; the states are those of `RecordEnds`, for bytes. */
const START = 0;
const PLAIN = 1;
const QUOTED = 2;
const ESCAPED = 3;
const CLOSING = 4;

/** What keeps a file from being sent as it is. */
export interface ScanFault {
  /** The line, from 1. */
  line: number;
  /** A line of `\\.` alone, or a back-slash that may escape a quote. */
  what: "end mark" | "escape";
}

/**
 * Looks at bytes on their way to COPY, in one pass:
 *
 * - It counts lines, for the progress.
 * - It finds a line of `\.`: PostgreSQL takes it for the end of the data and drops the rest without a word. Before
 *   version 18 it does so in CSV too, where the line may well be a value.
 * - It keeps quotes inside of unquoted values, as in `6" pipe`. COPY drops such a quote and takes all that follows up to
 *   the next quote, line ends too, for one value. One is sent as `""""`, a
 *   quoted part that holds a quote, and each that follows it at once as two more.
 * - It finds a back-slash before a quote that is followed by more text. It is most likely an escape, which the beginning of
 *   the file did not show; read without one, the value would lose the quote.
 */
export class DelimitedScan {
  /** Lines that have ended; a line end inside of quotes ends none. */
  lines = 0;
  /** Line feeds inside of quotes, which the server counts as lines. */
  #inQuotes = 0;
  /** Whether a back-slash stands before a line end, so that it is not clear how the server counts. */
  #escapedEnd = false;
  readonly #quotes: boolean;
  readonly #quote: number;
  readonly #escape: number;
  readonly #delimiter: number;
  /** The bytes that mean something in a value without quotes: 1 for each of them. */
  readonly #special = new Uint8Array(256);
  /** What stands for a quote that belongs to an unquoted value. */
  readonly #kept: Uint8Array;
  readonly #keptNext: Uint8Array;
  /** Whether a person said what escapes a quote. */
  readonly #escapeIsSaid: boolean;
  /** Whether the quote that closes stands behind a back-slash. */
  #slashed = false;
  #last = 0;
  #lastIsStray = false;
  #state = START;
  /** How much of `LINE_FEED BACKSLASH POINT` has been seen. */
  #mark = 1;
  #ended = false;

  /** Made for one file. */
  constructor({ quotes, quote, escape, delimiter }: Dialect, escapeIsSaid: boolean) {
    this.#escapeIsSaid = escapeIsSaid || escape !== quote;
    this.#quotes = quotes;
    this.#quote = quotes ? quote.charCodeAt(0) : -1;
    this.#escape = quotes && escape !== quote ? escape.charCodeAt(0) : -1;
    this.#delimiter = delimiter.charCodeAt(0);
    for (const byte of [LINE_FEED, RETURN, this.#quote, this.#delimiter]) if (byte >= 0) this.#special[byte] = 1;
    const kept = quote + escape + quote + quote;
    this.#kept = new TextEncoder().encode(kept);
    this.#keptNext = escape === quote ? this.#kept.subarray(0, 2) : this.#kept;
  }

  /**
   * Takes the next bytes.
   *
   * @returns The bytes to send, or why they can't be sent.
   */
  push(chunk: Uint8Array): Uint8Array | ScanFault {
    if (chunk.length === 0) return chunk;
    if (this.#ended) return chunk.some(isNoLineEnd) ? endMark(this.lines) : chunk;
    const sent = this.#isPlain(chunk)
      ? this.#pass(chunk)
      : this.#quotes
      ? this.#scanQuoted(chunk)
      : this.#scanEscaped(chunk);
    this.#last = chunk[chunk.length - 1]!;
    return sent;
  }

  /**
   * The lines that the server counts in what was given; `undefined` where no other file may follow it: within quotes, behind
   * a mark of the end, or behind a back-slash.
   */
  get serverLines(): number | undefined {
    const isOpen = this.#quotes ? this.#state === QUOTED || this.#state === ESCAPED : this.#last === BACKSLASH;
    return isOpen || this.#ended || this.#mark === 3 || this.#escapedEnd ? undefined : this.lines + this.#inQuotes;
  }

  /** Says that nothing follows: why the last bytes can't be sent, where that is so. */
  end(): ScanFault | undefined {
    return this.#quotes && this.#mark === 3 ? endMark(this.lines + 1) : undefined;
  }

  /** Whether neither quotes nor a mark can be in it, so that counting its lines is enough. */
  #isPlain(chunk: Uint8Array): boolean {
    if (this.#state > PLAIN || this.#mark > 1) return false;
    return !chunk.includes(BACKSLASH) && !(this.#quotes && chunk.includes(this.#quote));
  }

  #pass(chunk: Uint8Array): Uint8Array {
    let last = -1;
    for (let at = chunk.indexOf(LINE_FEED); at !== -1; at = chunk.indexOf(LINE_FEED, at + 1)) {
      this.lines++;
      last = at;
    }
    this.#lastIsStray = false;
    const end = chunk[chunk.length - 1]!;
    this.#mark = end === LINE_FEED || end === RETURN ? 1 : 0;
    let at = chunk.length - 1;
    while (at > last && chunk[at] === SPACE && this.#delimiter !== SPACE) at--;
    const before = at < 0 ? undefined : chunk[at];
    // Spaces alone leave the state as it was before them.
    if (before !== undefined) this.#state = this.#startsValue(before) ? START : PLAIN;
    return chunk;
  }

  #startsValue(byte: number): boolean {
    return byte === this.#delimiter || byte === LINE_FEED || byte === RETURN;
  }

  #scanQuoted(chunk: Uint8Array): Uint8Array | ScanFault {
    const special = this.#special;
    const quote = this.#quote;
    const escape = this.#escape;
    const stray: number[] = [];
    let state = this.#state;
    let mark = this.#mark;
    for (let at = 0; at < chunk.length; at++) {
      if (state === QUOTED) {
        for (; at < chunk.length && chunk[at] !== quote && chunk[at] !== escape; at++) {
          if (chunk[at] === LINE_FEED) this.#inQuotes++;
        }
        if (at === chunk.length) break;
        if (chunk[at] === quote) {
          state = escape === -1 ? CLOSING : PLAIN;
          this.#slashed = (at === 0 ? this.#last : chunk[at - 1]) === BACKSLASH;
        } else state = ESCAPED;
        continue;
      }
      if (state === ESCAPED) {
        // COPY takes the escape for itself where neither a quote nor an escape follows it.
        if (chunk[at] === LINE_FEED) this.#inQuotes++;
        state = QUOTED;
        continue;
      }
      if (state === PLAIN && mark < 2) { while (at < chunk.length && special[chunk[at]!] === 0) at++; }
      if (at === chunk.length) break;
      const byte = chunk[at]!;
      if (byte === quote) {
        mark = 0;
        if (state === PLAIN) stray.push(at);
        else state = QUOTED;
      } else if (byte === LINE_FEED || byte === RETURN) {
        if (byte === LINE_FEED) this.lines++;
        if (mark === 3) return endMark(this.lines + (byte === RETURN ? 1 : 0));
        mark = 1;
        state = START;
      } else {
        if (mark !== 0) mark = nextMark(mark, byte);
        if (byte === this.#delimiter) state = START;
        else if (state === CLOSING && this.#slashed && !this.#escapeIsSaid) {
          return { line: this.lines + 1, what: "escape" };
        } else if (state !== START || byte !== SPACE) state = PLAIN;
      }
    }
    this.#state = state;
    this.#mark = mark;
    const sent = stray.length === 0 ? chunk : this.#keep(chunk, stray);
    this.#lastIsStray = stray.at(-1) === chunk.length - 1;
    return sent;
  }

  #keep(chunk: Uint8Array, stray: readonly number[]): Uint8Array {
    const bytes = new Uint8Array(chunk.length + stray.length * (this.#kept.length - 1));
    let from = 0;
    let to = 0;
    let last = this.#lastIsStray ? -1 : -2;
    for (const at of stray) {
      const kept = at === last + 1 ? this.#keptNext : this.#kept;
      bytes.set(chunk.subarray(from, at), to);
      bytes.set(kept, to += at - from);
      to += kept.length;
      from = at + 1;
      last = at;
    }
    bytes.set(chunk.subarray(from), to);
    return bytes.subarray(0, to + chunk.length - from);
  }

  #scanEscaped(chunk: Uint8Array): Uint8Array | ScanFault {
    let mark = this.#mark;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (byte === LINE_FEED || byte === RETURN) {
        if (byte === LINE_FEED) this.lines++;
        this.#escapedEnd ||= (at === 0 ? this.#last : chunk[at - 1]) === BACKSLASH;
        if (mark === 3) {
          // What ends the data may stand at the end, where nothing follows that could be lost.
          this.#ended = true;
          if (chunk.subarray(at).some(isNoLineEnd)) {
            return endMark(this.lines + (byte === RETURN ? 1 : 0));
          }
        }
        mark = 1;
      } else if (mark !== 0) mark = nextMark(mark, byte);
    }
    this.#mark = mark;
    return chunk;
  }
}

function endMark(line: number): ScanFault {
  return { line: Math.max(1, line), what: "end mark" };
}

function isNoLineEnd(byte: number): boolean {
  return byte !== LINE_FEED && byte !== RETURN;
}

function nextMark(mark: number, byte: number): number {
  if (mark === 1) return byte === BACKSLASH ? 2 : 0;
  return mark === 2 && byte === POINT ? 3 : 0;
}
