import { basename, dirname, join } from "node:path";
import { LakebaseError } from "../errors.ts";
import type { Sink } from "./target.ts";
import { forgetUnfinished, type Unfinished, watchUnfinished } from "./unfinished.ts";

/** Characters of the target's name in that of the file beside it. */
const NAME_LENGTH = 40;

/**
 * Opens a file to write. The bytes go into a hidden file beside it, which takes its place when it is whole; until then, and
 * when that fails, what is there stays as it is. Into what is no ordinary file, such as a pipe, they go at once.
 *
 * @param path Where.
 * @param signal What stops the writing.
 * @throws {LakebaseError} `BAD_FILE` where that can't be.
 */
export async function openFileTarget(path: string, signal: AbortSignal | undefined): Promise<Sink> {
  const found = await Deno.stat(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw cannotWrite(path, error);
  });
  if (found?.isDirectory) throw badFile(path, "it is a folder; name a file in it");
  if (found === undefined) return await FileSink.open(path, path, signal);
  const direct = await Deno.open(path, { write: true }).catch((error) => {
    throw cannotWrite(path, error);
  });
  if (!found.isFile) return directSink(path, direct);
  direct.close();
  return await FileSink.open(path, await Deno.realPath(path), signal, found.mode ?? undefined);
}

/** An error of a file that can't be written. */
export function cannotWrite(path: string, cause: unknown): LakebaseError {
  const folder = dirname(path);
  const { message, code } = (cause instanceof Error ? cause : new Error(String(cause))) as Error & { code?: string };
  if (cause instanceof Deno.errors.NotFound) return badFile(path, `there is no folder ${folder}; make it first`, cause);
  if (cause instanceof Deno.errors.NotADirectory) return badFile(path, `${folder} is no folder`, cause);
  if (cause instanceof Deno.errors.PermissionDenied) return badFile(path, `no permission to write there`, cause);
  if (code === "ENOSPC" || /os error 28\b/.test(message)) return badFile(path, "the disk is full", cause);
  return badFile(path, message, cause);
}

function badFile(path: string, state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot write ${path}: ${state}`, { cause });
}

class FileSink implements Sink {
  readonly name: string;
  readonly path: string;
  readonly outcome: string;
  readonly #place: string;
  readonly #unfinished: Unfinished;
  readonly #file: Deno.FsFile;
  #open = true;

  private constructor(path: string, place: string, unfinished: Unfinished, file: Deno.FsFile) {
    this.name = basename(path);
    this.path = path;
    this.outcome = `they were removed, and ${path} is as it was`;
    this.#place = place;
    this.#unfinished = unfinished;
    this.#file = file;
  }

  static async open(path: string, place: string, signal: AbortSignal | undefined, mode?: number): Promise<FileSink> {
    const part = crypto.randomUUID().slice(0, 8);
    const unfinished = { path: join(dirname(place), `.${basename(place).slice(0, NAME_LENGTH)}.${part}.part`), signal };
    try {
      const file = await Deno.open(unfinished.path, { write: true, createNew: true });
      watchUnfinished(unfinished);
      const sink = new FileSink(path, place, unfinished, file);
      if (mode !== undefined && Deno.build.os !== "windows") await sink.#keepMode(mode);
      return sink;
    } catch (error) {
      throw cannotWrite(path, error);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    await writeAll(this.#file, bytes, this.path);
  }

  async flush(): Promise<void> {
    try {
      if (this.#open) await this.#file.sync();
      this.#close();
    } catch (error) {
      throw cannotWrite(this.path, error);
    }
  }

  async commit(): Promise<void> {
    await this.flush();
    try {
      await Deno.rename(this.#unfinished.path, this.#place);
      forgetUnfinished(this.#unfinished);
    } catch (error) {
      throw cannotWrite(this.path, error);
    }
  }

  async abort(): Promise<void> {
    this.#close();
    await Deno.remove(this.#unfinished.path).catch(() => {}); // there is a better error than that it was gone already
    forgetUnfinished(this.#unfinished);
  }

  async #keepMode(mode: number): Promise<void> {
    try {
      await Deno.chmod(this.#unfinished.path, mode & 0o7777);
    } catch (error) {
      await this.abort();
      throw error;
    }
  }

  #close(): void {
    if (this.#open) this.#file.close();
    this.#open = false;
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
