import zlib from "node:zlib";
import {
  compressionRegistry,
  CompressionType,
  type Data,
  RecordBatchReader,
  type Schema,
} from "npm:apache-arrow@^21.2.0";
import { ByteBuffer } from "npm:flatbuffers@^25.1.24";
import { joinBytes } from "../../../core/bytes.ts";
import type { LakebaseError } from "../../../core/errors.ts";
import type { Batch } from "../../columns/batch.ts";
import { CellProblem } from "../../columns/binary/decoder.ts";
import { asUnreadable, FileBytes, fileName, type FileRows, NotTakenOver, unreadable } from "../file_rows.ts";
import { columnData, type ColumnReader, columnReader } from "./column_reader.ts";
import { unpackLz4 } from "./lz4.ts";

/** What an IPC file begins and ends with; a stream does not. */
const MAGIC = "ARROW1";
/** The magic, up to the next multiple of eight. */
const MAGIC_BYTES = 8;

/** A message of a stream begins with this, or, before 2019, with its length. */
const CONTINUATION = -1;
const LONGEST_SCHEMA = 2 ** 28;

/** Some rows, as a `RecordBatch` has them. */
export interface ArrowRows {
  /** How many there are. */
  numRows: number;
  /** The columns. */
  data: { children: readonly Data[] };
}

/** Batches of Arrow with what they are made of. */
export interface ArrowBatches {
  /** The columns. */
  schema: Schema;
  /** The rows: of some columns, or of all where the format has them together. */
  batches(columns: readonly number[]): AsyncIterable<ArrowRows>;
  /** Whether a batch has only the columns that were asked for. */
  chosen: boolean;
}

/**
 * Reads an Arrow file or stream, as the IPC format has them.
 *
 * @param source A path, or the bytes.
 * @throws {LakebaseError} `BAD_FILE` for what is none, or is damaged, or has columns that Postgres has no form of.
 */
export async function openArrow(source: string | AsyncIterable<Uint8Array>): Promise<FileRows> {
  registerCodecs();
  const name = fileName(source);
  const file = typeof source === "string" ? await FileBytes.open(source) : undefined;
  const close = async () => await file?.[Symbol.asyncDispose]();
  try {
    const arrow = await open(file ?? source as AsyncIterable<Uint8Array>, name);
    return { ...rowsOf(arrow, name), [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw asUnreadable(name, error);
  }
}

/** Teaches Arrow's reader to unpack what other writers pack. */
function registerCodecs(): void {
  compressionRegistry.set(CompressionType.ZSTD, {
    decode: (bytes) => ofSize(bytes, (size) => zlib.zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, size) })),
  });
  compressionRegistry.set(CompressionType.LZ4_FRAME, {
    decode: (bytes) => ofSize(bytes, (size) => unpackLz4(bytes, size)),
  });
}

/** Unpacks a buffer to the size that stands before it: a few kilobytes may become gigabytes else. */
function ofSize(bytes: Uint8Array, unpack: (size: number) => Uint8Array): Uint8Array {
  const size = Number(new DataView(bytes.buffer, bytes.byteOffset - 8, 8).getBigInt64(0, true));
  if (size < 0) throw new Error(`a packed buffer says that it has ${size} bytes`);
  const unpacked = unpack(size);
  if (unpacked.length === size) return unpacked;
  throw new Error(`a packed buffer has ${unpacked.length} bytes, and says that it has ${size}`);
}

/** Columns and rows of Arrow as those of a file. */
export function rowsOf({ schema, batches, chosen }: ArrowBatches, name: string): Pick<FileRows, "columns" | "batches"> {
  const readers = schema.fields.map((field): ColumnReader => {
    const reader = columnReader(field);
    if (reader !== undefined) return reader;
    throw unreadable(name, `column "${field.name}" is of the type ${field.type}, which Postgres has no form of`);
  });
  const names = schema.fields.map((field) => field.name);
  return {
    columns: readers.map(({ type, postgres, untyped = false }, at) => ({ name: names[at]!, type, postgres, untyped })),
    batches: (columns) => {
      const read = columns.map((column, at) => ({
        name: names[column]!,
        reader: readers[column]!,
        child: chosen ? at : column,
      }));
      return convert(batches(columns), read, name);
    },
  };
}

async function* convert(
  batches: AsyncIterable<ArrowRows>,
  columns: readonly { name: string; reader: ColumnReader; child: number }[],
  name: string,
): AsyncGenerator<Batch, void, void> {
  let rows = 0;
  try {
    for await (const { numRows, data } of batches) {
      if (numRows === 0) continue;
      const read = columns.map(({ name: column, reader, child }) => {
        const values = data.children[child];
        if (values?.length !== numRows) throw new Error(`column "${column}" does not have ${numRows} values`);
        try {
          return columnData(reader, column, values);
        } catch (error) {
          throw error instanceof CellProblem ? unfit(error, name, column, rows) : error;
        }
      });
      yield { rows: numRows, columns: read };
      rows += numRows;
    }
  } catch (error) {
    throw asUnreadable(name, error);
  }
}

/** The error for a value that Postgres has no form of. */
export function unfit({ at, message }: CellProblem, name: string, column: string, before: number): LakebaseError {
  const row = at < 0 ? "" : `row ${(before + at + 1).toLocaleString("en-US")}, `;
  return unreadable(name, `${row}column ${JSON.stringify(column)}: ${message}`);
}

async function open(source: FileBytes | AsyncIterable<Uint8Array>, name: string): Promise<ArrowBatches> {
  if (!(source instanceof FileBytes)) return await openStream(source, name);
  const isFile = source.size >= MAGIC_BYTES && textOf(await source.read(0, MAGIC.length)) === MAGIC;
  if (!isFile) return await openStream(source.all(), name);
  if (textOf(await source.read(source.size - MAGIC.length, MAGIC.length)) !== MAGIC) {
    throw unreadable(name, "it begins as an Arrow file but does not end as one: it is cut off");
  }
  await checkFooter(source);
  const handle = {
    fd: 0,
    stat: () => Promise.resolve({ size: source.size }),
    read: async (buffer: Uint8Array, offset: number, length: number, position: number) => {
      buffer.set(await source.read(position, length), offset);
      return { bytesRead: length, buffer };
    },
    close: () => Promise.resolve(),
  };
  return await opened(await RecordBatchReader.from(handle as never) as unknown as RecordBatchReader);
}

async function openStream(source: AsyncIterable<Uint8Array>, name: string): Promise<ArrowBatches> {
  const bytes = source[Symbol.asyncIterator]();
  let head = await grown(new Uint8Array(), MAGIC_BYTES, bytes);
  // Within its magic a file is a stream, with a list of its batches at the end, which this way of reading does not need.
  if (textOf(head.subarray(0, MAGIC.length)) === MAGIC) head = head.subarray(MAGIC_BYTES);
  else if (!beginsStream(head)) throw unreadable(name, "it is no Arrow file");
  head = await grown(head, MAGIC_BYTES, bytes);
  if (beginsStream(head)) {
    const { from, length } = firstMessage(head);
    head = await grown(head, from + length, bytes);
    if (head.length >= from + length) checkMetadata(head.subarray(from, from + length), "message");
  }
  const rest = { [Symbol.asyncIterator]: () => bytes };
  const reader = await RecordBatchReader.from(prefixed(head, rest));
  return await opened(reader as unknown as RecordBatchReader);
}

async function opened(reader: RecordBatchReader): Promise<ArrowBatches> {
  const { schema } = await reader.open({ autoDestroy: false });
  if (schema === undefined || schema === null) throw new Error("it has no schema");
  return { schema, batches: () => reader as unknown as AsyncIterable<ArrowRows>, chosen: false };
}

/** Has a stream come to so many bytes, if it does. */
async function grown(head: Uint8Array, length: number, bytes: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  const pieces = [head];
  for (let count = head.length; count < length;) {
    const { value, done } = await bytes.next();
    if (done) break;
    pieces.push(value);
    count += value.length;
  }
  return joinBytes(pieces);
}

/** Where a stream's first message is. */
function firstMessage(head: Uint8Array): { from: number; length: number } {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const first = view.getInt32(0, true);
  return first === CONTINUATION ? { from: 8, length: view.getInt32(4, true) } : { from: 4, length: first };
}

function beginsStream(head: Uint8Array): boolean {
  if (head.length < MAGIC_BYTES) return false;
  const { length } = firstMessage(head);
  return length > 0 && length < LONGEST_SCHEMA;
}

/** The end of a file is the footer, its length, and the magic. */
async function checkFooter(source: FileBytes): Promise<void> {
  const end = source.size - MAGIC.length - 4;
  const length = new DataView((await source.read(end, 4)).buffer).getInt32(0, true);
  checkMetadata(await source.read(end - length, length), "footer");
}

async function* prefixed(head: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  if (head.length > 0) yield head;
  yield* rest;
}

function textOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** Where a list's length is read, in the library that Arrow reads its metadata with. */
const { __vector_len: lengthOf } = ByteBuffer.prototype;

/**
 * Has lists in the metadata be no longer than the metadata. The library checks nothing, and Arrow's reader makes as many
 * objects as a damaged length says. For a worker, where it concerns nobody else.
 */
export function boundLists(): void {
  ByteBuffer.prototype.__vector_len = function (offset: number): number {
    const length = lengthOf.call(this, offset);
    if (length >= 0 && length <= this.capacity()) return length;
    throw new Error("its metadata has a list that is longer than itself");
  };
}

/** The greatest `MetadataVersion` of Schema.fbs, which is called V5. */
const NEWEST = 4;
/** `Endianness`. */
const BIG = 1;
/** `MessageHeader`. */
const IS_SCHEMA = 1;

/** Places in the tables of Message.fbs, File.fbs and Schema.fbs; each is two bytes behind the one before. */
const VERSION = 4;
const FOOTER_SCHEMA = 6;
const HEADER_TYPE = 6;
const HEADER = 8;
const ENDIANNESS = 4;

/**
 * Checks what Arrow's reader does not look at.
 *
 * @param bytes The message with the schema, or the footer of a file.
 * @throws {NotTakenOver} For big-endian values, and for a version that is not known yet.
 */
export function checkMetadata(bytes: Uint8Array, kind: "message" | "footer"): void {
  const buffer = new ByteBuffer(bytes);
  const root = buffer.readInt32(0);
  const field = (table: number, place: number) => {
    const offset = buffer.__offset(table, place);
    return offset === 0 ? undefined : table + offset;
  };
  const version = field(root, VERSION);
  const found = version === undefined ? 0 : buffer.readInt16(version);
  if (found > NEWEST) {
    throw new NotTakenOver(`it is of version V${found + 1} of Arrow's format; up to V${NEWEST + 1} can be read here`);
  }
  const type = field(root, HEADER_TYPE);
  if (kind === "message" && (type === undefined || buffer.readUint8(type) !== IS_SCHEMA)) return;
  const schema = field(root, kind === "message" ? HEADER : FOOTER_SCHEMA);
  if (schema === undefined) return;
  const endianness = field(buffer.__indirect(schema), ENDIANNESS);
  if (endianness !== undefined && buffer.readInt16(endianness) === BIG) {
    throw new NotTakenOver("it is big-endian; write it on, or for, a little-endian machine");
  }
}
