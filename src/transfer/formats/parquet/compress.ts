import zlib from "node:zlib";
import type { ParquetCompression } from "../encode.ts";

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
