import type { FileType } from "./dataset_columns.ts";
import { type Dialect, type Record, records } from "./delimited.ts";
import { EndMark } from "./end_mark.ts";
import type { Incoming, IncomingCopy } from "./incoming.ts";
import { commonType, type NewType, typeOfText, typeText } from "./infer.ts";
import { joinBytes } from "./join_bytes.ts";
import { badFile, type LoadBytes } from "./load_bytes.ts";
import { bad, badData, type SourceOptions } from "./load_options.ts";
import { BY_OPTION, delimiterHint, type LoadTable, matchColumns, otherDelimiter } from "./load_table.ts";
import { peek, type Peeked } from "./peek.ts";

/** What is looked at to find out the types: this many bytes, or rows, whichever is less. */
const SAMPLE_BYTES = 1_048_576;
const SAMPLE_ROWS = 10_000;
/** A header may be long, however few rows are wanted. */
const FEWEST_BYTES = 131_072;

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;

/** A CSV or TSV file: the server reads its bytes as they are. */
export async function openDelimited(bytes: LoadBytes, options: SourceOptions, quotes: boolean): Promise<Incoming> {
  const { delimiter = quotes ? "," : "\t", nullText = quotes ? "" : "\\N" } = options;
  const dialect = { quotes, delimiter, nullText };
  const peeked = await peek(bytes.chunks, untilSample(options, dialect));
  try {
    return new Delimited(bytes, peeked, dialect, options);
  } catch (error) {
    peeked[Symbol.dispose]();
    throw error;
  }
}

/** The header is enough, unless types are to be found. */
function untilSample(
  { create, header = true, sampleRows = SAMPLE_ROWS }: SourceOptions,
  dialect: Dialect,
): (chunk: Uint8Array) => boolean {
  const chunks: Uint8Array[] = [];
  const most = Math.max(FEWEST_BYTES, SAMPLE_BYTES * sampleRows / SAMPLE_ROWS);
  let seen = 0;
  return (chunk) => {
    chunks.push(chunk);
    seen += chunk.length;
    if (seen >= most) return false;
    if (create || seen < BYTE_ORDER_MARK.length) return true;
    if (!header) return false;
    const ended = chunk.includes(10) &&
      !records(new TextDecoder().decode(joinBytes(chunks)), dialect, false).next().done;
    return !ended;
  };
}

class Delimited implements Incoming {
  readonly name: string;
  readonly size: number | undefined;
  readonly names: readonly string[] | undefined;
  readonly sampled = true;
  readonly refuse = badData;
  readonly #peeked: Peeked<Uint8Array>;
  readonly #dialect: Dialect;
  readonly #header: boolean;
  readonly #options: SourceOptions;
  readonly #bytes: LoadBytes;
  readonly #sample: Record[];
  readonly #marked: boolean;

  constructor(bytes: LoadBytes, peeked: Peeked<Uint8Array>, dialect: Dialect, options: SourceOptions) {
    this.name = bytes.name;
    this.size = bytes.size;
    this.#bytes = bytes;
    this.#peeked = peeked;
    this.#dialect = dialect;
    this.#options = options;
    this.#header = options.header ?? true;
    const head = joinBytes(peeked.head);
    this.#marked = BYTE_ORDER_MARK.every((byte, index) => head[index] === byte);
    this.#sample = this.#readSample(head);
    this.names = this.#names();
  }

  newColumns(): Map<string, string> {
    return new Map(Array.from(this.#newTypes(), ([name, type]) => [name, typeText(type)]));
  }

  types(): Map<string, FileType> {
    return new Map(Array.from(this.#newTypes(), ([name, sampled]) => [name, { sampled }]));
  }

  #newTypes(): Map<string, NewType | undefined> {
    const rows = this.#header ? this.#sample.slice(1) : this.#sample;
    const names = this.names ?? this.#sample[0]?.map((_, index) => `column_${index + 1}`);
    if (names === undefined || names.length === 0) {
      throw badData(
        `${this.name} ${
          this.#options.header === false ? "is empty" : "has an empty first line"
        }, so there is nothing to take the columns from`,
      );
    }
    this.#expectDelimiter(names);
    return new Map(names.map((name, index) => [name, typeOfColumn(rows, index)]));
  }

  copy(table: LoadTable): IncomingCopy {
    if (this.names?.length === 0 && table.columns.length > 0) {
      throw badData(`the first line of ${this.name} is empty; it must have the names of columns of ${table.quoted}`);
    }
    const own = { where: () => this.name, refuse: badData };
    const columns = matchColumns(table, this.names, this.#options.columns === undefined ? own : BY_OPTION);
    const mark = new EndMark(this.#dialect.quotes);
    const place = (line: number) => `line ${line.toLocaleString("en-US")}`;
    const rows = () => Math.max(0, mark.lines - (this.#header ? 1 : 0));
    return { columns, options: this.#copyOptions(), layout: this.#dialect, bytes: this.#checked(mark), rows, place };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#peeked[Symbol.dispose]();
    await this.#bytes[Symbol.asyncDispose]();
  }

  /** One column named "a;b" is most likely two, and would be found out late. */
  #expectDelimiter(names: readonly string[]): void {
    const [name, ...more] = names;
    const delimiter = more.length > 0 || this.#options.columns !== undefined ? undefined : otherDelimiter(name!);
    if (delimiter === undefined || delimiter === this.#dialect.delimiter) return;
    throw badData(
      `${this.name} has the one column ${JSON.stringify(name)}; ${delimiterHint(delimiter)}, else { columns: [...] }`,
    );
  }

  #copyOptions(): string {
    const { quotes, delimiter, nullText } = this.#dialect;
    const text = (value: string) => `E'${value.replace(/['\\]/g, "\\$&")}'`;
    return `FORMAT ${quotes ? "csv" : "text"}, HEADER ${this.#header}, DELIMITER ${text(delimiter)}, NULL ${
      text(nullText)
    }, ENCODING 'UTF8'`;
  }

  /** Its header is sent too, for the server to pass over: so its lines are those of the file. */
  async *#checked(mark: EndMark): AsyncGenerator<Uint8Array, void, void> {
    let skip: number = this.#marked ? BYTE_ORDER_MARK.length : 0;
    for await (const chunk of this.#peeked.rest()) {
      const bytes = skip === 0 ? chunk : chunk.subarray(skip);
      skip = Math.max(0, skip - chunk.length);
      this.#refuseMark(mark.push(bytes));
      yield bytes;
    }
    this.#refuseMark(mark.end());
  }

  #refuseMark(line: number | undefined): void {
    if (line === undefined) return;
    const instead = this.#dialect.quotes ? '; as a value it must stand in quotes: "\\."' : ", and more follows";
    throw badFile(`Cannot load ${this.name}: line ${line} is \\. alone, which ends the data for PostgreSQL${instead}`);
  }

  #readSample(head: Uint8Array): Record[] {
    if (head[0] === 0xff && head[1] === 0xfe || head[0] === 0xfe && head[1] === 0xff) {
      throw badFile(`Cannot load ${this.name}: it is in UTF-16; save it in UTF-8`);
    }
    const text = new TextDecoder().decode(head); // takes the byte order mark off
    const found: Record[] = [];
    for (const record of records(text, this.#dialect, this.#peeked.whole)) {
      found.push(record);
      if (found.length > (this.#options.sampleRows ?? SAMPLE_ROWS) || !this.#options.create) break;
    }
    return found;
  }

  #names(): readonly string[] | undefined {
    const { columns } = this.#options;
    if (!this.#header) return columns;
    const header = this.#sample[0];
    if (header === undefined) throw badFile(`Cannot load ${this.name}: ${this.#withoutHeader()}`);
    if (columns !== undefined && columns.length !== header.length) {
      throw bad(`${this.name} has ${header.length} columns, and the option columns names ${columns.length}`);
    }
    if (columns === undefined && header.length === 1 && !header[0]) return []; // what pull() writes of a table without any
    const names = columns ?? header.map((name) => name ?? "");
    const nameless = names.indexOf("");
    if (nameless !== -1) throw badFile(`Cannot load ${this.name}: its header has no name for column ${nameless + 1}`);
    return names;
  }

  #withoutHeader(): string {
    if (!this.#peeked.whole) return "its first line does not end; is it a text file?";
    return "it is empty: not even a first line with the columns' names; without one, say { header: false }";
  }
}

function typeOfColumn(rows: readonly Record[], index: number): NewType | undefined {
  let common: NewType | undefined;
  for (const row of rows) {
    const value = row[index] ?? null;
    if (value !== null) common = commonType(common, typeOfText(value));
    if (common === "text") break;
  }
  return common;
}
