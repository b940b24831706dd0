import { LakebaseError, optionText } from "../../core/errors.ts";
import type { FileWriter } from "../../core/file_store.ts";

/** Where the files of a dataset are written: all of them appear, or none. */
export interface DatasetTarget {
  /** What has happened to the written files after a failure, as the end of a sentence. */
  readonly outcome: string;
  /** What the names of the files have behind their numbers. */
  readonly suffix: string;
  /** Begins to write a file. */
  create(name: string): Promise<FileWriter>;
  /** Marks the dataset as complete, and replaces an older one. */
  commit(): Promise<void>;
  /** Removes what was written. */
  abort(): Promise<void>;
}

/** The last file of a dataset, by which Hadoop and Spark mark it as complete. */
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
