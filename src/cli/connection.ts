import { type Command, InvalidArgumentError, Option } from "npm:commander@^15.1.0";
import type { Lakebase } from "../api/lakebase.ts";
import type { ConnectOptions } from "../settings/options.ts";

/** What a person said of the connection. */
export interface ConnectionValues extends Omit<ConnectOptions, "local" | "workspace" | "types" | "password"> {
  /** Whether it is to be on this machine. */
  local?: boolean;
  /** Where the Lakebase on this machine keeps its data. */
  dataDir?: string;
}

/** Adds the settings of `connect()`; each is also looked for in the environment and in `.env`. */
export function addConnectionOptions(command: Command): Command {
  return command.optionsGroup("Connection:")
    .option("--endpoint <name>", "projects/p/branches/b/endpoints/e, or as much as is needed [LAKEBASE_ENDPOINT]")
    .option(
      "--instance <name>",
      "a Lakebase Provisioned (the older product) instance, instead of an endpoint [LAKEBASE_INSTANCE]",
    )
    .option("--profile <name>", "a profile of ~/.databrickscfg [DATABRICKS_CONFIG_PROFILE]")
    .option("--host <name>", "the server, instead of the endpoint's [PGHOST]")
    .option("--port <number>", "5432 where nothing is said [PGPORT]", wholeNumber)
    .option("-d, --database <name>", "databricks_postgres where nothing is said [PGDATABASE]")
    .option("-U, --user <name>", "the role; you, where nothing is said [PGUSER]")
    .option("--group <name>", "the workspace group to log in as; its API may not have it any more")
    .option("--read-only", "keeps from writing by mistake; on a read replica where there is one")
    .addOption(
      new Option("--ssl-mode <mode>", "how the server is verified [PGSSLMODE]")
        .choices(["verify-full", "require", "disable"]),
    )
    .option("--ca <file>", "certificate authorities to trust, instead of the system's [PGSSLROOTCERT]")
    .option(
      "--connect-timeout <seconds>",
      "60 where nothing is said; it has to suffice for waking the compute",
      seconds,
    )
    .option("--env-file <file>", ".env in the working directory where nothing is said [LAKEBASE_ENV_FILE]")
    .option("--no-env-file", "takes nothing from .env")
    .option("--local", "a Lakebase on this machine, started for this command [LAKEBASE_LOCAL]")
    .addOption(
      new Option("--data-dir <folder>", "with --local: where it keeps its data; else it keeps none").implies({
        local: true,
      }),
    )
    .optionsGroup("Options:");
}

/** Where passwords and tokens come from: never from here, since every user of a machine sees its command lines. */
export const LOGIN_HELP = `
Login: as databricks auth login left it, or DATABRICKS_HOST with DATABRICKS_TOKEN, or with DATABRICKS_CLIENT_ID and
DATABRICKS_CLIENT_SECRET; a native password from PGPASSWORD. Each may stand in .env, beside the host that it is for. No
option takes a secret: other users of a machine see its command lines.`;

/** Connects, and closes when the work is done. Stop ends the wait for a compute that wakes. */
export async function withDatabase<T>(
  values: ConnectionValues,
  signal: AbortSignal,
  work: (db: Lakebase) => Promise<T>,
): Promise<T> {
  const [{ connect }, { until }] = await Promise.all([import("../api/connect.ts"), import("../sql/stop.ts")]);
  const connecting = connect(connectOptions(values));
  try {
    await until(connecting, signal);
  } catch (error) {
    // A database that is being made in a folder would be left half made.
    if (values.dataDir !== undefined) await connecting.then((db) => db.close(), () => {});
    throw error;
  }
  await using db = await connecting;
  return await work(db);
}

/** The options of `connect()` for what a person said. */
export function connectOptions(values: ConnectionValues): ConnectOptions {
  const { local, dataDir } = values;
  return {
    ...Object.fromEntries(NAMES.filter((name) => values[name] !== undefined).map((name) => [name, values[name]])),
    ...(local === undefined ? {} : { local: dataDir === undefined ? local : { dataDir } }),
  };
}

const NAMES = [
  ...["endpoint", "instance", "profile", "host", "port", "database", "user", "group", "readOnly"] as const,
  ...["sslMode", "ca", "connectTimeout", "envFile", "max"] as const,
];

/** Reads a whole number from 0. */
export function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It must be a whole number.");
}

/** Reads a number of seconds above 0. */
export function seconds(text: string): number {
  const number = Number(text);
  if (/^[\d.]+$/.test(text) && number > 0) return number;
  throw new InvalidArgumentError("It must be a number of seconds above 0.");
}

/** Reads `id,zone` as names; in double quotes, as SQL has them, stands what a comma or a space belongs to: `id,"c,d"`. */
export function names(text: string): string[] {
  const found = [...text.matchAll(/(?<=^|,)\s*(?:"((?:[^"]|"")*)"|([^",][^,]*|))\s*(?=,|$)/g)];
  const names = found.map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain!.trimEnd());
  const whole = found.map(([part]) => part).join(",") === text;
  if (whole && !names.includes("") && new Set(names).size === names.length) return names;
  throw new InvalidArgumentError('It must be different columns, such as id,zone; one with a comma as id,"a, b".');
}

/** Reads a delimiter; `\t`, which a shell does not make a tab of, is one. */
export function delimiter(text: string): string {
  return text === "\\t" ? "\t" : text;
}
