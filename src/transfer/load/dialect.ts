import { listedColumns, type SourceOptions } from "./options.ts";

/** How the values of a text file are written. */
export interface Dialect {
  /** Whether values may be quoted, as in CSV; otherwise a backslash escapes, as in COPY's text format. */
  quotes: boolean;
  /** The character between two values. */
  delimiter: string;
  /** The unquoted text that means NULL. */
  nullText: string;
  /** The character that quotes a value. */
  quote: string;
  /** The character that escapes a quote inside quotes. By default the quote itself. */
  escape: string;
}

/** The parts of the dialect and the encoding of a file that were detected, because no option gave them. */
export interface DialectGuess {
  /** The character between two values. */
  delimiter?: string;
  /** The character that quotes a value. */
  quote?: string;
  /** The character that escapes a quote inside quotes. */
  escape?: string;
  /** The encoding, by its name in `TextDecoder`. */
  encoding?: string;
}

/** The values of one record; `null` for NULL. */
export type FileRecord = (string | null)[];

/** The dialect of CSV in RFC 4180, or of COPY's text format. */
export function usualDialect(quotes: boolean): Dialect {
  return { quotes, delimiter: quotes ? "," : "\t", nullText: quotes ? "" : "\\N", quote: '"', escape: '"' };
}

/** The state of a reader within a CSV record. */
type RecordState =
  /** At the start of a value, where a quote opens. Spaces before the quote are part of the value, as in COPY. */
  | "start"
  /** In an unquoted value, or after the closing quote, where a quote is an ordinary character. */
  | "plain"
  | "quoted"
  /** After an escape character inside quotes. */
  | "escaped"
  /** After a quote inside quotes, which closes the value unless a second quote follows. */
  | "closing";

/**
 * Finds the ends of records in a text that arrives in chunks. It reads each character once, even after a quote that nothing
 * closes.
 */
export class RecordEnds {
  readonly #dialect: Dialect;
  #state: RecordState = "start";

  /** Reads one file. */
  constructor(dialect: Dialect) {
    this.#dialect = dialect;
  }

  /** Whether a quote is still open. */
  get isOpen(): boolean {
    return this.#dialect.quotes && (this.#state === "quoted" || this.#state === "escaped");
  }

  /** The index of the end of the record at `from`; -1 if the text ends first. */
  find(text: string, from: number): number {
    return this.#dialect.quotes ? this.#findQuoted(text, from) : this.#findEscaped(text, from);
  }

  #findQuoted(text: string, from: number): number {
    const { quote, escape, delimiter } = this.#dialect;
    let state = this.#state;
    for (let at = from; at < text.length; at++) {
      const char = text[at]!;
      if (state === "closing") state = char === quote ? "quoted" : "plain";
      else if (state === "escaped") state = "quoted";
      else if (state === "quoted") {
        if (char === escape && escape !== quote) state = "escaped";
        else if (char === quote) state = escape === quote ? "closing" : "plain";
        continue;
      } else if (state === "start" && char === quote) {
        state = "quoted";
        continue;
      }
      if (state === "quoted") continue;
      if (char === "\n" || char === "\r") {
        this.#state = "start";
        return at;
      }
      if (char === delimiter) state = "start";
      else if (state !== "start" || char !== " ") state = "plain";
    }
    this.#state = state;
    return -1;
  }

  #findEscaped(text: string, from: number): number {
    let escaped = this.#state === "escaped";
    for (let at = from; at < text.length; at++) {
      const char = text[at]!;
      if (escaped) escaped = false;
      else if (char === "\\") escaped = true;
      else if (char === "\n" || char === "\r") {
        this.#state = "start";
        return at;
      }
    }
    this.#state = escaped ? "escaped" : "start";
    return -1;
  }
}

/**
 * The records at the beginning of a text.
 *
 * @param text The text.
 * @param whole Whether nothing follows the text; otherwise a last record without a line end is incomplete and left out.
 */
export function* records(text: string, dialect: Dialect, whole: boolean): Generator<FileRecord, void, void> {
  const ends = new RecordEnds(dialect);
  for (let at = 0; at < text.length;) {
    const recordEnd = ends.find(text, at);
    if (recordEnd === -1 && !whole) return;
    const end = recordEnd === -1 ? text.length : recordEnd;
    yield valuesOf(text.slice(at, end), dialect);
    at = end + (text.startsWith("\r\n", end) ? 2 : 1);
    if (at === text.length && text[at - 1] === "\r" && !whole) return;
  }
}

/** The values of one record, without its line end. */
export function valuesOf(record: string, dialect: Dialect): FileRecord {
  const { quotes, delimiter, nullText } = dialect;
  const values: FileRecord = [];
  for (let at = 0; at <= record.length;) {
    const end = quotes ? endOfQuoted(record, at, dialect) : endOfEscaped(record, at, delimiter);
    const raw = record.slice(at, end);
    values.push(raw === nullText ? null : quotes ? unquote(raw, dialect) : unescape(raw));
    at = end + 1;
  }
  return values;
}

/** The number of values in a record; `undefined` if text follows a closing quote, or a quote is not closed. */
export function countValues(record: string, dialect: Dialect): number | undefined {
  const { delimiter } = dialect;
  let values = 0;
  for (let at = 0; at <= record.length; values++) {
    const open = openingQuote(record, at, dialect);
    if (open === -1) {
      const end = record.indexOf(delimiter, at);
      at = end === -1 ? record.length + 1 : end + 1;
      continue;
    }
    const close = closingQuote(record, open, dialect);
    if (close === record.length || (close + 1 < record.length && record[close + 1] !== delimiter)) return undefined;
    at = close + 2;
  }
  return values;
}

/** The index of a value's opening quote, after any spaces; -1 if the value is not quoted. */
function openingQuote(text: string, start: number, { quote, delimiter }: Dialect): number {
  let at = start;
  while (text[at] === " " && delimiter !== " ") at++;
  return text[at] === quote ? at : -1;
}

function endOfQuoted(record: string, start: number, dialect: Dialect): number {
  const open = openingQuote(record, start, dialect);
  const close = open === -1 ? start : closingQuote(record, open, dialect) + 1;
  const end = record.indexOf(dialect.delimiter, close);
  return end === -1 ? record.length : end;
}

/** The index of the quote that closes the one at `open`, or the length of the text. */
function closingQuote(text: string, open: number, { quote, escape }: Dialect): number {
  for (let at = open + 1; at < text.length; at++) {
    if (text[at] === escape && (text[at + 1] === quote || (escape !== quote && text[at + 1] === escape))) at++;
    else if (text[at] === quote) return at;
  }
  return text.length;
}

function unquote(raw: string, dialect: Dialect): string {
  const open = openingQuote(raw, 0, dialect);
  if (open === -1) return raw;
  const close = closingQuote(raw, open, dialect);
  return raw.slice(0, open) + unescapeQuoted(raw.slice(open + 1, close), dialect) + raw.slice(close + 1);
}

function unescapeQuoted(content: string, { quote, escape }: Dialect): string {
  if (!content.includes(escape)) return content;
  let text = "";
  for (let at = 0; at < content.length; at++) {
    const next = content[at + 1];
    if (content[at] === escape && (next === quote || next === escape)) at++;
    text += content[at];
  }
  return text;
}

function endOfEscaped(record: string, start: number, delimiter: string): number {
  for (let at = start; at < record.length; at++) {
    if (record[at] === "\\") at++;
    else if (record[at] === delimiter) return at;
  }
  return record.length;
}

const LETTERS: Readonly<{ [letter: string]: string }> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v" };

function unescape(raw: string): string {
  return raw.replace(/\\(?:([0-7]{1,3})|x([\da-f]{1,2})|(.))/gis, (_, octal?: string, hex?: string, char = "") => {
    if (octal !== undefined) return String.fromCharCode(parseInt(octal, 8) & 0xff);
    return hex !== undefined ? String.fromCharCode(parseInt(hex, 16)) : LETTERS[char] ?? char;
  });
}

/** The most characters of a record. A longer record means that a quote is not closed. */
const MAX_RECORD_CHARACTERS = 134_217_728;

/** Splits a text that arrives in chunks into records, without their line ends. */
export class RecordReader {
  readonly #dialect: Dialect;
  #ends: RecordEnds;
  /** The beginning of a record that has not ended. */
  #incomplete = "";
  /** The chunks that are not yet joined to it. */
  readonly #chunks: string[] = [];
  #chunksLength = 0;
  /** Whether the last character was a carriage return, whose line feed may follow. */
  #afterReturn = false;

  /** Reads one file. */
  constructor(dialect: Dialect) {
    this.#dialect = dialect;
    this.#ends = new RecordEnds(dialect);
  }

  /**
   * Takes the next chunk of the file.
   *
   * @param last Whether it is the last chunk. Then the text after the last line end is a record too.
   * @returns The complete records.
   * @throws {RangeError} For a quote that is not closed.
   */
  push(chunk: string, last = false): string[] {
    this.#chunks.push(chunk);
    this.#chunksLength += chunk.length;
    // Chunks are joined only when they double the record: joining each one would copy a long record again and again.
    if (this.#chunksLength < this.#incomplete.length && !last) return [];
    const text = this.#incomplete + this.#chunks.splice(0).join("");
    this.#chunksLength = 0;
    return this.#split(text, last);
  }

  #split(text: string, last: boolean): string[] {
    const complete: string[] = [];
    let start = 0;
    let at = this.#incomplete.length; // which has been searched
    if (this.#afterReturn && text.length > 0) {
      if (text[0] === "\n") start = at = 1;
      this.#afterReturn = false;
    }
    for (let end; (end = this.#ends.find(text, at)) !== -1;) {
      complete.push(text.slice(start, end));
      start = at = end + (text.startsWith("\r\n", end) ? 2 : 1);
      this.#afterReturn = at === text.length && text[end] === "\r";
    }
    this.#incomplete = text.slice(start);
    if (last && this.#incomplete !== "") {
      if (this.#ends.isOpen) throw new RangeError("a quote is never closed");
      complete.push(this.#incomplete);
      this.#incomplete = "";
    }
    if (this.#incomplete.length > MAX_RECORD_CHARACTERS) throw new RangeError("a quote is never closed");
    return complete;
  }
}

/** The dialect of a file: by the options, else as detected, else the usual one. */
export function dialectOf(options: SourceOptions, quotes: boolean, guess: DialectGuess): Dialect {
  const usual = usualDialect(quotes);
  const quote = options.quote ?? guess.quote ?? usual.quote;
  return {
    quotes,
    delimiter: options.delimiter ?? guess.delimiter ?? usual.delimiter,
    nullText: options.nullText ?? usual.nullText,
    quote,
    escape: options.escape ?? guess.escape ?? quote,
  };
}

/** Whether the delimiter or the escape must be detected. A list of one column means that there is no delimiter. */
export function isDialectOpen(options: SourceOptions): boolean {
  return isDelimiterOpen(options) || options.escape === undefined;
}

function isDelimiterOpen(options: SourceOptions): boolean {
  return options.delimiter === undefined && listedColumns(options)?.length !== 1;
}

/**
 * Detects the parts of a CSV file's dialect that no option gives; see {@linkcode detectDialect}. TSV has only one dialect, that
 * of `pull` and COPY.
 */
export function detectOpenDialect(text: string, whole: boolean, options: SourceOptions, quotes: boolean): DialectGuess {
  if (!quotes || !isDialectOpen(options)) return {};
  return detectDialect(text, whole, dialectOf(options, quotes, {}), {
    delimiter: isDelimiterOpen(options),
    quote: options.quote === undefined,
    escape: options.escape === undefined,
  });
}

/** The delimiters that can be detected, in order of preference. */
const DELIMITERS = [",", ";", "\t", "|"] as const;

/** The most records that are read to detect a dialect. */
const DETECTION_RECORDS = 10_000;

/**
 * Detects the delimiter, the quote and the escape of a file whose beginning the usual dialect does not fit.
 *
 * A dialect fits a text if each record has the same number of values, at least two, and no text follows a closing quote. If
 * several fit, the first in order of preference is used. If none fits, nothing is guessed: the server's error about the usual
 * dialect helps more than a wrong guess.
 *
 * @param text The beginning of the file.
 * @param whole Whether `text` is the whole file.
 * @param usual The usual dialect, with the options that were given.
 * @param open The parts to detect.
 */
export function detectDialect(
  text: string,
  whole: boolean,
  usual: Dialect,
  open: { delimiter: boolean; quote: boolean; escape: boolean },
): DialectGuess {
  if (isPlain(text, usual)) return {};
  // Values in apostrophes also fit a dialect without them, so apostrophes come first if the text begins with one.
  const apostrophes = open.quote && text.startsWith("'");
  if (!apostrophes && fitsText(text, whole, usual)) return {};
  const delimiters = open.delimiter ? DELIMITERS : [usual.delimiter];
  const quotes = !open.quote ? [usual.quote] : apostrophes ? ["'", '"'] : ['"', "'"];
  const escapes = (quote: string) => open.escape ? [quote, "\\"] : [usual.escape];
  const candidates = quotes.flatMap((quote) =>
    escapes(quote).flatMap((escape) => delimiters.map((delimiter) => ({ ...usual, delimiter, quote, escape })))
  );
  const fitting = candidates.find((dialect) => isUsed(text, dialect) && fitsText(text, whole, dialect));
  if (fitting === undefined) return {};
  const { delimiter, quote, escape } = fitting;
  return {
    ...(delimiter === usual.delimiter ? {} : { delimiter }),
    ...(quote === usual.quote ? {} : { quote }),
    ...(escape === usual.escape || escape === quote ? {} : { escape }),
  };
}

/** Whether the first line shows that the text has this dialect, so that none must be detected. */
export function isPlain(text: string, { delimiter, quote }: Dialect): boolean {
  const line = /^[^\r\n]*/.exec(text)![0];
  const others = DELIMITERS.filter((other) => other !== delimiter);
  if (!line.includes(delimiter) || others.some((other) => line.includes(other))) return false;
  return !opensWith("'", text, delimiter) && !text.includes(`\\${quote}`);
}

/** Whether a value of the text begins with a quote. */
function opensWith(quote: string, text: string, delimiter: string): boolean {
  return text.startsWith(quote) || text.includes(delimiter + quote) || text.includes(`\n${quote}`);
}

/** Whether the text has the quote and the escape of a dialect. Without them, a fit proves nothing. */
function isUsed(text: string, { quote, escape, delimiter }: Dialect): boolean {
  if (quote === "'" && !opensWith(quote, text, delimiter)) return false;
  return escape === quote || text.includes(escape + quote);
}

function fitsText(text: string, whole: boolean, dialect: Dialect): boolean {
  const ends = new RecordEnds(dialect);
  let count: number | undefined;
  let records = 0;
  for (let at = 0; at < text.length && records < DETECTION_RECORDS; records++) {
    const recordEnd = ends.find(text, at);
    if (recordEnd === -1 && !whole) break;
    const end = recordEnd === -1 ? text.length : recordEnd;
    const record = text.slice(at, end);
    at = end + (text.startsWith("\r\n", end) ? 2 : 1);
    if (record === "") continue;
    const values = countValues(record, dialect);
    if (values === undefined || values < 2 || (count ??= values) !== values) return false;
  }
  return count !== undefined;
}
