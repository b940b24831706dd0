import { basename } from "node:path";
import type { FileStore, FileWriter, StoredEntry } from "../../core/file_store.ts";
import { withoutEndSlashes } from "../../core/text.ts";
import { until } from "../../sql/stop.ts";
import { badFolder, type DatasetTarget, expectDataset, SUCCESS } from "./dataset_target.ts";
import type { Sink } from "./target.ts";

/**
 * Opens a file of a store for writing. The store shows the file when it is complete. Until then it shows the old file of that
 * name, if there is one.
 *
 * @throws {LakebaseError} `BAD_FILE` for a folder, and for a Volume that does not exist.
 */
export async function openStoredFile(store: FileStore, path: string): Promise<Sink> {
  const found = await store.stat(path);
  if (found?.isFolder) {
    throw badFolder(
      path,
      `it is a folder; name a file in it, or write several files with ${JSON.stringify(`${path}/`)}`,
    );
  }
  const writer = store.create(path, found);
  return {
    name: basename(path),
    path,
    outcome: `they were removed, and ${path} is as it was`,
    write: (bytes) => writer.write(bytes),
    commit: (signal) => until(writer.close(), signal),
    abort: async () => void await writer.abort(),
  };
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
  #unmarked = false;
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
    const found = await store.stat(bare);
    if (found !== undefined && !found.isFolder) {
      throw badFolder(path, "a name that ends in / is that of a folder, and there is a file of that name");
    }
    const entries = found === undefined ? [] : await store.list(bare);
    expectDataset(path, entries.map(({ name }) => name), replace);
    const folders = new Set(found === undefined ? [] : [bare]);
    const files = await filesBelow(store, bare, entries, folders);
    return new StoredFolder(store, bare, files, folders);
  }

  get outcome(): string {
    return this.#state === "writing"
      ? `they were removed, and the other files of ${this.#path}/ are as they were`
      : `${this.#path}/ has all new files and maybe some of the old ones, and no ${SUCCESS}; remove the old ones by hand`;
  }

  async create(name: string): Promise<FileWriter> {
    await this.#unmark();
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
      await this.#unmark();
      this.#state = "replacing";
      await this.#removeAll(this.#old);
      const empty = [...this.#oldFolders].filter((folder) => folder !== this.#path && !this.#folders.has(folder));
      await this.#removeFolders(empty);
    }
    await this.#store.create(this.#mark, undefined).close();
    this.#state = "done";
  }

  async abort(): Promise<void> {
    if (this.#state !== "writing") return; // only the new files are left
    for (const writer of this.#open) await writer.abort();
    await this.#removeAll(this.#written).catch(() => {}); // the first error matters
    const made = [this.#path, ...this.#folders].filter((folder) => !this.#oldFolders.has(folder));
    await this.#removeFolders(made);
    if (!this.#unmarked) return;
    await this.#store.create(this.#mark, undefined).close().catch(() => {}); // the first error matters
  }

  get #mark(): string {
    return `${this.#path}/${SUCCESS}`;
  }

  /** While a dataset is being replaced it does not count as complete, even if the program is killed. */
  async #unmark(): Promise<void> {
    if (this.#unmarked || !this.#old.includes(this.#mark)) return;
    this.#unmarked = true;
    await this.#store.remove(this.#mark);
  }

  async #removeAll(paths: readonly string[]): Promise<void> {
    await Promise.all(paths.map((path) => this.#store.remove(path)));
  }

  /**
   * Removes folders that are now empty, the innermost first. It keeps the others, because someone else has written to
   * them.
   */
  async #removeFolders(folders: readonly string[]): Promise<void> {
    for (const folder of folders.toSorted((a, b) => b.length - a.length)) {
      await this.#store.removeFolder(folder).catch(() => {}); // the folder is not empty
    }
  }
}

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
