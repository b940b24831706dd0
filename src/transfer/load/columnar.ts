import { optionText } from "../../core/errors.ts";
import { basename } from "node:path";
import type { LakebaseError } from "../../core/errors.ts";
import type { Batch, ColumnData } from "../columns/batch.ts";
import { cellText, cellWriter } from "../columns/cell_text.ts";
import { BATCH, type Columns } from "../columns/columns.ts";
import { CopyBytes } from "../copy/text_writer.ts";
import type { FileColumn, FileRows } from "../formats/file_rows.ts";
import type { LoadBytes } from "./bytes.ts";
import type { FileType } from "./dataset_columns.ts";
import type { Incoming, IncomingCopy } from "./incoming.ts";
import { typeOfField } from "./infer.ts";
import { bad, badData, listedColumns, type LoadOptions, type Refuse, renamed, type SourceOptions } from "./options.ts";
import { BY_OPTION, type LoadColumn, type LoadTable, matchColumns } from "./table.ts";

/** An Arrow or Parquet file, or a stream of Arrow. */
export async function openColumnar(
  source: string | LoadBytes,
  format: "arrow" | "parquet",
  options: SourceOptions,
): Promise<Incoming> {
  const rows = await readRows(source, format, options.readers);
  try {
    const size = typeof source === "string" ? (await Deno.stat(source)).size : undefined;
    const name = typeof source === "string" ? basename(source) : source.name;
    return new Columnar({ name, size, refuse: badData }, rows, options);
  } catch (error) {
    await rows[Symbol.asyncDispose](); // else its worker would keep the process from its end
    throw error;
  }
}

/** The columns of a query. */
export function columnsIncoming(columns: Columns, options: LoadOptions): Incoming {
  const batch = columns[BATCH];
  const found = columns.fields.map(({ key, oid }, index) => ({
    name: key,
    type: batch.columns[index]!.type,
    postgres: typeOfField(oid),
  }));
  const batches = (async function* () {
    yield await Promise.resolve(batch);
  })();
  const rows = { columns: found, batches, [Symbol.asyncDispose]: async () => {} };
  return new Columnar({ name: "the columns", size: undefined, refuse: bad }, rows, options);
}

async function readRows(
  source: string | LoadBytes,
  format: "arrow" | "parquet",
  readers: SourceOptions["readers"],
): Promise<FileRows> {
  const { readArrow, readParquet } = await import("../formats/columnar_reader.ts");
  if (format === "parquet") return await readParquet(source as string, readers);
  return await readArrow(typeof source === "string" ? source : source.chunks, readers);
}

class Columnar implements Incoming {
  readonly name: string;
  readonly size: number | undefined;
  readonly names: readonly string[];
  readonly sampled = false;
  readonly refuse: Refuse;
  readonly #rows: FileRows;
  readonly #chosen: readonly number[];
  readonly #options: SourceOptions;

  constructor(
    { name, size, refuse }: Pick<Incoming, "name" | "size" | "refuse">,
    rows: FileRows,
    options: SourceOptions,
  ) {
    this.name = name;
    this.size = size;
    this.refuse = refuse;
    this.#rows = rows;
    this.#options = options;
    const listed = listedColumns(options);
    this.#chosen = chosenOf(name, rows.columns, listed);
    const names = this.#chosen.map((index) => rows.columns[index]!.name);
    this.names = listed ?? renamed(names, options.columns, name);
  }

  newColumns(): Map<string, string> {
    if (this.names.length === 0) {
      throw this.refuse(`${this.name} has no columns, so there is nothing to make a table of`);
    }
    return new Map(this.#chosen.map((place, index) => [this.names[index]!, this.#rows.columns[place]!.postgres]));
  }

  types(): Map<string, FileType> {
    const columns = this.#chosen.map((index) => this.#rows.columns[index]!);
    return new Map(
      columns.map(({ postgres, untyped }, index) => [this.names[index]!, { own: untyped ? undefined : postgres }]),
    );
  }

  copy(table: LoadTable): IncomingCopy {
    const own = { where: () => this.name, refuse: this.refuse };
    const matched = matchColumns(table, this.names, listedColumns(this.#options) === undefined ? own : BY_OPTION);
    const chosen = this.#chosen.filter((_, index) => !matched[index]!.generated);
    const columns = matched.filter(({ generated }) => !generated);
    const place = (row: number) => `row ${row.toLocaleString("en-US")}`;
    const refuse = (row: number, column: number, state: string) =>
      this.refuse(`${place(row)} of ${this.name}, column ${JSON.stringify(columns[column]!.name)} ${state}`);
    const out = new CopyBytes(refuse);
    return {
      columns,
      options: "FORMAT text",
      bytes: write(this.#expected(), chosen, columns, out),
      rows: () => out.rows,
      place,
    };
  }

  /** The rows, which must agree with what the folders say. */
  #expected(): AsyncIterable<Batch> {
    const { expected = new Map<string, string | null>() } = this.#options;
    const places = this.#rows.columns.flatMap(({ name }, index) => expected.has(name) ? [index] : []);
    if (places.length === 0) return this.#rows.batches;
    return expectValues(
      this.#rows.batches,
      places.map((index) => [index, expected.get(this.#rows.columns[index]!.name)!]),
      (row, column, found, wanted) =>
        this.refuse(
          `row ${row.toLocaleString("en-US")} of ${this.name}, column ${JSON.stringify(column)} has ${
            found ?? "NULL"
          }, and its ` +
            `folder says ${wanted ?? "NULL"}; to take the file's own, say ${optionText({ partitions: false })}`,
        ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rows[Symbol.asyncDispose]();
  }
}

function chosenOf(name: string, columns: readonly FileColumn[], wanted: readonly string[] | undefined): number[] {
  if (wanted === undefined) return columns.map((_, index) => index);
  return wanted.map((column) => {
    const index = columns.findIndex((found) => found.name === column);
    if (index !== -1) return index;
    throw bad(
      `${name} has no column ${JSON.stringify(column)}; it has: ${columns.map((found) => found.name).join(", ")}`,
    );
  });
}

type RefuseValue = (row: number, column: string, found: string | null, wanted: string | null) => LakebaseError;

async function* expectValues(
  batches: AsyncIterable<Batch>,
  expected: readonly (readonly [index: number, value: string | null])[],
  refuse: RefuseValue,
): AsyncGenerator<Batch, void, void> {
  let rows = 0;
  for await (const batch of batches) {
    for (const [index, value] of expected) {
      const column = batch.columns[index]!;
      const read = cellText(column);
      let last = value;
      for (let row = 0; row < batch.rows; row++) {
        const found = read(row);
        if (found === last) continue;
        if (!isSame(found, value)) throw refuse(rows + row + 1, column.name, found, value);
        last = found;
      }
    }
    yield batch;
    rows += batch.rows;
  }
}

/** A folder's name may have a value in another way than Postgres writes it: `1.0`, `true`, `2025-01-31T00:00:00`. */
function isSame(found: string | null, value: string | null): boolean {
  if (found === null || value === null) return found === value;
  if (found === value || found[0] === value[0] && /^(true|false)$/i.test(value) && found.length === 1) return true;
  if (found.trim() !== "" && Number(found) === Number(value)) return true;
  const time = Date.parse(found);
  return !Number.isNaN(time) && time === Date.parse(value);
}

/** Old writers of Parquet leave out the mark that bytes are text. Where a column takes text, the bytes are taken for it. */
function asText(data: ColumnData, { type }: LoadColumn): ColumnData {
  const isText = /^(?:text|character|name|citext|jsonb?|xml)\b/.test(type);
  return data.type.kind === "binary" && isText ? { ...data, type: { kind: "text" } } : data;
}

async function* write(
  batches: AsyncIterable<Batch>,
  chosen: readonly number[],
  columns: readonly LoadColumn[],
  out: CopyBytes,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const batch of batches) {
    const cells = chosen.map((place, index) => cellWriter(asText(batch.columns[place]!, columns[index]!)));
    for (let row = 0; row < batch.rows; row++) {
      for (const write of cells) write(row, out);
      out.endRow();
      if (out.full) yield out.take();
    }
  }
  yield out.take();
}
