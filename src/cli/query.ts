import { type Command, Option } from "npm:commander@^15.1.0";
import { SESSION } from "../api/lakebase.ts";
import { badParameter } from "../sql/parameter.ts";
import {
  addConnectionOptions,
  type ConnectionValues,
  delimiter,
  LOGIN_HELP,
  seconds,
  withDatabase,
} from "./connection.ts";
import { withOutput } from "./output.ts";
import { type FormatOptions, FORMATS } from "./rows.ts";
import { runScript } from "./run_script.ts";
import { addParameter, type Parameters, readScript } from "./script.ts";

interface QueryValues extends ConnectionValues, Omit<FormatOptions, "color"> {
  file?: string;
  param?: Parameters;
  output?: string;
  timeout?: number;
}

const EXAMPLES = `
Parameters: $name, or $1, in the SQL is a parameter, bound and never made text; -p gives its value. Put the SQL between
single quotes: between double quotes the shell takes $name for itself.

Several statements run in order on one connection, each by itself, as in psql; the first that fails ends it. BEGIN and
COMMIT make them one. All rows are written, as they come, in any format.
${LOGIN_HELP}

Examples:
  lakebase query --local 'SELECT version()'
  lakebase query --local 'SELECT n, n * $factor::int AS product FROM generate_series(1, 3) AS n' -p factor=2
  lakebase query --local --format csv --output squares.csv 'SELECT n, n * n AS square FROM generate_series(1, 1000) AS n'
  echo 'CREATE TEMP TABLE zones (name text); TABLE zones' | lakebase query --local
  lakebase query --local --format json 'SELECT now() AS time, ARRAY[1, 2] AS list'`;

/** Makes `lakebase query` of a command. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.argument("[sql]", "one or more statements; - for standard input, which is also read where there is no SQL")
    .option("-f, --file <file>", "the SQL is in this file; - for standard input")
    .option("-p, --param <name=value>", "a parameter's value; may be repeated", addParameter)
    .addOption(new Option("--format <name>", "of the rows").choices(FORMATS).default("table"))
    .option("-o, --output <file>", "writes the rows to this file, whole or not at all, instead of to standard output")
    .option("--no-header", "without the names of the columns; in a table also without the count of rows")
    .option("--null <text>", "for NULL; NULL in a table, nothing in CSV, where an empty text is in quotes")
    .option(
      "--delimiter <character>",
      "between the values in CSV, \\t for a tab; a comma where nothing is said",
      delimiter,
    )
    .option("--timeout <seconds>", "for each statement", seconds);
  addConnectionOptions(command).addHelpText("after", EXAMPLES);
  command.action((sql: string | undefined, values: QueryValues) => query(sql, values, stopped));
}

async function query(sql: string | undefined, values: QueryValues, stopped: AbortSignal): Promise<void> {
  checkFormatOptions(values);
  const script = await readScript({ ...values, text: sql }, stopped);
  const color = values.output === undefined && Deno.stdout.isTerminal() && !Deno.noColor;
  await withDatabase(values, stopped, async (db) => {
    await withOutput(values.output, stopped, async (write) => {
      await runScript(db[SESSION], script, { ...values, color, signal: stopped }, write);
    });
  });
}

function checkFormatOptions({ format, delimiter, null: nullText, header }: QueryValues): void {
  if (delimiter !== undefined && format !== "csv") throw badParameter("--delimiter is for --format csv");
  if (delimiter !== undefined && (delimiter.length !== 1 || /["\r\n]/.test(delimiter))) {
    throw badParameter(
      `--delimiter is ${JSON.stringify(delimiter)}; it must be one character, and no quote or line end`,
    );
  }
  const json = format === "json" || format === "ndjson";
  if (json && (nullText !== undefined || !header)) throw badParameter("--null and --no-header are for table and CSV");
}
