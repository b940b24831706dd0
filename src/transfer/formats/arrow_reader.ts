import { readColumnar } from "./columnar_reader.ts";
import type { FileRows } from "./file_rows.ts";

/**
 * Reads an Arrow file or stream, as the IPC format has them; also a Feather file.
 *
 * @param source A path, or the bytes.
 * @throws {LakebaseError} `BAD_FILE` for what is none, or is damaged, or has columns that Postgres has no form of.
 */
export function readArrow(source: string | AsyncIterable<Uint8Array>): Promise<FileRows> {
  return readColumnar("arrow", source);
}
