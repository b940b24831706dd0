import { Buffer } from "node:buffer";
import { fold } from "../../catalog/names.ts";
import { LakebaseError, optionText } from "../../core/errors.ts";
import { jsonOf, typeText } from "../../core/text.ts";
import { encodeValue, parameterState, temporalType } from "../../sql/parameter.ts";
import { type Field, OUTCOME, StatementRows } from "../../sql/result.ts";
import { CopyTextWriter } from "../copy/text_writer.ts";
import { peek, type Peeked } from "./bytes.ts";
import { commonType, type FileType, type NewType, sqlTypeName, typeOfField, typeOfValue } from "./infer.ts";
import type { Incoming, IncomingCopy } from "./incoming.ts";
import {
  badData,
  badLoadOption,
  listedColumns,
  type LoadOptions,
  type Refuse,
  renamed,
  type SourceOptions,
} from "./options.ts";
import {
  COLUMNS_OPTION,
  type LoadColumn,
  type LoadTable,
  matchColumns,
  type NameSource,
  unknownColumn,
} from "./table.ts";

/** The number of rows that are sampled for columns. */
const SAMPLE_ROWS = 1000;
/** The number of rows that are sampled for columns and types, with `create`. */
const TYPE_SAMPLE_ROWS = 10_000;

/** The oids of json and jsonb. */
const JSON_TYPES: readonly number[] = [114, 3802];

/** How rows of one kind, such as those of NDJSON, are read. */
interface RowKind {
  /** The name of the file that the rows come from. */
  file?: string | undefined;
  /** The file's size in bytes, if known. */
  size?: number | undefined;
  /** The name of a row in errors, by its number from 1. */
  place(row: number): string;
  /** The text of a value for the server; `null` for NULL. */
  text(value: unknown, column: LoadColumn, cell: () => string): string | null;
  /** The type of a new column for a value; `undefined` for NULL. */
  type(value: unknown): NewType | undefined;
  /** Columns that exist even if no row has them, with their SQL types. */
  knownColumns?: ReadonlyMap<string, string> | undefined;
  /** Closes the source of the rows. */
  close?: () => Promise<void>;
}

/**
 * Opens the row objects of a program or of a statement.
 *
 * @param json Whether the JSON values of a statement are parsed, as in a result, or are the text of the server.
 */
export async function openRowObjects(
  source: AsyncIterable<unknown> | Iterable<unknown>,
  options: LoadOptions,
  json: "parsed" | "text" = "parsed",
): Promise<Incoming> {
  const fields = source instanceof StatementRows ? source[OUTCOME].fields : [];
  const batches = Symbol.iterator in source
    ? batched(source as Iterable<LoadRow>)
    : singleRows(source as AsyncIterable<LoadRow>);
  return await openRows(batches, {
    place: (row) => `row ${row.toLocaleString("en-US")}`,
    text: source instanceof StatementRows && json === "parsed" ? resultText(fields) : valueText,
    type: typeOfValue,
    knownColumns: new Map(fields.map(({ key, oid }) => [key, typeOfField(oid)])),
  }, options);
}

/** In a result, a string in a JSON column is a parsed value, not JSON text. */
function resultText(fields: readonly Field[]): RowKind["text"] {
  const parsed = fields.filter(({ oid }) => JSON_TYPES.includes(oid)).map(({ key }) => key);
  const names = new Set([...parsed, ...parsed.map(fold)]);
  return (value, column, cell) => {
    const isJsonString = typeof value === "string" && column.form === "json" && names.has(column.name);
    return isJsonString ? JSON.stringify(value) : valueText(value, column, cell);
  };
}

/** Opens rows of any kind. */
export async function openRows(
  source: AsyncIterable<RowBatch> | Iterable<RowBatch>,
  kind: RowKind,
  options: SourceOptions,
): Promise<Incoming> {
  let sampled = 0;
  const sampleRows = options.create ? options.sampleRows ?? TYPE_SAMPLE_ROWS : SAMPLE_ROWS;
  const peeked = await peek(source, (batch) => (sampled += batch.length) < sampleRows);
  try {
    return new IncomingRows(peeked, kind, options);
  } catch (error) {
    peeked[Symbol.dispose]();
    throw error;
  }
}

class IncomingRows implements Incoming {
  readonly name: string;
  readonly size: number | undefined;
  readonly names: readonly string[];
  readonly sampled = true;
  readonly refuse: Refuse;
  readonly #peeked: Peeked<RowBatch>;
  readonly #sample: RowBatch;
  readonly #kind: RowKind;
  readonly #options: LoadOptions;
  /** The names of the columns in the rows. */
  readonly #keys: readonly string[];
  /** The number of the first row that has each column. */
  readonly #firstRows = new Map<string, number>();

  constructor(peeked: Peeked<RowBatch>, kind: RowKind, options: SourceOptions) {
    this.name = kind.file ?? "the rows";
    this.size = kind.size;
    this.refuse = kind.file === undefined ? badLoadOption : badData;
    this.#peeked = peeked;
    this.#sample = peeked.head.flat();
    this.#kind = kind;
    this.#options = options;
    for (const key of kind.knownColumns?.keys() ?? []) this.#firstRows.set(key, 1);
    this.#sample.forEach((row, index) => this.#noteColumns(row, index + 1));
    this.#keys = listedColumns(options) ?? [...this.#firstRows.keys()];
    this.names = listedColumns(options) ?? renamed(this.#keys, options, this.name);
  }

  newColumns(): Map<string, string> {
    const types = this.#newTypes();
    if (types.size === 0) {
      throw this.refuse(`no row of ${this.name} names a column, so there is nothing to take the columns from`);
    }
    const known = this.#kind.knownColumns;
    return new Map(
      Array.from(types, ([name, type], index) => [name, known?.get(this.#keys[index]!) ?? sqlTypeName(type)]),
    );
  }

  types(): Map<string, FileType> {
    return new Map(Array.from(this.#newTypes(), ([name, sampled]) => [name, { sampled }]));
  }

  #newTypes(): Map<string, NewType | undefined> {
    const types = this.#keys.map((): NewType | undefined => undefined);
    for (const row of this.#sample) {
      this.#keys.forEach((key, index) => types[index] = commonType(types[index], this.#kind.type(row[key])));
    }
    return new Map(this.names.map((name, index) => [name, types[index]]));
  }

  copy(table: LoadTable): IncomingCopy | undefined {
    if (this.names.length === 0 && this.#sample.length === 0) return undefined;
    const matched = matchColumns(table, this.names, this.#nameSource());
    const keys = this.#keys.filter((_, index) => !matched[index]!.generated);
    const columns = matched.filter(({ generated }) => !generated);
    const writer = new CopyTextWriter((row, column, state) =>
      this.refuse(`${this.#cell(row, columns[column]!)} ${state}`)
    );
    return {
      columns,
      options: "FORMAT text",
      bytes: () => this.#bytes(table, keys, columns, writer),
      lines: () => writer.rows,
      rows: () => writer.rows,
      place: (line) => this.#kind.place(line),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#peeked[Symbol.dispose]();
    await this.#kind.close?.();
  }

  #bytes(
    table: LoadTable,
    keys: readonly string[],
    columns: readonly LoadColumn[],
    writer: CopyTextWriter,
  ): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
    const add = this.#rowWriter(table, keys, columns, writer);
    const rows = this.#peeked.all();
    return Symbol.iterator in rows ? chunks(rows, add, writer) : chunksAsync(rows, add, writer);
  }

  /** Makes the function that writes a row. A load spends most of its time there, so it looks up the columns only once. */
  #rowWriter(table: LoadTable, keys: readonly string[], columns: readonly LoadColumn[], writer: CopyTextWriter) {
    const { text } = this.#kind;
    const known = listedColumns(this.#options) === undefined ? new Set(this.#keys) : undefined;
    const inherited = keys.map((key) => key in Object.prototype);
    const cells = columns.map((column) => () => this.#cell(writer.rows + 1, column));
    return (row: LoadRow) => {
      if (typeof row !== "object" || row === null || Array.isArray(row)) throw this.#notARow(row, writer.rows + 1);
      if (known !== undefined) {
        for (const key in row) if (!known.has(key)) throw this.#lateColumn(table, key, writer.rows + 1);
      }
      for (let index = 0; index < keys.length; index++) {
        const key = keys[index]!;
        const value = inherited[index] && !Object.hasOwn(row, key) ? undefined : row[key];
        writer.add(text(value, columns[index]!, cells[index]!));
      }
      writer.endRow();
    };
  }

  #noteColumns(row: LoadRow, number: number): void {
    if (typeof row !== "object" || row === null || Array.isArray(row)) throw this.#notARow(row, number);
    for (const key in row) if (!this.#firstRows.has(key)) this.#firstRows.set(key, number);
  }

  #nameSource(): NameSource {
    if (listedColumns(this.#options) !== undefined) return COLUMNS_OPTION;
    const firstRow = (name: string) => this.#firstRows.get(this.#keys[this.names.indexOf(name)]!) ?? 1;
    return { origin: (name) => this.#place(firstRow(name)), refuse: this.refuse };
  }

  #place(row: number): string {
    const { file } = this.#kind;
    return file === undefined ? this.#kind.place(row) : `${this.#kind.place(row)} of ${file}`;
  }

  #cell(row: number, { name }: LoadColumn): string {
    return `${this.#place(row)}, column ${JSON.stringify(name)}`;
  }

  #lateColumn(table: LoadTable, key: string, row: number): LakebaseError {
    const place = this.#place(row);
    if (!table.columns.some(({ name }) => name === key)) {
      return unknownColumn(table, key, { origin: () => place, refuse: this.refuse });
    }
    return this.refuse(
      `${place} has the column ${JSON.stringify(key)}, which none of the first ${
        SAMPLE_ROWS.toLocaleString("en-US")
      } rows ` +
        `has; name all columns that any row has: ${optionText({ columns: [] })}`,
    );
  }

  #notARow(row: unknown, number: number): LakebaseError {
    return this.refuse(`${this.#place(number)} is ${typeText(row)}; a row is an object: { id: 1, name: "Harlem" }`);
  }
}

/** A row: its values by column name. */
export type LoadRow = Readonly<Record<string, unknown>>;

/** A batch of rows, because a promise for each row would take longer than the row. */
export type RowBatch = readonly LoadRow[];

/** The number of rows in a batch. */
const BATCH_ROWS = 256;

/** Groups the rows of a synchronous source. */
function* batched(rows: Iterable<LoadRow>): Generator<RowBatch, void, void> {
  let batch: LoadRow[] = [];
  for (const row of rows) {
    if (batch.push(row) < BATCH_ROWS) continue;
    yield batch;
    batch = [];
  }
  yield batch;
}

/** Makes each row a batch, so that no row waits for the next one. */
async function* singleRows(rows: AsyncIterable<LoadRow>): AsyncGenerator<RowBatch, void, void> {
  for await (const row of rows) yield [row];
}

/** Writes rows as COPY text. */
function* chunks(
  batches: Iterable<RowBatch>,
  add: (row: LoadRow) => void,
  writer: CopyTextWriter,
): Generator<Uint8Array> {
  for (const batch of batches) {
    for (const row of batch) {
      add(row);
      if (writer.full) yield writer.take();
    }
  }
  yield writer.take();
}

/** {@linkcode chunks} for an asynchronous source. */
async function* chunksAsync(
  batches: AsyncIterable<RowBatch>,
  add: (row: LoadRow) => void,
  writer: CopyTextWriter,
): AsyncGenerator<Uint8Array> {
  for await (const batch of batches) {
    for (const row of batch) {
      add(row);
      if (writer.full) yield writer.take();
    }
  }
  yield writer.take();
}

/**
 * The text of a JavaScript value for the server, as for a parameter of a query. For a `json` column, a string must be JSON text,
 * and any other value becomes JSON.
 *
 * @param cell Returns where the value is, for errors.
 * @returns The text; `null` for `null` and `undefined`.
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that has no form in Postgres.
 */
export function valueText(value: unknown, column: LoadColumn, cell: () => string): string | null {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
      return Object.is(value, -0) ? "-0" : String(value); // `String` drops the sign of a zero
    case "boolean":
    case "bigint":
      return String(value);
    case "undefined":
      return null;
    case "object":
      if (value === null) return null;
      if (column.form === "json") return jsonText(value, cell);
      if (column.form === "vector" && Array.isArray(value)) return value.join(" ");
      if (value instanceof Date && isIsoInPostgres(value)) return value.toISOString();
  }
  return encoded(value, cell);
}

/** Whether a date is in the years 1 to 9999, which ISO and Postgres write in the same way. */
function isIsoInPostgres(date: Date): boolean {
  const time = date.getTime();
  return time >= -62_135_596_800_000 && time < 253_402_300_800_000;
}

function encoded(value: unknown, cell: () => string): string | null {
  try {
    const text = encodeValue(value, cell()).value;
    return Buffer.isBuffer(text) ? `\\x${text.toString("hex")}` : text;
  } catch (error) {
    if (!(error instanceof LakebaseError)) throw error;
    throw badLoadOption(parameterState(error), error.cause);
  }
}

/** The JSON of an object, even if it would become an array, a time or a text for a column of another type. */
function jsonText(value: object, cell: () => string): string | null {
  const isTimeOrUrl = value instanceof Date || value instanceof URL || temporalType(value) !== undefined;
  if (!Array.isArray(value) && !isTimeOrUrl) return encoded(value, cell);
  try {
    return jsonOf(value) ?? null;
  } catch (cause) {
    throw badLoadOption(`${cell()} is an array that has no JSON form (${(cause as Error).message})`, cause);
  }
}
