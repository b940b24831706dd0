import type { FileBytes } from "../file_bytes.ts";

/** A file as the library asks for it: a true `Blob` of a file would be all of it in memory. */
export function fileBlob(file: FileBytes): Blob {
  const { size } = file;
  const slice = (from = 0, to = size) => ({
    arrayBuffer: async () => (await file.read(from, to - from)).buffer,
  });
  return { size, slice } as unknown as Blob;
}
