import type { FileStore, StoredBytes, StoredEntry } from "../../core/file_store.ts";
import { LakebaseError } from "../../core/errors.ts";

/** An entry of a folder. An entry without a size may also be a link. */
export type ListedEntry = Pick<StoredEntry, "name" | "isFolder"> & Partial<StoredEntry>;

/** Files that can be read: those of this machine, or of a store. */
export interface Readable extends Pick<FileStore, "stat" | "openRanges"> {
  /** What is in a folder; nothing, if there is no such folder. */
  list(folder: string): Promise<ListedEntry[]>;
  /** Opens a file for reading from its start. */
  open(path: string): Promise<StoredBytes>;
  /** The path without links, where there can be any. */
  realPath?(path: string): Promise<string>;
  /** Whether other programs and workers open the files by the same paths. */
  readonly here: boolean;
}

/** The files of a store. */
export function storedFiles(store: FileStore): Readable {
  return {
    here: false,
    stat: (path) => store.stat(path),
    list: (folder) => store.list(folder),
    open: (path) => store.open(path),
    openRanges: (path) => store.openRanges(path),
  };
}

/** The files of this machine. */
export const HERE: Readable = {
  here: true,
  stat: async (path) => {
    try {
      const { isDirectory, size, mtime } = await Deno.stat(path);
      return { name: path, isFolder: isDirectory, size, written: mtime?.getTime() ?? 0 };
    } catch (error) {
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
      throw unreadableFile(path, error as Error);
    }
  },
  list: async (folder) => {
    try {
      const entries = await Array.fromAsync(Deno.readDir(folder));
      return entries.map(({ name, isDirectory }) => ({ name, isFolder: isDirectory }));
    } catch (error) {
      throw unreadableFile(folder, error as Error);
    }
  },
  realPath: (path) => Deno.realPath(path),
  open: async (path) => {
    const { file, isFile, size } = await openFile(path);
    const close = () => Promise.resolve(file.close());
    return { size: isFile ? size : undefined, chunks: readAll(file, path), close };
  },
  openRanges: async (path) => {
    const { file, size } = await openFile(path);
    return {
      size,
      read: (from, length) => readRange(file, path, from, length),
      close: () => Promise.resolve(file.close()),
    };
  },
};

/** The size of a buffer for reading. A larger one is no faster. */
const READ_BYTES = 131_072;

async function* readAll(file: Deno.FsFile, path: string): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    const buffer = new Uint8Array(READ_BYTES);
    const read = await file.read(buffer).catch((cause) => {
      throw unreadableFile(path, cause);
    });
    if (read === null) return;
    yield buffer.subarray(0, read);
  }
}

async function readRange(
  file: Deno.FsFile,
  path: string,
  from: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  try {
    // Synchronous, so that a concurrent reader can't move the position between the two calls.
    file.seekSync(from, Deno.SeekMode.Start);
    while (filled < length) {
      const read = file.readSync(bytes.subarray(filled));
      if (read === null) break;
      filled += read;
    }
  } catch (cause) {
    throw unreadableFile(path, cause as Error);
  }
  return await Promise.resolve(bytes.subarray(0, filled));
}

/** An open file, and what is known about it. */
export interface OpenFile {
  /** The file. */
  file: Deno.FsFile;
  /** Its size in bytes. */
  size: number;
  /** Whether it is a regular file; only then is `size` right. */
  isFile: boolean;
}

/**
 * Opens a file of this machine to load.
 *
 * @throws {LakebaseError} `BAD_FILE` for a folder, and for a file that does not exist or can't be read.
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

/** Makes the error for a file that the system can't open or read. */
export function unreadableFile(path: string, cause: Error): LakebaseError {
  const problem = cause instanceof Deno.errors.NotFound
    ? "there is no such file"
    : cause instanceof Deno.errors.PermissionDenied
    ? "it may not be read by this user"
    : cause.message.replace(/ \(os error \d+\).*$/s, "");
  return new LakebaseError("BAD_FILE", `Cannot load ${path}: ${problem}`, { cause });
}
