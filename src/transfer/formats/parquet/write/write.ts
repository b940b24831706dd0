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
 * - Values: in the encoding "PLAIN", one after another, without the NULLs. Numbers are little-endian. Booleans are bits. Texts
 *   and bytes follow their length in 4 bytes. A uuid, or a decimal of more than 18 digits, is a "FIXED_LEN_BYTE_ARRAY" of
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
 * - Thrift: all structs are in Thrift's compact protocol ({@linkcode ThriftWriter}).
 *
 * @module
 */

import zlib from "node:zlib";
import { joinBytes } from "../../../../core/bytes.ts";
import { LakebaseError } from "../../../../core/errors.ts";
import { LoopTurns } from "../../../../core/pause.ts";
import { fieldsOf } from "../../../../sql/result.ts";
import type { ColumnData } from "../../../columns/batch.ts";
import type { Chunk } from "../../../copy/messages.ts";
import type { EncodeContext, ParquetCompression } from "../../file_format.ts";
import { batches, checkTimes, Output } from "../../output.ts";
import { encodeArrowSchema } from "./arrow_schema.ts";
import { type Bounds, boundsOf, flatLevels, listLevels, plainValues } from "./column_chunk.ts";
import { ARROW_SCHEMA, type Leaf, leafOf, Thrift, ThriftWriter, writeSchema } from "./metadata.ts";

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
  const fields = fieldsOf(columns.map(({ name, oid: dataTypeID }) => ({ name, dataTypeID })));
  const leaves = columns.map(({ type }, at) => leafOf(fields[at]!.key, type));
  const arrowSchema = encodeArrowSchema(columns.map(({ type }, at) => ({ name: fields[at]!.key, type })));
  const groups: RowGroup[] = [];
  const output = new Output();
  const turns = new LoopTurns();
  let rows = 0;
  output.put(MAGIC);
  for await (
    const batch of ready ?? batches(chunks, columns, { rows: options.rowGroupSize ?? GROUP_ROWS, bytes: GROUP_BYTES })
  ) {
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
  const end = footer(leaves, groups, codec, { [ARROW_SCHEMA]: arrowSchema.toBase64() });
  output.put(end);
  output.put(new Uint8Array(Uint32Array.of(end.length).buffer));
  output.put(MAGIC);
  yield* output.take();
}

/** The footer's data about a row group. */
interface RowGroup {
  /** The number of rows. */
  rows: number;
  /** A chunk for each column. */
  chunks: ColumnChunk[];
}

/** Values of `PageType` and `Encoding`. */
const DATA_PAGE = 0;
const PLAIN = 0;
const RLE = 3;

/** Writes the struct `FileMetaData`: the contents of the file and their positions. */
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
  // Readers ignore the bounds of texts unless the order is stated here.
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

/** The footer's data about a column chunk. */
interface ColumnChunk {
  /** The position of its first page in the file. */
  offset: number;
  /** The number of values, including NULLs and empty lists. */
  values: number;
  /** The bytes in the file, including page headers. */
  compressed: number;
  /** The bytes before compression, including page headers. */
  uncompressed: number;
  /** Statistics that let readers skip the row group; absent for lists. */
  statistics?: { nulls: number; bounds: Bounds | undefined };
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
    const levels = leaf.list ? listLevels(data, from, to) : flatLevels(data, from, to);
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
  if (!leaf.list) chunk.statistics = { nulls: data.nullCount, bounds: boundsOf(leaf, data) };
  return chunk;
}

/** Returns the rows per page: a multiple of eight, so that each page starts at a whole byte of the bitmaps. */
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
