import { closest } from "../../core/closest.ts";
import { LakebaseError, optionName, optionText } from "../../core/errors.ts";
import { checkEach, ON_OR_OFF, type OptionChecks, STOP_CHECKS } from "../../sql/options.ts";
import type { ReaderPool } from "../formats/columnar_reader.ts";
import { LOAD_FORMATS, type LoadFormat } from "../formats/file_format.ts";
import { COLUMN_NAMES, DELIMITER, FUNCTION, NULL_TEXT, oneOf, QUOTE } from "../option_checks.ts";
import type { Progress } from "../../draw/progress.ts";

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
   * Or new names for some columns, by their names in the file: `{ "Trip ID": "trip_id" }`; all columns are loaded then.
   * @default {those that the file's header or the rows name; without a header all, in the table's order}
   */
  columns?: readonly string[] | Readonly<Record<string, string>>;
  /** Whether the first line of a CSV or TSV file names the columns. @default {true} */
  header?: boolean;
  /**
   * The character between the values of a CSV or TSV file. Where a CSV file is not plainly separated by commas, the
   * delimiter, the quote and the escape are found in its first 10,000 lines; the result tells what was found.
   * @default {"," or a tab; else `;`, a tab or `|` where only that one explains the file}
   */
  delimiter?: string;
  /** The character that quotes values of a CSV file. @default {`"`, else `'` where only that one explains the file} */
  quote?: string;
  /**
   * The character that escapes a quote inside quotes of a CSV file; a back-slash for files of Spark and MySQL.
   * @default {the quote itself, else a back-slash where only that one explains the file}
   */
  escape?: string;
  /**
   * The encoding of a CSV or TSV file, by a name that `TextDecoder` knows: `"latin1"`, `"windows-1252"`, `"utf-16"`.
   * @default {UTF-8, or UTF-16 where a byte order mark says so}
   */
  encoding?: string;
  /** Lines at the start of a CSV or TSV file that are left out, before the header. @default {0} */
  skip?: number;
  /** Lines of a CSV or TSV file that begin with this character are left out. @default {none} */
  comment?: string;
  /** The decimal mark of numbers in a CSV or TSV file. @default {"."} */
  decimal?: "." | ",";
  /**
   * What becomes of a first column without a name, as pandas writes its index: `"drop"` leaves it out, any other text
   * names it.
   * @default {a file with such a column is refused}
   */
  index?: string;
  /** Whether blank lines of a CSV or TSV file are left out. @default {false: such a line is an error} */
  skipBlankLines?: boolean;
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
  format: oneOf(LOAD_FORMATS),
  columns: [isColumns, 'a list of different columns\' names, such as ["id", "fare"], or new names: { "Old": "new" }'],
  header: ON_OR_OFF,
  delimiter: DELIMITER,
  quote: QUOTE,
  escape: QUOTE,
  encoding: [isEncoding, 'a name that TextDecoder knows, such as "latin1", "windows-1252" or "utf-16"'],
  skip: [(value) => Number.isSafeInteger(value) && Number(value) >= 0, "a whole number of lines"],
  comment: [isComment, "one character of ASCII that is no letter, digit or quote"],
  decimal: oneOf([".", ","]),
  index: [(value) => typeof value === "string" && value !== "", 'a name, or "drop"'],
  skipBlankLines: ON_OR_OFF,
  nullText: NULL_TEXT,
  create: ON_OR_OFF,
  types: [isTypes, `types as SQL has them, such as ${optionText({ types: { zip: "text", fare: "numeric(10, 2)" } })}`],
  mode: [(value) => MODES.includes(value as string), '"append" or "replace"'],
  partitions: ON_OR_OFF,
  onProgress: FUNCTION,
  progress: ON_OR_OFF,
  ...STOP_CHECKS,
};

/** Options that only text formats have. */
const OF_TEXT = [
  ...["header", "delimiter", "quote", "escape", "encoding", "skip", "comment", "decimal", "index", "skipBlankLines"],
  "nullText",
] as const satisfies readonly (keyof LoadOptions)[];

/** Options that only CSV has: a TSV file escapes by back-slashes, and has no quotes. */
const OF_CSV = ["quote", "escape"] as const;

/**
 * Checks options that a program gave.
 *
 * @returns The same, without those that are `undefined`.
 * @throws {LakebaseError} `BAD_PARAMETER`, with what was found and what is allowed.
 */
export function checkLoadOptions(options: LoadOptions): LoadOptions {
  const checked = checkEach(options, CHECKS, optionText({ create: true }), bad);
  if (options.types !== undefined && !options.create) {
    throw bad(`${optionName("types")} is for ${optionText({ create: true })}`);
  }
  return checked;
}

/** Refuses options that the format makes no use of, rather than leaving a person to believe in them. */
export function checkFormatOptions(options: LoadOptions, format: LoadFormat | undefined): void {
  if (format === "csv") return;
  if (format === "tsv") {
    const name = OF_CSV.find((name) => options[name] !== undefined);
    if (name === undefined) return;
    throw bad(`${optionName(name)} is for CSV; tabs with quotes are ${optionText({ format: "csv", delimiter: "\t" })}`);
  }
  const found = OF_TEXT.find((name) => options[name] !== undefined);
  const what = format === undefined ? "rows have none" : `a file of format "${format}" has none`;
  if (found !== undefined) throw bad(`${optionName(found)} is for CSV and TSV; ${what}`);
}

/**
 * The names that the columns of a source get.
 *
 * @param names What the source calls them, in its order.
 * @param columns The option: all names, or new ones for some.
 * @param source What an error calls the source.
 * @throws {LakebaseError} `BAD_PARAMETER` for a list of another length, and for a new name of a column that is not there.
 */
export function renamed(
  names: readonly string[],
  columns: LoadOptions["columns"],
  source: string,
): readonly string[] {
  if (columns === undefined) return names;
  if (isList(columns)) {
    if (columns.length === names.length) return columns;
    throw bad(`${source} has ${names.length} columns, and the option ${optionName("columns")} names ${columns.length}`);
  }
  for (const name of Object.keys(columns)) {
    if (names.includes(name)) continue;
    const near = closest(name, names);
    const hint = near === undefined ? `it has: ${names.join(", ")}` : `did you mean ${JSON.stringify(near)}?`;
    throw bad(`the option ${optionName("columns")} renames ${JSON.stringify(name)}, which ${source} has not; ${hint}`);
  }
  return names.map((name) => Object.hasOwn(columns, name) ? columns[name]! : name);
}

function isList(columns: NonNullable<LoadOptions["columns"]>): columns is readonly string[] {
  return Array.isArray(columns);
}

/** The option `columns` where it is a list; as an object it chooses nothing. */
export function listedColumns({ columns }: LoadOptions): readonly string[] | undefined {
  return columns !== undefined && isList(columns) ? columns : undefined;
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
    typeof type === "string" && type.length <= LONGEST_TYPE && TYPE.test(type)
  );
}
