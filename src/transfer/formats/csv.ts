import type { Encode } from "./encode.ts";

/** CSV and TSV are what the server sends, byte for byte. */
export const encodeCsv: Encode = async function* (chunks) {
  for await (const { bytes } of chunks) yield bytes;
};
