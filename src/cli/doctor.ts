import { type Command, InvalidArgumentError, Option } from "npm:commander@15.1.0";
import { printableJson } from "../core/text.ts";
import { readVolumePath } from "../core/volume_path.ts";
import { DISPLAY } from "../draw/notebook.ts";
import { addConnectionOptions, type ConnectionValues, connectOptions, LOGIN_HELP } from "./connection.ts";
import { shellMessage } from "./errors.ts";
import { print } from "./output.ts";

interface DoctorValues extends ConnectionValues {
  format: "table" | "json";
  volume?: string[];
}

const EXAMPLES = `
The doctor tries each step of connecting by itself: the settings and their origins, the workspace, the endpoint, DNS, TCP,
TLS, the credential, the login, a query, and the clocks; then the SQL warehouse, if DATABRICKS_WAREHOUSE_ID names one. It
says what to do about the first step that fails, and the exit code is then 1. It shows no secret.
${LOGIN_HELP}

Examples:
  lakebase doctor
  lakebase doctor --local
  lakebase doctor --volume /Volumes/main/raw/landing
  lakebase doctor --profile work --format json | jq '.[] | select(.outcome == "failed")'`;

/** Sets up `lakebase doctor`. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.addOption(
    new Option("--format <name>", "print the report in this format").choices(["table", "json"]).default("table"),
  );
  command.option("--volume <path>", "check a Volume too: /Volumes/catalog/schema/volume; can be repeated", addVolume);
  addConnectionOptions(command).addHelpText("after", EXAMPLES);
  command.action((values: DoctorValues) => doctor(values, stopped));
}

async function doctor(values: DoctorValues, signal: AbortSignal): Promise<void> {
  const { diagnose } = await import("../api/check.ts");
  const checkup = await diagnose(connectOptions(values), { signal, messageOf: shellMessage }, values.volume);
  const text = values.format === "json"
    ? printableJson(JSON.stringify(checkup, null, 2))
    : checkup[DISPLAY]()["text/plain"];
  await print(Deno.stdout, `${text}\n`);
  const failed = checkup.find(({ outcome }) => outcome === "failed");
  if (failed !== undefined) throw new Error(`failed at ${failed.step}`);
}

function addVolume(path: string, given: readonly string[] = []): string[] {
  const place = readVolumePath(path);
  if (typeof place === "string") throw new InvalidArgumentError(`${place[0]!.toUpperCase()}${place.slice(1)}.`);
  return [...given, path];
}
