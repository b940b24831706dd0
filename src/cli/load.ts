import { type Command, InvalidArgumentError, Option } from "npm:commander@^15.1.0";
import { LOAD_FORMATS } from "../transfer/formats/file_format.ts";
import { bad, type LoadOptions } from "../transfer/load/options.ts";
import {
  addConnectionOptions,
  type ConnectionValues,
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
The file is .csv, .tsv, .ndjson, .json, .arrow or .parquet, a text format with .gz or .zst, or - for standard input with
--format. The delimiter, quote and escape of a CSV file are detected, and printed if they are unusual.
Several files, a folder, or a quoted glob are one load. A folder called name=value adds a column to the files in it.
Everything is loaded or nothing: the first row that does not fit ends the load, and the error names its line.
${LOGIN_HELP}

Examples:
  lakebase load trips trips.csv
  lakebase load trips trips.parquet --create
  lakebase load trips trips.csv --create --type zip=text --type 'fare=numeric(10, 2)'
  lakebase load app.trips trips.ndjson.gz --replace
  lakebase load trips trips/ --create
  lakebase load trips 'trips/**/*.parquet'
  printf 'id,zone\\\\n1,Harlem\\\\n' | lakebase load --local --data-dir .lakebase trips - --format csv --create`;

/** Sets up `lakebase load`. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.argument("<table>", "the table, such as trips or app.trips")
    .argument("<file...>", "one or more files, a folder, a quoted glob, or - for standard input")
    .addOption(
      new Option("--format <name>", "the format of the file (default: by its extension)").choices(LOAD_FORMATS),
    )
    .option("--create", "create the table if it does not exist, with types that fit")
    .option("--type <column=type>", "with --create: the type of a column; can be repeated", addType)
    .option("--replace", "delete the rows of the table first, in the same transaction")
    .option("--columns <names>", "the columns to load, in the order of the file: id,zone", names)
    .option("--rename <old=new>", "the new name of a column of the file; can be repeated", addRename)
    .option("--no-header", "the first line of CSV or TSV is data, not column names")
    .option("--delimiter <character>", "the delimiter of CSV and TSV; \\t for a tab", delimiter)
    .option("--quote <character>", "the quote of CSV")
    .option("--escape <character>", "the escape of a quote in CSV; a backslash in files of Spark and MySQL")
    .option("--encoding <name>", "the encoding of CSV and TSV, such as latin1 or windows-1252")
    .option("--skip <lines>", "skip this many lines of CSV and TSV before the header", wholeNumber)
    .option("--comment <character>", "skip the lines of CSV and TSV that begin with this character")
    .addOption(new Option("--decimal <character>", "the decimal mark of numbers in CSV and TSV").choices([".", ","]))
    .option("--index <name>", "the name of a first column that has none; drop omits the column")
    .option("--skip-blank-lines", "skip blank lines of CSV and TSV (default: they are an error)")
    .option("--null <text>", "the text for NULL in CSV and TSV")
    .option("--no-partitions", "add no columns for folders called name=value")
    .option("--timeout <seconds>", "the time limit", seconds)
    .option("--quiet", "show neither progress nor the result");
  addConnectionOptions(command).addHelpText("after", EXAMPLES);
  command.action((table: string, files: string[], values: LoadValues) => load(table, files, values, stopped));
}

async function load(table: string, files: string[], values: LoadValues, stopped: AbortSignal): Promise<void> {
  if (files.length > 1 && files.includes("-")) throw bad("- is standard input, which can't be one of several files");
  if (values.rename !== undefined && values.columns !== undefined) {
    throw bad("--columns names all columns and --rename some of them; give only one of the two");
  }
  if (values.type !== undefined && !values.create) throw bad("--type is for --create");
  await withDatabase(values, stopped, async (db) => {
    const source = files.length === 1 ? files[0]! : files;
    const result = await db.load(table, source, loadOptions(values, stopped));
    if (!values.quiet) await print(Deno.stdout, `${result}\n`);
  });
}

function loadOptions(values: LoadValues, signal: AbortSignal): LoadOptions {
  const { header, partitions, null: nullText, type: types, rename, replace = false, quiet = false } = values;
  const given = NAMES.filter((name) => values[name] !== undefined).map((name) => [name, values[name]]);
  return {
    ...Object.fromEntries(given),
    ...(header === false ? { header } : {}), // the default is true, and not every format has a header
    ...(partitions === false ? { partitions } : {}),
    ...(nullText === undefined ? {} : { nullText }),
    ...(types === undefined ? {} : { types }),
    ...(rename === undefined ? {} : { columns: rename }),
    mode: replace ? "replace" : "append",
    progress: !quiet,
    signal,
  };
}

const NAMES = [
  ...["format", "create", "columns", "delimiter", "quote", "escape", "encoding", "skip", "comment"],
  ...["decimal", "index", "skipBlankLines", "timeout"],
] as const satisfies readonly (keyof LoadValues)[];

function addType(text: string, given: Record<string, string> = {}): Record<string, string> {
  return addPair(text, given, "column=type");
}

function addRename(text: string, given: Record<string, string> = {}): Record<string, string> {
  return addPair(text, given, "old=new");
}

function addPair(text: string, given: Record<string, string>, form: string): Record<string, string> {
  const at = text.indexOf("=");
  if (at > 0 && at < text.length - 1) return { ...given, [text.slice(0, at)]: text.slice(at + 1) };
  throw new InvalidArgumentError(`It must be ${form}.`);
}
