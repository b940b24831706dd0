import { dirname, join } from "node:path";
import { LakebaseError, optionText } from "../../core/errors.ts";
import type { PullFormat } from "../formats/file_format.ts";
import { HIVE_NULL } from "../load/dataset_files.ts";
import { cannotWrite, forgetUnfinished, watchUnfinished, writeAll } from "./file_target.ts";

/** How a folder of files is written. */
export interface PullFolderOptions {
  /** The files' format. */
  format: PullFormat;
  /** Whether they are packed. */
  gzip: boolean;
  /** Whether a dataset that is there is replaced. */
  replace: boolean;
  /** The columns whose values are folders' names. */
  partitionBy: readonly string[];
}

/** Says, as its last file, that a dataset is whole: Hadoop's and Spark's own sign. */
const SUCCESS = "_SUCCESS";

/** Files of a dataset, and folders of its partitions. */
const OF_DATASET = /^(?:[_.]|part-)|=/;

/** Characters that Hive and Spark escape in a folder's name; all others stand for themselves. */
// deno-lint-ignore no-control-regex -- control characters are what is escaped
const ESCAPED = /[\x00-\x1f"#%'*/:=?\\\x7f{}[\]^]/g;

/**
 * A folder that is written file by file. It is a hidden one beside its place until all of it is there; what was there before
 * stays as it is until then.
 */
export class PullFolder {
  /** What a result calls it. */
  readonly name: string;
  readonly outcome: string;
  /** The files, where they will be. */
  readonly paths: string[] = [];
  readonly #path: string;
  readonly #place: string;
  readonly #unfinished: string;
  readonly #options: PullFolderOptions;
  /** How many files each partition's folder has. */
  readonly #counts = new Map<string, number>();
  readonly #open = new Set<Deno.FsFile>();

  private constructor(path: string, place: string, unfinished: string, options: PullFolderOptions) {
    this.name = path;
    this.outcome = `they were removed, and ${path} is as it was`;
    this.#path = path.replace(/\/+$/, "");
    this.#place = place;
    this.#unfinished = unfinished;
    this.#options = options;
  }

  /**
   * Makes the hidden folder.
   *
   * @throws {LakebaseError} `BAD_FILE` where it can't be, and where other files are in its place.
   */
  static async open(path: string, options: PullFolderOptions): Promise<PullFolder> {
    const place = await resolveFolder(path, options.replace);
    const folder = dirname(place);
    const name = place.slice(folder.length).replaceAll("/", "").slice(0, 40);
    const unfinished = join(folder, `.${name}.${crypto.randomUUID().slice(0, 8)}.part`);
    try {
      // Whoever may not look into the folder that is replaced may not look into this one.
      const { mode } = await Deno.stat(place).catch(() => ({ mode: null })); // the usual: it is not there
      await Deno.mkdir(unfinished, mode === null ? {} : { mode: mode & 0o777 });
    } catch (error) {
      throw cannotWrite(path, error, folder);
    }
    watchUnfinished(unfinished);
    return new PullFolder(path, place, unfinished, options);
  }

  /** Writes a file, and waits until the disk has it. */
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

  /** It takes its place, with the sign that it is whole. */
  async commit(): Promise<void> {
    try {
      await Deno.writeTextFile(`${this.#unfinished}/${SUCCESS}`, "", { createNew: true });
      await (this.#options.replace ? this.#replace() : this.#rename());
    } catch (error) {
      throw error instanceof LakebaseError ? error : cannotWrite(this.name, error);
    }
    forgetUnfinished(this.#unfinished);
  }

  /** It failed: what was written is removed. */
  async abort(): Promise<void> {
    for (const file of this.#open) this.#close(file);
    await Deno.remove(this.#unfinished, { recursive: true }).catch(() => {}); // there is a better error
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
        `Cannot write ${this.name}: the column ${
          JSON.stringify(name)
        } has ${refused}, which as a folder's name stands for ` +
          "NULL; select another value for it",
      );
    }
    return `${escaped(name)}=${value === null ? HIVE_NULL : escaped(value)}`;
  }

  async #rename(): Promise<void> {
    await Deno.remove(this.#place).catch((error) => { // an empty folder
      if (!(error instanceof Deno.errors.NotFound)) throw cannotWrite(this.name, error);
    });
    await Deno.rename(this.#unfinished, this.#place);
  }

  /** No system call replaces a folder that is not empty: what was there goes aside, and comes back should that fail. */
  async #replace(): Promise<void> {
    const aside = `${this.#unfinished}.old`;
    const wasThere = await Deno.rename(this.#place, aside).then(() => true, (error) => {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    });
    try {
      await Deno.rename(this.#unfinished, this.#place);
    } catch (error) {
      if (wasThere) await Deno.rename(aside, this.#place);
      throw error;
    }
    if (wasThere) await Deno.remove(aside, { recursive: true });
  }
}

/** Where the folder is, links followed. */
async function resolveFolder(path: string, replace: boolean): Promise<string> {
  const bare = path.replace(/(?<=.)\/+$/, "");
  const found = await Deno.stat(bare).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw cannotWrite(path, error);
  });
  if (found === undefined) return bare;
  if (!found.isDirectory) throw badFolder(path, "it ends in / as a folder does, and a file is in its place");
  const place = await Deno.realPath(bare);
  const names = (await Array.fromAsync(Deno.readDir(place))).map(({ name }) => name);
  if (names.length === 0) return place;
  if (!replace) {
    throw badFolder(
      path,
      `it is a folder with files in it; say ${optionText({ replace: true })}, or choose another name`,
    );
  }
  const other = names.find((name) => !OF_DATASET.test(name));
  if (other === undefined) return place;
  throw badFolder(path, `it has ${other} in it, which is no file of a dataset; only a dataset is replaced`);
}

function badFolder(path: string, state: string): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot write ${path}: ${state}`);
}

function escaped(text: string): string {
  return text.replace(ESCAPED, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}
