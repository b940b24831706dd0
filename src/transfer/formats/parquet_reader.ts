import { readColumnar } from "./columnar_reader.ts";
import type { FileRows } from "./file_rows.ts";

/**
 * Reads a Parquet file, a row group at a time.
 *
 * @throws {LakebaseError} `BAD_FILE` for what is none, or is damaged, or has columns that Postgres has no form of.
 */
export function readParquet(path: string): Promise<FileRows> {
  return readColumnar("parquet", path);
}
