import { suggestName } from "../../core/closest.ts";
import { optionName } from "../../core/errors.ts";
import type { FileStore } from "../../core/file_store.ts";
import { withoutEndSlashes } from "../../core/text.ts";
import { keysOf } from "../../sql/result.ts";
import type { CopySource } from "../copy/source.ts";
import { HIVE_NULL, type PullFormat } from "../formats/file_format.ts";
import { type DatasetTarget, HiddenFolder, StoredFolder } from "./dataset_target.ts";
import { badTarget } from "./file_target.ts";
import { badPullOption } from "./options.ts";

/** How a folder of files is written. */
interface PullFolderOptions {
  /** The format of the files. */
  format: PullFormat;
  /** Whether the files are compressed with gzip. */
  gzip: boolean;
  /** Whether an existing dataset is replaced. */
  replace: boolean;
  /** The columns whose values become names of folders. */
  partitionBy: readonly string[];
}

/** The characters that Hive and Spark escape in the name of a folder. */
// deno-lint-ignore no-control-regex -- control characters are what is escaped
const ESCAPED = /[\x00-\x1f"#%'*/:=?\\\x7f{}[\]^]/g;

/** A dataset that is written file by file. */
export class PullFolder {
  /** The name of the folder in a result. */
  readonly name: string;
  /** The final paths of the files. */
  readonly paths: string[] = [];
  readonly #path: string;
  readonly #target: DatasetTarget;
  readonly #options: PullFolderOptions;
  /** The number of files in the folder of each partition. */
  readonly #counts = new Map<string, number>();

  private constructor(path: string, target: DatasetTarget, options: PullFolderOptions) {
    this.name = path;
    this.#path = withoutEndSlashes(path);
    this.#target = target;
    this.#options = options;
  }

  /**
   * Prepares the folder.
   *
   * @param store The store of the folder; `undefined` for this machine.
   * @throws {LakebaseError} `BAD_FILE` if the folder can't be made, or has other files in it.
   */
  static async open(path: string, options: PullFolderOptions, store?: FileStore): Promise<PullFolder> {
    const target = store === undefined
      ? await HiddenFolder.open(path, options.replace)
      : await StoredFolder.open(store, path, options.replace);
    return new PullFolder(path, target, options);
  }

  /** What happened to the written files after a failure, as the end of a sentence. */
  get outcome(): string {
    return this.#target.outcome;
  }

  /** Writes a file, and completes it. */
  async write(partition: readonly (string | null)[], bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const { format, gzip, partitionBy } = this.#options;
    const folder = partition.map((value, index) => this.#folderName(partitionBy[index]!, value)).join("/");
    const number = this.#counts.get(folder) ?? 0;
    this.#counts.set(folder, number + 1);
    const part = `part-${String(number).padStart(5, "0")}${this.#target.suffix}`;
    const name = `${folder}${folder && "/"}${part}.${format}${gzip ? ".gz" : ""}`;
    const file = await this.#target.create(name);
    for await (const chunk of bytes) await file.write(chunk);
    await file.close();
    this.paths.push(`${this.#path}/${name}`);
  }

  /** Replaces the target after all files are complete. */
  commit(): Promise<void> {
    return this.#target.commit();
  }

  /** Removes what was written. */
  abort(): Promise<void> {
    return this.#target.abort();
  }

  /** Names the folder of a partition as Hive does: `column=value`. */
  #folderName(column: string, value: string | null): string {
    const meansNull = value === "" ? "an empty text" : value === HIVE_NULL ? `the text ${HIVE_NULL}` : undefined;
    if (meansNull !== undefined) {
      throw badTarget(
        this.name,
        `the column ${JSON.stringify(column)} has ${meansNull}, which stands for NULL as the name of a folder; ` +
          "select another value for it",
      );
    }
    return `${escaped(column)}=${value === null ? HIVE_NULL : escaped(value)}`;
  }
}

function escaped(text: string): string {
  return text.replace(ESCAPED, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}

/**
 * Separates the columns that name partitions from the columns of the files.
 *
 * @returns The source without the partitions' columns, and the places of these columns in the query.
 * @throws {LakebaseError} `BAD_PARAMETER` for a column that does not exist, or if no other column is left.
 */
export function partitionColumns(
  source: CopySource,
  names: readonly string[] | undefined,
): { source: CopySource; partitions: number[] } {
  if (names === undefined) return { source, partitions: [] };
  const keys = keysOf(source.columns.map(({ name }) => name));
  const positions = names.map((name) => {
    if (keys.includes(name)) return keys.indexOf(name);
    throw badPullOption(
      `${optionName("partitionBy")} has "${name}", which is not a column; ${suggestName(name, keys, "columns")}`,
    );
  });
  const columns = source.columns.filter((_, index) => !positions.includes(index));
  if (columns.length === 0) {
    throw badPullOption(`${optionName("partitionBy")} has all columns, so there is none left for the files`);
  }
  return { source: { ...source, columns }, partitions: positions.map((index) => source.columns[index]!.place) };
}
