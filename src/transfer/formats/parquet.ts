import { LakebaseError } from "../../errors.ts";
import { fieldsOf } from "../../query/fields.ts";
import { checkTimes } from "../check_times.ts";
import type { Chunk } from "../copy_messages.ts";
import { batches } from "./batches.ts";
import type { EncodeContext } from "./encode.ts";
import { Output } from "./output.ts";
import { ARROW_SCHEMA, encodedSchema } from "./parquet/arrow_schema.ts";
import { writeColumnChunk } from "./parquet/column_chunk.ts";
import { CODECS } from "./parquet/compress.ts";
import { footer, type RowGroup } from "./parquet/footer.ts";
import { leafOf } from "./parquet/leaf.ts";

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
