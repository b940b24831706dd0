import type { Batch, BatchColumn } from "../columns/batch.ts";
import type { Chunk } from "../copy/messages.ts";
import type { PullFormat } from "./file_format.ts";

/** The compression of the pages of a Parquet file. */
export type ParquetCompression = "zstd" | "gzip" | "none";

/** What an encoder needs besides the rows. */
export interface EncodeContext {
  /** The columns that are copied. */
  columns: readonly BatchColumn[];
  /** The rows, if they are columns already; else the rows of the COPY are used. */
  batches?: AsyncIterable<Batch>;
  /** Options of the pull. */
  options: { compression?: ParquetCompression | undefined; rowGroupSize?: number | undefined };
}

/** Makes the bytes of a file from the rows of a COPY. */
export type Encode = (chunks: AsyncIterable<Chunk>, context: EncodeContext) => AsyncIterable<Uint8Array>;

/** The encoder of each format, loaded when it is used. */
export const ENCODERS: Readonly<Record<PullFormat, () => Promise<Encode>>> = {
  csv: () => Promise.resolve(encodeCsv),
  tsv: () => Promise.resolve(encodeCsv),
  ndjson: async () => (await import("./ndjson.ts")).encodeNdjson,
  arrow: async () => (await import("./arrow/write.ts")).encodeArrow,
  parquet: async () => (await import("./parquet/write.ts")).encodeParquet,
};

/** CSV and TSV are written byte for byte as the server sends them. */
export const encodeCsv: Encode = async function* (chunks) {
  for await (const { bytes } of chunks) yield bytes;
};
