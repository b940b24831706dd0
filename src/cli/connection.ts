import { type Command, InvalidArgumentError, Option } from "npm:commander@^15.1.0";
import type { Lakebase } from "../api/lakebase.ts";
import type { ConnectOptions } from "../settings/options.ts";

/** The connection options of a command. */
export interface ConnectionValues extends Omit<ConnectOptions, "local" | "workspace" | "types" | "password"> {
  /** Whether to use a Lakebase on this machine. */
  local?: boolean;
  /** Where the Lakebase on this machine keeps its data. */
  dataDir?: string;
}

/** Adds the options of `connect()`; the environment and `.env` give those that are missing. */
export function addConnectionOptions(command: Command): Command {
  return command.optionsGroup("Connection:")
    .option(
      "--endpoint <name>",
      "the endpoint: projects/p/branches/b/endpoints/e, or a shorter form such as p [LAKEBASE_ENDPOINT]",
    )
    .option(
      "--instance <name>",
      "an instance of Lakebase Provisioned (the older product), instead of an endpoint [LAKEBASE_INSTANCE]",
    )
    .option("--profile <name>", "a profile of ~/.databrickscfg [DATABRICKS_CONFIG_PROFILE]")
    .option("--host <name>", "the host, instead of the endpoint's [PGHOST]")
    .option("--port <number>", "the port (default: 5432) [PGPORT]", wholeNumber)
    .option("-d, --database <name>", "the database (default: databricks_postgres) [PGDATABASE]")
    .option("-U, --user <name>", "the role (default: your workspace user) [PGUSER]")
    .option("--group <name>", "the workspace group to log in as; newer workspaces may not support it")
    .option("--read-only", "prevent writing by mistake; uses a read replica if there is one")
    .addOption(
      new Option("--ssl-mode <mode>", "how to verify the server [PGSSLMODE]")
        .choices(["verify-full", "require", "disable"]),
    )
    .option("--ca <file>", "a file of certificate authorities to trust, instead of the system's [PGSSLROOTCERT]")
    .option(
      "--connect-timeout <seconds>",
      "the time limit for connecting, including waking the compute (default: 60)",
      seconds,
    )
    .option("--env-file <file>", "the .env file (default: .env in the working directory) [LAKEBASE_ENV_FILE]")
    .option("--no-env-file", "read no .env file")
    .option("--local", "use a Lakebase on this machine, started for this command [LAKEBASE_LOCAL]")
    .addOption(
      new Option("--data-dir <folder>", "with --local: keep the data in this folder (default: keep no data)").implies({
        local: true,
      }),
    )
    .optionsGroup("Options:");
}

/** Where passwords and tokens come from: never from an option, because every user of a machine sees its command lines. */
export const LOGIN_HELP = `
Login: "databricks auth login", or DATABRICKS_HOST with DATABRICKS_TOKEN, or DATABRICKS_HOST with DATABRICKS_CLIENT_ID and
DATABRICKS_CLIENT_SECRET, or PGPASSWORD for a native password. You can put them into .env, together with their host.
No option takes a secret, because other users of this machine can see your command lines.`;

/** Connects, does some work, and closes. Stop ends the wait for a compute that is waking. */
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
    // Otherwise a new database in the folder would be left half made.
    if (values.dataDir !== undefined) await connecting.then((db) => db.close(), () => {});
    throw error;
  }
  await using db = await connecting;
  return await work(db);
}

/** The options of `connect()`. */
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

/** Reads a whole number, 0 or greater. */
export function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It must be a whole number.");
}

/** Reads a number of seconds greater than 0. */
export function seconds(text: string): number {
  const number = Number(text);
  if (/^[\d.]+$/.test(text) && number > 0) return number;
  throw new InvalidArgumentError("It must be a number of seconds above 0.");
}

/** Reads names such as `id,zone`; a name with a comma is in double quotes, as in SQL: `id,"c,d"`. */
export function names(text: string): string[] {
  const found = [...text.matchAll(/(?<=^|,)\s*(?:"((?:[^"]|"")*)"|([^",][^,]*|))\s*(?=,|$)/g)];
  const names = found.map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain!.trimEnd());
  const whole = found.map(([part]) => part).join(",") === text;
  if (whole && !names.includes("") && new Set(names).size === names.length) return names;
  throw new InvalidArgumentError('It must be different columns, such as id,zone; one with a comma as id,"a, b".');
}

/** Reads a delimiter; `\t` is a tab, because a shell does not make one of it. */
export function delimiter(text: string): string {
  return text === "\\t" ? "\t" : text;
}
