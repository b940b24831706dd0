import { LakebaseError, optionName, optionText, quotedOption } from "../../core/errors.ts";
import { countText, sizeText } from "../../core/text.ts";
import { type Bundle, DRAW, SelfDrawn } from "../../draw/notebook.ts";
import type { Progress } from "../../draw/progress.ts";
import { originText, renderCommand, type ResultOrigin } from "../../draw/table.ts";
import {
  checkEach,
  COLUMN_NAMES,
  COUNT,
  ON_OR_OFF,
  oneOf,
  type OptionChecks,
  TRANSFER_CHECKS,
} from "../../sql/options.ts";
import { DELIMITER, FILE_FORMATS, NULL_TEXT, type PullFormat } from "../formats/file_format.ts";

/** Options of a pull. */
export interface PullOptions {
  /**
   * The format of the rows. `csv` and `tsv` are the server's COPY, byte for byte; `tsv` is its text format, with tabs
   * between the values and `\N` for NULL. `ndjson` has one object on each line. @default {by the file's extension}
   */
  format?: PullFormat;
  /** Whether the first line of CSV or TSV has the names of the columns. @default {true} */
  header?: boolean;
  /** The character between two values of CSV or TSV. @default {"," or a tab} */
  delimiter?: string;
  /**
   * The text that stands for NULL in CSV or TSV. @default {nothing in CSV, which writes an empty text as `""`; `\N` in
   * TSV}
   */
  nullText?: string;
  /** The columns, in this order. @default {all of them} */
  columns?: readonly string[];
  /** Whether CSV, TSV or NDJSON is compressed with gzip. @default {whether the file's name ends in .gz} */
  gzip?: boolean;
  /** How the pages of a Parquet file are compressed. @default {"zstd"} */
  compression?: "zstd" | "gzip" | "none";
  /** The most rows of a row group of a Parquet file. @default {131072} */
  rowGroupSize?: number;
  /**
   * The number of connections that read a table at once. All of them see the table at the same moment. They write one
   * file, in the table's order; or one file each, if the file's name has `{n}` in it. @default {1}
   */
  parallel?: number;
  /** The most rows of each file of a folder. @default {no limit} */
  rowsPerFile?: number;
  /**
   * The columns whose values become names of folders, one inside the other, as in Hive and Spark:
   * `year=2025/zone=Harlem/`. The files do not contain these columns. The server sorts the rows by them.
   */
  partitionBy?: readonly string[];
  /** Whether a folder replaces an existing dataset; a file is always replaced. @default {false} */
  replace?: boolean;
  /** Is called with the progress a few times a second. An error that it throws, or rejects with, ends the pull. */
  onProgress?: ((progress: Progress) => void) | ((progress: Progress) => Promise<void>);
  /** Whether a cell or a terminal shows the progress of a pull that takes longer than a second. @default {true} */
  progress?: boolean;
  /** Ends the pull: no file is left, and the signal's reason is thrown. */
  signal?: AbortSignal;
  /** The most seconds that the pull may take, including the wait for a connection. @default {no limit but the connection's `statementTimeout`} */
  timeout?: number;
}

/** The most connections of one pull. More of them would wait for each other. */
export const MAX_PARALLEL = 64;
const PARALLEL = [
  (value: unknown) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MAX_PARALLEL,
  `a whole number from 1 to ${MAX_PARALLEL}`,
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
  ...TRANSFER_CHECKS,
};

/** The options that only some formats have. */
const FORMAT_OPTIONS: readonly (readonly [formats: readonly PullFormat[], names: readonly (keyof PullOptions)[]])[] = [
  [["csv", "tsv"], ["header", "delimiter", "nullText"]],
  [["csv", "tsv", "ndjson"], ["gzip"]],
  [["parquet"], ["compression", "rowGroupSize"]],
];

/**
 * Checks the options of a pull.
 *
 * @returns The options, without those that are `undefined`.
 * @throws {LakebaseError} `BAD_PARAMETER`, with the value found and the allowed values.
 */
export function checkPullOptions(options: PullOptions): PullOptions {
  return checkEach(options, CHECKS, optionText({ format: "csv" }), badPullOption);
}

/** Refuses options that have no effect with the format. */
export function checkFormatOptions(options: PullOptions, format: PullFormat): void {
  for (const [formats, names] of FORMAT_OPTIONS) {
    if (formats.includes(format)) continue;
    // `gzip: false` is true of every format.
    const wrong = names.find((name) => options[name] !== undefined && !(name === "gzip" && options[name] === false));
    if (wrong === undefined) continue;
    throw badPullOption(`${optionName(wrong)} is for ${formats.join(", ")}; the format is ${format}`);
  }
}

/** The options that only a folder has. */
const FOLDER_OPTIONS = ["rowsPerFile", "partitionBy", "replace"] as const;

/** Refuses options that only a folder has, and those of a folder that exclude each other. */
export function checkFolderOptions(options: PullOptions, target: unknown, isFolder: boolean): void {
  const folderOption = FOLDER_OPTIONS.find((name) => options[name] !== undefined);
  if (!isFolder && folderOption !== undefined) {
    const instead = typeof target === "string" ? `${target.replace(/\.[^./]*$/, "")}/` : "trips/";
    throw badPullOption(
      `${optionName(folderOption)} is for a folder of files; a folder's name ends in /: ${JSON.stringify(instead)}`,
    );
  }
  if (options.partitionBy === undefined || options.parallel === undefined || options.parallel === 1) return;
  throw badPullOption(
    `${optionName("partitionBy")} has the server sort the rows, on one connection; leave ${
      quotedOption("parallel")
    } out`,
  );
}

/** Makes the error for a pull with a wrong option or target. */
export function badPullOption(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot pull: ${state}`, { cause });
}

/** The facts of a {@linkcode PullResult}. */
type PullFacts = Pick<PullResult, "rows" | "bytes" | "paths" | "elapsed"> & {
  to: string;
  origin?: ResultOrigin;
};

/**
 * The result of a pull, which draws itself as one line.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const file = `${await Deno.makeTempDir()}/n.csv`;
 * const pulled = await db.sql`SELECT n FROM generate_series(1, 3) AS n`.pull(file);
 * assert.deepEqual([pulled.rows, pulled.bytes, pulled.path], [3, "n\n1\n2\n3\n".length, file]);
 * console.log(`${pulled}`, pulled.elapsed); // 3 rows to ... (8 bytes), ..., and the milliseconds
 * ```
 */
export class PullResult extends SelfDrawn {
  /** The number of rows that were written. */
  readonly rows: number;
  /** The number of bytes that were written. */
  readonly bytes: number;
  /** The paths of the files; none for a stream. */
  readonly paths: readonly string[];
  /** The milliseconds that the pull took. */
  readonly elapsed: number;
  readonly #to: string;
  readonly #origin: ResultOrigin;

  /** Made by `pull`. */
  constructor({ rows, bytes, paths, elapsed, to, origin = {} }: PullFacts) {
    super();
    this.rows = rows;
    this.bytes = bytes;
    this.paths = paths;
    this.elapsed = elapsed;
    this.#to = to;
    this.#origin = origin;
  }

  /** The path of the file; `undefined` for a stream, or for several files. */
  get path(): string | undefined {
    return this.paths.length === 1 ? this.paths[0] : undefined;
  }

  /** The result as one line. */
  override toString(): string {
    return this[DRAW]()["text/plain"]!;
  }

  /** @internal */
  override [DRAW](): Bundle {
    const tag = `${countText(this.rows, "row")} to ${this.#to} (${sizeText(this.bytes)})${originText(this.#origin)}`;
    return { ...renderCommand({ tag, elapsed: this.elapsed }) };
  }
}
