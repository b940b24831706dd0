import { basename, dirname, join } from "node:path";

/** The most characters of the target's name in the name of the hidden file. */
const NAME_LENGTH = 40;
/** A file that was changed less than this long ago is left alone: its pull may not have locked it yet. */
const YOUNG_MS = 10_000;

/** The paths of what is not complete yet, with the locks that tell other pulls so. */
const unfinished = new Map<string, Deno.FsFile | undefined>();

/**
 * Chooses the path of a hidden file or folder beside a target. Removes those that earlier pulls to the target left behind because
 * a signal ended their program: a program that ends by a signal can't remove anything, and a library that listens to signals
 * would change what they do.
 *
 * @param target The target, with links resolved.
 */
export async function hiddenPath(target: string): Promise<string> {
  const folder = dirname(target);
  const prefix = `.${basename(target).slice(0, NAME_LENGTH)}.`;
  await removeLeftovers(folder, prefix);
  return join(folder, `${prefix}${crypto.randomUUID().slice(0, 8)}.part`);
}

/** Locks a hidden file or folder, and removes it if the program ends by itself before {@linkcode forgetUnfinished}. */
export async function watchUnfinished(path: string): Promise<void> {
  if (unfinished.size === 0) globalThis.addEventListener("unload", removeAll);
  unfinished.set(path, undefined);
  unfinished.set(path, await lock(path));
}

/** Ends {@linkcode watchUnfinished}: the file is complete, or was removed. */
export function forgetUnfinished(path: string): void {
  unfinished.get(path)?.close();
  if (unfinished.delete(path) && unfinished.size === 0) globalThis.removeEventListener("unload", removeAll);
}

async function removeLeftovers(folder: string, prefix: string): Promise<void> {
  if (Deno.permissions.querySync({ name: "read", path: folder }).state !== "granted") return;
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (!name.startsWith(prefix) || !/^[0-9a-f]{8}\.part$/.test(name.slice(prefix.length))) continue;
      await removeLeftover(join(folder, name)).catch(() => {}); // somebody else removed it, or owns it
    }
  } catch {
    // The folder is not there, or can't be listed. The pull reports what matters of that.
  }
}

async function removeLeftover(path: string): Promise<void> {
  const { isFile, isDirectory, mtime } = await Deno.lstat(path);
  if (!isFile && !isDirectory || Date.now() - Number(mtime ?? Date.now()) < YOUNG_MS) return;
  using locked = await lock(path);
  if (locked !== undefined) await Deno.remove(path, { recursive: true });
}

/**
 * Locks a file or a folder while it is open. The system takes the lock away when the program ends.
 *
 * @returns `undefined` if another program has the lock, or where there are none: on some network file systems, and on Windows,
 * where a lock would stop the writing.
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
  for (const path of unfinished.keys()) {
    try {
      Deno.removeSync(path, { recursive: true });
    } catch {
      // The program is ending: nobody would see the error.
    }
  }
}
