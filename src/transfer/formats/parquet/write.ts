/**
 * Writes Parquet files. These are the parts of the format that are used; names in quotes are those of parquet.thrift in
 * https://github.com/apache/parquet-format, where Encodings.md, LogicalTypes.md and README.md describe the rest.
 *
 * ```
 * "PAR1"
 * row group 1:  column chunk of column 1:  page header, page, page header, page, ...
 *               column chunk of column 2:  ...
 * row group 2:  ...
 * footer        "FileMetaData", with the length of the footer behind it in 4 bytes, little-endian
 * "PAR1"
 * ```
 *
 * - Row group: some of the rows, stored column by column. A reader gives each of its threads row groups of its own, and skips
 *   those whose bounds exclude what it looks for.
 * - Column chunk: the values of one column in a row group, in pages of about 1 MB.
 * - Page: always a data page of version 1 ("DataPageHeader"), which every reader knows; there are no dictionaries. Its header
 *   is a Thrift struct with the number of values and the size before and after compression. The page itself, compressed as a
 *   whole, holds three parts: repetition levels, definition levels, values.
 * - Values: in the encoding "PLAIN", one after another, without the NULLs. Numbers are little-endian; booleans are bits; texts
 *   and bytes stand behind their length in 4 bytes; a uuid, and a decimal of more than 18 digits, is a
 *   "FIXED_LEN_BYTE_ARRAY" of 16 bytes, the highest first.
 * - Definition levels: for each value, how much of its path is there. In a plain column 0 is NULL and 1 is a value. In a list
 *   0 is no list, 1 an empty list, 2 an element that is NULL, and 3 an element.
 * - Repetition levels: only for lists; 0 begins a new list, 1 continues it.
 * - Both kinds of levels are in the encoding "RLE", behind their length in 4 bytes: either one run of equal levels, or all of
 *   them as bits.
 * - Compression: Zstandard, gzip, or none ("CompressionCodec"). Snappy is left out because the runtime does not have it.
 * - Schema: a tree of "SchemaElement", from the root in depth. Each column is "OPTIONAL", since the server does not say which
 *   columns of a query can be NULL. A list has three levels ("LIST" in LogicalTypes.md): the optional list, the repeated group
 *   `list`, the optional `element`. A type is a physical type ("Type"), a "LogicalType", and for older readers a
 *   "ConvertedType".
 * - Statistics: of each column chunk without lists the number of NULLs, and the least and the greatest value ("min_value",
 *   "max_value"). "column_orders" says that they follow the order of the type. Long texts, JSON, and floats with a NaN among
 *   them have no bounds.
 * - Key-value metadata: the schema as Arrow has it ("ARROW:schema"), because Parquet has no type for some of Arrow's.
 * - Thrift: all structs are in Thrift's compact protocol ({@linkcode ThriftWriter}).
 *
 * @module
 */

import zlib from "node:zlib";
import { RecordBatchStreamWriter } from "npm:apache-arrow@^21.2.0";
import { joinBytes } from "../../../core/bytes.ts";
import { LakebaseError } from "../../../core/errors.ts";
import { fieldsOf } from "../../../sql/result.ts";
import { arrowSchema, checkTimes } from "../../columns/arrow_table.ts";
import type { BatchColumn, ColumnData } from "../../columns/batch.ts";
import type { Chunk } from "../../copy/messages.ts";
import type { EncodeContext, ParquetCompression } from "../encode.ts";
import { batches, Output } from "../output.ts";
import { flatLevels, listLevels, plainValues } from "./pages.ts";
import { ARROW_SCHEMA, type Leaf, leafOf, writeSchema } from "./schema.ts";
import { type Bounds, boundsOf } from "./statistics.ts";
import { Thrift, ThriftWriter } from "./thrift.ts";

const MAGIC = new TextEncoder().encode("PAR1");

/** Rows of a row group, as other writers have it: few enough that a reader finds work for each of its threads. */
const GROUP_ROWS = 131_072;
/** Bytes on the wire of a row group. */
const GROUP_BYTES = 64 * 1_048_576;

/**
 * Encodes rows as a Parquet file, in row groups of about 131,072 rows or 64 MB.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for rows without columns.
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
  const fields = fieldsOf(columns.map(({ name, oid: dataTypeID }) => ({ name, dataTypeID })));
  const leaves = columns.map(({ type }, at) => leafOf(fields[at]!.key, type));
  const groups: RowGroup[] = [];
  const output = new Output();
  let rows = 0;
  output.put(MAGIC);
  for await (
    const batch of ready ?? batches(chunks, columns, { rows: options.rowGroupSize ?? GROUP_ROWS, bytes: GROUP_BYTES })
  ) {
    checkTimes(batch, rows);
    const group: RowGroup = { rows: batch.rows, chunks: [] };
    for (const [at, leaf] of leaves.entries()) {
      const data = batch.columns[at]!;
      group.chunks.push(writeColumnChunk(leaf, data, codec, output.offset, (bytes) => output.put(bytes)));
      if (output.isFull) yield* output.take();
    }
    groups.push(group);
    rows += batch.rows;
  }
  const end = footer(leaves, groups, codec, { [ARROW_SCHEMA]: encodedSchema(columns) });
  output.put(end);
  output.put(new Uint8Array(Uint32Array.of(end.length).buffer));
  output.put(MAGIC);
  yield* output.take();
}

/** What the footer says about a row group. */
interface RowGroup {
  /** The number of rows. */
  rows: number;
  /** A chunk for each column. */
  chunks: ColumnChunk[];
}

/** Numbers of `PageType` and `Encoding`. */
const DATA_PAGE = 0;
const PLAIN = 0;
const RLE = 3;

/** The struct `FileMetaData`: what the file holds, and where. */
function footer(
  leaves: readonly Leaf[],
  groups: readonly RowGroup[],
  codec: Codec,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const thrift = new ThriftWriter();
  thrift.integer(1, 1);
  writeSchema(thrift, 2, leaves);
  thrift.integer(3, groups.reduce((rows, group) => rows + group.rows, 0), Thrift.i64);
  thrift.structs(4, groups, (group) => writeRowGroup(thrift, leaves, group, codec));
  thrift.structs(5, Object.entries(metadata), ([key, value]) => {
    thrift.binary(1, key);
    thrift.binary(2, value);
  });
  thrift.binary(6, "lakebase");
  // Readers ignore the bounds of texts unless this says by which order they were found.
  thrift.structs(7, leaves, () => thrift.struct(1));
  return thrift.end();
}

function writeRowGroup(thrift: ThriftWriter, leaves: readonly Leaf[], { rows, chunks }: RowGroup, codec: Codec): void {
  const sum = (size: (chunk: ColumnChunk) => number) => chunks.reduce((total, chunk) => total + size(chunk), 0);
  thrift.structs(1, chunks.map((chunk, at) => ({ chunk, leaf: leaves[at]! })), ({ chunk, leaf }) => {
    thrift.integer(2, 0, Thrift.i64); // required, but deprecated: writers disagreed on its meaning
    thrift.struct(3, () => writeColumn(thrift, leaf, chunk, codec));
  });
  thrift.integer(2, sum((chunk) => chunk.uncompressed), Thrift.i64);
  thrift.integer(3, rows, Thrift.i64);
  thrift.integer(5, chunks[0]!.offset, Thrift.i64);
  thrift.integer(6, sum((chunk) => chunk.compressed), Thrift.i64);
}

function writeColumn(thrift: ThriftWriter, leaf: Leaf, chunk: ColumnChunk, codec: Codec): void {
  thrift.integer(1, leaf.physical);
  thrift.integers(2, [PLAIN, RLE]);
  thrift.texts(3, leaf.path);
  thrift.integer(4, codec.id);
  thrift.integer(5, chunk.values, Thrift.i64);
  thrift.integer(6, chunk.uncompressed, Thrift.i64);
  thrift.integer(7, chunk.compressed, Thrift.i64);
  thrift.integer(9, chunk.offset, Thrift.i64);
  const { statistics } = chunk;
  if (statistics === undefined) return;
  thrift.struct(12, () => {
    thrift.integer(3, statistics.nulls, Thrift.i64);
    if (statistics.bounds === undefined) return;
    thrift.binary(5, statistics.bounds.max);
    thrift.binary(6, statistics.bounds.min);
  });
}

/** What the footer says about a column chunk. */
interface ColumnChunk {
  /** The position of its first page in the file. */
  offset: number;
  /** The number of values, including NULLs and empty lists. */
  values: number;
  /** Bytes in the file, including the headers of pages. */
  compressed: number;
  /** The same before compression. */
  uncompressed: number;
  /** Statistics by which readers skip the row group; none for lists. */
  statistics?: { nulls: number; bounds: Bounds | undefined };
}

/** The approximate size of a page before compression: a reader unpacks a page at once. */
const PAGE_BYTES = 1_048_576;

/**
 * Writes a column chunk.
 *
 * @param offset The position of the chunk in the file.
 * @param put Takes the bytes.
 */
function writeColumnChunk(
  leaf: Leaf,
  data: ColumnData,
  codec: Codec,
  offset: number,
  put: (bytes: Uint8Array) => void,
): ColumnChunk {
  const chunk: ColumnChunk = { offset, values: 0, compressed: 0, uncompressed: 0 };
  const rows = rowsOfPage(data);
  for (let from = 0; from < data.length; from += rows) {
    const to = Math.min(from + rows, data.length);
    const levels = leaf.list ? listLevels(data, from, to) : flatLevels(data, from, to);
    const page = joinBytes([...levels.bytes, valuesOf(leaf, data, from, to)]);
    const body = codec.compress(page);
    const header = pageHeader(levels.count, page.length, body.length);
    put(header);
    put(body);
    chunk.values += levels.count;
    chunk.compressed += header.length + body.length;
    chunk.uncompressed += header.length + page.length;
  }
  if (!leaf.list) chunk.statistics = { nulls: data.nullCount, bounds: boundsOf(leaf, data) };
  return chunk;
}

/** The rows of a page: a multiple of eight, so that each page begins at a whole byte of the bitmaps. */
function rowsOfPage(data: ColumnData): number {
  const pages = Math.ceil(bytesOf(data) / PAGE_BYTES);
  return Math.max(8, Math.floor(data.length / Math.max(1, pages) / 8) * 8);
}

function bytesOf({ values, child }: ColumnData): number {
  return values.byteLength + (child === undefined ? 0 : bytesOf(child));
}

function valuesOf(leaf: Leaf, data: ColumnData, from: number, to: number): Uint8Array {
  if (!leaf.list) return plainValues(leaf, data, from, to);
  return plainValues(leaf, data.child!, data.offsets![from]!, data.offsets![to]!);
}

function pageHeader(values: number, uncompressed: number, compressed: number): Uint8Array {
  const thrift = new ThriftWriter();
  thrift.integer(1, DATA_PAGE);
  thrift.integer(2, uncompressed);
  thrift.integer(3, compressed);
  thrift.struct(5, () => {
    thrift.integer(1, values);
    thrift.integer(2, PLAIN);
    thrift.integer(3, RLE);
    thrift.integer(4, RLE);
  });
  return thrift.end();
}

/** A way to compress pages. */
interface Codec {
  /** The number of `CompressionCodec`. */
  id: number;
  /** Compresses a page. */
  compress(page: Uint8Array): Uint8Array;
}

const CODECS: Readonly<Record<ParquetCompression, Codec>> = {
  none: { id: 0, compress: (page) => page },
  gzip: { id: 2, compress: (page) => zlib.gzipSync(page) },
  zstd: { id: 6, compress: (page) => zlib.zstdCompressSync(page) },
};

/** The schema as a message of Arrow's, in base64. */
function encodedSchema(columns: readonly Pick<BatchColumn, "name" | "type">[]): string {
  const writer = new RecordBatchStreamWriter();
  writer.reset(undefined, arrowSchema(columns));
  return writer.finish().toUint8Array(true).toBase64();
}
