import { type Data, type DataType, type Field, MessageReader, type Schema, Type } from "npm:apache-arrow@21.2.0";
import { type FileMetaData, parquetMetadata, parquetSchema } from "npm:hyparquet@1.33.0";
import { asciiText, joinBytes } from "../../../../core/bytes.ts";
import { LakebaseError } from "../../../../core/errors.ts";
import { ARROW_SCHEMA, CellProblem } from "../../../columns/batch.ts";
import { type ArrowBatch, rowsOf, unfitValue } from "../../arrow/open.ts";
import {
  asUnreadable,
  FileBytes,
  type FileRows,
  type RandomAccess,
  unreadable,
  UnsupportedFeature,
} from "../../file_rows.ts";
import { ChunkReader, type StoredColumn } from "./chunk_reader.ts";
import { type Node, type ReadSchema, readSchema } from "./schema.ts";
import { assemble, type LeafRows, WholeRowReader } from "./row_reader.ts";

const MAGIC = "PAR1";
const ENCRYPTED = "PARE";
/** The size of the smallest file: the magic string twice, and the footer's length. */
const MIN_FILE_BYTES = 12;
const TAIL_BYTES = 8;

/** The limits of a batch: rows, and approximate bytes. */
const BATCH_ROWS = 65_536;
const BATCH_BYTES = 16 * 1_048_576;
/** The approximate bytes of text in a batch. A longer row is a batch of its own. */
const BATCH_TEXT_BYTES = 64 * 1_048_576;
/** The fewest bytes to assume for each value, because an encoding such as a dictionary stores a value in fewer. */
const MIN_VALUE_BYTES = 12;

/**
 * Opens a Parquet file.
 *
 * @param source A path, or the bytes.
 * @param name The name of a path's file in errors.
 * @throws {LakebaseError} `BAD_FILE` if it is not a Parquet file, is damaged or encrypted, or has an unsupported feature.
 */
export async function openParquet(source: string | RandomAccess, name?: string): Promise<FileRows> {
  const opened = typeof source === "string" ? await FileBytes.open(source, name) : undefined;
  const file = opened ?? source as RandomAccess;
  const close = async () => await opened?.[Symbol.asyncDispose]();
  try {
    const footer = await readFooter(file);
    const schema = readSchema(parquetSchema(footer), durationsOf(footer));
    expectReadable(file.name, footer, schema);
    const fields = schema.nodes.map(({ field }) => field);
    const rows = rowsOf(
      { schema: { fields } as Schema, batches: (columns) => batches(file, footer, schema, columns) },
      file.name,
    );
    return { ...rows, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw asUnreadable(file.name, error);
  }
}

/** Reads the footer, after checks of both ends of the file. */
async function readFooter(file: RandomAccess): Promise<FileMetaData> {
  const { name, size } = file;
  const head = size < MIN_FILE_BYTES ? "" : asciiText(await file.read(0, MAGIC.length));
  if (head === ENCRYPTED) throw unreadable(name, "it is encrypted");
  if (head !== MAGIC) throw unreadable(name, "it is not a Parquet file");
  const tail = await file.read(size - TAIL_BYTES, TAIL_BYTES);
  if (asciiText(tail.subarray(4)) !== MAGIC) {
    throw unreadable(name, "it begins as a Parquet file but does not end as one: it is cut off");
  }
  const length = new DataView(tail.buffer).getUint32(0, true);
  const bytes = await file.read(size - TAIL_BYTES - length, length);
  try {
    return parquetMetadata(joinBytes([bytes, tail]), { geoparquet: false });
  } catch (cause) {
    throw new Error("its footer can't be read", { cause });
  }
}

/** Checks that every column can be read, before the first one is read. */
function expectReadable(name: string, { row_groups }: FileMetaData, { leaves }: ReadSchema): void {
  for (const { columns } of row_groups) {
    if (columns.length !== leaves.length) {
      throw new Error(`a row group has ${columns.length} columns where the schema has ${leaves.length}`);
    }
    columns.forEach(({ crypto_metadata, encrypted_column_metadata, file_path, meta_data }, at) => {
      const column = `column ${JSON.stringify(leaves[at]!.name)}`;
      if (crypto_metadata !== undefined || encrypted_column_metadata !== undefined) {
        throw unreadable(name, `${column} is encrypted; write it without encryption`);
      }
      if (file_path) throw unreadable(name, `${column} is in another file, ${JSON.stringify(file_path)}`);
      if (meta_data === undefined) throw new Error(`its footer does not tell where ${column} is`);
    });
  }
}

/**
 * Finds the columns that are durations in the schema that Arrow's writers add, because Parquet has no duration type.
 *
 * @returns The types of these columns, by their dotted paths.
 */
function durationsOf({ key_value_metadata }: FileMetaData): Map<string, DataType> {
  const durations = new Map<string, DataType>();
  const encoded = key_value_metadata?.find(({ key }) => key === ARROW_SCHEMA)?.value;
  if (encoded === undefined) return durations;
  const collect = (fields: readonly Field[], path: string): void => {
    for (const { name, type } of fields) {
      if (type.typeId === Type.Duration) durations.set(path + name, type);
      collect((type.children ?? []) as Field[], `${path}${name}.`);
    }
  };
  try {
    const schema = new MessageReader(Uint8Array.fromBase64(encoded)).readSchema();
    if (schema) collect(schema.fields, "");
  } catch {
    // The rows can be read without this schema: durations are then plain numbers.
  }
  return durations;
}

async function* batches(
  file: RandomAccess,
  footer: FileMetaData,
  schema: ReadSchema,
  columns: readonly number[],
): AsyncGenerator<ArrowBatch, void, void> {
  const nodes = columns.map((column) => schema.nodes[column]!);
  const stored = nodes.flatMap(leavesOf);
  file.expectColumns?.(stored.length);
  let before = 0;
  for (const group of footer.row_groups) {
    const readers = stored.map((at): LeafReader => {
      const leaf = schema.leaves[at]!;
      return { at, leaf, rows: new WholeRowReader(leaf, new ChunkReader(file, leaf, group.columns[at]!.meta_data!)) };
    });
    const rows = Number(group.num_rows);
    if (!Number.isSafeInteger(rows) || rows < 0) throw new Error(`it has a row group of ${rows} rows`);
    const maxRows = batchRows(stored.map((at) => group.columns[at]!), rows);
    for (let left = rows; left > 0;) {
      const count = await stageRows(readers, Math.min(left, maxRows));
      const leaves: LeafRows[] = [];
      for (const { at, leaf, rows } of readers) leaves[at] = inColumn(leaf, () => rows.take(count));
      const children = nodes.map((node): Data => {
        try {
          return assemble(node, leaves);
        } catch (error) {
          throw error instanceof CellProblem ? unfitValue(error, file.name, node.field.name, before) : error;
        }
      });
      yield { numRows: count, data: { children } };
      before += count;
      left -= count;
    }
    await expectEnd(readers, rows);
  }
}

/** A stored column and its reader. */
interface LeafReader {
  /** The column's position among all stored columns. */
  at: number;
  leaf: StoredColumn;
  rows: WholeRowReader;
}

/** Returns the positions of a column's stored columns. */
function leavesOf(node: Node): number[] {
  return node.kind === "leaf" ? [node.leaf] : node.children.flatMap(leavesOf);
}

/** Chooses the rows of a batch by the size of the chosen columns in the file. */
function batchRows(columns: FileMetaData["row_groups"][number]["columns"], rows: number): number {
  const bytes = columns.reduce((sum, { meta_data }) => {
    return sum + Math.max(MIN_VALUE_BYTES * rows, Number(meta_data!.total_uncompressed_size));
  }, 0);
  const fit = Math.floor(BATCH_BYTES / Math.max(1, bytes / Math.max(1, rows)));
  return columns.length === 0 ? BATCH_ROWS : Math.max(1, Math.min(BATCH_ROWS, fit));
}

/** Reads from all columns until each has a number of rows. Returns how many of them the next batch takes. */
async function stageRows(readers: readonly LeafReader[], count: number): Promise<number> {
  for (const { leaf, rows } of readers) {
    const staged = await inColumn(leaf, () => rows.stage(count));
    if (staged < count) throw new Error(`column "${leaf.name}" has fewer rows than its row group`);
  }
  const texts = readers.filter(({ leaf }) => leaf.type === "BYTE_ARRAY").length;
  return readers.reduce((fit, { rows }) => rows.countFitting(fit, BATCH_TEXT_BYTES / Math.max(1, texts)), count);
}

async function expectEnd(readers: readonly LeafReader[], expected: number): Promise<void> {
  for (const { leaf, rows } of readers) {
    if (await inColumn(leaf, () => rows.stage(1)) > 0) {
      throw new Error(`column "${leaf.name}" has more rows than the ${expected} of its row group`);
    }
  }
}

/** Adds the name of the column to an error. */
function inColumn<T>({ name }: StoredColumn, work: () => T): T {
  const named = (error: unknown): never => {
    if (error instanceof LakebaseError) throw error;
    const message = `column "${name}": ${error instanceof Error ? error.message : String(error)}`;
    throw error instanceof UnsupportedFeature ? new UnsupportedFeature(message) : new Error(message, { cause: error });
  };
  try {
    const result = work();
    return result instanceof Promise ? result.catch(named) as T : result;
  } catch (error) {
    return named(error);
  }
}
