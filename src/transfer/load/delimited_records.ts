import { optionText } from "../../core/errors.ts";
import { CopyTextWriter } from "../copy/text_writer.ts";
import { badFile } from "./bytes.ts";
import { type Dialect, RecordReader, usualDialect, valuesOf } from "./dialect.ts";
import type { IncomingCopy } from "./incoming.ts";
import { badData, type SourceOptions } from "./options.ts";
import type { LoadColumn } from "./table.ts";

/** A CSV or TSV file that has to be rewritten. */
export interface RewrittenFile {
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

/** Rewrites the records of a file as COPY's text, because the server has no options for what they contain. */
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
    return this.#file.place(this.#lines.of(row));
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
      if (values.length !== width) throw badData(this.#widthFault(line, record, values.length, width));
      for (let index = dropped; index < width; index++) {
        const value = values[index]!;
        writer.add(value !== null && numbers[index - dropped] ? withPoint(value) : value);
      }
      writer.endRow();
      lines.row(writer.rows);
    };
  }

  #widthFault(line: number, record: string, found: number, wanted: number): string {
    const place = `${this.#file.place(line)} of ${this.#file.name}`;
    if (record === "") return `${place} is empty; ${optionText({ skipBlankLines: true })} leaves such lines out`;
    return `${place} has ${found} values; the file has ${wanted} columns`;
  }
}

const ENCODING_HINT = `say which encoding it is in: ${optionText({ encoding: "windows-1252" })}`;

/** Maps rows to the file's lines. Forgets rows that the server took long ago. */
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
  of(row: number): number {
    const change = this.#changes.findLast(([first]) => first <= row);
    return change === undefined ? row : change[1] + row - change[0];
  }
}

/** Replaces a number's decimal comma by a point. Returns any other text unchanged. */
export function withPoint(text: string): string {
  return /^[+-]?\d*,\d+(?:[eE][+-]?\d+)?$/.test(text) ? text.replace(",", ".") : text;
}

const LINE_FEED = 10;
const RETURN = 13;
const BACKSLASH = 0x5c;

/** COPY's text format with its default options. */
export const COPY_TEXT: Dialect = usualDialect(false);

/**
 * The text of values to be put before a record, with the delimiter after each value.
 *
 * @param values The values; `null` for NULL.
 */
export function prefixText(values: readonly (string | null)[], dialect: Dialect): string {
  const { quotes, delimiter, nullText } = dialect;
  const written = (value: string) => quotes ? quoted(value, dialect) : escaped(value, delimiter);
  return values.map((value) => (value === null ? nullText : written(value)) + delimiter).join("");
}

function quoted(value: string, { quote, escape }: Dialect): string {
  const special = [...value].map((char) => char === quote || char === escape ? escape + char : char);
  return quote + special.join("") + quote;
}

function escaped(value: string, delimiter: string): string {
  const letters: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  return value.replace(/[\\\n\r\t]/g, (special) => letters[special] ?? "\\\\").replaceAll(
    delimiter,
    (found) => `\\${found}`,
  );
}

/** Puts the same bytes before each record. A line end within a value does not begin a record. */
export async function* prefixed(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  prefix: Uint8Array,
  dialect: Dialect,
): AsyncGenerator<Uint8Array, void, void> {
  const starts = new RecordStarts(dialect);
  for await (const chunk of chunks) yield inserted(chunk, starts.find(chunk), prefix);
}

function inserted(chunk: Uint8Array, places: readonly number[], prefix: Uint8Array): Uint8Array {
  const out = new Uint8Array(chunk.length + places.length * prefix.length);
  let from = 0;
  let at = 0;
  for (const place of places) {
    out.set(chunk.subarray(from, place), at);
    at += place - from;
    out.set(prefix, at);
    at += prefix.length;
    from = place;
  }
  out.set(chunk.subarray(from), at);
  return out;
}

/** Finds where records begin in chunks of bytes, which may be cut anywhere. */
class RecordStarts {
  readonly #quotes: boolean;
  readonly #quote: number;
  readonly #escape: number;
  #quoted = false;
  #escaped = false;
  /** What the next byte begins. After a carriage return, a line feed still belongs to the line end. */
  #next: "record" | "record or line feed" | "value" = "record";

  constructor({ quotes, quote, escape }: Dialect) {
    this.#quotes = quotes;
    this.#quote = quote.charCodeAt(0);
    this.#escape = quotes ? escape.charCodeAt(0) : BACKSLASH;
  }

  find(chunk: Uint8Array): number[] {
    const found: number[] = [];
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (this.#next === "record or line feed" && byte === LINE_FEED) {
        this.#next = "record";
        continue;
      }
      if (this.#next !== "value") {
        found.push(at);
        this.#next = "value";
      }
      if (this.#escaped) this.#escaped = false;
      else if (this.#quotes && byte === this.#quote) this.#quoted = !this.#quoted;
      else if (byte === this.#escape && (this.#quoted || !this.#quotes)) this.#escaped = true;
      else if (byte === LINE_FEED && !this.#quoted) this.#next = "record";
      else if (byte === RETURN && !this.#quoted) this.#next = "record or line feed";
    }
    return found;
  }
}
