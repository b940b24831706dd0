import { type FileStore, isVolumePath, type StoredBytes, type StoredEntry } from "../core/file_store.ts";
import { LakebaseError } from "../core/errors.ts";
import type { FindSession } from "../sql/run.ts";
import type { OpenVolumes } from "../sql/session.ts";
import { until } from "../sql/stop.ts";
import { openFile, unreadableFile } from "./formats/file_rows.ts";

/** Returns the function that opens the Volumes of a workspace; `undefined` if there is no workspace. */
export type FindVolumes = () => OpenVolumes | undefined | Promise<OpenVolumes | undefined>;

/** Finds the Volumes of a session, once a path needs them. */
export function volumesOfSession(find: FindSession): FindVolumes {
  return async () => (await find()).volumes;
}

/**
 * Finds the store of a path. A path that begins with `/Volumes/` is in a Volume of the connection's workspace, unless
 * such a folder exists on this machine: inside Databricks the Volumes are folders, and macOS mounts disks there.
 */
export class Stores {
  readonly #find: FindVolumes | undefined;
  readonly #signal: AbortSignal | undefined;
  #volumes: Promise<FileStore> | undefined;

  /**
   * Makes no connection yet.
   *
   * @param find Finds the Volumes of the workspace; `undefined` for rows that do not come from a connection.
   * @param signal Ends the reading from the stores.
   */
  constructor(find: FindVolumes | undefined, signal: AbortSignal | undefined) {
    this.#find = find;
    this.#signal = signal;
  }

  /**
   * The store of a path.
   *
   * @returns `undefined` for a path of this machine.
   * @throws {LakebaseError} The errors of connecting; `BAD_SETTING` if the connection belongs to no workspace.
   */
  async of(path: string): Promise<FileStore | undefined> {
    if (/^dbfs:\/Volumes\//.test(path)) {
      throw new LakebaseError("BAD_PARAMETER", `Cannot open ${path}: leave out "dbfs:", ${path.slice("dbfs:".length)}`);
    }
    if (!isVolumePath(path) || await isOnThisMachine(path)) return undefined;
    return await (this.#volumes ??= this.#open(path));
  }

  /** The files of the store of a path; otherwise those of this machine. */
  async files(path: string): Promise<ReadableFiles> {
    const store = await this.of(path);
    return store === undefined ? LOCAL_FILES : storedFiles(store);
  }

  async #open(path: string): Promise<FileStore> {
    const open = await until(this.#find?.(), this.#signal);
    if (open !== undefined) return await open(path, this.#signal);
    throw new LakebaseError(
      "BAD_SETTING",
      `Cannot open ${path}: a Volume is in a workspace, and these rows came from no connection to one`,
    );
  }
}

/** Whether the Volume of a path, or the catalog of the Volume, is a folder on this machine. */
async function isOnThisMachine(path: string): Promise<boolean> {
  const parts = path.split("/");
  for (const length of [5, 3]) {
    const folder = parts.slice(0, length).join("/");
    if (parts.length < length || Deno.permissions.querySync({ name: "read", path: folder }).state !== "granted") {
      continue;
    }
    const found = await Deno.stat(folder).catch(() => undefined); // the folder does not exist, or may not be seen
    if (found?.isDirectory) return true;
  }
  return false;
}

/** An entry of a folder. An entry without a size may be a link. */
export type ListedEntry = Pick<StoredEntry, "name" | "isFolder"> & Partial<StoredEntry>;

/** Files that can be read, on this machine or in a store. */
export interface ReadableFiles extends Pick<FileStore, "stat" | "openRanges"> {
  /** Lists a folder; empty if there is no such folder. */
  list(folder: string): Promise<ListedEntry[]>;
  /** Opens a file for reading from its start. */
  open(path: string): Promise<StoredBytes>;
  /** The path with links resolved, if the store has links. */
  realPath?(path: string): Promise<string>;
  /** Whether they are on this machine, so that workers can open them by their paths. */
  readonly isLocal: boolean;
}

/** The files of a store. */
function storedFiles(store: FileStore): ReadableFiles {
  return {
    isLocal: false,
    stat: (path) => store.stat(path),
    list: (folder) => store.list(folder),
    open: (path) => store.open(path),
    openRanges: (path) => store.openRanges(path),
  };
}

/** The files of this machine. */
export const LOCAL_FILES: ReadableFiles = {
  isLocal: true,
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

/** The number of bytes that are read at once. A larger buffer is no faster. */
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
    // Synchronous calls, between which no other reader can move the position.
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
