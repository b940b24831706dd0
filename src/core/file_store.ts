/** A file or a folder in a {@linkcode FileStore}. */
export interface StoredEntry {
  /** Its name, without its folder. */
  name: string;
  /** Whether it is a folder. */
  isFolder: boolean;
  /** Its size in bytes; 0 for a folder. */
  size: number;
  /** When it was last written, in milliseconds since 1970; 0 if the store does not know. */
  written: number;
}

/** The bytes of a file, from its start to its end. */
export interface StoredBytes {
  /** The number of bytes; `undefined` if unknown. */
  readonly size: number | undefined;
  /** The bytes; can be read once. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Ends the reading. */
  close(): Promise<void>;
}

/** The bytes of a file, read in parts. */
export interface StoredRanges {
  /** The number of bytes. */
  readonly size: number;
  /** Reads bytes into a buffer that the caller may keep; fewer bytes if the file ends earlier. */
  read(from: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Ends the reading. */
  close(): Promise<void>;
}

/** A file that is being written. It is complete after `close`, and does not exist before. */
export interface FileWriter {
  /** Writes bytes, which must not change afterwards, and waits until more can be written. */
  write(bytes: Uint8Array): Promise<void>;
  /** Completes the file. */
  close(): Promise<void>;
  /**
   * Ends the writing, and removes what was written. Never fails.
   *
   * @returns Whether the store is certain that it left nothing behind, and that a file which it would have replaced is
   * unchanged.
   */
  abort(): Promise<boolean>;
}

/**
 * Files that are not on this machine, such as those in the Volumes of a workspace. All paths are absolute. All errors
 * are `LakebaseError`s that name the path.
 */
export interface FileStore {
  /** Describes the entry at a path; `undefined` if there is none. */
  stat(path: string): Promise<StoredEntry | undefined>;
  /** Lists the entries of a folder; empty if there is no such folder. */
  list(folder: string): Promise<StoredEntry[]>;
  /** Opens a file for reading from its start. */
  open(path: string): Promise<StoredBytes>;
  /** Opens a file for reading parts of it. All parts are of the same version of the file. */
  openRanges(path: string): Promise<StoredRanges>;
  /**
   * Begins to write a file. Makes its folders.
   *
   * @param old The file to replace. Without it, writing fails if a file of this name exists.
   */
  create(path: string, old: StoredEntry | undefined): FileWriter;
  /** Removes a file, which may be gone already. */
  remove(path: string): Promise<void>;
  /** Makes a folder and its parents, which may exist already. */
  makeFolder(path: string): Promise<void>;
  /** Removes an empty folder. */
  removeFolder(path: string): Promise<void>;
}

/** A path in a Volume of Unity Catalog. */
export interface VolumePath {
  /** The full name of the Volume, such as `main.raw.landing`. */
  volume: string;
  /** The path of the Volume, such as `/Volumes/main/raw/landing`. */
  root: string;
  /** The names below the Volume; none for the Volume itself. */
  names: string[];
}

/** Whether a path begins like the path of a Volume. */
export function isVolumePath(path: string): boolean {
  return /^\/Volumes(?:\/|$)/.test(path);
}

/**
 * Reads a path in a Volume. Like a file system, it ignores empty parts and `.`.
 *
 * @returns The parts of the path; or, as the end of a sentence, what is wrong with the path.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(readVolumePath("/Volumes/main/raw/landing/2025/trips.csv"), {
 *   volume: "main.raw.landing",
 *   root: "/Volumes/main/raw/landing",
 *   names: ["2025", "trips.csv"],
 * });
 * ```
 */
export function readVolumePath(path: string): VolumePath | string {
  const [, ...parts] = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) return "the path of a file in a Volume has no ..";
  if (!path.isWellFormed()) return "its name has half a character (a lone surrogate)";
  const [catalog, schema, volume, ...names] = parts;
  if (catalog === undefined || schema === undefined || volume === undefined) {
    return "the path of a Volume is /Volumes/catalog/schema/volume";
  }
  return { volume: `${catalog}.${schema}.${volume}`, root: `/Volumes/${catalog}/${schema}/${volume}`, names };
}
