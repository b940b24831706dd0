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
The file is .csv, .tsv, .ndjson, .json, .arrow or .parquet, text also as .gz or .zst, or - for standard input with --format.
The delimiter, quote and escape of a CSV file that is not plain are found by looking, and printed.
Several files, a folder, or a glob in quotes are one load; folders called name=value give a column to the files in them.
All of it is loaded, or nothing: a row that does not fit ends it, and is named with its line.
${LOGIN_HELP}

Examples:
  lakebase load trips trips.csv
  lakebase load trips trips.parquet --create
  lakebase load trips trips.csv --create --type zip=text --type 'fare=numeric(10, 2)'
  lakebase load app.trips trips.ndjson.gz --replace
  lakebase load trips trips/ --create
  lakebase load trips 'trips/**/*.parquet'
  printf 'id,zone\\\\n1,Harlem\\\\n' | lakebase load --local --data-dir .lakebase trips - --format csv --create`;

/** Makes `lakebase load` of a command. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.argument("<table>", "the table, such as trips or app.trips")
    .argument("<file...>", "the file to load, or several, a folder, a glob in quotes, or -")
    .addOption(new Option("--format <name>", "of the file; by its name where nothing is said").choices(LOAD_FORMATS))
    .option("--create", "makes the table where there is none, with types that fit")
    .option("--type <column=type>", "with --create: a column's type; may be repeated", addType)
    .option("--replace", "takes the table's rows away first, in the same transaction")
    .option("--columns <names>", "the table's columns that the values are for, in the file's order: id,zone", names)
    .option("--rename <old=new>", "a column's name in the table, by its name in the file; may be repeated", addRename)
    .option("--no-header", "the first line of CSV or TSV has no names")
    .option("--delimiter <character>", "between the values of CSV and TSV; \\t is a tab", delimiter)
    .option("--quote <character>", "that quotes values of CSV")
    .option("--escape <character>", "that escapes a quote in CSV; a back-slash in files of Spark and MySQL")
    .option("--encoding <name>", "of CSV and TSV, such as latin1 or windows-1252")
    .option("--skip <lines>", "at the start of CSV and TSV, before the header", wholeNumber)
    .option("--comment <character>", "at the start of lines of CSV and TSV that are left out")
    .addOption(new Option("--decimal <character>", "mark of numbers in CSV and TSV").choices([".", ","]))
    .option("--index <name>", "of a first column that has none in the header; drop leaves it out")
    .option("--skip-blank-lines", "of CSV and TSV, which are an error otherwise")
    .option("--null <text>", "for NULL in CSV and TSV")
    .option("--no-partitions", "folders called name=value give no columns")
    .option("--timeout <seconds>", "that it may take", seconds)
    .option("--quiet", "neither shows how far it is, nor what it did");
  addConnectionOptions(command).addHelpText("after", EXAMPLES);
  command.action((table: string, files: string[], values: LoadValues) => load(table, files, values, stopped));
}

async function load(table: string, files: string[], values: LoadValues, stopped: AbortSignal): Promise<void> {
  if (files.length > 1 && files.includes("-")) throw bad("- is standard input, which can't be one of several files");
  if (values.rename !== undefined && values.columns !== undefined) {
    throw bad("--columns names all columns, and --rename some; say one of the two");
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
    ...(header === false ? { header } : {}), // where nothing was said it is true, and not every format has one
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
