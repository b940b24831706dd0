import type { FileBytes } from "../file_bytes.ts";
import { joinBytes } from "../../join_bytes.ts";

/**
 * A file as the library asks for it: a true `Blob` of a file would be all of it in memory.
 *
 * @param end What it ends with, from a place on, in the place of its own.
 */
export function fileBlob(file: FileBytes, end: Uint8Array, place: number): Blob {
  const size = place + end.length;
  const slice = (from = 0, to = size) => ({
    arrayBuffer: async () => {
      const own = await file.read(from, Math.max(0, Math.min(to, place) - from));
      const rest = end.slice(Math.max(0, from - place), Math.max(0, to - place));
      return joinBytes([own, rest].filter(({ length }) => length > 0)).buffer;
    },
  });
  return { size, slice } as unknown as Blob;
}
