import { type Command, Option } from "npm:commander@15.1.0";
import type { Fragment } from "../sql/fragment.ts";
import { FILE_FORMATS } from "../transfer/formats/file_format.ts";
import { badPullOption, checkFormatOptions, type PullOptions } from "../transfer/pull/options.ts";
import { planTarget } from "../transfer/pull/target.ts";
import {
  addConnectionOptions,
  addWarehouseOptions,
  checkWarehouse,
  type ConnectionValues,
  definedOptions,
  delimiter,
  LOGIN_HELP,
  names,
  seconds,
  type WarehouseValues,
  wholeNumber,
  withDatabase,
  withWarehouse,
} from "./connection.ts";
import { print } from "./output.ts";
import { addParameter, type Parameters, readScript, toFragment } from "./script.ts";

interface PullValues
  extends
    ConnectionValues,
    WarehouseValues,
    Omit<PullOptions, "nullText" | "columns" | "partitionBy" | "signal" | "onProgress"> {
  sql?: string;
  file?: string;
  param?: Parameters;
  null?: string;
  columns?: string[];
  partitionBy?: string[];
  quiet?: boolean;
}

const EXAMPLES = `
The target is a .csv, .tsv, .ndjson, .arrow or .parquet file, a text file that ends in .gz, or - for standard output. The
file appears only when it is complete, and then replaces an existing one. A failure or Ctrl-C leaves nothing behind.
A target that ends in / is a folder of files, in Parquet unless --format says otherwise. Spark, DuckDB, polars and
"lakebase load" read such a folder as one table.
A target that begins with /Volumes/ is in a Volume of the workspace, and can be pulled to and loaded from like a file here.
${LOGIN_HELP}

Examples:
  lakebase pull trips trips.parquet
  lakebase pull trips trips.csv.gz --columns id,zone --parallel 4
  lakebase pull trips trips/ --parallel 4
  lakebase pull trips trips/ --partition-by year,zone --replace
  lakebase pull trips /Volumes/main/raw/landing/trips.parquet
  lakebase pull --sql 'SELECT * FROM trips WHERE zone = $zone' -p zone=Harlem harlem.csv
  lakebase pull --local --sql 'SELECT n FROM generate_series(1, 1000) AS n' numbers.arrow
  lakebase pull trips - --format csv | head`;

/** Sets up `lakebase pull`. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.usage("[options] [table] <target>")
    .argument("[table]", "the table, such as trips or app.trips; not with --sql or --file")
    .argument("[target]", "the file to write, a folder that ends in /, or - for standard output")
    .option("--sql <sql>", "pull the rows of this query")
    .option("-f, --file <file>", "pull the rows of the query in this file, or with - from standard input")
    .option("-p, --param <name=value>", "set the parameter $name of the query; repeat it for more", addParameter)
    .addOption(
      new Option("--format <name>", "write this format (default: by the extension of the target)").choices(
        FILE_FORMATS,
      ),
    )
    .option("--columns <names>", "pull these columns, in this order: id,zone; quote a name that has a comma", names)
    .option("--no-header", "omit the column names in CSV and TSV")
    .option("--delimiter <character>", "separate the values of CSV or TSV with this character; \\t is a tab", delimiter)
    .option("--null <text>", "write this text for NULL in CSV and TSV")
    .option("--gzip", "compress CSV, TSV or NDJSON with gzip (default: if the name ends in .gz)")
    .addOption(new Option("--compression <name>", "compress Parquet in this way").choices(["zstd", "gzip", "none"]))
    .option("--row-group-size <rows>", "put this many rows into a row group of Parquet", wholeNumber)
    .option(
      "--parallel <connections>",
      "read the table on this many connections; a folder, or a target with {n}, gets as many files",
      wholeNumber,
    )
    .option("--rows-per-file <rows>", "put at most this many rows into each file of a folder", wholeNumber)
    .option("--partition-by <names>", "make a subfolder for each value of these columns: year,zone", names)
    .option("--replace", "replace the dataset in an existing folder")
    .option("--timeout <seconds>", "cancel after this time", seconds)
    .option("--quiet", "show neither progress nor the result");
  addConnectionOptions(addWarehouseOptions(command)).addHelpText("after", EXAMPLES);
  command.action((table: string | undefined, target: string | undefined, values: PullValues) =>
    pull([table, target], values, stopped)
  );
}

async function pull(args: (string | undefined)[], values: PullValues, stopped: AbortSignal): Promise<void> {
  const [table, target] = values.sql === undefined && values.file === undefined ? args : [undefined, ...args];
  if (target === undefined || args[1] !== undefined && table === undefined) {
    throw badPullOption(
      "a pull takes a table and a target, or a --sql or --file and a target: lakebase pull trips trips.csv",
    );
  }
  const options = pullOptions(values, stopped);
  checkFormatOptions(options, planTarget(target, options).format); // before connecting, which may wake a compute
  checkWarehouse(values);
  const query = table === undefined ? await readQuery(values, stopped) : undefined;
  const report = async (result: unknown) => {
    if (!values.quiet) await print(target === "-" ? Deno.stderr : Deno.stdout, `${result}\n`);
  };
  if (values.warehouse !== undefined) {
    if (query === undefined) throw badPullOption("with --warehouse, a pull takes a --sql or --file and a target");
    return await withWarehouse(values, stopped, async (lake) => {
      await report(await lake.sql`${query}`.pull(target, options));
    });
  }
  const { parallel } = options;
  const connection = parallel === undefined ? values : { ...values, max: parallel + 1 }; // one more connection counts the rows
  await withDatabase(connection, stopped, async (db) => {
    await report(await db.pull(query ?? table!, target, options));
  });
}

async function readQuery({ sql, file, param }: PullValues, stopped: AbortSignal): Promise<Fragment> {
  const { statements: [statement, ...others] } = await readScript(
    { text: sql, file, ...(param && { param }) },
    stopped,
  );
  if (others.length > 0) throw badPullOption(`a pull takes one query; there are ${others.length + 1}`);
  return toFragment(statement!, param ?? new Map());
}

function pullOptions(values: PullValues, signal: AbortSignal): PullOptions {
  const { header, null: nullText, quiet = false } = values;
  return {
    ...definedOptions(values, SAME_OPTIONS),
    ...(header === false ? { header } : {}), // the default is true, but not every format has a header
    ...(nullText === undefined ? {} : { nullText }),
    progress: !quiet,
    signal,
  };
}

/** The options that have the same name and values in the shell and in `pull()`. */
const SAME_OPTIONS = [
  "format",
  "columns",
  "delimiter",
  "gzip",
  "compression",
  "rowGroupSize",
  "parallel",
  "timeout",
  "rowsPerFile",
  "partitionBy",
  "replace",
] as const;
