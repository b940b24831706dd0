import { late } from "../../core/late.ts";
import type { Batch, BatchColumn } from "../columns/batch.ts";
import type { Chunk } from "../copy/messages.ts";
import type { PullFormat } from "./file_format.ts";

/** The compression of the pages of a Parquet file. */
export type ParquetCompression = "zstd" | "gzip" | "none";

/** What an encoder needs besides the rows. */
export interface EncodeContext {
  /** The columns of the COPY. */
  columns: readonly BatchColumn[];
  /** The rows, if they are in columnar form already. By default the encoder reads the rows of the COPY. */
  batches?: AsyncIterable<Batch>;
  /** Options of the pull. */
  options: { compression?: ParquetCompression | undefined; rowGroupSize?: number | undefined };
}

/** Converts the rows of a COPY to the bytes of a file. */
export type Encode = (chunks: AsyncIterable<Chunk>, context: EncodeContext) => AsyncIterable<Uint8Array>;

/** The encoder for each format, loaded on first use. */
export const ENCODERS: Readonly<Record<PullFormat, () => Promise<Encode>>> = {
  csv: () => Promise.resolve(encodeCsv),
  tsv: () => Promise.resolve(encodeCsv),
  ndjson: async () => (await import("./ndjson.ts")).encodeNdjson,
  arrow: async () => {
    await (await import("../columns/columns.ts")).loadArrow();
    return (await late<typeof import("./arrow/write.ts")>(import.meta.resolve("./arrow/write.ts"))).encodeArrow;
  },
  parquet: async () => {
    await late("npm:flatbuffers@25.9.23");
    const writer = import.meta.resolve("./parquet/write/write.ts");
    return (await late<typeof import("./parquet/write/write.ts")>(writer)).encodeParquet;
  },
};

/** Writes CSV or TSV exactly as the server sends it. */
const encodeCsv: Encode = async function* (chunks) {
  for await (const { bytes } of chunks) yield bytes;
};
