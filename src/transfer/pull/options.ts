import { LakebaseError, optionName, optionText, quotedOption } from "../../core/errors.ts";
import { checkEach, ON_OR_OFF, type OptionChecks, STOP_CHECKS } from "../../sql/options.ts";
import { FILE_FORMATS, type PullFormat } from "../formats/file_format.ts";
import { COLUMN_NAMES, COUNT, DELIMITER, FUNCTION, NULL_TEXT, oneOf } from "../option_checks.ts";
import type { Progress } from "../../draw/progress.ts";

/** How rows are pulled. */
export interface PullOptions {
  /**
   * How the rows are written. `csv` and `tsv` are what the server's COPY writes, byte for byte, `tsv` in its text format: tabs
   * between the values, `\N` for NULL. `ndjson` is an object a line. @default {by the file's extension}
   */
  format?: PullFormat;
  /** Whether the first line of CSV or TSV has the names. @default {true} */
  header?: boolean;
  /** What stands between two values of CSV or TSV, one character. @default {"," or a tab} */
  delimiter?: string;
  /** What stands for NULL in CSV or TSV. @default {nothing in CSV, where an empty text is `""`; `\N` in TSV} */
  nullText?: string;
  /** The columns, in this order. @default {all of them} */
  columns?: readonly string[];
  /** Whether CSV, TSV or NDJSON is packed with gzip. @default {where the file's name ends in .gz} */
  gzip?: boolean;
  /** How the pages of a Parquet file are compressed. @default {"zstd"} */
  compression?: "zstd" | "gzip" | "none";
  /** Rows of a row group of a Parquet file at most. @default {131072} */
  rowGroupSize?: number;
  /**
   * Reads a table on so many connections at once, which all see it as it was at one moment. Into one file, in the table's
   * order; with `{n}` in the file's name into as many files. @default {1}
   */
  parallel?: number;
  /** Rows of each file of a folder at most. @default {no limit} */
  rowsPerFile?: number;
  /**
   * Writes a folder for each value of these columns, and in it for each of the next one's: `year=2025/zone=Harlem/`, as Hive
   * and Spark have it. The columns are not in the files. The server sorts the rows by them.
   */
  partitionBy?: readonly string[];
  /** Whether a folder may take the place of a dataset that is there; a file always may. @default {false} */
  replace?: boolean;
  /** Is told how far it is, some times a second. What it throws, or rejects with, ends the pull. */
  onProgress?: ((progress: Progress) => void) | ((progress: Progress) => Promise<void>);
  /** Whether it shows how far it is, in a cell or on a terminal, once it has taken a second. @default {true} */
  progress?: boolean;
  /** Ends it: no file is left, and the signal's reason is thrown. */
  signal?: AbortSignal;
  /** Seconds that it may take, the wait for a connection included. @default {no limit but the connection's `statementTimeout`} */
  timeout?: number;
}

/** Connections of one pull at most: more of them wait for each other. */
export const MOST_PARALLEL = 64;
const PARALLEL = [
  (value: unknown) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MOST_PARALLEL,
  `a whole number from 1 to ${MOST_PARALLEL}`,
] as const;

const CHECKS: OptionChecks<PullOptions> = {
  format: oneOf(FILE_FORMATS),
  header: ON_OR_OFF,
  delimiter: DELIMITER,
  nullText: NULL_TEXT,
  columns: COLUMN_NAMES,
  gzip: ON_OR_OFF,
  compression: oneOf(["zstd", "gzip", "none"]),
  rowGroupSize: COUNT,
  parallel: PARALLEL,
  rowsPerFile: COUNT,
  partitionBy: COLUMN_NAMES,
  replace: ON_OR_OFF,
  onProgress: FUNCTION,
  progress: ON_OR_OFF,
  ...STOP_CHECKS,
};

/** Options that not every format has. */
const OF_FORMATS: readonly (readonly [formats: readonly PullFormat[], names: readonly (keyof PullOptions)[]])[] = [
  [["csv", "tsv"], ["header", "delimiter", "nullText"]],
  [["csv", "tsv", "ndjson"], ["gzip"]],
  [["parquet"], ["compression", "rowGroupSize"]],
];

/**
 * Checks options that a program gave.
 *
 * @returns The same, without those that are `undefined`.
 * @throws {LakebaseError} `BAD_PARAMETER`, with what was found and what is allowed.
 */
export function checkPullOptions(options: PullOptions): PullOptions {
  return checkEach(options, CHECKS, optionText({ format: "csv" }), bad);
}

/** Refuses options that the format makes no use of, rather than leaving a person to believe in them. */
export function checkFormatOptions(options: PullOptions, format: PullFormat): void {
  for (const [formats, names] of OF_FORMATS) {
    // What has no `gzip` is not packed, which is what false asks for.
    const found = names.find((name) => options[name] !== undefined && !(name === "gzip" && options[name] === false));
    if (found === undefined || formats.includes(format)) continue;
    throw bad(`${optionName(found)} is for ${formats.join(", ")}; the format is ${format}`);
  }
}

/** Options that only a folder has. */
const OF_FOLDERS = ["rowsPerFile", "partitionBy", "replace"] as const;

/** Refuses options that only a folder has, and those of a folder that exclude each other. */
export function checkFolderOptions(options: PullOptions, target: unknown, isFolder: boolean): void {
  const found = OF_FOLDERS.find((name) => options[name] !== undefined);
  if (!isFolder && found !== undefined) {
    const instead = typeof target === "string" ? `${target.replace(/\.[^./]*$/, "")}/` : "trips/";
    throw bad(`${optionName(found)} is for a folder of files; a folder's name ends in /: ${JSON.stringify(instead)}`);
  }
  if (options.partitionBy === undefined || options.parallel === undefined || options.parallel === 1) return;
  throw bad(
    `${optionName("partitionBy")} has the server sort the rows, on one connection; leave ${
      quotedOption("parallel")
    } out`,
  );
}

/** An error for a pull that can't begin. */
export function bad(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot pull: ${state}`, { cause });
}
