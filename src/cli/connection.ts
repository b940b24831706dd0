import { type Command, InvalidArgumentError, Option } from "npm:commander@15.1.0";
import type { Lakebase } from "../api/lakebase.ts";
import type { Lakehouse } from "../api/lakehouse.ts";
import { optionName } from "../core/errors.ts";
import { unquoteName } from "../core/sql_text.ts";
import type { ConnectOptions } from "../settings/options.ts";
import { badParameter } from "../sql/parameter.ts";

/** The connection options of a command. */
export interface ConnectionValues extends Omit<ConnectOptions, "local" | "workspace" | "types" | "password"> {
  /** Whether to use a Lakebase on this machine. */
  local?: boolean;
  /** The folder in which the Lakebase on this machine keeps its data. */
  dataDir?: string;
}

/** Adds the options of `connect()`. The environment and `.env` give the missing ones. */
export function addConnectionOptions(command: Command): Command {
  return command.optionsGroup("Connection:")
    .option(
      "--endpoint <name>",
      "use this endpoint: projects/p/branches/b/endpoints/e, or a shorter form such as p [LAKEBASE_ENDPOINT]",
    )
    .option(
      "--branch <name>",
      "use this branch of the endpoint's project (default: the endpoint's, else the default branch) [LAKEBASE_BRANCH]",
    )
    .option(
      "--instance <name>",
      "use this instance of Lakebase Provisioned, the older product, instead of an endpoint [LAKEBASE_INSTANCE]",
    )
    .option("--profile <name>", "use this profile of ~/.databrickscfg [DATABRICKS_CONFIG_PROFILE]")
    .option("--host <name>", "connect to this host instead of the endpoint's [PGHOST]")
    .option("--port <number>", "connect to this port (default: 5432) [PGPORT]", wholeNumber)
    .option("-d, --database <name>", "use this database (default: databricks_postgres) [PGDATABASE]")
    .option("-U, --user <name>", "log in as this role (default: your workspace user) [PGUSER]")
    .option("--group <name>", "log in as this workspace group; newer workspaces may not support it")
    .option("--read-only", "prevent writing by mistake, and use a read replica if there is one")
    .addOption(
      new Option("--ssl-mode <mode>", "verify the server in this way [PGSSLMODE]")
        .choices(["verify-full", "require", "disable"]),
    )
    .option("--ca <file>", "trust the certificate authorities in this file instead of the system's [PGSSLROOTCERT]")
    .option(
      "--connect-timeout <seconds>",
      "stop connecting after this time, which includes waking the compute (default: 60)",
      seconds,
    )
    .option("--env-file <file>", "read this file (default: .env in the working directory) [LAKEBASE_ENV_FILE]")
    .option("--no-env-file", "don't read a .env file")
    .option("--local", "start a Lakebase on this machine for this command, and use it [LAKEBASE_LOCAL]")
    .addOption(
      new Option(
        "--data-dir <folder>",
        "keep the data of the local Lakebase in this folder; implies --local (default: keep no data)",
      ).implies({
        local: true,
      }),
    )
    .optionsGroup("Options:");
}

/** The help for logging in. No option takes a secret, because every user of a machine sees its command lines. */
export const LOGIN_HELP = `
To log in, run "databricks auth login"; or set DATABRICKS_HOST and DATABRICKS_TOKEN, or DATABRICKS_HOST,
DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET; or set PGPASSWORD for a native password. You can put these into .env,
together with their host. No option takes a secret, because other users of this machine can see your command lines.`;

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
    // A new database in the folder must not be left incomplete. An error of its start was thrown above.
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
    ...definedOptions(values, SAME_OPTIONS),
    ...(local === undefined ? {} : { local: dataDir === undefined ? local : { dataDir } }),
  };
}

/** The options of these names that have a value. */
export function definedOptions<T extends object, Name extends keyof T>(
  values: T,
  names: readonly Name[],
): Pick<T, Name> {
  const defined = names.filter((name) => values[name] !== undefined);
  return Object.fromEntries(defined.map((name) => [name, values[name]])) as Pick<T, Name>;
}

/** The options that have the same name and values in the shell and in `connect()`. */
const SAME_OPTIONS = [
  "endpoint",
  "branch",
  "instance",
  "profile",
  "host",
  "port",
  "database",
  "user",
  "group",
  "readOnly",
  "sslMode",
  "ca",
  "connectTimeout",
  "envFile",
  "max",
] as const;

/** The options of a command that name a SQL warehouse. */
export interface WarehouseValues {
  /** The id or name of the warehouse. */
  warehouse?: string;
  /** The catalog for names that do not give one. */
  catalog?: string;
  /** The schema for names that do not give one. */
  schema?: string;
}

/** Adds the options for a SQL warehouse. */
export function addWarehouseOptions(command: Command): Command {
  return command.optionsGroup("SQL warehouse:")
    .option(
      "--warehouse <name>",
      "run the SQL in this SQL warehouse of the workspace, by its name or id, instead of in the Lakebase",
    )
    .option("--catalog <name>", "with --warehouse: the catalog for names without one")
    .option("--schema <name>", "with --warehouse: the schema for names without one")
    .optionsGroup("Options:");
}

/** The options of `connect()` that select the workspace. All others are for a Lakebase. */
const WORKSPACE_OPTIONS: ReadonlySet<string> = new Set(["profile", "envFile", "local"]);

/**
 * Opens the warehouse that a command names, does some work, and waits until stopped statements are canceled there.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for options that apply only to a Lakebase.
 */
export async function withWarehouse<T>(
  values: ConnectionValues & WarehouseValues,
  signal: AbortSignal,
  work: (lake: Lakehouse) => Promise<T>,
): Promise<T> {
  const { warehouse, catalog, schema } = values;
  const connection = connectOptions(values);
  const refused = Object.keys(connection).find((name) => !WORKSPACE_OPTIONS.has(name));
  if (refused !== undefined) {
    throw badParameter(
      `${optionName(refused)} is for a Lakebase, and --warehouse runs the SQL elsewhere; leave one out`,
    );
  }
  const [api, { until }] = await Promise.all([import("../api/lakehouse.ts"), import("../sql/stop.ts")]);
  const opening = api.lakehouse({
    ...connection,
    ...(warehouse === undefined ? {} : { warehouse }),
    ...(catalog === undefined ? {} : { catalog }),
    ...(schema === undefined ? {} : { schema }),
    signal,
  });
  await using lake = await until(opening, signal);
  lake[api.ENGINE].cancelAtOnce(); // Ctrl-C ends the program
  return await work(lake);
}

/** Refuses the options that need `--warehouse` when there is none. */
export function checkWarehouse({ warehouse, catalog, schema }: WarehouseValues): void {
  if (warehouse === undefined && catalog !== undefined) throw badParameter("--catalog is for --warehouse; give both");
  if (warehouse === undefined && schema !== undefined) throw badParameter("--schema is for --warehouse; give both");
}

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

/** Reads names such as `id,zone`. A name with a comma is in double quotes, as in SQL: `id,"c,d"`. */
export function names(text: string): string[] {
  const matches = [...text.matchAll(/(?<=^|,)\s*(?:"((?:[^"]|"")*)"|([^",][^,]*|))\s*(?=,|$)/g)];
  const names = matches.map(([, quoted, plain]) => quoted === undefined ? plain!.trimEnd() : unquoteName(quoted));
  const isComplete = matches.map(([match]) => match).join(",") === text;
  if (isComplete && !names.includes("") && new Set(names).size === names.length) return names;
  throw new InvalidArgumentError(
    'It must be different columns, such as id,zone. Quote a name that has a comma: id,"a, b".',
  );
}

/** Reads a delimiter. `\t` is a tab, because it is hard to type a tab in a shell. */
export function delimiter(text: string): string {
  return text === "\\t" ? "\t" : text;
}
