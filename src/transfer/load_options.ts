import { LakebaseError } from "../errors.ts";
import { checkStops } from "../query/options.ts";
import { FILE_FORMATS, type LoadFormat } from "./file_format.ts";
import {
  checkOptions,
  COLUMN_NAMES,
  DELIMITER,
  FUNCTION,
  NULL_TEXT,
  oneOf,
  type OptionChecks,
  SECONDS,
  SIGNAL,
  SWITCH,
} from "./option_checks.ts";
import type { ReaderPool } from "./formats/columnar_reader.ts";
import type { Progress } from "./progress.ts";

/**
 * How a table is loaded. In Arrow and Parquet files what is finer than a microsecond, which Postgres has no room for, is cut
 * off: a value is never later than the file's.
 *
 * In row objects a string for a `json` or `jsonb` column is JSON already, so a text is `'"Harlem"'`, and `"null"` is JSON's own
 * null; all else becomes JSON, and `null` is NULL. Of a result such values are parsed: a string among them is the value of a
 * JSON text. A `null` in an NDJSON file is NULL for `jsonb` too.
 */
export interface LoadOptions {
  /**
   * What the bytes are. `tsv` is what `pull` writes: tabs between the values, `\N` for NULL, a back-slash before what is
   * special, no quotes. Tabs with quotes as in CSV are `{ format: "csv", delimiter: "\t" }`.
   * @default {by the file's extension}
   */
  format?: LoadFormat;
  /**
   * The table's columns that the values are for, in the file's order; of row objects, the properties that are taken.
   * @default {those that the file's header or the rows name; without a header all, in the table's order}
   */
  columns?: readonly string[];
  /** Whether the first line of a CSV or TSV file names the columns. @default {true} */
  header?: boolean;
  /** What stands between the values of a CSV or TSV file. @default {"," or a tab} */
  delimiter?: string;
  /** What stands for NULL in a CSV or TSV file, without quotes. @default {nothing in CSV, `\N` in TSV} */
  nullText?: string;
  /**
   * Makes the table where there is none, with types that fit the first 10,000 rows, or those of the Arrow or Parquet file.
   * Numbers get double precision only where it gives back all of those as they stand; else numeric. A table that is there
   * is loaded as it is.
   * @default {false}
   */
  create?: boolean;
  /** With `create`: the types of columns, as SQL has them: `{ zip: "text" }`. @default {as they are found} */
  types?: Readonly<Record<string, string>>;
  /** Whether the rows come to those in the table, or take their place. @default {"append"} */
  mode?: "append" | "replace";
  /**
   * Whether the folders of a dataset that are called `name=value` give a column of that name to the rows in them.
   * `__HIVE_DEFAULT_PARTITION__` stands for NULL, and `%2F` for what a path can't have.
   * @default {true}
   */
  partitions?: boolean;
  /** Is told how far it is, some times a second. What it throws, or rejects with, ends the load. */
  onProgress?: ((progress: Progress) => void) | ((progress: Progress) => Promise<void>);
  /** Whether it shows how far it is, in a cell or on a terminal, once it has taken a second. @default {true} */
  progress?: boolean;
  /** Ends it: nothing is loaded, and the signal's reason is thrown. */
  signal?: AbortSignal;
  /** Seconds that it may take. @default {no limit} */
  timeout?: number;
}

/** What the source of a load is opened with. */
export interface SourceOptions extends LoadOptions {
  /** Rows that are looked at to find out the types. @default {10,000} */
  sampleRows?: number;
  /** Values that columns of an Arrow or Parquet file have in every row, where it has those columns: as its folders say. */
  expected?: ReadonlyMap<string, string | null>;
  /** Who reads Arrow and Parquet. @default {a worker for the file alone} */
  readers?: ReaderPool;
}

const MODES: readonly string[] = ["append", "replace"];

const CHECKS: OptionChecks<LoadOptions> = {
  format: oneOf(FILE_FORMATS),
  columns: COLUMN_NAMES,
  header: SWITCH,
  delimiter: DELIMITER,
  nullText: NULL_TEXT,
  create: SWITCH,
  types: [isTypes, 'an object of types as SQL has them, such as { zip: "text", fare: "numeric(10, 2)" }'],
  mode: [(value) => MODES.includes(value as string), '"append" or "replace"'],
  partitions: SWITCH,
  onProgress: FUNCTION,
  progress: SWITCH,
  signal: SIGNAL,
  timeout: SECONDS,
};

/** Options that only text formats have. */
const OF_TEXT = ["header", "delimiter", "nullText"] as const;

/**
 * Checks options that a program gave.
 *
 * @returns The same, without those that are `undefined`.
 * @throws {LakebaseError} `BAD_PARAMETER`, with what was found and what is allowed.
 */
export function checkLoadOptions(options: LoadOptions): LoadOptions {
  const checked = checkOptions(options, CHECKS, "{ create: true }", bad);
  checkStops(options);
  if (options.types !== undefined && !options.create) throw bad("types is for { create: true }");
  return checked;
}

/** Refuses options that the format makes no use of, rather than leaving a person to believe in them. */
export function checkFormatOptions(options: LoadOptions, format: LoadFormat | undefined): void {
  if (format === "csv" || format === "tsv") return;
  const found = OF_TEXT.find((name) => options[name] !== undefined);
  const what = format === undefined ? "rows have none" : `a file of format "${format}" has none`;
  if (found !== undefined) throw bad(`${found} is for CSV and TSV; ${what}`);
}

/** An error for a load that can't begin. */
export function bad(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot load: ${state}`, { cause });
}

/** Makes an error of what stands in the way. */
export type Refuse = (state: string, cause?: unknown) => LakebaseError;

/** An error for what stands in the file, or the bytes, that are loaded. */
export function badData(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot load: ${state}`, { cause });
}

/** Characters of a type's name: a part of it has at most 63 bytes. */
const LONGEST_TYPE = 1000;

/** A type's name is SQL, so no more than a name may be in it. */
const TYPE =
  /^\s*(?:"(?:[^"\0]|"")+"|[a-z_][\w$]*)(?:(?:\s*\.\s*(?:"(?:[^"\0]|"")+"|[a-z_][\w$]*))|(?:\s+[a-z]+))*\s*(?:\(\s*-?\d+\s*(?:,\s*-?\d+\s*)?\))?(?:\s+with(?:out)?\s+time\s+zone)?\s*(?:\[\s*\]\s*)*$/i;

function isTypes(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((type) =>
    typeof type === "string" && type.length <= LONGEST_TYPE && TYPE.test(type)
  );
}
