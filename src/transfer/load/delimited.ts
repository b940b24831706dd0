import { optionText } from "../../core/errors.ts";
import { byteLength, joinBytes } from "../../core/bytes.ts";
import {
  badFile,
  BYTE_ORDER_MARK,
  inUtf8,
  type LoadBytes,
  markedEncoding,
  peek,
  type Peeked,
  untilBytes,
} from "./bytes.ts";
import { commonType, type FileType, type NewType, sqlTypeName, typeOfText } from "./infer.ts";
import { type DelimitedScan, RewrittenRecords, scanDelimited, type ScanFault, withPoint } from "./delimited_copy.ts";
import {
  detectOpenDialect,
  type Dialect,
  type DialectGuess,
  dialectOf,
  type FileRecord,
  isDialectOpen,
  isPlain,
  RecordEnds,
  records,
} from "./dialect.ts";
import type { Incoming, IncomingCopy } from "./incoming.ts";
import { badData, badLoadOption, listedColumns, renamed, type SourceOptions } from "./options.ts";
import {
  COLUMNS_OPTION,
  delimiterHint,
  type LoadColumn,
  type LoadTable,
  matchColumns,
  nameSourceOf,
  possibleDelimiter,
} from "./table.ts";

/** The limits of the sample for types and dialect. It ends at the first one that is reached. */
const SAMPLE_BYTES = 1_048_576;
const SAMPLE_RECORDS = 10_000;
/** The lowest limit of bytes: a header may be long even if few records are sampled. */
const MIN_SAMPLE_BYTES = 131_072;

/** Opens a CSV or TSV file. Most files are sent unchanged; those that COPY can't read are rewritten on the way. */
export async function openDelimited(bytes: LoadBytes, options: SourceOptions, quotes: boolean): Promise<Incoming> {
  const text = await openSampledText(bytes, options, quotes);
  try {
    return new Delimited(text, options, quotes);
  } catch (error) {
    text.stop();
    throw error;
  }
}

class Delimited implements Incoming {
  readonly name: string;
  readonly size: number | undefined;
  readonly names: readonly string[] | undefined;
  readonly sampled = true;
  readonly refuse = badData;
  readonly guess: DialectGuess;
  readonly #text: DelimitedText;
  readonly #dialect: Dialect;
  readonly #hasHeader: boolean;
  readonly #options: SourceOptions;
  readonly #sample: FileRecord[];
  /** Whether the file begins with a byte order mark. */
  readonly #hasMark: boolean;
  /** The number of leading columns that are left out. */
  readonly #droppedColumns: number;

  constructor(text: DelimitedText, options: SourceOptions, quotes: boolean) {
    this.name = text.name;
    this.size = text.size;
    this.guess = text.guess;
    this.#text = text;
    this.#dialect = dialectOf(options, quotes, text.guess);
    this.#options = options;
    this.#hasHeader = options.header ?? true;
    this.#checkDialect();
    const head = joinBytes(text.peeked.head);
    this.#hasMark = BYTE_ORDER_MARK.every((byte, index) => head[index] === byte);
    this.#sample = this.#readSample(head);
    this.#droppedColumns = options.index === "drop" ? 1 : 0;
    this.names = this.#names();
  }

  newColumns(): Map<string, string> {
    return new Map(Array.from(this.#newTypes(), ([name, type]) => [name, sqlTypeName(type)]));
  }

  types(): Map<string, FileType> {
    return new Map(Array.from(this.#newTypes(), ([name, sampled]) => [name, { sampled }]));
  }

  #newTypes(): Map<string, NewType | undefined> {
    const rows = this.#hasHeader ? this.#sample.slice(1) : this.#sample;
    const first = this.#sample[0]?.slice(this.#droppedColumns);
    const names = this.names ?? first?.map((_, index) => `column_${index + 1}`);
    if (names === undefined || names.length === 0) {
      throw badData(
        `${this.name} ${
          this.#hasHeader ? "has an empty first line" : "is empty"
        }, so there is nothing to take the columns from`,
      );
    }
    this.#expectDelimiter(names);
    const numberText = this.#options.decimal === "," ? withPoint : (text: string) => text;
    return new Map(names.map((name, index) => [name, typeOfColumn(rows, index + this.#droppedColumns, numberText)]));
  }

  copy(table: LoadTable): IncomingCopy {
    if (this.names?.length === 0 && table.columns.length > 0) {
      throw badData(`the first line of ${this.name} is empty; it must have the names of columns of ${table.quoted}`);
    }
    const header = this.#hasHeader ? this.#sample[0]!.slice(this.#droppedColumns).map((name) => name ?? "") : [];
    const headerNames = nameSourceOf(this.name, header, this.names ?? [], badData);
    const isListed = listedColumns(this.#options) !== undefined;
    const columns = matchColumns(table, this.names, isListed ? COLUMNS_OPTION : headerNames);
    const { comment, decimal, skipBlankLines } = this.#options;
    const isUnchanged = comment === undefined && decimal !== "," && !skipBlankLines && this.#droppedColumns === 0;
    if (isUnchanged) return this.#copyBytes(columns);
    const file = {
      name: this.name,
      dialect: this.#dialect,
      header: this.#hasHeader,
      dropped: this.#droppedColumns,
      options: this.#options,
      text: () => this.#content(),
      place: (line: number) => this.#place(line),
    };
    return new RewrittenRecords(file, columns).copy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#text[Symbol.asyncDispose]();
  }

  /** Refuses a single column with a name such as "a;b", which is most likely two columns with another delimiter. */
  #expectDelimiter(names: readonly string[]): void {
    const [name, ...more] = names;
    const delimiter = more.length > 0 || this.#options.columns !== undefined ? undefined : possibleDelimiter(name!);
    if (delimiter === undefined || delimiter === this.#dialect.delimiter) return;
    throw badData(
      `${this.name} has the one column ${JSON.stringify(name)}; ${delimiterHint(delimiter)}, else ${
        optionText({ columns: [] })
      }`,
    );
  }

  /** Sends the bytes of the file unchanged. The header of the first file of a COPY is sent too; the server skips it. */
  #copyBytes(columns: readonly LoadColumn[]): IncomingCopy {
    const scan = scanDelimited(this.#dialect, this.#options.escape !== undefined);
    const { quotes, delimiter, nullText, quote, escape } = this.#dialect;
    const text = (value: string) => `E'${value.replace(/['\\]/g, "\\$&")}'`;
    const options = [
      `FORMAT ${quotes ? "csv" : "text"}`,
      `HEADER ${this.#hasHeader}`,
      `DELIMITER ${text(delimiter)}`,
      `NULL ${text(nullText)}`,
      ...(quotes ? [`QUOTE ${text(quote)}`, `ESCAPE ${text(escape)}`] : []),
      "ENCODING 'UTF8'",
    ];
    const headerBytes = this.#firstLineBytes();
    let sentHeaders = this.#hasHeader ? 1 : 0;
    return {
      columns,
      options: options.join(", "),
      dialect: this.#dialect,
      bytes: (follows) => {
        if (!follows || !this.#hasHeader) return this.#scanned(scan, 0, 0);
        sentHeaders = 0;
        return this.#scanned(scan, headerBytes!, 1);
      },
      rows: () => Math.max(0, scan.lines - sentHeaders),
      place: (line) => this.#place(line + (this.#hasHeader ? 1 : 0) - sentHeaders),
      ...(headerBytes === undefined || columns.length === 0 ? {} : { lines: () => scan.serverLines }),
    };
  }

  /**
   * The length in bytes of the first line with its line feed, without the byte order mark. `undefined` if the line has a line
   * feed inside quotes, or does not end in a line feed alone: a COPY takes only one kind of line end.
   */
  #firstLineBytes(): number | undefined {
    const text = new TextDecoder().decode(joinBytes(this.#text.peeked.head)); // drops the byte order mark
    const end = new RecordEnds(this.#dialect).find(text, 0);
    const line = text.slice(0, end);
    if (end === -1 || text[end] !== "\n" || line.includes("\n") || line.includes("\uFFFD")) return undefined;
    return byteLength(line) + 1;
  }

  /** Scans the file without its first bytes, which hold that number of lines. */
  async *#scanned(
    scan: DelimitedScan,
    skippedBytes: number,
    skippedLines: number,
  ): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of this.#content(skippedBytes)) {
      const bytes = scan.push(chunk);
      if (!(bytes instanceof Uint8Array)) throw this.#scanFault({ ...bytes, line: bytes.line + skippedLines });
      yield bytes;
    }
    const fault = scan.end();
    if (fault !== undefined) throw this.#scanFault({ ...fault, line: fault.line + skippedLines });
  }

  /** The text of the file, without its byte order mark and a number of bytes after it. */
  async *#content(skippedBytes = 0): AsyncGenerator<Uint8Array, void, void> {
    let skip = skippedBytes + (this.#hasMark ? BYTE_ORDER_MARK.length : 0);
    for await (const chunk of this.#text.peeked.all()) {
      yield skip === 0 ? chunk : chunk.subarray(skip);
      skip = Math.max(0, skip - chunk.length);
    }
  }

  #scanFault({ line, what }: ScanFault) {
    const place = `Cannot load ${this.name}: ${this.#place(line)}`;
    if (what === "escape") {
      const { quote } = this.#dialect;
      const [slash, same] = ["\\", quote].map((escape) => optionText({ escape }));
      return badFile(
        `${place} has a backslash before a quote; use ${slash} if it escapes the quote, otherwise ${same}`,
      );
    }
    const hint = this.#dialect.quotes ? '; as a value it must be in quotes: "\\."' : ", and more follows";
    return badFile(`${place} is \\. alone, which ends the data for PostgreSQL${hint}`);
  }

  #place(line: number): string {
    return `line ${(line + (this.#options.skip ?? 0)).toLocaleString("en-US")}`;
  }

  #checkDialect(): void {
    const { quotes, delimiter, quote } = this.#dialect;
    if (quotes && delimiter === quote) throw badLoadOption(`delimiter and quote are both ${JSON.stringify(quote)}`);
  }

  #readSample(head: Uint8Array): FileRecord[] {
    const { create, comment, skipBlankLines, sampleRows = SAMPLE_RECORDS } = this.#options;
    const sample: FileRecord[] = [];
    const text = uncommented(new TextDecoder().decode(head), comment); // the decoder drops the byte order mark
    for (const record of records(text, this.#dialect, this.#text.peeked.whole)) {
      if (skipBlankLines && record.length === 1 && !record[0]?.trim()) continue;
      sample.push(record);
      if (sample.length > sampleRows || !create) break;
    }
    return sample;
  }

  #names(): readonly string[] | undefined {
    const { columns, index } = this.#options;
    if (!this.#hasHeader) {
      if (index !== undefined) throw badLoadOption("index is for a file with a header, whose first column has no name");
      if (columns !== undefined && listedColumns(this.#options) === undefined) {
        throw badLoadOption(
          `a new name is for a column of the header, and ${this.name} has no header that names any; name all columns: ${
            optionText({ columns: [] })
          }`,
        );
      }
      return listedColumns(this.#options);
    }
    const header = this.#sample[0];
    if (header === undefined) throw badFile(`Cannot load ${this.name}: ${this.#whyNoHeader()}`);
    if (header.length === 1 && !header[0] && columns === undefined) return []; // pull() writes this for a table without columns
    return renamed(this.#headerNames(header), this.#options, this.name);
  }

  /** The names in the header. The option `index` drops or names a first column without a name. */
  #headerNames(header: FileRecord): string[] {
    const { index } = this.#options;
    const names = header.map((name) => name ?? "");
    const isListed = listedColumns(this.#options) !== undefined;
    if (index !== undefined) {
      if (names[0] !== "") {
        throw badLoadOption(
          `index is for a first column without a name; that of ${this.name} is ${JSON.stringify(names[0])}`,
        );
      }
      if (index === "drop") names.shift();
      else names[0] = index;
    }
    const nameless = isListed ? -1 : names.indexOf("");
    if (nameless === -1) return names;
    const hint = nameless === 0 && names.length > 1
      ? `; if it is an index that pandas wrote, use ${optionText({ index: "drop" })}, or ${
        optionText({ index: "id" })
      } to name it`
      : `; name all columns: ${optionText({ columns: [] })}`;
    throw badFile(`Cannot load ${this.name}: its header has no name for column ${nameless + 1}${hint}`);
  }

  #whyNoHeader(): string {
    if (!this.#text.peeked.whole) return "its first line does not end; is it a text file?";
    return `it is empty: not even a first line with the names of the columns; for a file without that line, use ${
      optionText({ header: false })
    }`;
  }
}

function typeOfColumn(
  rows: readonly FileRecord[],
  index: number,
  numberText: (text: string) => string,
): NewType | undefined {
  let common: NewType | undefined;
  for (const row of rows) {
    const value = row[index] ?? null;
    if (value !== null) common = commonType(common, typeOfText(numberText(value)));
    if (common === "text") break;
  }
  return common;
}

/** A file's text, in UTF-8 and without the skipped lines. */
interface DelimitedText extends AsyncDisposable {
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
async function openSampledText(bytes: LoadBytes, options: SourceOptions, quotes: boolean): Promise<DelimitedText> {
  const start = await peek(bytes.chunks, untilBytes(BYTE_ORDER_MARK.length));
  const encoding = options.encoding ?? markedEncoding(joinBytes(start.head));
  const lines = skipLines(inUtf8(start.all(), encoding, bytes.name), options.skip ?? 0);
  const peeked = await peek(lines, untilSample(options, quotes)).catch((error) => {
    start[Symbol.dispose]();
    throw error;
  });
  const stop = () => {
    peeked[Symbol.dispose]();
    start[Symbol.dispose]();
  };
  try {
    const detected = options.encoding === encoding ? {} : { encoding };
    const sample = uncommented(new TextDecoder().decode(joinBytes(peeked.head)), options.comment);
    return {
      name: bytes.name,
      size: bytes.size,
      peeked,
      stop,
      guess: { ...detectOpenDialect(sample, peeked.whole, options, quotes), ...detected } as DialectGuess,
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

/** The bytes after the first lines. */
async function* skipLines(
  chunks: AsyncIterable<Uint8Array>,
  lines: number,
): AsyncGenerator<Uint8Array, void, void> {
  let remaining = lines;
  for await (const chunk of chunks) {
    let from = 0;
    for (; remaining > 0; remaining--) {
      const end = chunk.indexOf(10, from);
      if (end === -1) break;
      from = end + 1;
    }
    if (remaining === 0) yield from === 0 ? chunk : chunk.subarray(from);
  }
}

/** Reads until the header is complete; further if types are needed, or if the first line leaves the dialect open. */
function untilSample(options: SourceOptions, quotes: boolean): (chunk: Uint8Array) => boolean {
  const { create, header = true, sampleRows = SAMPLE_RECORDS } = options;
  const limit = Math.max(MIN_SAMPLE_BYTES, SAMPLE_BYTES * sampleRows / SAMPLE_RECORDS);
  const dialect = dialectOf(options, quotes, {});
  const chunks: Uint8Array[] = [];
  let read = 0;
  return (chunk) => {
    chunks.push(chunk);
    read += chunk.length;
    if (read >= limit) return false;
    if (create || read < BYTE_ORDER_MARK.length || options.comment !== undefined) return true;
    const isOpen = quotes && isDialectOpen(options);
    if (!header && !isOpen) return false;
    if (!chunk.includes(10)) return true;
    const text = new TextDecoder().decode(joinBytes(chunks));
    if (isOpen && !isPlain(text, dialect)) return true;
    return header && records(text, dialect, false).next().done === true;
  };
}

/** The text without its comment lines. */
function uncommented(text: string, comment: string | undefined): string {
  if (comment === undefined) return text;
  return text.split("\n").filter((line) => !line.startsWith(comment)).join("\n");
}
