import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { LakebaseError } from "../../core/errors.ts";
import { until } from "../../sql/stop.ts";
import type { Sink } from "./target.ts";

/** After this many bytes the file is synced while more bytes arrive, so that less is left to sync at the end. */
const SYNC_BYTES = 8 * 1024 * 1024;

/**
 * Opens a file for writing. The bytes are written to a hidden file beside the target, which replaces the target when it
 * is complete. Until then, and after a failure, the target stays unchanged. Bytes for a pipe or a device are written
 * directly to it.
 *
 * @param path The target.
 * @param signal Ends the wait for the reader of a pipe.
 * @throws {LakebaseError} `BAD_FILE` for a target that can't be written.
 */
export async function openFileTarget(path: string, signal: AbortSignal | undefined): Promise<Sink> {
  if (path.endsWith("/")) throw badTarget(path, "a name that ends in / is that of a folder; name a file");
  const info = await Deno.stat(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw cannotWrite(path, error);
  });
  if (info?.isDirectory) {
    throw badTarget(
      path,
      `it is a folder; name a file in it, or write several files with ${JSON.stringify(`${path}/`)}`,
    );
  }
  if (info === undefined) return await FileSink.open(path, await endOfLinks(path));
  const file = await openExisting(path, signal);
  if (!info.isFile) return directSink(path, file);
  file.close();
  return await FileSink.open(path, await Deno.realPath(path), info.mode ?? undefined);
}

/** The path to which the links of a file that does not exist lead. */
async function endOfLinks(path: string): Promise<string> {
  for (let target = path;;) {
    const link = await Deno.readLink(target).catch(() => undefined); // the target is not a link
    if (link === undefined) return target;
    target = resolve(await Deno.realPath(dirname(target)), link);
  }
}

/** Opens an existing target. Opening a pipe waits for its reader. */
async function openExisting(path: string, signal: AbortSignal | undefined): Promise<Deno.FsFile> {
  const opening = Deno.open(path, { write: true });
  try {
    return await until(opening, signal);
  } catch (error) {
    if (!signal?.aborted) throw cannotWrite(path, error);
    // The system call can't be canceled, and would keep the program alive. It returns once the pipe has a reader. So
    // the pipe is opened here for both reading and writing, which does not wait.
    const files = [opening, Deno.open(path, { read: true, write: true })];
    for (const file of files) file.then((file) => file.close(), () => {}); // nothing to close
    throw error;
  }
}

/** The meaning of the system's error codes for a target. */
const STATES: Readonly<Record<string, string>> = {
  EROFS: "the file system is read-only; choose a path on another one",
  ENAMETOOLONG: "the name is too long for the file system",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file is too large for the file system",
  EISDIR: "there is a folder of that name",
};

/** The parts of the system's message before and after its own words. They have the name of the hidden file. */
const SYSTEM_DETAILS = /^E[A-Z]+: |(?: \(os error \d+\)|, (?:open|write|fsync|fchmod)\b).*$/gs;

/**
 * Makes the error for a target that the system refuses to write.
 *
 * @param folder The folder of the target.
 */
export function cannotWrite(path: string, cause: unknown, folder: string = dirname(path)): LakebaseError {
  const error: Error & { code?: string } = cause instanceof Error ? cause : new Error(String(cause));
  const { message, code = "" } = error;
  const { NotFound, NotADirectory, PermissionDenied } = Deno.errors;
  const is = (type: new (...options: never[]) => Error, ...codes: string[]) =>
    cause instanceof type || codes.includes(code);
  if (is(NotFound, "ENOENT")) return badTarget(path, `there is no folder ${folder}; make it first`, cause);
  if (is(NotADirectory, "ENOTDIR")) return badTarget(path, `${folder} is not a folder`, cause);
  if (is(PermissionDenied, "EACCES", "EPERM")) return badTarget(path, "no permission to write there", cause);
  return badTarget(path, STATES[code] ?? message.replace(SYSTEM_DETAILS, ""), cause);
}

/**
 * Makes the error for a file or a folder that a pull can't write.
 *
 * @param state What is wrong, as the end of a sentence.
 */
export function badTarget(path: string, state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot write ${path}: ${state}`, { cause });
}

class FileSink implements Sink {
  readonly name: string;
  readonly path: string;
  readonly outcome: string;
  /** The target, with links resolved. */
  readonly #target: string;
  /** The hidden file. */
  readonly #unfinished: string;
  readonly #file: FileHandle;
  /** Identifies the hidden file, in case its name leads to another file at the end. */
  readonly #inode: number;
  #open = true;
  #unsynced = 0;
  #syncing: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;

  private constructor(path: string, target: string, unfinished: string, file: FileHandle, inode: number) {
    this.name = basename(path);
    this.path = path;
    this.outcome = `they were removed, and ${path} is as it was`;
    this.#target = target;
    this.#unfinished = unfinished;
    this.#file = file;
    this.#inode = inode;
  }

  static async open(path: string, target: string, mode?: number): Promise<FileSink> {
    const unfinished = await hiddenPath(target);
    // The hidden file has the target's permissions from its first byte on, so that nobody else can read it. The set-user-ID
    // bit is left out, because it was granted to the old content.
    const permissions = mode === undefined ? undefined : mode & 0o777;
    try {
      const file = await open(unfinished, "wx", permissions);
      try {
        await registerUnfinished(unfinished);
        // The umask may have removed bits. This uses the handle, because others may replace the name by a link.
        if (permissions !== undefined && Deno.build.os !== "windows") await file.chmod(permissions);
        return new FileSink(path, target, unfinished, file, (await file.stat()).ino);
      } catch (error) {
        await file.close();
        await Deno.remove(unfinished).catch(() => {}); // the first error is thrown
        unregisterUnfinished(unfinished);
        throw error;
      }
    } catch (error) {
      throw cannotWrite(path, error, dirname(target));
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    await writeAll({ write: async (rest) => (await this.#file.write(rest)).bytesWritten }, bytes, this.path);
    this.#unsynced += bytes.length;
    if (this.#unsynced >= SYNC_BYTES) this.#syncing ??= this.#sync();
  }

  async flush(): Promise<void> {
    try {
      await this.#syncing;
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#open) await this.#file.sync();
      await this.#close();
    } catch (error) {
      throw cannotWrite(this.path, error);
    }
  }

  async commit(): Promise<void> {
    await this.flush();
    try {
      if ((await Deno.lstat(this.#unfinished)).ino !== this.#inode) {
        throw badTarget(this.path, "another program has replaced the hidden file beside it");
      }
      await Deno.rename(this.#unfinished, this.#target);
      unregisterUnfinished(this.#unfinished);
    } catch (error) {
      if (error instanceof LakebaseError) throw error;
      if (!(error instanceof Deno.errors.NotFound)) throw cannotWrite(this.path, error);
      throw badTarget(this.path, "another program has removed the hidden file beside it", error);
    }
  }

  async abort(): Promise<void> {
    await this.#close().catch(() => {}); // the file is removed anyway
    await this.#syncing;
    await Deno.remove(this.#unfinished).catch(() => {}); // it may be gone already
    unregisterUnfinished(this.#unfinished);
  }

  /** Syncs through another handle, because writes on the same handle would wait. */
  async #sync(): Promise<void> {
    this.#unsynced = 0;
    const flags = constants.O_WRONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
    const file = await open(this.#unfinished, flags).catch(() => undefined); // commit() reports that the file was removed
    try {
      await file?.datasync();
    } catch (error) {
      this.#failure ??= { error }; // the system may report it only once
    }
    await file?.close();
    this.#syncing = undefined;
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#file.close();
  }
}

/** Writes to a target that can't be replaced: a pipe, a terminal, `/dev/null`. */
function directSink(path: string, file: Deno.FsFile): Sink {
  return {
    name: basename(path),
    path,
    outcome: `${path} got only a part of them`,
    write: (bytes) => writeAll(file, bytes, path),
    commit: () => Promise.resolve(file.close()),
    abort: () => Promise.resolve(file.close()),
  };
}

/** Writes all bytes, because a system call may write only some of them. */
export async function writeAll(
  file: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
  path: string,
): Promise<void> {
  try {
    for (let at = 0; at < bytes.length;) at += await file.write(at === 0 ? bytes : bytes.subarray(at));
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** The most characters of the target's name in the name of the hidden file. */
const NAME_LENGTH = 40;
/** The age, in milliseconds, below which a file is left alone: its pull may not have locked it yet. */
const YOUNG_MS = 10_000;

/** The paths of incomplete files and folders, with the locks that show this to other pulls. */
const registered = new Map<string, Deno.FsFile | undefined>();

/**
 * Chooses the path of a hidden file or folder beside a target. Removes hidden files that earlier pulls to the target
 * left behind because a signal ended their program. Such a program can't remove anything, and a library that listens to
 * signals would change their effect.
 *
 * @param target The target, with links resolved.
 */
export async function hiddenPath(target: string): Promise<string> {
  const folder = dirname(target);
  const prefix = `.${basename(target).slice(0, NAME_LENGTH)}.`;
  await removeLeftovers(folder, prefix);
  return join(folder, `${prefix}${crypto.randomUUID().slice(0, 8)}.part`);
}

/**
 * Locks a hidden file or folder. If the program exits before {@linkcode unregisterUnfinished}, the file or folder is
 * removed; a signal that ends the program leaves it behind.
 */
export async function registerUnfinished(path: string): Promise<void> {
  if (registered.size === 0) globalThis.addEventListener("unload", removeAll);
  registered.set(path, undefined);
  registered.set(path, await lock(path));
}

/** Undoes {@linkcode registerUnfinished}, because the file is complete or was removed. */
export function unregisterUnfinished(path: string): void {
  registered.get(path)?.close();
  if (registered.delete(path) && registered.size === 0) globalThis.removeEventListener("unload", removeAll);
}

async function removeLeftovers(folder: string, prefix: string): Promise<void> {
  if (Deno.permissions.querySync({ name: "read", path: folder }).state !== "granted") return;
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (!name.startsWith(prefix) || !/^[0-9a-f]{8}\.part$/.test(name.slice(prefix.length))) continue;
      await removeLeftover(join(folder, name)).catch(() => {}); // someone else removed or owns the file
    }
  } catch {
    // The folder does not exist or can't be listed. If that matters, the pull reports it.
  }
}

async function removeLeftover(path: string): Promise<void> {
  const { isFile, isDirectory, mtime } = await Deno.lstat(path);
  if (!isFile && !isDirectory || Date.now() - Number(mtime ?? Date.now()) < YOUNG_MS) return;
  using locked = await lock(path);
  if (locked !== undefined) await Deno.remove(path, { recursive: true });
}

/**
 * Locks a file or a folder while it is open. The system releases the lock when the program ends.
 *
 * @returns `undefined` if another program has the lock, or if there are no locks: on some network file systems, and on
 * Windows, where a lock would prevent the writing.
 */
async function lock(path: string): Promise<Deno.FsFile | undefined> {
  if (Deno.build.os === "windows") return undefined;
  if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return undefined;
  let file: Deno.FsFile | undefined;
  try {
    file = await Deno.open(path, { read: true });
    if (await file.tryLock(true)) return file;
  } catch {
    // Without a lock, no pull removes the file.
  }
  file?.close();
  return undefined;
}

function removeAll(): void {
  for (const path of registered.keys()) {
    try {
      Deno.removeSync(path, { recursive: true });
    } catch {
      // The program is ending: nobody would see the error.
    }
  }
}
