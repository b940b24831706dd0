import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { LakebaseError } from "../../core/errors.ts";
import { until } from "../../sql/stop.ts";
import type { Sink } from "./target.ts";

/** Characters of the target's name in that of the file beside it. */
const NAME_LENGTH = 40;
/** Bytes after which what is written is sent on to the disk, while more comes: all of it at the end would be a wait. */
const SYNC_BYTES = 8 * 1024 * 1024;

/**
 * Opens a file to write. The bytes go into a hidden file beside it, which takes its place when it is whole; until then, and
 * when that fails, what is there stays as it is. Into what is no ordinary file, such as a pipe, they go at once.
 *
 * @param path Where.
 * @param signal Ends the wait for who reads a pipe.
 * @throws {LakebaseError} `BAD_FILE` where that can't be.
 */
export async function openFileTarget(path: string, signal: AbortSignal | undefined): Promise<Sink> {
  if (path.endsWith("/")) throw badFile(path, "it ends in / as the name of a folder does; name a file");
  const found = await Deno.stat(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw cannotWrite(path, error);
  });
  if (found?.isDirectory) {
    throw badFile(path, `it is a folder; name a file in it, or several as ${JSON.stringify(`${path}/`)}`);
  }
  if (found === undefined) return await FileSink.open(path, await endOfLinks(path));
  const direct = await openDirect(path, signal);
  if (!found.isFile) return directSink(path, direct);
  direct.close();
  return await FileSink.open(path, await Deno.realPath(path), found.mode ?? undefined);
}

/** The file that isn't there, where links to it are. */
async function endOfLinks(path: string): Promise<string> {
  for (let place = path;;) {
    const link = await Deno.readLink(place).catch(() => undefined); // the usual: it is no link
    if (link === undefined) return place;
    place = resolve(await Deno.realPath(dirname(place)), link);
  }
}

/** Opens what is there. A pipe waits for who reads it. */
async function openDirect(path: string, signal: AbortSignal | undefined): Promise<Deno.FsFile> {
  const opening = Deno.open(path, { write: true });
  try {
    return await until(opening, signal);
  } catch (error) {
    if (!signal?.aborted) throw cannotWrite(path, error);
    // The system call can't be canceled, and would keep the program alive; a reader of our own has it return. Opened for
    // both, a pipe waits for nobody.
    const files = [opening, Deno.open(path, { read: true, write: true })];
    for (const file of files) file.then((file) => file.close(), () => {});
    throw error;
  }
}

/** What the system's errors say of a target. */
const STATES: Readonly<Record<string, string>> = {
  EROFS: "the file system is read only; name a place on another",
  ENAMETOOLONG: "the name is too long for the file system",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file system holds no file as large as that",
  EISDIR: "a folder is in its place",
};

/**
 * An error of a file that can't be written.
 *
 * @param folder Where it is to be.
 */
export function cannotWrite(path: string, cause: unknown, folder: string = dirname(path)): LakebaseError {
  const { message, code = "" } = (cause instanceof Error ? cause : new Error(String(cause))) as Error & {
    code?: string;
  };
  const { NotFound, NotADirectory, PermissionDenied } = Deno.errors;
  const is = (error: new (...of: never[]) => Error, ...codes: string[]) =>
    cause instanceof error || codes.includes(code);
  if (is(NotFound, "ENOENT")) return badFile(path, `there is no folder ${folder}; make it first`, cause);
  if (is(NotADirectory, "ENOTDIR")) return badFile(path, `${folder} is no folder`, cause);
  if (is(PermissionDenied, "EACCES", "EPERM")) return badFile(path, "no permission to write there", cause);
  return badFile(
    path,
    STATES[code] ?? message.replace(/^E[A-Z]+: |(?: \(os error \d+\)|, (?:open|write|fsync|fchmod)\b).*$/gs, ""),
    cause,
  ); // the rest names the hidden file
}

function badFile(path: string, state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot write ${path}: ${state}`, { cause });
}

class FileSink implements Sink {
  readonly name: string;
  readonly path: string;
  readonly outcome: string;
  readonly #place: string;
  readonly #unfinished: string;
  readonly #file: FileHandle;
  /** Which file it is, whatever has its name at the end. */
  readonly #inode: number;
  #open = true;
  #unsynced = 0;
  #syncing: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;

  private constructor(path: string, place: string, unfinished: string, file: FileHandle, inode: number) {
    this.name = basename(path);
    this.path = path;
    this.outcome = `they were removed, and ${path} is as it was`;
    this.#place = place;
    this.#unfinished = unfinished;
    this.#file = file;
    this.#inode = inode;
  }

  static async open(path: string, place: string, mode?: number): Promise<FileSink> {
    const folder = dirname(place);
    const part = crypto.randomUUID().slice(0, 8);
    const unfinished = join(folder, `.${basename(place).slice(0, NAME_LENGTH)}.${part}.part`);
    // Whoever may not read the file that is replaced can't read this one either, from its first byte on. No set-user-ID bit
    // goes over: it was given to what was in the file before.
    const permissions = mode === undefined ? undefined : mode & 0o777;
    try {
      const file = await open(unfinished, "wx", permissions);
      watchUnfinished(unfinished);
      try {
        // By its handle, since others may put a link in its place in the folder; the umask may have taken bits away.
        if (permissions !== undefined && Deno.build.os !== "windows") await file.chmod(permissions);
        return new FileSink(path, place, unfinished, file, (await file.stat()).ino);
      } catch (error) {
        await file.close();
        await Deno.remove(unfinished).catch(() => {}); // there is a better error
        forgetUnfinished(unfinished);
        throw error;
      }
    } catch (error) {
      throw cannotWrite(path, error, folder);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    await writeAll({ write: async (piece) => (await this.#file.write(piece)).bytesWritten }, bytes, this.path);
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
        throw badFile(this.path, "something has put another file in place of the hidden one beside it");
      }
      await Deno.rename(this.#unfinished, this.#place);
      forgetUnfinished(this.#unfinished);
    } catch (error) {
      if (error instanceof LakebaseError) throw error;
      if (!(error instanceof Deno.errors.NotFound)) throw cannotWrite(this.path, error);
      throw badFile(this.path, "what was written is gone: something has removed the hidden file beside it", error);
    }
  }

  async abort(): Promise<void> {
    await this.#close().catch(() => {}); // what it may say belongs to a file that goes
    await this.#syncing;
    await Deno.remove(this.#unfinished).catch(() => {}); // there is a better error than that it was gone already
    forgetUnfinished(this.#unfinished);
  }

  /** By a handle of its own: on the other one, writes would wait for it. */
  async #sync(): Promise<void> {
    this.#unsynced = 0;
    const flags = constants.O_WRONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
    const file = await open(this.#unfinished, flags).catch(() => undefined); // gone: the end tells that
    try {
      await file?.datasync();
    } catch (error) {
      this.#failure ??= { error }; // a system may tell it once
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

/** What is there already and can't be replaced: a pipe, a terminal, `/dev/null`. */
function directSink(path: string, file: Deno.FsFile): Sink {
  return {
    name: basename(path),
    path,
    outcome: `what ${path} was given is not whole`,
    write: (bytes) => writeAll(file, bytes, path),
    commit: () => Promise.resolve(file.close()),
    abort: () => Promise.resolve(file.close()),
  };
}

/** Writes all of it: a system call may write less. */
export async function writeAll(
  to: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
  path: string,
): Promise<void> {
  try {
    for (let at = 0; at < bytes.length;) at += await to.write(at === 0 ? bytes : bytes.subarray(at));
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** Signals that end a program. */
const ENDING_SIGNAL_NAMES: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGINT", "SIGTERM", "SIGHUP"];

/** Paths of files that are not whole yet. */
const files = new Set<string>();

/**
 * Removes a file when the program ends before it is whole, by itself or by a signal. What a signal would do without us, it
 * does: where the program listens to it too, that is the program's matter, and the writing goes on.
 */
export function watchUnfinished(path: string): void {
  if (files.size === 0) {
    globalThis.addEventListener("unload", removeAll);
    if (boundSignals() !== undefined) { for (const end of ENDING_SIGNALS) end.listen(); }
  }
  files.add(path);
}

/** The file is whole, or was removed. */
export function forgetUnfinished(path: string): void {
  if (!files.delete(path) || files.size > 0) return;
  globalThis.removeEventListener("unload", removeAll);
  for (const end of ENDING_SIGNALS) end.unlisten();
}

/** A signal that ends the program, unless the program itself listens to it. */
class EndingSignal {
  readonly #signal: Deno.Signal;
  /** Whether another listener was there before this one. */
  #joined = false;

  constructor(signal: Deno.Signal) {
    this.#signal = signal;
  }

  listen(): void {
    const bound = boundSignals();
    Deno.addSignalListener(this.#signal, this.#onSignal);
    this.#joined = boundSignals() === bound;
  }

  unlisten(): void {
    Deno.removeSignalListener(this.#signal, this.#onSignal);
  }

  /**
   * One that was there before has been called by now, and may have been for one time; one that came later is still there. Where
   * the earlier one has left without a signal, the first signal is taken for its, and only the second ends the program.
   */
  readonly #onSignal = (): void => {
    const bound = boundSignals();
    this.unlisten();
    if (!this.#joined && boundSignals() !== bound) {
      removeAll();
      Deno.kill(Deno.pid, this.#signal); // with its usual effect now
      return;
    }
    // Not at once: Deno calls listeners that are added while it calls them.
    queueMicrotask(() => files.size > 0 && this.listen());
  };
}

const ENDING_SIGNALS = ENDING_SIGNAL_NAMES.map((signal) => new EndingSignal(signal));

/**
 * How many signals are listened to; a second listener of the same one adds none. Deno takes a listener for a handler that
 * replaces the signal's usual effect, and has no public way to tell whether there are others. To guess would end a program
 * that had asked to go on, or call its listeners twice.
 *
 * @returns `undefined` where that can't be told: in a worker, which sees its own listeners only, or in a Deno that has hidden
 * it. Signals are left alone then, and one that ends the program leaves the file, hidden, as SIGKILL does.
 */
function boundSignals(): number | undefined {
  if ("WorkerGlobalScope" in globalThis) return undefined;
  const deno = Deno as unknown as { internal: symbol } & Record<symbol, Hidden | undefined>;
  const resources = deno[deno.internal]?.core?.resources?.();
  return resources && Object.values(resources).filter((name) => name === "signal").length;
}

interface Hidden {
  core?: { resources?(): Record<string, string> };
}

function removeAll(): void {
  for (const path of files) {
    try {
      Deno.removeSync(path, { recursive: true });
    } catch {
      // The program is ending; there is nobody to tell.
    }
  }
}
