import { type Data, RecordBatchReader, type Schema } from "npm:apache-arrow@21.2.0";
import { asciiText, joinBytes } from "../../../core/bytes.ts";
import type { LakebaseError } from "../../../core/errors.ts";
import { type Batch, CellProblem } from "../../columns/batch.ts";
import {
  allOf,
  asUnreadable,
  FileBytes,
  fileName,
  type FileRows,
  type RandomAccess,
  unreadable,
} from "../file_rows.ts";
import { checkMetadata, loadColumns, registerCodecs } from "./apache_arrow.ts";
import { columnData, columnReader } from "./column_reader.ts";
import type { ColumnReader } from "./values.ts";

/** The magic string at both ends of an IPC file. A stream has none. */
const MAGIC = "ARROW1";
/** The length of the magic string in bytes, padded to a multiple of eight. */
const MAGIC_BYTES = 8;

/** The start of each message in a stream. Before 2019, messages started with their length. */
const CONTINUATION = -1;
const MAX_SCHEMA_BYTES = 2 ** 28;

/** The most reads at one position of an intact file: those of the magic string, which tells a file from a stream. */
const MAX_READS = 3;

/** Some rows, in the shape of Arrow's `RecordBatch`. */
export interface ArrowBatch {
  /** The number of rows. */
  numRows: number;
  /** The columns. */
  data: { children: readonly Data[] };
}

/** Arrow batches and their schema. */
interface ArrowBatches {
  /** The columns. */
  schema: Schema;
  /** Reads the rows. A batch has only these columns, in this order. */
  batches(columns: readonly number[]): AsyncIterable<ArrowBatch>;
}

/**
 * Opens an Arrow IPC file or stream.
 *
 * @param source A path, or the bytes.
 * @param name The name of the file in errors.
 * @throws {LakebaseError} `BAD_FILE` if the source is not in this format, is damaged, or has columns that Postgres has no
 * type for.
 */
export async function openArrow(
  source: string | RandomAccess | AsyncIterable<Uint8Array>,
  name: string = fileName(source),
): Promise<FileRows> {
  registerCodecs();
  const file = typeof source === "string" ? await FileBytes.open(source, name) : undefined;
  const close = async () => await file?.[Symbol.asyncDispose]();
  try {
    const arrow = await openSource(file ?? source as RandomAccess | AsyncIterable<Uint8Array>, name);
    return { ...rowsOf(arrow, name), [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw asUnreadable(name, error);
  }
}

/**
 * Opens Arrow streams that follow each other and have the same columns. Each chunk is a whole stream, and is not copied.
 *
 * @throws {LakebaseError} As {@linkcode openArrow}; also if there is no stream at all.
 */
export async function openArrowStreams(streams: AsyncIterable<Uint8Array>): Promise<FileRows> {
  const iterator = streams[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await iterator.next();
    return done ? undefined : await openArrow(singleChunk(value));
  };
  const close = async () => void await iterator.return?.();
  const first = await next().catch(async (error) => {
    await close();
    throw error;
  });
  if (first === undefined) throw unreadable(fileName(undefined), "it is empty");
  const batches = async function* (columns: readonly number[]) {
    try {
      for (let stream: FileRows | undefined = first; stream !== undefined; stream = await next()) {
        yield* stream.batches(columns);
      }
    } finally {
      await close();
    }
  };
  return { columns: first.columns, batches, [Symbol.asyncDispose]: close };
}

async function* singleChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield await Promise.resolve(bytes);
}

/** Converts Arrow batches to the columns and rows of a file. `name` is the file's name in error messages. */
export function rowsOf({ schema, batches }: ArrowBatches, name: string): Pick<FileRows, "columns" | "batches"> {
  const readers = schema.fields.map((field): ColumnReader => {
    const reader = columnReader(field);
    if (reader !== undefined) return reader;
    throw unreadable(name, `column "${field.name}" is of the type ${field.type}, which Postgres can't represent`);
  });
  const names = schema.fields.map((field) => field.name);
  return {
    columns: readers.map(({ type, postgres, untyped = false }, at) => ({ name: names[at]!, type, postgres, untyped })),
    batches: (columns) => {
      const read = columns.map((column) => ({ name: names[column]!, reader: readers[column]! }));
      return convertBatches(batches(columns), read, name);
    },
  };
}

async function* convertBatches(
  batches: AsyncIterable<ArrowBatch>,
  columns: readonly { name: string; reader: ColumnReader }[],
  name: string,
): AsyncGenerator<Batch, void, void> {
  let rows = 0;
  try {
    for await (const { numRows, data } of batches) {
      if (numRows === 0) continue;
      const read = columns.map(({ name: column, reader }, at) => {
        const values = data.children[at];
        if (values?.length !== numRows) throw new Error(`column "${column}" does not have ${numRows} values`);
        try {
          return columnData(reader, column, values);
        } catch (error) {
          throw error instanceof CellProblem ? unfitValue(error, name, column, rows) : error;
        }
      });
      yield { rows: numRows, columns: read };
      rows += numRows;
    }
  } catch (error) {
    throw asUnreadable(name, error);
  }
}

/** Creates the error for a value that Postgres can't hold. `before` is the number of rows before its batch. */
export function unfitValue({ at, message }: CellProblem, name: string, column: string, before: number): LakebaseError {
  const row = at < 0 ? "" : `row ${(before + at + 1).toLocaleString("en-US")}, `;
  return unreadable(name, `${row}column ${JSON.stringify(column)}: ${message}`);
}

/** Opens a file, or a stream from its start. */
async function openSource(source: RandomAccess | AsyncIterable<Uint8Array>, name: string): Promise<ArrowBatches> {
  if (!("read" in source)) return await openStream(source, name);
  source.expectColumns?.(1); // a batch has its columns one after another
  const isFile = source.size >= MAGIC_BYTES && asciiText(await source.read(0, MAGIC.length)) === MAGIC;
  if (!isFile) return await openStream(allOf(source), name);
  if (asciiText(await source.read(source.size - MAGIC.length, MAGIC.length)) !== MAGIC) {
    throw unreadable(name, "it begins as an Arrow file but does not end as one: it is cut off");
  }
  await checkFooter(source);
  const reads = new Map<number, number>();
  const handle = {
    fd: 0,
    stat: () => Promise.resolve({ size: source.size }),
    read: async (buffer: Uint8Array, offset: number, length: number, position: number) => {
      // The library's reader goes back by a negative length, and would read the same messages forever.
      const count = (reads.get(position) ?? 0) + 1;
      if (count > MAX_READS) throw new Error("it has a message of a negative length");
      reads.set(position, count);
      buffer.set(await source.read(position, length), offset);
      return { bytesRead: length, buffer };
    },
    close: () => Promise.resolve(),
  };
  return await readSchema(await RecordBatchReader.from(handle as never) as unknown as RecordBatchReader);
}

async function openStream(source: AsyncIterable<Uint8Array>, name: string): Promise<ArrowBatches> {
  const bytes = source[Symbol.asyncIterator]();
  let head = await readUntil(new Uint8Array(), MAGIC_BYTES, bytes);
  // After the magic string, a file is a stream. The list of batches at its end is not needed here.
  if (asciiText(head.subarray(0, MAGIC.length)) === MAGIC) head = head.subarray(MAGIC_BYTES);
  else if (!beginsStream(head)) throw unreadable(name, "it is not an Arrow file");
  head = await readUntil(head, MAGIC_BYTES, bytes);
  if (beginsStream(head)) {
    const { from, length } = firstMessage(head);
    head = await readUntil(head, from + length, bytes);
    if (head.length >= from + length) checkMetadata(head.subarray(from, from + length), "message");
  }
  const rest = { [Symbol.asyncIterator]: () => bytes };
  const reader = await RecordBatchReader.from(joined(head, rest));
  return await readSchema(reader as unknown as RecordBatchReader);
}

/** Reads the schema. */
async function readSchema(reader: RecordBatchReader): Promise<ArrowBatches> {
  const { schema } = await reader.open({ autoDestroy: false });
  if (schema === undefined || schema === null) throw new Error("it has no schema");
  const batches = (columns: readonly number[]) => {
    if (columns.length < schema.fields.length) loadColumns(reader, columns);
    return reader as unknown as AsyncIterable<ArrowBatch>;
  };
  return { schema, batches };
}

/** Reads from a stream until there are `length` bytes, or until the stream ends. */
async function readUntil(head: Uint8Array, length: number, bytes: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  const chunks = head.length === 0 ? [] : [head];
  for (let count = head.length; count < length;) {
    const { value, done } = await bytes.next();
    if (done) break;
    chunks.push(value);
    count += value.length;
  }
  return joinBytes(chunks);
}

/** Returns the position of the metadata of a stream's first message. */
function firstMessage(head: Uint8Array): { from: number; length: number } {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const first = view.getInt32(0, true);
  return first === CONTINUATION ? { from: 8, length: view.getInt32(4, true) } : { from: 4, length: first };
}

function beginsStream(head: Uint8Array): boolean {
  if (head.length < MAGIC_BYTES) return false;
  const { length } = firstMessage(head);
  return length > 0 && length < MAX_SCHEMA_BYTES;
}

/** Checks the footer of a file. A file ends with the footer, the footer's length and the magic string. */
async function checkFooter(source: RandomAccess): Promise<void> {
  const end = source.size - MAGIC.length - 4;
  const length = new DataView((await source.read(end, 4)).buffer).getInt32(0, true);
  checkMetadata(await source.read(end - length, length), "footer");
}

async function* joined(head: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  if (head.length > 0) yield head;
  yield* rest;
}
