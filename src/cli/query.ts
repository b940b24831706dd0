import { type Command, Option } from "npm:commander@15.1.0";
import { SESSION } from "../api/lakebase.ts";
import { badParameter } from "../sql/parameter.ts";
import {
  addConnectionOptions,
  addWarehouseOptions,
  checkWarehouse,
  type ConnectionValues,
  delimiter,
  LOGIN_HELP,
  seconds,
  type WarehouseValues,
  withDatabase,
  withWarehouse,
} from "./connection.ts";
import { withOutput } from "./output.ts";
import { type FormatOptions, FORMATS } from "./rows.ts";
import { runInWarehouse, runScript } from "./run_script.ts";
import { addParameter, type Parameters, readScript } from "./script.ts";

interface QueryValues extends ConnectionValues, WarehouseValues, Omit<FormatOptions, "color"> {
  file?: string;
  param?: Parameters;
  output?: string;
  timeout?: number;
}

const EXAMPLES = `
$name or $1 in the SQL is a bound parameter, and -p gives its value. Put the SQL in single quotes, because the shell
replaces $name in double quotes.

Several statements run in order on one connection, each in its own transaction, as in psql; BEGIN and COMMIT put them into
one transaction. The first statement that fails ends the command. Rows are printed as they arrive, all of them.

With --warehouse, the SQL runs in a SQL warehouse of the workspace, in its dialect, one statement at a time.
${LOGIN_HELP}

Examples:
  lakebase query --local 'SELECT version()'
  lakebase query --local 'SELECT n, n * $factor::int AS product FROM generate_series(1, 3) AS n' -p factor=2
  lakebase query --local --format csv --output squares.csv 'SELECT n, n * n AS square FROM generate_series(1, 1000) AS n'
  echo 'CREATE TEMP TABLE zones (name text); TABLE zones' | lakebase query --local
  lakebase query --local --format json 'SELECT now() AS time, ARRAY[1, 2] AS list'
  lakebase query --local --warehouse 'Serverless Starter Warehouse' 'SELECT count(*) FROM information_schema.tables'`;

/** Sets up `lakebase query`. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.argument("[sql]", "one or more statements; without them, or with -, the command reads standard input")
    .option("-f, --file <file>", "read the SQL from this file, or with - from standard input")
    .option("-p, --param <name=value>", "set a parameter; repeat it for more", addParameter)
    .addOption(new Option("--format <name>", "print the rows in this format").choices(FORMATS).default("table"))
    .option(
      "-o, --output <file>",
      "write the rows to this file, which appears only when it is complete (default: standard output)",
    )
    .option("--no-header", "omit the column names, and in a table the row count")
    .option(
      "--null <text>",
      "print this text for NULL (default: NULL in a table; nothing in CSV, which quotes an empty text)",
    )
    .option(
      "--delimiter <character>",
      "separate the values of CSV with this character; \\t is a tab (default: comma)",
      delimiter,
    )
    .option("--timeout <seconds>", "cancel a statement that takes longer", seconds);
  addConnectionOptions(addWarehouseOptions(command)).addHelpText("after", EXAMPLES);
  command.action((sql: string | undefined, values: QueryValues) => query(sql, values, stopped));
}

async function query(sql: string | undefined, values: QueryValues, stopped: AbortSignal): Promise<void> {
  checkFormatOptions(values);
  checkWarehouse(values);
  const script = await readScript({ ...values, text: sql }, stopped);
  const color = values.output === undefined && Deno.stdout.isTerminal() && !Deno.noColor;
  if (values.warehouse !== undefined) {
    return await withWarehouse(values, stopped, async (lake) => {
      await withOutput(values.output, stopped, async (write) => {
        await runInWarehouse(lake, script, { ...values, color, signal: stopped }, write);
      });
    });
  }
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
      `--delimiter is ${JSON.stringify(delimiter)}; it must be one character that is not a quote or a line end`,
    );
  }
  const isJson = format === "json" || format === "ndjson";
  if (isJson && (nullText !== undefined || !header)) throw badParameter("--null and --no-header are for table and CSV");
}
