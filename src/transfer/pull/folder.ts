import { dirname, join } from "node:path";
import { LakebaseError, optionText } from "../../core/errors.ts";
import type { PullFormat } from "../formats/file_format.ts";
import { HIVE_NULL } from "../load/dataset_files.ts";
import { cannotWrite, forgetUnfinished, watchUnfinished, writeAll } from "./file_target.ts";

/** Options for writing a folder of files. */
export interface PullFolderOptions {
  /** The format of the files. */
  format: PullFormat;
  /** Whether the files are compressed with gzip. */
  gzip: boolean;
  /** Whether an existing dataset is replaced. */
  replace: boolean;
  /** The columns whose values become names of folders. */
  partitionBy: readonly string[];
}

/** The last file of a dataset, by which Hadoop and Spark mark it as complete. */
const SUCCESS = "_SUCCESS";

/** The names of files of a dataset, and of folders of its partitions. */
const DATASET_NAME = /^(?:[_.]|part-)|=/;

/** The characters that Hive and Spark escape in the name of a folder. */
// deno-lint-ignore no-control-regex -- control characters are what is escaped
const ESCAPED = /[\x00-\x1f"#%'*/:=?\\\x7f{}[\]^]/g;

/**
 * A folder that is written file by file. The files go into a hidden folder beside the target, which replaces the target when it
 * is complete. Until then the target stays as it is.
 */
export class PullFolder {
  /** The name of the folder in a result. */
  readonly name: string;
  readonly outcome: string;
  /** The final paths of the files. */
  readonly paths: string[] = [];
  readonly #path: string;
  /** The target, with links resolved. */
  readonly #target: string;
  /** The hidden folder. */
  readonly #unfinished: string;
  readonly #options: PullFolderOptions;
  /** The number of files in the folder of each partition. */
  readonly #counts = new Map<string, number>();
  readonly #open = new Set<Deno.FsFile>();

  private constructor(path: string, target: string, unfinished: string, options: PullFolderOptions) {
    this.name = path;
    this.outcome = `they were removed, and ${path} is as it was`;
    this.#path = path.replace(/\/+$/, "");
    this.#target = target;
    this.#unfinished = unfinished;
    this.#options = options;
  }

  /**
   * Makes the hidden folder.
   *
   * @throws {LakebaseError} `BAD_FILE` where the folder can't be made, or has other files in it.
   */
  static async open(path: string, options: PullFolderOptions): Promise<PullFolder> {
    const target = await resolveFolder(path, options.replace);
    const folder = dirname(target);
    const name = target.slice(folder.length).replaceAll("/", "").slice(0, 40);
    const unfinished = join(folder, `.${name}.${crypto.randomUUID().slice(0, 8)}.part`);
    try {
      // The hidden folder has the target's permissions, so that nobody else can look into it.
      const { mode } = await Deno.stat(target).catch(() => ({ mode: null })); // it does not exist yet
      await Deno.mkdir(unfinished, mode === null ? {} : { mode: mode & 0o777 });
    } catch (error) {
      throw cannotWrite(path, error, folder);
    }
    watchUnfinished(unfinished);
    return new PullFolder(path, target, unfinished, options);
  }

  /** Writes a file, and syncs it. */
  async write(partition: readonly (string | null)[], bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const hive = partition.map((value, index) => this.#folderOf(this.#options.partitionBy[index]!, value)).join("/");
    const number = this.#counts.get(hive) ?? 0;
    this.#counts.set(hive, number + 1);
    const { format, gzip } = this.#options;
    const name = `${hive}${hive && "/"}part-${String(number).padStart(5, "0")}.${format}${gzip ? ".gz" : ""}`;
    const path = `${this.#path}/${name}`;
    const file = await this.#create(name, hive, path);
    this.#open.add(file);
    for await (const piece of bytes) await writeAll(file, piece, path);
    await file.sync().catch((error) => {
      throw cannotWrite(path, error);
    });
    this.#close(file);
    this.paths.push(path);
  }

  /** Replaces the target, once the hidden folder is marked as complete. */
  async commit(): Promise<void> {
    try {
      await Deno.writeTextFile(`${this.#unfinished}/${SUCCESS}`, "", { createNew: true });
      await (this.#options.replace ? this.#replace() : this.#rename());
    } catch (error) {
      throw error instanceof LakebaseError ? error : cannotWrite(this.name, error);
    }
    forgetUnfinished(this.#unfinished);
  }

  /** Removes what was written. */
  async abort(): Promise<void> {
    for (const file of this.#open) this.#close(file);
    await Deno.remove(this.#unfinished, { recursive: true }).catch(() => {}); // the first error matters
    forgetUnfinished(this.#unfinished);
  }

  async #create(name: string, hive: string, path: string): Promise<Deno.FsFile> {
    try {
      if (hive !== "") await Deno.mkdir(`${this.#unfinished}/${hive}`, { recursive: true });
      return await Deno.open(`${this.#unfinished}/${name}`, { write: true, createNew: true });
    } catch (error) {
      throw cannotWrite(path, error);
    }
  }

  #close(file: Deno.FsFile): void {
    if (this.#open.delete(file)) file.close();
  }

  #folderOf(name: string, value: string | null): string {
    const refused = value === "" ? "an empty text" : value === HIVE_NULL ? `the text ${HIVE_NULL}` : undefined;
    if (refused !== undefined) {
      throw new LakebaseError(
        "BAD_FILE",
        `Cannot write ${this.name}: the column ${JSON.stringify(name)} has ${refused}, which stands for NULL as ` +
          "the name of a folder; select another value for it",
      );
    }
    return `${escaped(name)}=${value === null ? HIVE_NULL : escaped(value)}`;
  }

  async #rename(): Promise<void> {
    await Deno.remove(this.#target).catch((error) => { // it may be an empty folder
      if (!(error instanceof Deno.errors.NotFound)) throw cannotWrite(this.name, error);
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

/** The path of the folder, with links resolved. */
async function resolveFolder(path: string, replace: boolean): Promise<string> {
  const bare = path.replace(/(?<=.)\/+$/, "");
  const found = await Deno.stat(bare).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw cannotWrite(path, error);
  });
  if (found === undefined) return bare;
  if (!found.isDirectory) {
    throw badFolder(path, "a name that ends in / is that of a folder, and there is a file of that name");
  }
  const target = await Deno.realPath(bare);
  const names = (await Array.fromAsync(Deno.readDir(target))).map(({ name }) => name);
  if (names.length === 0) return target;
  if (!replace) {
    throw badFolder(
      path,
      `it is a folder with files in it; say ${optionText({ replace: true })}, or choose another name`,
    );
  }
  const other = names.find((name) => !DATASET_NAME.test(name));
  if (other === undefined) return target;
  throw badFolder(
    path,
    `it has the file ${other} in it, which does not belong to a dataset; only a dataset is replaced`,
  );
}

function badFolder(path: string, state: string): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot write ${path}: ${state}`);
}

function escaped(text: string): string {
  return text.replace(ESCAPED, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}
