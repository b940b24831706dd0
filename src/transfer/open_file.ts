import { LakebaseError } from "../errors.ts";

/** A file that was opened, and what is known of it. */
export interface OpenFile {
  /** The file. */
  file: Deno.FsFile;
  /** Its length. */
  size: number;
  /** Whether it is one on a disk, of which the length is right: a pipe has none. */
  isFile: boolean;
}

/**
 * Opens a file to load.
 *
 * @throws {LakebaseError} `BAD_FILE` for what is none, or can't be read.
 */
export async function openFile(path: string): Promise<OpenFile> {
  const file = await Deno.open(path, { read: true }).catch((cause) => {
    throw unreadableFile(path, cause);
  });
  try {
    const { isDirectory, isFile, size } = await file.stat();
    if (!isDirectory) return { file, size, isFile };
    throw new LakebaseError("BAD_FILE", `Cannot load ${path}: it is a folder; name the file in it`);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** The error of a file that the system does not let us read. */
export function unreadableFile(path: string, cause: Error): LakebaseError {
  const problem = cause instanceof Deno.errors.NotFound
    ? "there is no such file"
    : cause instanceof Deno.errors.PermissionDenied
    ? "it may not be read by this user"
    : cause.message;
  return new LakebaseError("BAD_FILE", `Cannot load ${path}: ${problem}`, { cause });
}
