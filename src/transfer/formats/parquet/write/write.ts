/**
 * Writes Parquet files. This comment describes the parts of the format that the writer uses. Names in quotes are from
 * parquet.thrift in https://github.com/apache/parquet-format, where Encodings.md, LogicalTypes.md and README.md describe
 * the rest.
 *
 * ```
 * "PAR1"
 * row group 1:  column chunk of column 1:  page header, page, page header, page, ...
 *               column chunk of column 2:  ...
 * row group 2:  ...
 * footer        "FileMetaData", followed by its length in 4 bytes, little-endian
 * "PAR1"
 * ```
 *
 * - Row group: some of the rows, stored column by column. A reader distributes row groups over its threads, and skips those
 *   whose bounds exclude the values that it looks for.
 * - Column chunk: the values of one column in a row group, in pages of about 1 MB.
 * - Page: always a data page of version 1 ("DataPageHeader"), which every reader supports, without a dictionary. Its header
 *   is a Thrift struct with the number of values and the size before and after compression. The page itself, compressed as a
 *   whole, has three parts: repetition levels, definition levels and values.
 * - Values: in the encoding "PLAIN", one after another, without the NULLs. Numbers are little-endian. Booleans are bits. Each
 *   text or byte string follows its length in 4 bytes. A uuid, or a decimal of more than 18 digits, is a "FIXED_LEN_BYTE_ARRAY" of
 *   16 bytes, with the highest byte first.
 * - Definition levels: for each value, how much of its path is present. In a plain column, 0 is NULL and 1 is a value. In a
 *   list, 0 is a NULL list, 1 an empty list, 2 a NULL element, and 3 an element with a value.
 * - Repetition levels: only for lists; 0 starts a new list, 1 continues it.
 * - Both kinds of levels are in the encoding "RLE" and follow their length in 4 bytes: either one run of equal levels, or all
 *   levels as bits.
 * - Compression: Zstandard, gzip or none ("CompressionCodec"). Snappy is not offered because the runtime does not have it.
 * - Schema: a tree of "SchemaElement" in depth-first order. Each column is "OPTIONAL", because the server does not say which
 *   columns of a query can be NULL. A list has three levels ("LIST" in LogicalTypes.md): the optional list, the repeated group
 *   `list` and the optional `element`. A type consists of a physical type ("Type"), a "LogicalType" and, for older readers, a
 *   "ConvertedType".
 * - Statistics: for each column chunk without lists, the number of NULLs and the smallest and largest value ("min_value",
 *   "max_value"). "column_orders" says that they follow the order of the type. Long texts, JSON, and floats that include a
 *   NaN have no bounds.
 * - Key-value metadata: the Arrow schema ("ARROW:schema"), because Parquet lacks some of Arrow's types.
 * - Thrift: all structs are in Thrift's compact protocol (metadata.ts).
 *
 * @module
 */

import zlib from "node:zlib";
import { Builder } from "npm:flatbuffers@25.9.23";
import { joinBytes } from "../../../../core/bytes.ts";
import { LakebaseError } from "../../../../core/errors.ts";
import { LoopTurns } from "../../../../core/pause.ts";
import { fieldsOf } from "../../../../sql/result.ts";
import {
  ARROW_EXTENSIONS,
  ARROW_SCHEMA,
  type ColumnData,
  type ColumnType,
  EXTENSION_METADATA,
  EXTENSION_NAME,
} from "../../../columns/batch.ts";
import type { Chunk } from "../../../copy/messages.ts";
import type { EncodeContext, ParquetCompression } from "../../file_format.ts";
import { batches, checkTimes, Output } from "../../output.ts";
import { boundsOf, flatLevels, type Leaf, leafOf, listLevels, plainValues } from "./column_chunk.ts";
import { type ColumnChunk, footer, pageHeader, type RowGroup } from "./metadata.ts";

const MAGIC = new TextEncoder().encode("PAR1");

/** The rows per row group, as in other writers: few enough that all threads of a reader get work. */
const GROUP_ROWS = 131_072;
/** The bytes on the wire per row group. */
const GROUP_BYTES = 64 * 1_048_576;

/**
 * Encodes rows as a Parquet file, by default in row groups of about 131,072 rows or 64 MB.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` if the query has no columns.
 */
export async function* encodeParquet(
  chunks: AsyncIterable<Chunk>,
  { columns, options, batches: ready }: EncodeContext,
): AsyncGenerator<Uint8Array, void, void> {
  if (columns.length === 0) {
    throw new LakebaseError(
      "BAD_PARAMETER",
      "Cannot write Parquet: the query has no columns; a Parquet file needs at least one",
    );
  }
  const codec = CODECS[options.compression ?? "zstd"];
  const keys = fieldsOf(columns.map(({ name, oid: dataTypeID }) => ({ name, dataTypeID }))).map(({ key }) => key);
  const leaves = columns.map(({ type }, at) => leafOf(keys[at]!, type));
  const arrowSchema = encodeArrowSchema(columns.map(({ type }, at) => ({ name: keys[at]!, type })));
  const groups: RowGroup[] = [];
  const output = new Output();
  const turns = new LoopTurns();
  let rows = 0;
  output.put(MAGIC);
  const limit = { rows: options.rowGroupSize ?? GROUP_ROWS, bytes: GROUP_BYTES };
  for await (const batch of ready ?? batches(chunks, columns, limit)) {
    checkTimes(batch, rows);
    const group: RowGroup = { rows: batch.rows, chunks: [] };
    for (const [at, leaf] of leaves.entries()) {
      const data = batch.columns[at]!;
      group.chunks.push(await writeColumnChunk(leaf, data, codec, output, turns));
      if (output.isFull) yield* output.take();
    }
    groups.push(group);
    rows += batch.rows;
  }
  const end = footer(leaves, groups, codec.id, { [ARROW_SCHEMA]: arrowSchema.toBase64() });
  output.put(end);
  output.put(new Uint8Array(Uint32Array.of(end.length).buffer));
  output.put(MAGIC);
  yield* output.take();
}

/** The approximate bytes of a page before compression. A reader decompresses a whole page at once. */
const PAGE_BYTES = 1_048_576;

/** Writes a column chunk. Other work gets its turn between two pages. */
async function writeColumnChunk(
  leaf: Leaf,
  data: ColumnData,
  codec: Codec,
  output: Output,
  turns: LoopTurns,
): Promise<ColumnChunk> {
  const chunk: ColumnChunk = { offset: output.offset, values: 0, compressed: 0, uncompressed: 0 };
  const rows = rowsOfPage(data);
  for (let from = 0; from < data.length; from += rows) {
    await turns.next();
    const to = Math.min(from + rows, data.length);
    const levels = leaf.isList ? listLevels(data, from, to) : flatLevels(data, from, to);
    const page = joinBytes([...levels.bytes, valuesOf(leaf, data, from, to)]);
    const body = codec.compress(page);
    const header = pageHeader(levels.count, page.length, body.length);
    output.put(header);
    output.put(body);
    chunk.values += levels.count;
    chunk.compressed += header.length + body.length;
    chunk.uncompressed += header.length + page.length;
  }
  await turns.next();
  if (!leaf.isList) chunk.statistics = { nulls: data.nullCount, bounds: boundsOf(leaf, data) };
  return chunk;
}

/** Returns the rows per page: a multiple of eight, so that each page starts at a whole byte of the bitmaps. */
function rowsOfPage(data: ColumnData): number {
  const pages = Math.ceil(byteSize(data) / PAGE_BYTES);
  return Math.max(8, Math.floor(data.length / Math.max(1, pages) / 8) * 8);
}

function byteSize({ values, child }: ColumnData): number {
  return values.byteLength + (child === undefined ? 0 : byteSize(child));
}

function valuesOf(leaf: Leaf, data: ColumnData, from: number, to: number): Uint8Array {
  if (!leaf.isList) return plainValues(leaf, data, from, to);
  return plainValues(leaf, data.child!, data.offsets![from]!, data.offsets![to]!);
}

/** A way to compress pages. */
interface Codec {
  /** The value of `CompressionCodec`. */
  id: number;
  /** Compresses a page. */
  compress(page: Uint8Array): Uint8Array;
}

const CODECS: Readonly<Record<ParquetCompression, Codec>> = {
  none: { id: 0, compress: (page) => page },
  gzip: { id: 2, compress: (page) => zlib.gzipSync(page) },
  zstd: { id: 6, compress: (page) => zlib.zstdCompressSync(page) },
};

/** Values of `MetadataVersion` and `MessageHeader` in Arrow's Schema.fbs and Message.fbs. */
const VERSION_5 = 4;
const SCHEMA_HEADER = 1;

/** The numbers of the types in the union `Type`. */
const ArrowType = {
  int: 2,
  float: 3,
  binary: 4,
  utf8: 5,
  bool: 6,
  decimal: 7,
  date: 8,
  time: 9,
  timestamp: 10,
  list: 12,
  fixed: 15,
} as const;

/** Values of `TimeUnit`, `DateUnit` and `Precision`. */
const MICROSECOND = 2;
const DAY = 0;
const SINGLE = 1;
const DOUBLE = 2;

/**
 * Encodes columns as an Arrow schema, in a message of Arrow's stream format. apache-arrow could do this, but loading its 146
 * modules holds the thread for longer than anything else in a pull, and is most of what a first pull fetches.
 *
 * @param columns The names, which differ from each other, and the types.
 */
export function encodeArrowSchema(columns: readonly { name: string; type: ColumnType }[]): Uint8Array {
  const builder = new Builder();
  const fields = vector(builder, columns.map(({ name, type }) => writeArrowField(builder, name, type)));
  const schema = table(builder, 4, () => builder.addFieldOffset(1, fields, 0));
  const message = table(builder, 5, () => {
    builder.addFieldInt16(0, VERSION_5, 0);
    builder.addFieldInt8(1, SCHEMA_HEADER, 0);
    builder.addFieldOffset(2, schema, 0);
  });
  builder.finish(message);
  return framed(builder.asUint8Array());
}

/** Frames a message: the marker -1, the length, and the message, padded to a multiple of eight bytes. */
function framed(message: Uint8Array): Uint8Array {
  const length = (message.length + 7) & ~7;
  const bytes = new Uint8Array(8 + length);
  const head = new DataView(bytes.buffer);
  head.setInt32(0, -1, true);
  head.setInt32(4, length, true);
  bytes.set(message, 8);
  return bytes;
}

function writeArrowField(builder: Builder, name: string, type: ColumnType): number {
  const children = vector(builder, type.kind === "list" ? [writeArrowField(builder, "item", type.element)] : []);
  const [id, value] = writeArrowType(builder, type);
  const extension = ARROW_EXTENSIONS[type.kind];
  const metadata = extension === undefined ? 0 : vector(builder, [
    writeEntry(builder, EXTENSION_NAME, extension),
    writeEntry(builder, EXTENSION_METADATA, ""),
  ]);
  const label = builder.createString(name);
  return table(builder, 7, () => {
    builder.addFieldOffset(0, label, 0);
    builder.addFieldInt8(1, 1, 0); // nullable
    builder.addFieldInt8(2, id, 0);
    builder.addFieldOffset(3, value, 0);
    builder.addFieldOffset(5, children, 0);
    builder.addFieldOffset(6, metadata, 0);
  });
}

function writeEntry(builder: Builder, key: string, value: string): number {
  const [name, content] = [builder.createString(key), builder.createString(value)];
  return table(builder, 2, () => {
    builder.addFieldOffset(0, name, 0);
    builder.addFieldOffset(1, content, 0);
  });
}

/** Writes a type. Returns its number in the union, and its position. */
function writeArrowType(builder: Builder, type: ColumnType): readonly [id: number, position: number] {
  const written = (id: number, fields = 0, write = () => {}) => [id, table(builder, fields, write)] as const;
  const integer = (bits: number, signed = true) =>
    written(ArrowType.int, 2, () => {
      builder.addFieldInt32(0, bits, 0);
      builder.addFieldInt8(1, Number(signed), 0);
    });
  const float = (precision: number) => written(ArrowType.float, 1, () => builder.addFieldInt16(0, precision, 0));
  switch (type.kind) {
    case "bool":
      return written(ArrowType.bool);
    case "int16":
      return integer(16);
    case "int32":
      return integer(32);
    case "int64":
      return integer(64);
    case "uint32":
      return integer(32, false);
    case "float32":
      return float(SINGLE);
    case "float64":
      return float(DOUBLE);
    case "decimal":
      return written(ArrowType.decimal, 3, () => {
        builder.addFieldInt32(0, type.precision, 0);
        builder.addFieldInt32(1, type.scale, 0);
        builder.addFieldInt32(2, 128, 128);
      });
    case "date":
      return written(ArrowType.date, 1, () => builder.addFieldInt16(0, DAY, 1));
    case "time":
      return written(ArrowType.time, 2, () => {
        builder.addFieldInt16(0, MICROSECOND, 1);
        builder.addFieldInt32(1, 64, 32);
      });
    case "timestamp": {
      const zone = type.utc ? builder.createString("UTC") : 0;
      return written(ArrowType.timestamp, 2, () => {
        builder.addFieldInt16(0, MICROSECOND, 0);
        builder.addFieldOffset(1, zone, 0);
      });
    }
    case "uuid":
      return written(ArrowType.fixed, 1, () => builder.addFieldInt32(0, 16, 0));
    case "text":
    case "json":
      return written(ArrowType.utf8);
    case "binary":
      return written(ArrowType.binary);
    case "list":
      return written(ArrowType.list);
  }
}

/** Writes a table. Its fields are numbers, or the positions of what was written before. */
function table(builder: Builder, fields: number, write: () => void): number {
  builder.startObject(fields);
  write();
  return builder.endObject();
}

/** Writes a vector of tables, by the positions of these. */
function vector(builder: Builder, positions: readonly number[]): number {
  builder.startVector(4, positions.length, 4);
  for (const position of positions.toReversed()) builder.addOffset(position);
  return builder.endVector();
}
