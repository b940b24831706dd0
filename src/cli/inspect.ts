import { type Command, InvalidArgumentError, Option } from "npm:commander@15.1.0";
import { printableJson } from "../core/text.ts";
import { readVolumePath } from "../core/file_store.ts";
import { DISPLAY } from "../draw/notebook.ts";
import {
  addConnectionOptions,
  type ConnectionValues,
  connectOptions,
  LOGIN_HELP,
  seconds,
  withDatabase,
} from "./connection.ts";
import { print, shellMessage } from "./output.ts";
import { type FormatOptions, FORMATS, printListing } from "./rows.ts";

const VERSION_EXAMPLES = `${LOGIN_HELP}

Examples:
  lakebase version
  lakebase version --local
  lakebase version --profile work --endpoint my-project`;

/** Sets up `lakebase version`. */
export function version(command: Command, stopped: AbortSignal): void {
  addConnectionOptions(command).addHelpText("after", VERSION_EXAMPLES);
  command.action(async (values: ConnectionValues) => {
    await withDatabase(values, stopped, async (db) => await print(Deno.stdout, `${await db.version()}\n`));
  });
}

interface TablesValues extends ConnectionValues, Pick<FormatOptions, "format"> {
  timeout?: number;
}

const TABLES_EXAMPLES = `
The number of rows is the estimate of the last ANALYZE. In CSV and JSON, the size is in bytes.
${LOGIN_HELP}

Examples:
  lakebase tables
  lakebase tables 'trip*'
  lakebase tables --local 'pg_catalog.pg_t*'
  lakebase tables 'app.*' --format json | jq -r '.[].name'`;

/** Sets up `lakebase tables`. */
export function tables(command: Command, stopped: AbortSignal): void {
  command.argument(
    "[pattern]",
    "a pattern of psql's \\dt, such as trip* or app.* (default: all tables except the system's)",
  )
    .addOption(new Option("--format <name>", "print the list in this format").choices(FORMATS).default("table"))
    .option("--timeout <seconds>", "cancel after this time", seconds);
  addConnectionOptions(command).addHelpText("after", TABLES_EXAMPLES);
  command.action((pattern: string | undefined, values: TablesValues) => listTables(pattern, values, stopped));
}

async function listTables(pattern: string | undefined, values: TablesValues, signal: AbortSignal): Promise<void> {
  const { format, timeout } = values;
  await withDatabase(values, signal, async (db) => {
    const options = { signal, ...(timeout === undefined ? {} : { timeout }) };
    await printListing(await db.tables(pattern, options), format);
  });
}

interface DoctorValues extends ConnectionValues {
  format: "table" | "json";
  volume?: string[];
}

const DOCTOR_EXAMPLES = `
The doctor tries each step of connecting separately: the settings and their origins, the workspace, the endpoint, DNS, TCP,
TLS, the credential, the login, a query, and the clocks; then the SQL warehouse, if DATABRICKS_WAREHOUSE_ID names one. It
says what to do about the first step that fails, and the exit code is then 1. It shows no secret.
${LOGIN_HELP}

Examples:
  lakebase doctor
  lakebase doctor --local
  lakebase doctor --volume /Volumes/main/raw/landing
  lakebase doctor --profile work --format json | jq '.[] | select(.outcome == "failed")'`;

/** Sets up `lakebase doctor`. */
export function doctor(command: Command, stopped: AbortSignal): void {
  command.addOption(
    new Option("--format <name>", "print the report in this format").choices(["table", "json"]).default("table"),
  );
  command.option("--volume <path>", "check a Volume too: /Volumes/catalog/schema/volume; can be repeated", addVolume);
  addConnectionOptions(command).addHelpText("after", DOCTOR_EXAMPLES);
  command.action((values: DoctorValues) => runDoctor(values, stopped));
}

async function runDoctor(values: DoctorValues, signal: AbortSignal): Promise<void> {
  const { diagnose } = await import("../api/check.ts");
  const checkup = await diagnose(connectOptions(values), { signal, messageOf: shellMessage }, values.volume);
  const text = values.format === "json"
    ? printableJson(JSON.stringify(checkup, null, 2))
    : checkup[DISPLAY]()["text/plain"];
  await print(Deno.stdout, `${text}\n`);
  const failed = checkup.find(({ outcome }) => outcome === "failed");
  if (failed !== undefined) throw new Error(`failed at ${failed.step}`);
}

function addVolume(path: string, earlier: readonly string[] = []): string[] {
  const volume = readVolumePath(path);
  if (typeof volume === "string") throw new InvalidArgumentError(`${volume[0]!.toUpperCase()}${volume.slice(1)}.`);
  return [...earlier, path];
}
