import { type Command, Option } from "npm:commander@^15.1.0";
import type { Fragment } from "../sql/fragment.ts";
import { FILE_FORMATS } from "../transfer/formats/file_format.ts";
import { bad, checkFormatOptions, type PullOptions } from "../transfer/pull/options.ts";
import { planTarget } from "../transfer/pull/target.ts";
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
import { addParameter, type Parameters, readScript, toFragment } from "./script.ts";

interface PullValues
  extends ConnectionValues, Omit<PullOptions, "nullText" | "columns" | "partitionBy" | "signal" | "onProgress"> {
  sql?: string;
  file?: string;
  param?: Parameters;
  null?: string;
  columns?: string[];
  partitionBy?: string[];
  quiet?: boolean;
}

const EXAMPLES = `
The target is a .csv, .tsv, .ndjson, .arrow or .parquet file, the text formats also as .gz, or - for standard output. A
file takes the place of one that is there only when it is whole; after a failure or Ctrl-C nothing of it is left.
A target that ends in / is a folder of files, Parquet where --format says nothing, which Spark, DuckDB, polars and load read
as one.
${LOGIN_HELP}

Examples:
  lakebase pull trips trips.parquet
  lakebase pull trips trips.csv.gz --columns id,zone --parallel 4
  lakebase pull trips trips/ --parallel 4
  lakebase pull trips trips/ --partition-by year,zone --replace
  lakebase pull --sql 'SELECT * FROM trips WHERE zone = $zone' -p zone=Harlem harlem.csv
  lakebase pull --local --sql 'SELECT n FROM generate_series(1, 1000) AS n' numbers.arrow
  lakebase pull trips - --format csv | head`;

/** Makes `lakebase pull` of a command. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.usage("[options] [table] <target>")
    .argument("[table]", "the table, such as trips or app.trips; none with --sql or --file")
    .argument("[target]", "the file to write, a folder/, or -")
    .option("--sql <sql>", "pulls the rows of this query")
    .option("-f, --file <file>", "pulls the rows of the query in this file; - for standard input")
    .option("-p, --param <name=value>", "a value for $name in the query; may be repeated", addParameter)
    .addOption(new Option("--format <name>", "of the target; by its name where nothing is said").choices(FILE_FORMATS))
    .option("--columns <names>", "these columns, in this order: id,zone; one with a comma in double quotes", names)
    .option("--no-header", "CSV and TSV without the names of the columns")
    .option("--delimiter <character>", "between the values of CSV and TSV; \\t is a tab", delimiter)
    .option("--null <text>", "for NULL in CSV and TSV")
    .option("--gzip", "packs CSV, TSV or NDJSON; also by a name that ends in .gz")
    .addOption(new Option("--compression <name>", "of Parquet").choices(["zstd", "gzip", "none"]))
    .option("--row-group-size <rows>", "of Parquet", wholeNumber)
    .option(
      "--parallel <connections>",
      "reads a table on so many at once; into a folder/, or with {n} in the target, into as many files",
      wholeNumber,
    )
    .option("--rows-per-file <rows>", "of a folder/", wholeNumber)
    .option("--partition-by <names>", "a folder for each value of these columns: year,zone", names)
    .option("--replace", "a dataset that is in the folder/ already")
    .option("--timeout <seconds>", "that it may take", seconds)
    .option("--quiet", "neither shows how far it is, nor what it did");
  addConnectionOptions(command).addHelpText("after", EXAMPLES);
  command.action((table: string | undefined, target: string | undefined, values: PullValues) =>
    pull([table, target], values, stopped)
  );
}

async function pull(words: (string | undefined)[], values: PullValues, stopped: AbortSignal): Promise<void> {
  const [table, target] = values.sql === undefined && values.file === undefined ? words : [undefined, ...words];
  if (target === undefined || words[1] !== undefined && table === undefined) {
    throw bad(
      "a pull takes a table and a target, or a --sql or --file and a target: lakebase pull trips trips.csv",
    );
  }
  const options = pullOptions(values, stopped);
  checkFormatOptions(options, planTarget(target, options).format); // before a compute is woken for it
  const query = table === undefined ? await readQuery(values, stopped) : undefined;
  const { parallel } = options;
  const connection = parallel === undefined ? values : { ...values, max: parallel + 1 }; // one to ask how many rows there are
  await withDatabase(connection, stopped, async (db) => {
    const result = await db.pull(query ?? table!, target, options);
    if (!values.quiet) await print(target === "-" ? Deno.stderr : Deno.stdout, `${result}\n`);
  });
}

async function readQuery({ sql, file, param }: PullValues, stopped: AbortSignal): Promise<Fragment> {
  const { statements: [statement, ...others] } = await readScript(
    { text: sql, file, ...(param && { param }) },
    stopped,
  );
  if (others.length > 0) throw bad(`a pull takes one query; there are ${others.length + 1}`);
  return toFragment(statement!, param ?? new Map());
}

function pullOptions(values: PullValues, signal: AbortSignal): PullOptions {
  const { header, null: nullText, quiet = false } = values;
  const given = NAMES.filter((name) => values[name] !== undefined).map((name) => [name, values[name]]);
  return {
    ...Object.fromEntries(given),
    ...(header === false ? { header } : {}), // where nothing was said it is true, and not every format has one
    ...(nullText === undefined ? {} : { nullText }),
    progress: !quiet,
    signal,
  };
}

const NAMES = [
  ...["format", "columns", "delimiter", "gzip", "compression", "rowGroupSize", "parallel", "timeout"] as const,
  ...["rowsPerFile", "partitionBy", "replace"] as const,
];
