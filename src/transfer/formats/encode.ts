import type { Batch, BatchColumn } from "../columns/batch.ts";
import type { Chunk } from "../copy/messages.ts";
import type { PullFormat } from "./file_format.ts";

/** How the pages of a Parquet file are compressed. */
export type ParquetCompression = "zstd" | "gzip" | "none";

/** What an encoder has to know beside the rows. */
export interface EncodeContext {
  /** The columns, as they are copied. */
  columns: readonly BatchColumn[];
  /** The rows, where they are columns already; else they are the COPY's. */
  batches?: AsyncIterable<Batch>;
  /** What the person who pulls may choose. */
  options: { compression?: ParquetCompression | undefined; rowGroupSize?: number | undefined };
}

/** Turns the server's rows into the bytes of a file. */
export type Encode = (chunks: AsyncIterable<Chunk>, context: EncodeContext) => AsyncIterable<Uint8Array>;

/** How the rows become a file's bytes. */
export const ENCODERS: Readonly<Record<PullFormat, () => Promise<Encode>>> = {
  csv: () => Promise.resolve(encodeCsv),
  tsv: () => Promise.resolve(encodeCsv),
  ndjson: async () => (await import("./ndjson.ts")).encodeNdjson,
  arrow: async () => (await import("./arrow/write.ts")).encodeArrow,
  parquet: async () => (await import("./parquet/write.ts")).encodeParquet,
};

/** CSV and TSV are what the server sends, byte for byte. */
export const encodeCsv: Encode = async function* (chunks) {
  for await (const { bytes } of chunks) yield bytes;
};
