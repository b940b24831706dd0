import zlib from "node:zlib";
import { joinBytes } from "../../../core/bytes.ts";
import { LakebaseError } from "../../../core/errors.ts";
import { fieldsOf } from "../../../sql/result.ts";
import { checkTimes } from "../../columns/arrow_table.ts";
import type { ColumnData } from "../../columns/batch.ts";
import type { Chunk } from "../../copy/messages.ts";
import type { EncodeContext, ParquetCompression } from "../encode.ts";
import { batches, Output } from "../output.ts";
import { ARROW_SCHEMA, encodedSchema } from "./arrow_schema.ts";
import { flatLevels, listLevels, plainValues } from "./pages.ts";
import { type Leaf, leafOf, writeSchema } from "./schema.ts";
import { type Bounds, boundsOf } from "./statistics.ts";
import { Thrift, ThriftWriter } from "./thrift.ts";

const MAGIC = new TextEncoder().encode("PAR1");

/** Rows of a row group: what other writers take, so that a reader finds work for its threads. */
const GROUP_ROWS = 131_072;
const GROUP_BYTES = 64 * 1_048_576;

/**
 * A Parquet file: format version 1 and plain pages, which every reader knows; row groups of about 131,072 rows or 64 MB,
 * with the bounds of their columns.
 */
export async function* encodeParquet(
  chunks: AsyncIterable<Chunk>,
  { columns, options, batches: ready }: EncodeContext,
): AsyncGenerator<Uint8Array, void, void> {
  if (columns.length === 0) {
    throw new LakebaseError(
      "BAD_PARAMETER",
      "Cannot write Parquet: the query has no columns, and such a file needs one",
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

/** Rows that are stored together, as the footer tells of them. */
export interface RowGroup {
  /** How many. */
  rows: number;
  /** A chunk for each column. */
  chunks: ColumnChunk[];
}

/** Encodings of parquet.thrift: PLAIN for the values, RLE for the levels. */
const ENCODINGS = [0, 3];

/** The struct `FileMetaData`: what the file holds, and where. */
export function footer(
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
  // Only with this do readers know by what order the bounds were found.
  thrift.structs(7, leaves, () => thrift.struct(1));
  return thrift.end();
}

function writeRowGroup(thrift: ThriftWriter, leaves: readonly Leaf[], { rows, chunks }: RowGroup, codec: Codec): void {
  const sum = (size: (chunk: ColumnChunk) => number) => chunks.reduce((total, chunk) => total + size(chunk), 0);
  thrift.structs(1, chunks.map((chunk, at) => ({ chunk, leaf: leaves[at]! })), ({ chunk, leaf }) => {
    thrift.integer(2, 0, Thrift.i64); // deprecated; what it meant differed between writers
    thrift.struct(3, () => writeColumn(thrift, leaf, chunk, codec));
  });
  thrift.integer(2, sum((chunk) => chunk.uncompressed), Thrift.i64);
  thrift.integer(3, rows, Thrift.i64);
  thrift.integer(5, chunks[0]!.offset, Thrift.i64);
  thrift.integer(6, sum((chunk) => chunk.compressed), Thrift.i64);
}

function writeColumn(thrift: ThriftWriter, leaf: Leaf, chunk: ColumnChunk, codec: Codec): void {
  thrift.integer(1, leaf.physical);
  thrift.integers(2, ENCODINGS);
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

/** A column of a row group, as the footer tells of it. */
export interface ColumnChunk {
  /** Where its first page begins in the file. */
  offset: number;
  /** NULLs and empty lists included. */
  values: number;
  /** Bytes in the file, the pages' headers included. */
  compressed: number;
  /** The same before compression. */
  uncompressed: number;
  /** What readers skip it by; not for lists. */
  statistics?: { nulls: number; bounds: Bounds | undefined };
}

/** Bytes of a page before compression, about: what a reader unpacks at once. */
const PAGE_BYTES = 1_048_576;

/** Numbers of parquet.thrift: a data page of version 1, which every reader knows, and its encodings. */
const DATA_PAGE = 0;
const PLAIN = 0;
const RLE = 3;

/**
 * Writes a column of a row group.
 *
 * @param offset Where it begins in the file.
 * @param put Takes the bytes.
 */
export function writeColumnChunk(
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

/** A multiple of eight, so that pages begin where bytes of bitmaps do. */
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
export interface Codec {
  /** `CompressionCodec` of parquet.thrift. */
  id: number;
  /** Compresses a page. */
  compress(page: Uint8Array): Uint8Array;
}

/** Native code each; Snappy, which is worse than Zstandard at everything but age, the runtime does not have. */
export const CODECS: Readonly<Record<ParquetCompression, Codec>> = {
  none: { id: 0, compress: (page) => page },
  gzip: { id: 2, compress: (page) => zlib.gzipSync(page) },
  zstd: { id: 6, compress: (page) => zlib.zstdCompressSync(page) },
};
