import { dirname } from "node:path";
import { LakebaseError, optionText } from "../../core/errors.ts";
import type { FileStore, FileWriter, StoredEntry } from "../../core/file_store.ts";
import { withoutEndSlashes } from "../../core/text.ts";
import {
  badTarget,
  cannotWrite,
  hiddenPath,
  registerUnfinished,
  unregisterUnfinished,
  writeAll,
} from "./file_target.ts";

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
const SUCCESS = "_SUCCESS";

/** The names of a dataset's files, and of its partitions' folders. */
const DATASET_NAME = /^(?:[_.]|part-)|=/;

/**
 * Refuses a folder whose files must not be replaced.
 *
 * @param names The names in the folder.
 * @throws {LakebaseError} `BAD_FILE`.
 */
function expectReplaceable(path: string, names: readonly string[], replace: boolean): void {
  if (names.length === 0) return;
  if (!replace) {
    throw badTarget(
      path,
      `it is a folder with files in it; use ${optionText({ replace: true })}, or choose another name`,
    );
  }
  const other = names.find((name) => !DATASET_NAME.test(name));
  if (other === undefined) return;
  throw badTarget(
    path,
    `it has the file ${other} in it, which does not belong to a dataset; only a dataset is replaced`,
  );
}

function badFolderName(path: string): LakebaseError {
  return badTarget(path, "a name that ends in / is that of a folder, and there is a file of that name");
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
    await registerUnfinished(unfinished);
    return new HiddenFolder(path, target, unfinished, replacing);
  }

  async create(name: string): Promise<FileWriter> {
    const path = `${withoutEndSlashes(this.#name)}/${name}`;
    const folder = dirname(name);
    const file = await namingPath(path, async () => {
      if (folder !== ".") await Deno.mkdir(`${this.#unfinished}/${folder}`, { recursive: true });
      return await Deno.open(`${this.#unfinished}/${name}`, { write: true, createNew: true });
    });
    this.#open.add(file);
    return {
      write: (bytes) => writeAll(file, bytes, path),
      close: async () => {
        await namingPath(path, () => file.sync());
        this.#close(file);
      },
      abort: () => {
        this.#close(file);
        return Promise.resolve(true);
      },
    };
  }

  async commit(): Promise<void> {
    await namingPath(this.#name, async () => {
      await Deno.writeTextFile(`${this.#unfinished}/${SUCCESS}`, "", { createNew: true });
      await (this.#replacing ? this.#replace() : this.#rename());
    });
    unregisterUnfinished(this.#unfinished);
  }

  async abort(): Promise<void> {
    for (const file of this.#open) this.#close(file);
    await Deno.remove(this.#unfinished, { recursive: true }).catch(() => {}); // the first error is thrown
    unregisterUnfinished(this.#unfinished);
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

/** Runs some work on a file. A failure of the system becomes an error that names the path. */
async function namingPath<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof LakebaseError ? error : cannotWrite(path, error);
  }
}

/** The path of the folder, with links resolved. */
async function resolveFolder(path: string, replace: boolean): Promise<string> {
  const bare = withoutEndSlashes(path) || path.slice(0, 1);
  const info = await Deno.stat(bare).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw cannotWrite(path, error);
  });
  if (info === undefined) return bare;
  if (!info.isDirectory) throw badFolderName(path);
  const target = await Deno.realPath(bare);
  expectReplaceable(path, (await Array.fromAsync(Deno.readDir(target))).map(({ name }) => name), replace);
  return target;
}

/**
 * A dataset in a store that can't rename folders. The files are written to their final places, and `_SUCCESS` marks the
 * dataset as complete. With `replace`, the new files have other names and stand beside the old ones until all are
 * complete. Meanwhile the folder has no `_SUCCESS`.
 */
export class StoredFolder implements DatasetTarget {
  readonly suffix: string;
  readonly #store: FileStore;
  readonly #path: string;
  /** The files to replace. */
  readonly #old: readonly string[];
  /** The folders that existed before. */
  readonly #oldFolders: ReadonlySet<string>;
  readonly #written: string[] = [];
  /** The folders of the files that were written. */
  readonly #folders = new Set<string>();
  readonly #open = new Set<FileWriter>();
  #successRemoved = false;
  #state: "writing" | "replacing" | "done" = "writing";

  private constructor(store: FileStore, path: string, old: readonly string[], folders: ReadonlySet<string>) {
    this.#store = store;
    this.#path = path;
    this.#old = old;
    this.#oldFolders = folders;
    this.suffix = old.length === 0 ? "" : `-${crypto.randomUUID().slice(0, 8)}`;
  }

  /**
   * Examines the folder without changing anything.
   *
   * @throws {LakebaseError} `BAD_FILE` if a file has that name, or the folder has files that do not belong to a
   * dataset.
   */
  static async open(store: FileStore, path: string, replace: boolean): Promise<StoredFolder> {
    const bare = withoutEndSlashes(path);
    const entry = await store.stat(bare);
    if (entry !== undefined && !entry.isFolder) throw badFolderName(path);
    const entries = entry === undefined ? [] : await store.list(bare);
    expectReplaceable(path, entries.map(({ name }) => name), replace);
    const folders = new Set(entry === undefined ? [] : [bare]);
    const files = await filesBelow(store, bare, entries, folders);
    return new StoredFolder(store, bare, files, folders);
  }

  get outcome(): string {
    return this.#state === "writing"
      ? `they were removed, and the other files of ${this.#path}/ are as they were`
      : `${this.#path}/ has all new files and maybe some of the old ones, and no ${SUCCESS}; remove the old ones by hand`;
  }

  async create(name: string): Promise<FileWriter> {
    await this.#removeSuccess();
    const path = `${this.#path}/${name}`;
    const writer = this.#store.create(path, undefined);
    this.#open.add(writer);
    for (let at = path.lastIndexOf("/"); at > this.#path.length; at = path.lastIndexOf("/", at - 1)) {
      this.#folders.add(path.slice(0, at));
    }
    return {
      write: (bytes) => writer.write(bytes),
      close: async () => {
        await writer.close();
        this.#open.delete(writer);
        this.#written.push(path);
      },
      abort: () => writer.abort(),
    };
  }

  async commit(): Promise<void> {
    if (this.#old.length > 0) {
      await this.#removeSuccess();
      this.#state = "replacing";
      await this.#removeAll(this.#old);
      const unused = [...this.#oldFolders].filter((folder) => folder !== this.#path && !this.#folders.has(folder));
      await this.#removeFolders(unused);
    }
    await this.#store.create(this.#successPath, undefined).close();
    this.#state = "done";
  }

  async abort(): Promise<void> {
    if (this.#state !== "writing") return; // only the new files are left
    for (const writer of this.#open) await writer.abort();
    await this.#removeAll(this.#written).catch(() => {}); // the first error is thrown
    const newFolders = [this.#path, ...this.#folders].filter((folder) => !this.#oldFolders.has(folder));
    await this.#removeFolders(newFolders);
    if (!this.#successRemoved) return;
    await this.#store.create(this.#successPath, undefined).close().catch(() => {}); // the first error is thrown
  }

  get #successPath(): string {
    return `${this.#path}/${SUCCESS}`;
  }

  /** While a dataset is being replaced, it must not count as complete, even if the program is killed. */
  async #removeSuccess(): Promise<void> {
    if (this.#successRemoved || !this.#old.includes(this.#successPath)) return;
    this.#successRemoved = true;
    await this.#store.remove(this.#successPath);
  }

  async #removeAll(paths: readonly string[]): Promise<void> {
    await Promise.all(paths.map((path) => this.#store.remove(path)));
  }

  /**
   * Removes folders that are now empty, the innermost first. The others are kept, because someone else has written to
   * them.
   */
  async #removeFolders(folders: readonly string[]): Promise<void> {
    for (const folder of folders.toSorted((a, b) => b.length - a.length)) {
      await this.#store.removeFolder(folder).catch(() => {}); // the folder is not empty
    }
  }
}

/** Returns the paths of the files in a folder and its subfolders. Adds the subfolders to `folders`. */
async function filesBelow(
  store: FileStore,
  folder: string,
  entries: readonly StoredEntry[],
  folders: Set<string>,
): Promise<string[]> {
  const files: string[] = [];
  for (const { name, isFolder } of entries) {
    const path = `${folder}/${name}`;
    if (!isFolder) files.push(path);
    else {
      folders.add(path);
      for (const file of await filesBelow(store, path, await store.list(path), folders)) files.push(file);
    }
  }
  return files;
}
