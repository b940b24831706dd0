import { optionText } from "../../core/errors.ts";
import { CopyTextWriter } from "../copy/text_writer.ts";
import { badFile } from "./bytes.ts";
import { type Dialect, RecordReader, valuesOf } from "./dialect.ts";
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
