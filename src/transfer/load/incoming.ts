import { LakebaseError, optionText } from "../../core/errors.ts";
import { LoopTurns } from "../../core/pause.ts";
import { visible } from "../../draw/escape.ts";
import { type ServerError, withoutFrames } from "../../sql/failure.ts";
import type { Meter } from "../progress.ts";
import type { FileType } from "./infer.ts";
import type { Dialect, DialectGuess } from "./dialect.ts";
import type { Refuse } from "./options.ts";
import type { LoadColumn, LoadTable } from "./table.ts";

/** An open source of rows for a table. Disposing of it closes what it opened. */
export interface Incoming extends AsyncDisposable {
  /** Its name in errors: `trips.csv`, `the rows`. */
  readonly name: string;
  /** Its size in bytes; `undefined` if unknown. */
  readonly size: number | undefined;
  /** The number of its rows, if it is known before they are read. */
  readonly totalRows?: number | undefined;
  /** The names of its columns, in order; `undefined` if it does not name them. */
  readonly names: readonly string[] | undefined;
  /** The columns of a new table for it, with their SQL types. */
  newColumns(): Map<string, string> | Promise<Map<string, string>>;
  /** The types of its columns, to be combined with those of a dataset's other files. */
  types(): Map<string, FileType>;
  /** Whether the types come from sampled rows; otherwise the source has types of its own. */
  readonly sampled: boolean;
  /** The parts of the file's dialect that were detected because no option gave them. */
  readonly guess?: DialectGuess | undefined;
  /** Makes an error about its contents. Its code tells a faulty file from wrong rows of a program. */
  readonly refuse: Refuse;
  /** The data of the COPY that loads the source; `undefined` if the source has no rows. */
  copy(table: LoadTable): IncomingCopy | undefined;
  /** The data of the files of a dataset, in order. Each file is closed when the next one is requested. */
  fileCopies?(table: LoadTable): AsyncIterable<FileCopy>;
  /** The number of files of a dataset. */
  readonly fileCount?: number;
}

/** The data of a COPY. */
export interface IncomingCopy {
  /** The columns of the values, in order. */
  columns: readonly LoadColumn[];
  /** The options of the COPY statement. */
  options: string;
  /** The dialect of the bytes. @default {that of COPY's text format} */
  dialect?: Dialect;
  /**
   * The bytes; can be read once.
   *
   * @param follows Whether they follow another file's bytes in the same COPY; a header is then left out.
   */
  bytes(follows: boolean): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /**
   * The number of lines that the server counts in the bytes, once all bytes are read; `undefined` if the bytes of no other
   * file may follow in the same COPY. The function is absent if that is known beforehand.
   */
  lines?: () => number | undefined;
  /** The number of rows made so far, for the progress. */
  rows?: () => number;
  /** Where the source has a line of the bytes: `line 3`, `row 3`. */
  place(line: number): string;
}

/** The data that one file gives to a COPY. */
export interface FileCopy {
  /** The file's name in errors. */
  name: string;
  /** Its data. */
  copy: IncomingCopy;
}

const BINARY = /\bbinary\b/;
const LINE_FEED = 10;
const ONE_LINE_FEED = Uint8Array.of(LINE_FEED);

/**
 * The data of the COPY that loads a source into a table.
 *
 * @returns `undefined` if the source has no rows.
 * @throws {LakebaseError} If no column of the source goes into a table that has columns.
 */
export function copyInto(incoming: Incoming, table: LoadTable): IncomingCopy | undefined {
  const copy = incoming.copy(table);
  // A COPY without a list of columns would take all of them, and read an empty line as an empty text.
  if (copy?.columns.length !== 0 || table.columns.length === 0) return copy;
  throw incoming.refuse(`no column of ${incoming.name} goes into ${table.quoted}, which has some`);
}

/** The data of one COPY: a file, or several files with the same columns and COPY options. */
export class CopyRun {
  /** The columns. */
  readonly columns: readonly LoadColumn[];
  /** COPY's options. */
  readonly options: string;
  readonly #first: FileCopy;
  readonly #nextFile: () => Promise<FileCopy | undefined>;
  /** The files so far, each with the number of COPY lines before it. */
  readonly #files: { file: FileCopy; linesBefore: number }[] = [];
  /** The number of rows of the files that have been read. */
  #rows = 0;
  #current: IncomingCopy | undefined;

  /** @param nextFile Returns the next file if it can follow in the same COPY. */
  constructor(first: FileCopy, nextFile: () => Promise<FileCopy | undefined>) {
    this.columns = first.copy.columns;
    this.options = first.copy.options;
    this.#first = first;
    this.#nextFile = nextFile;
  }

  /** The bytes; can be read once. */
  async *bytes(): AsyncGenerator<Uint8Array, void, void> {
    let linesBefore = 0;
    for (let file: FileCopy | undefined = this.#first; file !== undefined;) {
      this.#files.push({ file, linesBefore });
      this.#current = file.copy;
      let last = LINE_FEED;
      for await (const chunk of file.copy.bytes(file !== this.#first)) {
        last = chunk.at(-1) ?? last;
        yield chunk;
      }
      const lines = file.copy.lines?.();
      this.#rows += file.copy.rows?.() ?? 0;
      this.#current = undefined;
      if (lines === undefined) return;
      linesBefore += lines;
      file = await this.#nextFile();
      if (file !== undefined && last !== LINE_FEED && !BINARY.test(this.options)) {
        linesBefore++;
        yield ONE_LINE_FEED;
      }
    }
  }

  /** The number of rows made so far. */
  rows(): number {
    return this.#rows + (this.#current?.rows?.() ?? 0);
  }

  /** The name of the file that has a line of the COPY, and the place in it. */
  locate(line: number): { name: string; place: string } {
    const before = this.#files.findLast(({ linesBefore }) => linesBefore < line);
    const { file, linesBefore } = before ?? { file: this.#first, linesBefore: 0 };
    return { name: file.name, place: file.copy.place(line - linesBefore) };
  }
}

/** Joins consecutive files that fit into one COPY, because a COPY for each small file would mostly wait for the server. */
export async function* copyRuns(files: AsyncIterable<FileCopy>): AsyncGenerator<CopyRun, void, void> {
  const iterator = files[Symbol.asyncIterator]();
  const nextFile = async () => (await iterator.next() as IteratorResult<FileCopy, undefined>).value;
  try {
    for (let first = await nextFile(); first !== undefined;) {
      const { copy } = first;
      let refused: { file: FileCopy | undefined } | undefined;
      yield new CopyRun(first, async () => {
        const file = await nextFile();
        if (file !== undefined && canFollow(file.copy, copy)) return file;
        refused = { file };
        return undefined;
      });
      first = refused === undefined ? await nextFile() : refused.file;
    }
  } finally {
    await iterator.return?.();
  }
}

function canFollow(copy: IncomingCopy, first: IncomingCopy): boolean {
  const names = ({ columns }: IncomingCopy) => columns.map(({ name }) => name);
  return copy.lines !== undefined && copy.options === first.options && copy.columns.length === first.columns.length &&
    names(copy).every((name, at) => name === first.columns[at]!.name);
}

/** Counts the bytes of a COPY, and keeps the error that their source throws. */
export class CountedBytes {
  /** The number of bytes sent. */
  sent = 0;
  /** The error that the source threw. */
  failure: { error: unknown } | undefined;
  readonly #run: CopyRun;
  readonly #meter: Meter;
  readonly #turns = new LoopTurns();
  #rows = 0;

  /** Counts the bytes of a COPY, and reports them to a meter. */
  constructor(run: CopyRun, meter: Meter) {
    this.#run = run;
    this.#meter = meter;
  }

  /** The bytes; can be read once. */
  async *bytes(): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const chunk of this.#run.bytes()) {
        yield chunk;
        this.#count(chunk.length);
        // If neither the socket nor the source ever waited, no timer, signal or answer of the server would be handled.
        await this.#turns.next();
      }
    } catch (error) {
      this.failure = { error };
      throw error;
    }
  }

  #count(bytes: number): void {
    const rows = this.#run.rows();
    this.sent += bytes;
    this.#meter.add(rows - this.#rows, bytes);
    this.#rows = rows;
  }
}

/** The context of a failed COPY. */
export interface FailedCopy {
  /** The table. */
  table: LoadTable;
  /** The columns that were sent. */
  columns: readonly LoadColumn[];
  /** The name of the source that has a line of the COPY, and the place in it. */
  locate(line: number): { name: string; place: string };
  /** Whether the source is text in some encoding, not Arrow or Parquet. */
  isText: boolean;
  /** Where the type of a new column came from; `undefined` if the caller chose it or the table already existed. */
  typeFrom(column: string): "sample" | "file" | undefined;
}

/** The place of an error in the COPY, as the server reports it. */
interface ErrorPlace {
  line: number;
  column?: string | undefined;
  value?: string | undefined;
}

/** The most characters of a value or a line that an error shows. */
const MAX_SHOWN = 200;

/**
 * Turns the server's error about a row into an error that says where the row is in the source.
 *
 * @returns `undefined` for an error that is not about a row.
 */
export function rowError(error: unknown, failure: FailedCopy): LakebaseError | undefined {
  if (error instanceof LakebaseError || !(error instanceof Error)) return undefined;
  const { code: sqlstate, severity, message, detail, hint, where: context = "" } = error as ServerError;
  const place = severity === "ERROR" ? parsePlace(context, failure) : undefined;
  if (place === undefined || sqlstate === undefined) return undefined;
  const { table } = failure;
  const { line, column, value } = place;
  const located = failure.locate(line);
  const where = column === undefined ? located.place : `${located.place}, column ${visible(column)}`;
  const hints = [hint, ...rowHints(sqlstate, message, place, failure)].filter((text) =>
    text !== undefined && text !== ""
  );
  const lines = [
    `Cannot load ${located.name} into ${table.quoted}: ${where}: ${visible(message)} (SQLSTATE ${sqlstate})`,
    ...(value === undefined || message.includes(value)
      ? []
      : [`${column === undefined ? "LINE" : "VALUE"}: ${shown(value)}`]),
    ...(detail ? [`DETAIL: ${visible(detail)}`] : []),
    ...hints.map((text) => `HINT: ${visible(text!)}`),
    "Nothing was loaded.",
  ];
  return new LakebaseError("QUERY_FAILED", lines.join("\n"), { cause: withoutFrames(error), sqlstate });
}

/** Parses `COPY trips, line 3, column fare: "abc"`, in which names and values may contain the same characters and words. */
function parsePlace(context: string, { table, columns }: FailedCopy): ErrorPlace | undefined {
  const start = `COPY ${table.name}, line `;
  const at = context.startsWith(start) ? 0 : context.indexOf(`\n${start}`) + 1;
  if (at === 0 && !context.startsWith(start)) return undefined;
  const rest = context.slice(at + start.length);
  const line = parseInt(rest);
  const afterLine = rest.slice(String(line).length);
  const column = columns
    .map(({ name }) => name)
    .filter((name) => beginsWithName(afterLine, `, column ${name}`))
    .sort((a, b) => b.length - a.length)[0];
  const end = afterLine.slice(column === undefined ? 0 : `, column ${column}`.length);
  const value = end.startsWith(': "') ? end.slice(3).replace(/"$/, "") : undefined;
  return Number.isNaN(line) ? undefined : { line, column, value };
}

/** Whether a text begins with the name of a column. In binary, no value follows the name. */
function beginsWithName(text: string, start: string): boolean {
  return text.startsWith(start) && (text.length === start.length || /[:\n]/.test(text[start.length]!));
}

/** Hints for errors with a known remedy. */
function rowHints(
  sqlstate: string,
  message: string,
  { column, value }: ErrorPlace,
  { typeFrom, columns, isText }: FailedCopy,
): string[] {
  if (/unquoted carriage return|unquoted newline/.test(message)) {
    return [`the lines of one file must all end alike; ${optionText({ skipBlankLines: true })} reads any line ends`];
  }
  if (sqlstate === "22021") return [encodingHint(message, column, isText)];
  if (/^missing data for column/.test(message) && value?.trim() === "") {
    return [`the line is blank; ${optionText({ skipBlankLines: true })} leaves such lines out`];
  }
  if (column === undefined || !sqlstate.startsWith("22")) return [];
  const type = columns.find(({ name }) => name === column)?.type;
  if (/malformed record literal/.test(message)) {
    return [`Postgres can't read the type ${type} from JSON; load CSV, TSV, Arrow or Parquet, or its text`];
  }
  const from = typeFrom(column);
  if (from === undefined) return [];
  const types = optionText({ types: { [column]: "text" } });
  const origin = from === "sample" ? "was inferred from the first rows" : "is that of the file";
  return [`the column's type ${origin}; use ${types}, or create the table yourself`];
}

function encodingHint(message: string, column: string | undefined, isText: boolean): string {
  if (message.endsWith(": 0x00")) return "Postgres can't store a zero character in text; remove it from the file first";
  if (isText) return `name the encoding of the file: ${optionText({ encoding: "windows-1252" })}`;
  return `these bytes are not text in UTF-8; load them into a column of type bytea: ${
    optionText({ types: { [column ?? "c"]: "bytea" } })
  }`;
}

function shown(text: string): string {
  return visible(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);
}
