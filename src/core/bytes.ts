import { Buffer } from "node:buffer";

/** Concatenates bytes into a new buffer, even a single chunk. */
export function concatBytes(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** The number of bytes of a text in UTF-8. */
export function byteLength(text: string): number {
  return Buffer.byteLength(text); // without an array of the bytes
}

/** The text of bytes in ASCII, such as a file's signature. */
export function asciiText(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** Concatenates bytes. A single chunk is returned without a copy. */
export function joinBytes<Content extends ArrayBufferLike>(
  chunks: readonly Uint8Array<Content>[],
): Uint8Array<Content | ArrayBuffer> {
  return chunks.length === 1 ? chunks[0]! : concatBytes(chunks);
}
