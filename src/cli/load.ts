import { type Command, InvalidArgumentError, Option } from "npm:commander@15.1.0";
import { LOAD_FORMATS } from "../transfer/formats/file_format.ts";
import { badLoadOption, type LoadOptions } from "../transfer/load/options.ts";
import {
  addConnectionOptions,
  type ConnectionValues,
  definedOptions,
  delimiter,
  LOGIN_HELP,
  names,
  seconds,
  wholeNumber,
  withDatabase,
} from "./connection.ts";
import { print } from "./output.ts";

interface LoadValues
  extends
    ConnectionValues,
    Omit<LoadOptions, "nullText" | "types" | "columns" | "signal" | "onProgress" | "mode" | "partitions"> {
  columns?: string[];
  null?: string;
  type?: Record<string, string>;
  rename?: Record<string, string>;
  replace?: boolean;
  partitions?: boolean;
  quiet?: boolean;
}

const EXAMPLES = `
The file is .csv, .tsv, .ndjson, .json, .arrow or .parquet, a text file that ends in .gz or .zst, or - for standard input
with --format. The command detects the delimiter, quote and escape of a CSV file, and prints them if they are unusual.
Several files, a folder, or a quoted glob are one load. A folder called name=value adds a column to the files in it.
A load takes all rows or none: the first row that does not fit ends the load, and the error names its line.
${LOGIN_HELP}

Examples:
  lakebase load trips trips.csv
  lakebase load trips trips.parquet --create
  lakebase load trips trips.csv --create --type zip=text --type 'fare=numeric(10, 2)'
  lakebase load app.trips trips.ndjson.gz --replace
  lakebase load trips trips/ --create
  lakebase load trips 'trips/**/*.parquet'
  lakebase load trips /Volumes/main/raw/landing/trips/
  printf 'id,zone\\\\n1,Harlem\\\\n' | lakebase load --local --data-dir .lakebase trips - --format csv --create`;

/** Sets up `lakebase load`. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.argument("<table>", "the table, such as trips or app.trips")
    .argument("<file...>", "one or more files, a folder, a quoted glob, or - for standard input")
    .addOption(
      new Option("--format <name>", "read this format (default: by the extension of the file)").choices(LOAD_FORMATS),
    )
    .option("--create", "create the table if it does not exist, with types that fit")
    .option("--type <column=type>", "with --create, give a column this type; repeat it for more", addType)
    .option("--replace", "delete the rows of the table first, in the same transaction")
    .option("--columns <names>", "load into these columns, in the order of the file: id,zone", names)
    .option("--rename <old=new>", "load a column of the file under a new name; repeat it for more", addRename)
    .option("--no-header", "read the first line of CSV or TSV as data, not as column names")
    .option("--delimiter <character>", "split the values of CSV or TSV at this character; \\t is a tab", delimiter)
    .option("--quote <character>", "read this character as the quote of CSV")
    .option(
      "--escape <character>",
      "read this character as the escape of a quote in CSV; Spark and MySQL write a backslash",
    )
    .option("--encoding <name>", "decode CSV and TSV from this encoding, such as latin1 or windows-1252")
    .option("--skip <lines>", "skip this many lines of CSV and TSV before the header", wholeNumber)
    .option("--comment <character>", "skip the lines of CSV and TSV that begin with this character")
    .addOption(
      new Option("--decimal <character>", "read this character as the decimal mark in CSV and TSV").choices([".", ","]),
    )
    .option("--index <name>", "give this name to a first column that has none; drop omits the column")
    .option("--skip-blank-lines", "skip blank lines of CSV and TSV (default: they are an error)")
    .option("--null <text>", "read this text as NULL in CSV and TSV")
    .option("--no-partitions", "don't add columns for folders called name=value")
    .option("--timeout <seconds>", "cancel after this time", seconds)
    .option("--quiet", "show neither progress nor the result");
  addConnectionOptions(command).addHelpText("after", EXAMPLES);
  command.action((table: string, files: string[], values: LoadValues) => load(table, files, values, stopped));
}

async function load(table: string, files: string[], values: LoadValues, stopped: AbortSignal): Promise<void> {
  if (files.length > 1 && files.includes("-")) {
    throw badLoadOption("- is standard input, which can't be one of several files");
  }
  if (values.rename !== undefined && values.columns !== undefined) {
    throw badLoadOption("--columns names all columns and --rename some of them; give only one of the two");
  }
  if (values.type !== undefined && !values.create) throw badLoadOption("--type is for --create");
  await withDatabase(values, stopped, async (db) => {
    const source = files.length === 1 ? files[0]! : files;
    const result = await db.load(table, source, loadOptions(values, stopped));
    if (!values.quiet) await print(Deno.stdout, `${result}\n`);
  });
}

function loadOptions(values: LoadValues, signal: AbortSignal): LoadOptions {
  const { header, partitions, null: nullText, type: types, rename, replace = false, quiet = false } = values;
  return {
    ...definedOptions(values, SAME_OPTIONS),
    ...(header === false ? { header } : {}), // the default is true, but not every format has a header
    ...(partitions === false ? { partitions } : {}),
    ...(nullText === undefined ? {} : { nullText }),
    ...(types === undefined ? {} : { types }),
    ...(rename === undefined ? {} : { columns: rename }),
    mode: replace ? "replace" : "append",
    progress: !quiet,
    signal,
  };
}

/** The options that have the same name and values in the shell and in `load()`. */
const SAME_OPTIONS = [
  "format",
  "create",
  "columns",
  "delimiter",
  "quote",
  "escape",
  "encoding",
  "skip",
  "comment",
  "decimal",
  "index",
  "skipBlankLines",
  "timeout",
] as const satisfies readonly (keyof LoadValues)[];

function addType(text: string, earlier: Record<string, string> = {}): Record<string, string> {
  return addPair(text, earlier, "column=type");
}

function addRename(text: string, earlier: Record<string, string> = {}): Record<string, string> {
  return addPair(text, earlier, "old=new");
}

/** Adds the pair of a repeated option to the earlier ones. */
function addPair(text: string, earlier: Record<string, string>, form: string): Record<string, string> {
  const at = text.indexOf("=");
  if (at > 0 && at < text.length - 1) return { ...earlier, [text.slice(0, at)]: text.slice(at + 1) };
  throw new InvalidArgumentError(`It must be ${form}.`);
}
