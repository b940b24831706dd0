import { loadModule } from "../../core/lazy_import.ts";
import { basename } from "node:path";
import type { Batch } from "../columns/batch.ts";
import type { ArrowRows } from "../../sql/fragment.ts";
import { hasBinaryForm } from "../columns/copy_cells.ts";
import { BINARY_HEADER } from "../copy/messages.ts";
import { BATCH, type Columns } from "../columns/columns.ts";
import type { ColumnarFile, RangeSource } from "../formats/columnar_reader.ts";
import { type CopyChoice, copyRows, type SentColumn } from "../formats/copy_rows.ts";
import type { FileColumn } from "../formats/file_rows.ts";
import type { LoadBytes } from "./bytes.ts";
import { type FileType, typeOfField } from "./infer.ts";
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
  nameSourceOf,
} from "./table.ts";

/** Opens an Arrow or Parquet file by its path, a stream of Arrow, or a Parquet file of a store. */
export async function openColumnar(
  source: string | LoadBytes | RangeSource,
  format: "arrow" | "parquet",
  options: SourceOptions,
): Promise<Incoming> {
  const file = await readRows(source, format, options);
  try {
    return new Columnar({ ...await nameAndSize(source, options), refuse: badData }, file, options);
  } catch (error) {
    await file[Symbol.asyncDispose](); // its worker would keep the process alive
    throw error;
  }
}

async function nameAndSize(
  source: string | LoadBytes | RangeSource,
  { name }: SourceOptions,
): Promise<Pick<Incoming, "name" | "size">> {
  if (typeof source === "string") return { name: name ?? basename(source), size: (await Deno.stat(source)).size };
  return "ranges" in source ? { name: name ?? basename(source.name), size: source.ranges.size } : source;
}

/** Opens the rows of a query that does not run in Postgres. */
export async function openArrowRows(
  { streams, rows: totalRows, types }: ArrowRows,
  options: LoadOptions,
): Promise<Incoming> {
  const { readArrowStreams } = await loadModule(() => import("../formats/columnar_reader.ts"));
  const file = await readArrowStreams(streams);
  const columns = file.columns.map((column, at) => {
    const { type: { kind }, postgres } = column;
    return { ...column, postgres: kind === "text" || kind === "json" ? types[at] ?? postgres : postgres };
  });
  const typed: ColumnarFile = {
    columns,
    copy: (choice) => file.copy(choice),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
  try {
    return new Columnar({ name: "the query", size: undefined, totalRows, refuse: badLoadOption }, typed, options);
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

/** Opens the columns of a query. */
export function openResultColumns(columns: Columns, options: LoadOptions): Incoming {
  const batch = columns[BATCH];
  const fileColumns = columns.fields.map(({ key, oid }, index) => ({
    name: key,
    type: batch.columns[index]!.type,
    postgres: typeOfField(oid),
  }));
  const file = {
    columns: fileColumns,
    copy: (choice: CopyChoice) => copyRows({ batches: (read) => batchOf(batch, read) }, choice, badLoadOption),
    [Symbol.asyncDispose]: async () => {},
  };
  return new Columnar({ name: "the columns", size: undefined, refuse: badLoadOption }, file, options);
}

async function* batchOf(batch: Batch, columns: readonly number[]): AsyncGenerator<Batch, void, void> {
  yield await Promise.resolve({ ...batch, columns: columns.map((index) => batch.columns[index]!) });
}

async function readRows(
  source: string | LoadBytes | RangeSource,
  format: "arrow" | "parquet",
  { readers: pool, name }: SourceOptions,
): Promise<ColumnarFile> {
  const { readArrow, readParquet } = await loadModule(() => import("../formats/columnar_reader.ts"));
  if (format === "parquet") return await readParquet(source as string | RangeSource, { pool, name });
  return await readArrow(typeof source === "object" && "chunks" in source ? source.chunks : source, { pool, name });
}

class Columnar implements Incoming {
  readonly name: string;
  readonly size: number | undefined;
  readonly totalRows: number | undefined;
  readonly names: readonly string[];
  readonly sampled = false;
  readonly refuse: Refuse;
  readonly #file: ColumnarFile;
  /** The indexes in the file of the columns to load. */
  readonly #indexes: readonly number[];
  readonly #options: SourceOptions;

  constructor(
    { name, size, totalRows, refuse }: Pick<Incoming, "name" | "size" | "totalRows" | "refuse">,
    file: ColumnarFile,
    options: SourceOptions,
  ) {
    this.name = name;
    this.size = size;
    this.totalRows = totalRows;
    this.refuse = refuse;
    this.#file = file;
    this.#options = options;
    const listed = listedColumns(options);
    this.#indexes = columnIndexes(name, file.columns, listed);
    const names = this.#indexes.map((index) => file.columns[index]!.name);
    this.names = listed ?? renamed(names, options, name);
  }

  newColumns(): Map<string, string> {
    if (this.names.length === 0) {
      throw this.refuse(`${this.name} has no columns, so there is nothing to make a table of`);
    }
    return new Map(this.#indexes.map((index, at) => [this.names[at]!, this.#file.columns[index]!.postgres]));
  }

  types(): Map<string, FileType> {
    const columns = this.#indexes.map((index) => this.#file.columns[index]!);
    return new Map(
      columns.map(({ postgres, untyped }, index) => [this.names[index]!, { declared: untyped ? undefined : postgres }]),
    );
  }

  copy(table: LoadTable): IncomingCopy {
    const matched = matchColumns(table, this.names, this.#nameSource());
    const indexes = this.#indexes.filter((_, index) => !matched[index]!.generated);
    const columns = matched.filter(({ generated }) => !generated);
    const targets = columns.map(({ name, type }, at) => ({ index: indexes[at]!, name, bytesAsText: isText(type) }));
    const binary = this.#isBinary(targets, columns) ? columns.map(({ oid }) => oid) : undefined;
    const choice = { name: this.name, columns: targets, binary, expected: this.#expectedValues() };
    const copy = this.#file.copy(choice); // a worker begins to read
    let rows = 0;
    const bytes = async function* (follows: boolean) {
      if (binary !== undefined && !follows) yield BINARY_HEADER;
      for await (const chunk of copy) {
        rows += chunk.rows;
        yield chunk.bytes;
        release(chunk.bytes);
      }
    };
    return {
      columns,
      options: binary === undefined ? "FORMAT text" : "FORMAT binary",
      bytes,
      lines: () => rows,
      rows: () => rows,
      place: (row) => `row ${row.toLocaleString("en-US")}`,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]();
  }

  #nameSource(): NameSource {
    if (listedColumns(this.#options) !== undefined) return COLUMNS_OPTION;
    const fileNames = this.#indexes.map((index) => this.#file.columns[index]!.name);
    return nameSourceOf(this.name, fileNames, this.names, this.refuse);
  }

  /** The columns of the file that are also partitions, with the values that their folders give. */
  #expectedValues(): CopyChoice["expected"] {
    const { expected = new Map<string, string | null>() } = this.#options;
    return this.#file.columns.flatMap(({ name }, index) =>
      expected.has(name) ? [{ index, name, value: expected.get(name)! }] : []
    );
  }

  /** Whether every value can be sent in binary. The partitions of a dataset are put before each row as text. */
  #isBinary(targets: readonly SentColumn[], columns: readonly LoadColumn[]): boolean {
    const fileColumns = this.#file.columns;
    const partitions = [...this.#options.expected?.keys() ?? []];
    return targets.length > 0 && partitions.every((name) => fileColumns.some((column) => column.name === name)) &&
      targets.every(({ index, bytesAsText }, at) => {
        const { type } = fileColumns[index]!;
        return hasBinaryForm(bytesAsText && type.kind === "binary" ? { kind: "text" } : type, columns[at]!);
      });
  }
}

/**
 * Frees the memory of bytes that were sent. V8 itself would free it only after about 100 MB, because most of this memory is
 * not in its heap. If a load ends early, this function is not called, because the socket may still use the bytes.
 */
function release({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}

function columnIndexes(name: string, columns: readonly FileColumn[], listed: readonly string[] | undefined): number[] {
  if (listed === undefined) return columns.map((_, index) => index);
  return listed.map((column) => {
    const index = columns.findIndex(({ name }) => name === column);
    if (index !== -1) return index;
    throw badLoadOption(
      `${name} has no column ${JSON.stringify(column)}; it has: ${columns.map(({ name }) => name).join(", ")}`,
    );
  });
}

function isText(type: string): boolean {
  return /^(?:text|character|name|citext|jsonb?|xml)\b/.test(type);
}
