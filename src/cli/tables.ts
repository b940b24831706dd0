import { type Command, Option } from "npm:commander@15.1.0";
import { addConnectionOptions, type ConnectionValues, LOGIN_HELP, seconds, withDatabase } from "./connection.ts";
import { type FormatOptions, FORMATS, printListing } from "./rows.ts";

interface TablesValues extends ConnectionValues, Pick<FormatOptions, "format"> {
  timeout?: number;
}

const EXAMPLES = `
The number of rows is the estimate of the last ANALYZE. In CSV and JSON, the size is in bytes.
${LOGIN_HELP}

Examples:
  lakebase tables
  lakebase tables 'trip*'
  lakebase tables --local 'pg_catalog.pg_t*'
  lakebase tables 'app.*' --format json | jq -r '.[].name'`;

/** Sets up `lakebase tables`. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.argument(
    "[pattern]",
    "a pattern of psql's \\dt, such as trip* or app.* (default: all tables except the system's)",
  )
    .addOption(new Option("--format <name>", "print the list in this format").choices(FORMATS).default("table"))
    .option("--timeout <seconds>", "cancel after this time", seconds);
  addConnectionOptions(command).addHelpText("after", EXAMPLES);
  command.action((pattern: string | undefined, values: TablesValues) => tables(pattern, values, stopped));
}

async function tables(pattern: string | undefined, values: TablesValues, signal: AbortSignal): Promise<void> {
  const { format, timeout } = values;
  await withDatabase(values, signal, async (db) => {
    const options = { signal, ...(timeout === undefined ? {} : { timeout }) };
    await printListing(await db.tables(pattern, options), format);
  });
}
