import type { Codec } from "./compress.ts";
import type { ColumnChunk } from "./column_chunk.ts";
import type { Leaf } from "./leaf.ts";
import { writeSchema } from "./schema.ts";
import { Thrift, ThriftWriter } from "./thrift.ts";

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
