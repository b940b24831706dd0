import type { Batch, BatchColumn } from "../columns/batch.ts";
import { JSON_QUOTE } from "../copy/copy_query.ts";
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
  ndjson: () => Promise.resolve(encodeNdjson),
  arrow: async () => (await import("./arrow/write.ts")).encodeArrow,
  parquet: async () => (await import("./parquet/write.ts")).encodeParquet,
};

/** CSV and TSV are what the server sends, byte for byte. */
export const encodeCsv: Encode = async function* (chunks) {
  for await (const { bytes } of chunks) yield bytes;
};

const NEW_LINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;

/** An object a line, as the server makes it: whole numbers and decimals keep every digit. */
export const encodeNdjson: Encode = async function* (chunks) {
  for await (const { bytes } of chunks) yield bytes.includes(JSON_QUOTE) ? oneLineEach(bytes) : bytes;
};

/** A line break within a row stands between two tokens of its JSON, where a space means the same. */
function oneLineEach(bytes: Uint8Array): Uint8Array {
  let quoted = false;
  let filled = 0;
  for (const byte of bytes) {
    if (byte === JSON_QUOTE) quoted = !quoted;
    else bytes[filled++] = quoted && (byte === NEW_LINE || byte === RETURN) ? SPACE : byte;
  }
  return bytes.subarray(0, filled);
}
