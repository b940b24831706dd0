import { closest } from "../../core/closest.ts";
import { LakebaseError, optionName, optionText } from "../../core/errors.ts";
import type { Progress } from "../../draw/progress.ts";
import { checkEach, COLUMN_NAMES, ON_OR_OFF, oneOf, type OptionChecks, TRANSFER_CHECKS } from "../../sql/options.ts";
import { keysOf } from "../../sql/result.ts";
import type { ReaderPool } from "../formats/columnar_reader.ts";
import { DELIMITER, LOAD_FORMATS, type LoadFormat, NULL_TEXT, QUOTE } from "../formats/file_format.ts";

/**
 * The options of a load.
 *
 * Postgres stores times in microseconds. Smaller fractions in Arrow and Parquet files are cut off, so a loaded time is never
 * later than that in the file.
 *
 * In row objects, a string for a `json` or `jsonb` column must be JSON text: `'"Harlem"'` is a JSON string, and `"null"` is the
 * null of JSON. Any other value becomes JSON, and `null` is NULL. The JSON values of a query result are already parsed, so a
 * string among them is a plain string. A `null` in an NDJSON file is NULL, even for `jsonb`.
 */
export interface LoadOptions {
  /**
   * The format of the bytes. `tsv` is the format that `pull` writes: tabs between the values, `\N` for NULL, a backslash before
   * special characters, no quotes. For tabs with quotes as in CSV, use `{ format: "csv", delimiter: "\t" }`.
   * @default {by the file's extension, else by its first bytes}
   */
  format?: LoadFormat;
  /**
   * The table's columns for the values, in the file's order; for row objects, the properties to load.
   * Or new names for some columns, by their names in the file: `{ "Trip ID": "trip_id" }`; all columns are then loaded.
   * @default {the columns that the file's header or the rows name; without a header all columns, in the table's order}
   */
  columns?: readonly string[] | Readonly<Record<string, string>>;
  /** Whether the first line of a CSV or TSV file names the columns. @default {true} */
  header?: boolean;
  /**
   * The character between the values of a CSV or TSV file. If commas do not clearly separate the values of a CSV file, the
   * delimiter, the quote and the escape are detected in its first 10,000 lines; the result reports what was detected.
   * @default {"," in CSV, a tab in TSV; in CSV `;`, a tab or `|` if only that one fits the file}
   */
  delimiter?: string;
  /** The character that quotes values of a CSV file. @default {`"`, or `'` if only that one fits the file} */
  quote?: string;
  /**
   * The character that escapes a quote inside quotes of a CSV file; a backslash for files of Spark and MySQL.
   * @default {the quote itself, or a backslash if only that one fits the file}
   */
  escape?: string;
  /**
   * The encoding of a CSV or TSV file, by a name that `TextDecoder` knows: `"latin1"`, `"windows-1252"`, `"utf-16"`.
   * @default {UTF-8, or UTF-16 if a byte order mark says so}
   */
  encoding?: string;
  /** The number of lines to skip at the start of a CSV or TSV file, before the header. @default {0} */
  skip?: number;
  /** The character that begins a comment line of a CSV or TSV file. Such lines are left out. @default {none} */
  comment?: string;
  /** The decimal mark of numbers in a CSV or TSV file. @default {"."} */
  decimal?: "." | ",";
  /**
   * What to do with a first column without a name, such as an index that pandas wrote: `"drop"` leaves it out, any other text
   * names it.
   * @default {a file with such a column is refused}
   */
  index?: string;
  /** Whether blank lines of a CSV or TSV file are left out. @default {false: a blank line is an error} */
  skipBlankLines?: boolean;
  /** The unquoted text that means NULL in a CSV or TSV file. @default {the empty text in CSV, `\N` in TSV} */
  nullText?: string;
  /**
   * Creates the table if it does not exist, with types that fit the first 10,000 rows, or with the types of the Arrow or Parquet
   * file. Floating-point numbers get double precision only if it preserves all of them as written; otherwise numeric. An
   * existing table keeps its columns.
   * @default {false}
   */
  create?: boolean;
  /** With `create`: the SQL types of columns: `{ zip: "text" }`. @default {the types of the file or its first rows} */
  types?: Readonly<Record<string, string>>;
  /** Whether the rows are added to those in the table, or replace them. @default {"append"} */
  mode?: "append" | "replace";
  /**
   * Whether a dataset's folders named `name=value` add a column of that name to the rows of their files.
   * `__HIVE_DEFAULT_PARTITION__` means NULL, and escapes such as `%2F` are decoded.
   * @default {true}
   */
  partitions?: boolean;
  /** Is called with the progress, at most four times a second. An error that it throws or rejects with ends the load. */
  onProgress?: ((progress: Progress) => void) | ((progress: Progress) => Promise<void>);
  /** Whether a cell or a terminal shows the progress of a load that takes longer than a second. @default {true} */
  progress?: boolean;
  /** Stops the load: nothing is loaded, and the signal's reason is thrown. */
  signal?: AbortSignal;
  /** The most seconds that the load may take. @default {no limit} */
  timeout?: number;
}

/** The options for opening a source. */
export interface SourceOptions extends LoadOptions {
  /** The file's name in errors. @default {the last part of its path} */
  name?: string;
  /** The number of rows that are sampled for types. @default {10,000} */
  sampleRows?: number;
  /** The partitions of an Arrow or Parquet file. If the file has a column of that name, every row must have that value. */
  expected?: ReadonlyMap<string, string | null>;
  /**
   * The columns to rename that no file of a dataset has had so far. The columns that this file has are removed from the set.
   * @default {this file must have all of them}
   */
  absent?: Set<string>;
  /** The workers that read Arrow and Parquet. @default {a worker for this file alone} */
  readers?: ReaderPool;
}

const MODES: readonly string[] = ["append", "replace"];

const CHECKS: OptionChecks<LoadOptions> = {
  format: oneOf(LOAD_FORMATS),
  columns: [isColumns, 'a list of different columns\' names, such as ["id", "fare"], or new names: { "Old": "new" }'],
  header: ON_OR_OFF,
  delimiter: DELIMITER,
  quote: QUOTE,
  escape: QUOTE,
  encoding: [isEncoding, 'a name that TextDecoder knows, such as "latin1", "windows-1252" or "utf-16"'],
  skip: [(value) => Number.isSafeInteger(value) && Number(value) >= 0, "a whole number of lines"],
  comment: [isComment, "one ASCII character that is not a letter, digit or quote"],
  decimal: oneOf([".", ","]),
  index: [(value) => typeof value === "string" && value !== "", 'a name, or "drop"'],
  skipBlankLines: ON_OR_OFF,
  nullText: NULL_TEXT,
  create: ON_OR_OFF,
  types: [isTypes, `SQL types, such as ${optionText({ types: { zip: "text", fare: "numeric(10, 2)" } })}`],
  mode: [(value) => MODES.includes(value as string), '"append" or "replace"'],
  partitions: ON_OR_OFF,
  ...TRANSFER_CHECKS,
};

/** Options that only text formats have. */
const TEXT_OPTIONS = [
  "header",
  "delimiter",
  "quote",
  "escape",
  "encoding",
  "skip",
  "comment",
  "decimal",
  "index",
  "skipBlankLines",
  "nullText",
] as const satisfies readonly (keyof LoadOptions)[];

/** Options that only CSV has: a TSV file escapes with backslashes, and has no quotes. */
const CSV_OPTIONS = ["quote", "escape"] as const;

/**
 * Checks the options of a load.
 *
 * @returns The options, without those that are `undefined`.
 * @throws {LakebaseError} `BAD_PARAMETER` for a wrong option, with its value and the allowed values.
 */
export function checkLoadOptions(options: LoadOptions): LoadOptions {
  const checked = checkEach(options, CHECKS, optionText({ create: true }), badLoadOption);
  if (options.types !== undefined && !options.create) {
    throw badLoadOption(`${optionName("types")} is for ${optionText({ create: true })}`);
  }
  return checked;
}

/** Refuses options that the format would ignore. */
export function checkFormatOptions(options: LoadOptions, format: LoadFormat | undefined): void {
  if (format === "csv") return;
  if (format === "tsv") {
    const name = CSV_OPTIONS.find((name) => options[name] !== undefined);
    if (name === undefined) return;
    throw badLoadOption(
      `${optionName(name)} is for CSV; tabs with quotes are ${optionText({ format: "csv", delimiter: "\t" })}`,
    );
  }
  const name = TEXT_OPTIONS.find((name) => options[name] !== undefined);
  const what = format === undefined ? "rows" : `a file of format "${format}"`;
  if (name !== undefined) throw badLoadOption(`${optionName(name)} is for CSV and TSV, not for ${what}`);
}

/**
 * The names that the option `columns` gives to the columns of a source. If two columns have one name, the second is called
 * `name_2`, as in the rows of a result.
 *
 * @param sourceNames The names in the source, in its order.
 * @param options All names, or new names for some columns.
 * @param source The source's name in errors.
 * @throws {LakebaseError} `BAD_PARAMETER` for a list of another length, and for a new name of a column that does not exist.
 */
export function renamed(
  sourceNames: readonly string[],
  { columns, absent }: SourceOptions,
  source: string,
): readonly string[] {
  const names = keysOf(sourceNames);
  if (columns === undefined) return names;
  if (isList(columns)) {
    if (columns.length === names.length) return columns;
    throw badLoadOption(
      `${source} has ${names.length} columns, and the option ${optionName("columns")} names ${columns.length}`,
    );
  }
  for (const name of Object.keys(columns)) {
    if (names.includes(name)) absent?.delete(name);
    else if (absent === undefined) throw nothingToRename(name, columns, `${source} does not have`, names);
  }
  return names.map((name) => Object.hasOwn(columns, name) ? columns[name]! : name);
}

/**
 * Makes the error for a new name of a column that does not exist.
 *
 * @param name The old name.
 * @param columns The new names.
 * @param clause What lacks the column, after "a column that": `trips.csv does not have`.
 * @param names The names that there are.
 */
export function nothingToRename(
  name: string,
  columns: Readonly<Record<string, string>>,
  clause: string,
  names: readonly string[],
): LakebaseError {
  const similar = closest(name, names);
  const hint = similar === undefined ? `it has: ${names.join(", ")}` : `did you mean ${JSON.stringify(similar)}?`;
  return badLoadOption(
    `${optionText({ columns: { [name]: columns[name]! } })} renames a column that ${clause}; ${hint}`,
  );
}

function isList(columns: NonNullable<LoadOptions["columns"]>): columns is readonly string[] {
  return Array.isArray(columns);
}

/** The option `columns` if it is an object, which gives some columns new names. */
export function newNames({ columns }: LoadOptions): Readonly<Record<string, string>> | undefined {
  return columns === undefined || isList(columns) ? undefined : columns;
}

/** The option `columns` if it is a list; an object only renames columns. */
export function listedColumns({ columns }: LoadOptions): readonly string[] | undefined {
  return columns !== undefined && isList(columns) ? columns : undefined;
}

/** Makes the error for a load that can't begin. */
export function badLoadOption(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot load: ${state}`, { cause });
}

/** Makes an error from a description of the problem. */
export type Refuse = (state: string, cause?: unknown) => LakebaseError;

/** Makes the error for wrong contents of a file or a stream. */
export function badData(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot load: ${state}`, { cause });
}

/** The most characters of the name of a type. Postgres limits each part of the name to 63 bytes. */
const MAX_TYPE_CHARACTERS = 1000;

/** The name of a type. It becomes part of a statement, so it must be nothing else. */
const TYPE =
  /^\s*(?:"(?:[^"\0]|"")+"|[a-z_][\w$]*)(?:(?:\s*\.\s*(?:"(?:[^"\0]|"")+"|[a-z_][\w$]*))|(?:\s+[a-z]+))*\s*(?:\(\s*-?\d+\s*(?:,\s*-?\d+\s*)?\))?(?:\s+with(?:out)?\s+time\s+zone)?\s*(?:\[\s*\]\s*)*$/i;

function isColumns(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return COLUMN_NAMES[0](value);
  return Object.values(value).every((name) => typeof name === "string" && name !== "");
}

function isEncoding(value: unknown): boolean {
  try {
    return typeof value === "string" && new TextDecoder(value).encoding !== "";
  } catch {
    return false;
  }
}

function isComment(value: unknown): boolean {
  return typeof value === "string" && /^[\x21-\x7e]$/.test(value) && !/[a-z0-9"']/i.test(value);
}

function isTypes(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((type) =>
    typeof type === "string" && type.length <= MAX_TYPE_CHARACTERS && TYPE.test(type)
  );
}
