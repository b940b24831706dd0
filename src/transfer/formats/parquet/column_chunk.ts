import type { ColumnData } from "../../batch.ts";
import { joinBytes } from "../../join_bytes.ts";
import type { Codec } from "./compress.ts";
import type { Leaf } from "./leaf.ts";
import { flatLevels, listLevels } from "./levels.ts";
import { plainValues } from "./plain.ts";
import { type Bounds, boundsOf } from "./statistics.ts";
import { ThriftWriter } from "./thrift.ts";

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
