import { optionText } from "../../core/errors.ts";
import { CopyTextWriter } from "../copy/text_writer.ts";
import { badFile } from "./bytes.ts";
import { type Dialect, RecordReader, valuesOf } from "./dialect.ts";
import type { IncomingCopy } from "./incoming.ts";
import { badData, type SourceOptions } from "./options.ts";
import type { LoadColumn } from "./table.ts";

const LINE_FEED = 10;
const RETURN = 13;
const SPACE = 0x20;
const POINT = 0x2e;
const BACKSLASH = 0x5c;

/** The reason why a file can't be sent. */
export interface ScanFault {
  /** The line, from 1. */
  line: number;
  /** Either a line that is only `\.`, or a backslash that may escape a quote. */
  what: "end mark" | "escape";
}

/**
 * Scans bytes on their way to COPY, in one pass. It counts lines for the progress, and finds a line that is only `\.`:
 * PostgreSQL takes this line for the end of the data and silently drops the rest. Before version 18 it does so in CSV too,
 * where the line may be a value.
 */
export interface DelimitedScan {
  /** The number of lines that have ended. A line end inside quotes does not count. */
  readonly lines: number;
  /**
   * The number of lines that the server counts in the bytes so far; `undefined` if no other file may follow them: within
   * quotes, after an end mark, or after a backslash.
   */
  readonly serverLines: number | undefined;
  /**
   * Scans the next bytes.
   *
   * @returns The bytes to send, or why they can't be sent.
   */
  push(chunk: Uint8Array): Uint8Array | ScanFault;
  /** Ends the scan. @returns Why the last bytes can't be sent; `undefined` if they can. */
  end(): ScanFault | undefined;
}

/**
 * Scans one file.
 *
 * @param escapeIsKnown Whether an option gives the escape, or it was detected.
 */
export function scanDelimited(dialect: Dialect, escapeIsKnown: boolean): DelimitedScan {
  return dialect.quotes ? new QuotedScan(dialect, escapeIsKnown) : new EscapedScan();
}

/** How many bytes of the end mark, `LINE_FEED BACKSLASH POINT`, have been seen; a file starts as if after a line feed. */
const MARK_AT_START = 1;
const MARK_SEEN = 3;

/** The states of the scan within a CSV record. They are those of `RecordEnds`, and one more. */
const START = 0;
const PLAIN = 1;
const QUOTED = 2;
const ESCAPED = 3;
const CLOSING = 4;
/** After a quote inside quotes that a backslash may escape. */
const DOUBTFUL = 5;

/**
 * Scans CSV. Besides what every scan does:
 *
 * - It keeps quotes inside unquoted values, as in `6" pipe`. COPY would drop such a quote and read everything up to the next
 *   quote, including line ends, as one value. The scan sends `""""` instead, a quoted part that holds a quote, and two more
 *   quotes for each quote directly after it.
 * - It finds a backslash before a closing quote that is followed by more text. The backslash is most likely an escape that
 *   the beginning of the file did not show; COPY would drop the quote.
 */
class QuotedScan implements DelimitedScan {
  lines = 0;
  /** The number of line feeds inside quotes, which the server counts as lines. */
  #inQuotes = 0;
  readonly #quote: number;
  readonly #escape: number;
  readonly #delimiter: number;
  /** 1 for each byte that is special in an unquoted value. */
  readonly #special = new Uint8Array(256);
  /** The bytes that are sent for a quote inside an unquoted value, and for a quote directly after it. */
  readonly #keptQuote: Uint8Array;
  readonly #keptNextQuote: Uint8Array;
  readonly #escapeIsKnown: boolean;
  #state = START;
  #mark = MARK_AT_START;
  #last = 0;
  /** Whether the last byte was a quote inside an unquoted value. */
  #lastIsStray = false;

  constructor({ quote, escape, delimiter }: Dialect, escapeIsKnown: boolean) {
    this.#escapeIsKnown = escapeIsKnown || escape !== quote;
    this.#quote = quote.charCodeAt(0);
    this.#escape = escape !== quote ? escape.charCodeAt(0) : -1;
    this.#delimiter = delimiter.charCodeAt(0);
    for (const byte of [LINE_FEED, RETURN, this.#quote, this.#delimiter]) this.#special[byte] = 1;
    const kept = quote + escape + quote + quote;
    this.#keptQuote = new TextEncoder().encode(kept);
    this.#keptNextQuote = escape === quote ? this.#keptQuote.subarray(0, 2) : this.#keptQuote;
  }

  get serverLines(): number | undefined {
    const isOpen = this.#state === QUOTED || this.#state === ESCAPED;
    return isOpen || this.#mark === MARK_SEEN ? undefined : this.lines + this.#inQuotes;
  }

  push(chunk: Uint8Array): Uint8Array | ScanFault {
    if (chunk.length === 0) return chunk;
    const sent = this.#isPlain(chunk) ? this.#pass(chunk) : this.#scan(chunk);
    this.#last = chunk[chunk.length - 1]!;
    return sent;
  }

  end(): ScanFault | undefined {
    return this.#mark === MARK_SEEN ? endMark(this.lines + 1) : undefined;
  }

  /** Whether the chunk has neither quotes nor an end mark, so that counting its lines is enough. */
  #isPlain(chunk: Uint8Array): boolean {
    return this.#state <= PLAIN && this.#mark <= MARK_AT_START && !chunk.includes(BACKSLASH) &&
      !chunk.includes(this.#quote);
  }

  #pass(chunk: Uint8Array): Uint8Array {
    let last = -1;
    for (let at = chunk.indexOf(LINE_FEED); at !== -1; at = chunk.indexOf(LINE_FEED, at + 1)) {
      this.lines++;
      last = at;
    }
    this.#lastIsStray = false;
    this.#mark = markAfter(chunk);
    let at = chunk.length - 1;
    while (at > last && chunk[at] === SPACE && this.#delimiter !== SPACE) at--;
    const before = at < 0 ? undefined : chunk[at];
    // Spaces alone do not change the state.
    if (before !== undefined) this.#state = this.#startsValue(before) ? START : PLAIN;
    return chunk;
  }

  #startsValue(byte: number): boolean {
    return byte === this.#delimiter || byte === LINE_FEED || byte === RETURN;
  }

  #scan(chunk: Uint8Array): Uint8Array | ScanFault {
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
          const before = at === 0 ? this.#last : chunk[at - 1];
          if (escape !== -1) state = PLAIN;
          else state = before === BACKSLASH && !this.#escapeIsKnown ? DOUBTFUL : CLOSING;
        } else state = ESCAPED;
        continue;
      }
      if (state === ESCAPED) {
        // Unless a quote or an escape follows, COPY reads an escape as an ordinary character.
        if (chunk[at] === LINE_FEED) this.#inQuotes++;
        state = QUOTED;
        continue;
      }
      if (state === PLAIN && mark <= MARK_AT_START) { while (at < chunk.length && special[chunk[at]!] === 0) at++; }
      if (at === chunk.length) break;
      const byte = chunk[at]!;
      if (byte === quote) {
        mark = 0;
        if (state === PLAIN) stray.push(at);
        else state = QUOTED;
      } else if (byte === LINE_FEED || byte === RETURN) {
        if (byte === LINE_FEED) this.lines++;
        if (mark === MARK_SEEN) return endMark(this.lines + (byte === RETURN ? 1 : 0));
        mark = MARK_AT_START;
        state = START;
      } else {
        if (mark !== 0) mark = nextMark(mark, byte);
        if (byte === this.#delimiter) state = START;
        else if (state === DOUBTFUL) return { line: this.lines + 1, what: "escape" };
        else if (state !== START || byte !== SPACE) state = PLAIN;
      }
    }
    this.#state = state;
    this.#mark = mark;
    const sent = stray.length === 0 ? chunk : this.#withKeptQuotes(chunk, stray);
    this.#lastIsStray = stray.at(-1) === chunk.length - 1;
    return sent;
  }

  #withKeptQuotes(chunk: Uint8Array, stray: readonly number[]): Uint8Array {
    const bytes = new Uint8Array(chunk.length + stray.length * (this.#keptQuote.length - 1));
    let from = 0;
    let to = 0;
    let last = this.#lastIsStray ? -1 : -2;
    for (const at of stray) {
      const kept = at === last + 1 ? this.#keptNextQuote : this.#keptQuote;
      bytes.set(chunk.subarray(from, at), to);
      bytes.set(kept, to += at - from);
      to += kept.length;
      from = at + 1;
      last = at;
    }
    bytes.set(chunk.subarray(from), to);
    return bytes.subarray(0, to + chunk.length - from);
  }
}

/** Scans COPY's text format, where a backslash escapes. */
class EscapedScan implements DelimitedScan {
  lines = 0;
  #mark = MARK_AT_START;
  #last = 0;
  /** Whether a backslash came before a line end. Then the number of lines that the server counts is not known. */
  #escapedEnd = false;
  /** Whether an end mark came. It is allowed at the end of the file, where no data follows that could be lost. */
  #ended = false;

  get serverLines(): number | undefined {
    const isOpen = this.#last === BACKSLASH;
    return isOpen || this.#ended || this.#mark === MARK_SEEN || this.#escapedEnd ? undefined : this.lines;
  }

  push(chunk: Uint8Array): Uint8Array | ScanFault {
    if (chunk.length === 0) return chunk;
    if (this.#ended) return chunk.some(isNoLineEnd) ? endMark(this.lines) : chunk;
    const isPlain = this.#mark <= MARK_AT_START && this.#last !== BACKSLASH && !chunk.includes(BACKSLASH);
    const sent = isPlain ? this.#pass(chunk) : this.#scan(chunk);
    this.#last = chunk[chunk.length - 1]!;
    return sent;
  }

  end(): undefined {}

  #pass(chunk: Uint8Array): Uint8Array {
    for (let at = chunk.indexOf(LINE_FEED); at !== -1; at = chunk.indexOf(LINE_FEED, at + 1)) this.lines++;
    this.#mark = markAfter(chunk);
    return chunk;
  }

  #scan(chunk: Uint8Array): Uint8Array | ScanFault {
    let mark = this.#mark;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (byte === LINE_FEED || byte === RETURN) {
        if (byte === LINE_FEED) this.lines++;
        this.#escapedEnd ||= (at === 0 ? this.#last : chunk[at - 1]) === BACKSLASH;
        if (mark === MARK_SEEN) {
          this.#ended = true;
          if (chunk.subarray(at).some(isNoLineEnd)) return endMark(this.lines + (byte === RETURN ? 1 : 0));
        }
        mark = MARK_AT_START;
      } else if (mark !== 0) mark = nextMark(mark, byte);
    }
    this.#mark = mark;
    return chunk;
  }
}

function markAfter(plain: Uint8Array): number {
  return isNoLineEnd(plain[plain.length - 1]!) ? 0 : MARK_AT_START;
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

/** A CSV or TSV file to rewrite. */
interface RewrittenFile {
  /** Its name in errors. */
  name: string;
  /** How its bytes represent values. */
  dialect: Dialect;
  /** Whether its first record names the columns. */
  header: boolean;
  /** The number of leading columns that are left out. */
  dropped: number;
  /** How its records are read. */
  options: Pick<SourceOptions, "comment" | "skipBlankLines" | "decimal">;
  /** Its text in UTF-8. */
  text(): AsyncIterable<Uint8Array>;
  /** The place of a line in errors. */
  place(line: number): string;
}

/** Rewrites the records of a file in COPY's text format, because COPY can't read them as they are. */
export class RewrittenRecords {
  readonly #file: RewrittenFile;
  readonly #columns: readonly LoadColumn[];
  readonly #writer: CopyTextWriter;
  readonly #lines = new RowLines();

  constructor(file: RewrittenFile, columns: readonly LoadColumn[]) {
    this.#file = file;
    this.#columns = columns;
    this.#writer = new CopyTextWriter((row, column, state) =>
      badData(`${this.#place(row)} of ${file.name}, column ${JSON.stringify(columns[column]!.name)} ${state}`)
    );
  }

  /** The COPY of the rewritten records. */
  copy(): IncomingCopy {
    return {
      columns: this.#columns,
      options: "FORMAT text",
      bytes: () => this.#rewritten(),
      lines: () => this.#writer.rows,
      rows: () => this.#writer.rows,
      place: (row) => this.#place(row),
    };
  }

  #place(row: number): string {
    return this.#file.place(this.#lines.lineOf(row));
  }

  async *#rewritten(): AsyncGenerator<Uint8Array, void, void> {
    const writer = this.#writer;
    const reader = new RecordReader(this.#file.dialect);
    const decoder = new TextDecoder("utf-8", { fatal: true });
    const write = this.#recordWriter();
    for await (const chunk of this.#file.text()) {
      const decode = () => decoder.decode(chunk, { stream: true });
      for (const record of this.#read(reader, decode)) write(record);
      if (writer.full) yield writer.take();
    }
    for (const record of this.#read(reader, () => decoder.decode(), true)) write(record);
    yield writer.take();
  }

  #read(reader: RecordReader, decode: () => string, last = false): string[] {
    const { name, place } = this.#file;
    let text: string;
    try {
      text = decode();
    } catch (cause) {
      throw badFile(`Cannot load ${name}: it is not in UTF-8; ${ENCODING_HINT}`, cause);
    }
    try {
      return reader.push(text, last);
    } catch (cause) {
      const { message } = cause as Error;
      throw badFile(`Cannot load ${name}: ${message}, at ${place(this.#lines.last)} or after it`, cause);
    }
  }

  #recordWriter(): (record: string) => void {
    const { dialect, dropped, options: { comment, skipBlankLines, decimal } } = this.#file;
    const columns = this.#columns;
    const writer = this.#writer;
    const lines = this.#lines;
    const numbers = columns.map(({ type }) => decimal === "," && /^(?:numeric|real|double precision)\b/.test(type));
    const width = columns.length + dropped;
    let header = this.#file.header;
    return (record) => {
      const line = lines.next(record);
      if (comment !== undefined && record.startsWith(comment)) return;
      if (skipBlankLines && record.trim() === "") return;
      if (header) return void (header = false);
      const values = valuesOf(record, dialect);
      if (values.length !== width) throw badData(this.#wrongWidth(line, record, values.length, width));
      for (let index = dropped; index < width; index++) {
        const value = values[index]!;
        writer.add(value !== null && numbers[index - dropped] ? withPoint(value) : value);
      }
      writer.endRow();
      lines.row(writer.rows);
    };
  }

  #wrongWidth(line: number, record: string, values: number, columns: number): string {
    const place = `${this.#file.place(line)} of ${this.#file.name}`;
    if (record === "") return `${place} is empty; ${optionText({ skipBlankLines: true })} leaves such lines out`;
    return `${place} has ${values} values; the file has ${columns} columns`;
  }
}

const ENCODING_HINT = `name its encoding: ${optionText({ encoding: "windows-1252" })}`;

/** Maps rows to lines of the file. Forgets rows that were sent long ago. */
class RowLines {
  /** The rows where the difference between row number and line number changes, with their lines. */
  readonly #changes: [row: number, line: number][] = [];
  #line = 1;
  #started = 1;

  /** The line on which the last record begins. */
  get last(): number {
    return this.#started;
  }

  /** Takes the next record, and returns the line on which it begins. */
  next(record: string): number {
    this.#started = this.#line++;
    for (let at = record.indexOf("\n"); at !== -1; at = record.indexOf("\n", at + 1)) this.#line++;
    return this.#started;
  }

  /** Notes that the last record became this row. */
  row(row: number): void {
    const last = this.#changes.at(-1);
    if (last !== undefined && this.#started - row === last[1] - last[0]) return;
    this.#changes.push([row, this.#started]);
    if (this.#changes.length > 100_000) this.#changes.splice(0, 50_000);
  }

  /** The line of a row. */
  lineOf(row: number): number {
    const change = this.#changes.findLast(([first]) => first <= row);
    return change === undefined ? row : change[1] + row - change[0];
  }
}

/** Replaces a number's decimal comma by a point. Returns any other text unchanged. */
export function withPoint(text: string): string {
  return /^[+-]?\d*,\d+(?:[eE][+-]?\d+)?$/.test(text) ? text.replace(",", ".") : text;
}
