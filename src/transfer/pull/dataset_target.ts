import { dirname } from "node:path";
import { LakebaseError, optionText } from "../../core/errors.ts";
import type { FileWriter } from "../../core/file_store.ts";
import { withoutEndSlashes } from "../../core/text.ts";
import { cannotWrite, forgetUnfinished, hiddenPath, watchUnfinished, writeAll } from "./file_target.ts";

/** The target of a dataset's files. Either all of them appear, or none. */
export interface DatasetTarget {
  /** What happened to the written files after a failure, as the end of a sentence. */
  readonly outcome: string;
  /** A text that follows the numbers in the names of the files. */
  readonly suffix: string;
  /** Begins to write a file. */
  create(name: string): Promise<FileWriter>;
  /** Marks the dataset as complete, and replaces an older one. */
  commit(): Promise<void>;
  /** Removes what was written. */
  abort(): Promise<void>;
}

/** The last file of a dataset. Hadoop and Spark take it as the mark that the dataset is complete. */
export const SUCCESS = "_SUCCESS";

/** The names of files of a dataset, and of folders of its partitions. */
const DATASET_NAME = /^(?:[_.]|part-)|=/;

/**
 * Refuses a folder whose files can't be replaced.
 *
 * @param names The names in it.
 * @throws {LakebaseError} `BAD_FILE`.
 */
export function expectDataset(path: string, names: readonly string[], replace: boolean): void {
  if (names.length === 0) return;
  if (!replace) {
    throw badFolder(
      path,
      `it is a folder with files in it; use ${optionText({ replace: true })}, or choose another name`,
    );
  }
  const other = names.find((name) => !DATASET_NAME.test(name));
  if (other === undefined) return;
  throw badFolder(
    path,
    `it has the file ${other} in it, which does not belong to a dataset; only a dataset is replaced`,
  );
}

export function badFolder(path: string, state: string): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot write ${path}: ${state}`);
}

/**
 * A dataset on this machine. The files are written to a hidden folder beside the target. When the dataset is complete,
 * that folder replaces the target, which stays unchanged until then.
 */
export class HiddenFolder implements DatasetTarget {
  readonly suffix = "";
  readonly outcome: string;
  readonly #name: string;
  /** The target, with links resolved. */
  readonly #target: string;
  /** The hidden folder. */
  readonly #unfinished: string;
  readonly #replacing: boolean;
  readonly #open = new Set<Deno.FsFile>();

  private constructor(name: string, target: string, unfinished: string, replacing: boolean) {
    this.outcome = `they were removed, and ${name} is as it was`;
    this.#name = name;
    this.#target = target;
    this.#unfinished = unfinished;
    this.#replacing = replacing;
  }

  static async open(path: string, replacing: boolean): Promise<HiddenFolder> {
    const target = await resolveFolder(path, replacing);
    const folder = dirname(target);
    const unfinished = await hiddenPath(target);
    try {
      // The hidden folder has the target's permissions, so that nobody else can look into it.
      const { mode } = await Deno.stat(target).catch(() => ({ mode: null })); // the target does not exist yet
      await Deno.mkdir(unfinished, mode === null ? {} : { mode: mode & 0o777 });
    } catch (error) {
      throw cannotWrite(path, error, folder);
    }
    await watchUnfinished(unfinished);
    return new HiddenFolder(path, target, unfinished, replacing);
  }

  async create(name: string): Promise<FileWriter> {
    const path = `${withoutEndSlashes(this.#name)}/${name}`;
    const folder = dirname(name);
    const file = await inFile(path, async () => {
      if (folder !== ".") await Deno.mkdir(`${this.#unfinished}/${folder}`, { recursive: true });
      return await Deno.open(`${this.#unfinished}/${name}`, { write: true, createNew: true });
    });
    this.#open.add(file);
    return {
      write: (bytes) => writeAll(file, bytes, path),
      close: async () => {
        await inFile(path, () => file.sync());
        this.#close(file);
      },
      abort: () => {
        this.#close(file);
        return Promise.resolve(true);
      },
    };
  }

  async commit(): Promise<void> {
    await inFile(this.#name, async () => {
      await Deno.writeTextFile(`${this.#unfinished}/${SUCCESS}`, "", { createNew: true });
      await (this.#replacing ? this.#replace() : this.#rename());
    });
    forgetUnfinished(this.#unfinished);
  }

  async abort(): Promise<void> {
    for (const file of this.#open) this.#close(file);
    await Deno.remove(this.#unfinished, { recursive: true }).catch(() => {}); // the first error matters
    forgetUnfinished(this.#unfinished);
  }

  #close(file: Deno.FsFile): void {
    if (this.#open.delete(file)) file.close();
  }

  async #rename(): Promise<void> {
    await Deno.remove(this.#target).catch((error) => { // the target may be an empty folder
      if (!(error instanceof Deno.errors.NotFound)) throw cannotWrite(this.#name, error);
    });
    await Deno.rename(this.#unfinished, this.#target);
  }

  /** No system call replaces a folder with files in it, so the old folder is moved aside, and moved back after a failure. */
  async #replace(): Promise<void> {
    const oldFolder = `${this.#unfinished}.old`;
    const existed = await Deno.rename(this.#target, oldFolder).then(() => true, (error) => {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    });
    try {
      await Deno.rename(this.#unfinished, this.#target);
    } catch (error) {
      if (existed) await Deno.rename(oldFolder, this.#target);
      throw error;
    }
    if (existed) await Deno.remove(oldFolder, { recursive: true });
  }
}

async function inFile<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof LakebaseError ? error : cannotWrite(path, error);
  }
}

/** The path of the folder, with links resolved. */
async function resolveFolder(path: string, replace: boolean): Promise<string> {
  const bare = withoutEndSlashes(path) || path.slice(0, 1);
  const found = await Deno.stat(bare).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw cannotWrite(path, error);
  });
  if (found === undefined) return bare;
  if (!found.isDirectory) {
    throw badFolder(path, "a name that ends in / is that of a folder, and there is a file of that name");
  }
  const target = await Deno.realPath(bare);
  expectDataset(path, (await Array.fromAsync(Deno.readDir(target))).map(({ name }) => name), replace);
  return target;
}
