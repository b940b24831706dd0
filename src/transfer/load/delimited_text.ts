import { joinBytes } from "../../core/bytes.ts";
import { badFile, type LoadBytes, untilBytes } from "./bytes.ts";
import { countValues, type Dialect, type DialectGuess, RecordEnds, records, usualDialect } from "./dialect.ts";
import { listedColumns, type SourceOptions } from "./options.ts";
import { peek, type Peeked } from "./incoming.ts";

/** The part of a file that is sampled for types and dialect, in bytes and in records, whichever is less. */
const SAMPLE_BYTES = 1_048_576;
export const SAMPLE_RECORDS = 10_000;
/** The lowest byte limit of a sample, because a header may be long even if few records are sampled. */
const FEWEST_BYTES = 131_072;

/** The byte order mark of UTF-8. */
export const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;

/** A file's text, in UTF-8 and without the skipped lines. */
export interface DelimitedText extends AsyncDisposable {
  /** Its name in errors. */
  name: string;
  /** The size of the file in bytes; `undefined` if unknown. */
  size: number | undefined;
  /** The text, of which the beginning has been read. */
  peeked: Peeked<Uint8Array>;
  /** The parts of the dialect and the encoding that were detected. */
  guess: DialectGuess;
  /** Ends the reading, but leaves the file open. */
  stop(): void;
}

/**
 * Opens the text of a file, and reads as much of it as is needed to know its dialect, its columns and their types.
 *
 * @param quotes Whether values may be quoted, as in CSV.
 */
export async function openText(bytes: LoadBytes, options: SourceOptions, quotes: boolean): Promise<DelimitedText> {
  const start = await peek(bytes.chunks, untilBytes(BYTE_ORDER_MARK.length));
  const encoding = options.encoding ?? markedEncoding(joinBytes(start.head));
  const lines = skipLines(inUtf8(start.rest(), encoding, bytes.name), options.skip ?? 0);
  const peeked = await peek(lines, untilSample(options, quotes)).catch((error) => {
    start[Symbol.dispose]();
    throw error;
  });
  const stop = () => {
    peeked[Symbol.dispose]();
    start[Symbol.dispose]();
  };
  try {
    const found = options.encoding === encoding ? {} : { encoding };
    return {
      name: bytes.name,
      size: bytes.size,
      peeked,
      stop,
      guess: { ...detectFileDialect(peeked, options, quotes), ...found } as DialectGuess,
      async [Symbol.asyncDispose]() {
        stop();
        await bytes[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    stop();
    throw error;
  }
}

/** The encoding that a UTF-16 byte order mark shows; `undefined` for UTF-8, which needs no decoding. */
function markedEncoding(head: Uint8Array): string | undefined {
  if (head[0] === 0xff && head[1] === 0xfe) return "utf-16le";
  return head[0] === 0xfe && head[1] === 0xff ? "utf-16be" : undefined;
}

/** Converts bytes to UTF-8. @throws {LakebaseError} `BAD_FILE` for bytes that are invalid in their encoding. */
async function* inUtf8(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  encoding: string | undefined,
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  if (encoding === undefined || new TextDecoder(encoding).encoding === "utf-8") return yield* chunks;
  const decoder = new TextDecoder(encoding, { fatal: true });
  const encoder = new TextEncoder();
  let lines = 1;
  const decode = (chunk?: Uint8Array) => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch (cause) {
      throw badFile(`Cannot load ${name}: it is not in ${encoding}, at line ${lines} or soon after it`, cause);
    }
  };
  for await (const chunk of chunks) {
    const text = decode(chunk);
    for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) lines++;
    yield encoder.encode(text);
  }
  yield encoder.encode(decode());
}

/** The bytes after the first lines. */
async function* skipLines(
  chunks: AsyncIterable<Uint8Array>,
  lines: number,
): AsyncGenerator<Uint8Array, void, void> {
  let left = lines;
  for await (const chunk of chunks) {
    let from = 0;
    for (; left > 0; left--) {
      const end = chunk.indexOf(10, from);
      if (end === -1) break;
      from = end + 1;
    }
    if (left === 0) yield from === 0 ? chunk : chunk.subarray(from);
  }
}

/** Samples only the header, unless types are needed, or the dialect of a file that is not plain. */
function untilSample(options: SourceOptions, quotes: boolean): (chunk: Uint8Array) => boolean {
  const { create, header = true, sampleRows = SAMPLE_RECORDS } = options;
  const most = Math.max(FEWEST_BYTES, SAMPLE_BYTES * sampleRows / SAMPLE_RECORDS);
  const dialect = dialectOf(options, quotes, {});
  const chunks: Uint8Array[] = [];
  let seen = 0;
  return (chunk) => {
    chunks.push(chunk);
    seen += chunk.length;
    if (seen >= most) return false;
    if (create || seen < BYTE_ORDER_MARK.length || options.comment !== undefined) return true;
    const isOpen = quotes && isDialectOpen(options);
    if (!header && !isOpen) return false;
    if (!chunk.includes(10)) return true;
    const text = new TextDecoder().decode(joinBytes(chunks));
    if (isOpen && !isPlain(text, dialect)) return true;
    return header && records(text, dialect, false).next().done === true;
  };
}

/** Whether the delimiter or the escape must be detected. A list of one column means that there is no delimiter. */
function isDialectOpen(options: SourceOptions): boolean {
  return (options.delimiter === undefined && listedColumns(options)?.length !== 1) || options.escape === undefined;
}

/** Detects the dialect of a CSV file. TSV has only one: that of `pull` and COPY. */
function detectFileDialect(peeked: Peeked<Uint8Array>, options: SourceOptions, quotes: boolean): DialectGuess {
  if (!quotes) return {};
  if (!isDialectOpen(options)) return {};
  const { delimiter, quote, escape } = options;
  const open = {
    delimiter: delimiter === undefined && listedColumns(options)?.length !== 1,
    quote: quote === undefined,
    escape: escape === undefined,
  };
  const text = uncommented(new TextDecoder().decode(joinBytes(peeked.head)), options.comment);
  return detectDialect(text, peeked.whole, dialectOf(options, quotes, {}), open);
}

/** The text without its comment lines. */
export function uncommented(text: string, comment: string | undefined): string {
  if (comment === undefined) return text;
  return text.split("\n").filter((line) => !line.startsWith(comment)).join("\n");
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

/** The delimiters that can be detected, the usual one first. */
const DELIMITERS = [",", ";", "\t", "|"] as const;

/** The most records that are read to detect a dialect. */
const DETECTION_RECORDS = 10_000;

/**
 * Detects the delimiter, the quote and the escape of a file whose beginning the usual dialect does not fit.
 *
 * A dialect fits a text if each record has the same number of values, at least two, and no text follows a closing quote. If
 * several fit, the first in order of preference is used. If none fits, nothing is guessed, because the server's error about
 * the usual dialect says more than a wrong guess.
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
  // Values in apostrophes also fit as plain text, so apostrophes are tried first if the text begins with one.
  const apostrophes = open.quote && text.startsWith("'");
  if (!apostrophes && fitsText(text, whole, usual)) return {};
  const delimiters = open.delimiter ? DELIMITERS : [usual.delimiter];
  const quotes = !open.quote ? [usual.quote] : apostrophes ? ["'", '"'] : ['"', "'"];
  for (const quote of quotes) {
    const escapes = open.escape ? [quote, "\\"] : [usual.escape];
    for (const escape of escapes) {
      for (const delimiter of delimiters) {
        const dialect = { ...usual, delimiter, quote, escape };
        if (!isUsed(text, dialect) || !fitsText(text, whole, dialect)) continue;
        return {
          ...(delimiter === usual.delimiter ? {} : { delimiter }),
          ...(quote === usual.quote ? {} : { quote }),
          ...(escape === usual.escape || escape === quote ? {} : { escape }),
        };
      }
    }
  }
  return {};
}

/** Whether the first line shows that the file has the usual dialect, so that no dialect need be detected. */
function isPlain(text: string, { delimiter, quote }: Dialect): boolean {
  const line = /^[^\r\n]*/.exec(text)![0];
  const others = DELIMITERS.filter((other) => other !== delimiter);
  if (!line.includes(delimiter) || others.some((other) => line.includes(other))) return false;
  return !opensWith("'", text, delimiter) && !text.includes(`\\${quote}`);
}

/** Whether a value of the text begins with a quote. */
function opensWith(quote: string, text: string, delimiter: string): boolean {
  return text.startsWith(quote) || text.includes(delimiter + quote) || text.includes(`\n${quote}`);
}

/** Whether the text has the dialect's quote and escape; without them, a fit proves nothing. */
function isUsed(text: string, { quote, escape, delimiter }: Dialect): boolean {
  if (quote === "'" && !opensWith(quote, text, delimiter)) return false;
  return escape === quote || text.includes(escape + quote);
}

function fitsText(text: string, whole: boolean, dialect: Dialect): boolean {
  const ends = new RecordEnds(dialect);
  let count: number | undefined;
  let seen = 0;
  for (let at = 0; at < text.length && seen < DETECTION_RECORDS; seen++) {
    const found = ends.find(text, at);
    if (found === -1 && !whole) break;
    const end = found === -1 ? text.length : found;
    const record = text.slice(at, end);
    at = end + (text.startsWith("\r\n", end) ? 2 : 1);
    if (record === "") continue;
    const values = countValues(record, dialect);
    if (values === undefined || values < 2 || (count ??= values) !== values) return false;
  }
  return count !== undefined;
}
