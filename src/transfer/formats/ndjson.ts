import { JSON_QUOTE } from "../copy_query.ts";
import type { Encode } from "./encode.ts";

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
