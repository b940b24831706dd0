import zlib from "node:zlib";
import { compressionRegistry, CompressionType } from "npm:apache-arrow@^21.2.0";
import { unpackLz4 } from "./lz4.ts";

/** Teaches Arrow's reader to unpack what other writers pack. */
export function registerCodecs(): void {
  compressionRegistry.set(CompressionType.ZSTD, { decode: (bytes) => zlib.zstdDecompressSync(bytes) });
  compressionRegistry.set(CompressionType.LZ4_FRAME, { decode: unpackLz4 });
}
