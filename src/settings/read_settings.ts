import { optionText, quotedOption } from "../core/errors.ts";
import { LOCAL_OPTION_NAMES, type LocalOptions } from "../core/local_options.ts";
import { keepSecret } from "../core/redact.ts";
import { type EnvFile, mergeVariables, readEnvFile, refusedNames, type Variables, WAREHOUSE } from "./environment.ts";
import { type ConnectOptions, OPTION_NAMES, SETTING_NAMES } from "./options.ts";
import { describeOrigin, type Found, type Setting, toSetting } from "./origin.ts";
import { readProfiles } from "./profiles.ts";
import { badSetting, checkOptionNames, quoted } from "./read_option.ts";
import { resolveSettings, type Settings } from "./settings.ts";
import { isSecret, needsProfiles, resolveWorkspace } from "./workspace.ts";

/** The settings of one call of `connect()`, and the Lakebase that was started for them. */
export interface ReadSettings {
  /** The settings. */
  settings: Settings;
  /** The settings that were given, with where they come from. */
  found: Setting[];
  /** The SQL warehouse that a variable names. */
  warehouse: string | undefined;
  /** The variables that were and were not taken from `.env`; `undefined` if both lists are empty. */
  envFile: EnvFileUse | undefined;
  /** Ends the use of a Lakebase on this machine, if this call started one. */
  release: () => Promise<void>;
  /** Begins another use of that Lakebase, and returns the function that ends it. */
  hold: () => () => Promise<void>;
}

/** The use of a `.env` file. */
interface EnvFileUse {
  /** The path of the file. */
  path: string;
  /** The variables that were taken from it. */
  taken: string[];
  /** Variables that were not taken, with the reasons. */
  refused: [name: string, reason: string][];
}

/** One use of a Lakebase on this machine. */
export interface LocalUse {
  /** The environment variables that lead to it. */
  env: Record<string, string>;
  /** Ends the use. The server stops when its last use ends. */
  release: () => Promise<void>;
  /** Begins another use, and returns the function that ends it. */
  hold: () => () => Promise<void>;
}

/** Begins a use of a Lakebase on this machine, with the options of `startLocal`. */
type UseLocal = (options: LocalOptions) => Promise<LocalUse>;

/**
 * Reads the settings of `connect()` from its options, the environment, `.env` and the profiles.
 *
 * @param options The caller's options.
 * @param useLocal Starts a Lakebase on this machine; called if the settings ask for one.
 * @throws {LakebaseError} `BAD_SETTING`
 */
export async function readSettings(options: ConnectOptions, useLocal: UseLocal): Promise<ReadSettings> {
  checkOptionNames(options, OPTION_NAMES);
  const env = Deno.env.toObject();
  const path = envFilePath(options, env);
  const file = options.local || path === false ? undefined : await readEnvFile(path);
  const variables = mergeVariables(env, file);
  const wanted = resolveLocal(options, variables);
  if (wanted === undefined) {
    const profiles = profilesNeeded(options, variables) ? await readProfiles(env) : undefined;
    const { settings, found } = resolveSettings(options, variables, profiles);
    keepSecrets(settings);
    const warehouse = variables.get(WAREHOUSE)?.value;
    return { settings, found, warehouse, envFile: envFileUse(file, found), release: nothing, hold: () => nothing };
  }
  // Finds typos before a server is started. With the option `local`, variables that it overrules are not checked.
  const checked = resolveSettings(options, options.local === undefined ? alwaysChecked(variables) : new Map());
  const local = await useLocal(wanted.value);
  const own = mergeVariables(local.env, undefined, "default");
  const { settings } = resolveSettings(options, own);
  const warehouse = own.get(WAREHOUSE)?.value;
  keepSecrets(settings);
  const given = checked.found.filter(({ setting, origin }) => origin.source === "option" && setting !== "local");
  const found = [...given, toSetting("local", { value: true, origin: wanted.origin })];
  return { settings, found, warehouse, envFile: envFileUse(file, found), release: local.release, hold: local.hold };
}

/** The settings of a workspace alone, for one that is used without a Lakebase. */
export interface WorkspaceSettings extends Pick<Settings, "workspace" | "login" | "connectTimeout"> {}

/** The options that name a workspace. */
type WorkspaceOptions = Pick<ConnectOptions, "profile" | "workspace" | "envFile" | "local" | "connectTimeout">;

/**
 * Reads the settings of a workspace, in the same way as {@linkcode readSettings} reads those of a connection. A
 * password or a host of Postgres has no effect.
 *
 * @throws {LakebaseError} `BAD_SETTING`
 */
export async function readWorkspaceSettings(
  options: WorkspaceOptions,
  useLocal: UseLocal,
): Promise<Pick<ReadSettings, "warehouse" | "envFile" | "release"> & { settings: WorkspaceSettings }> {
  const read = await readSettings(options, useLocal);
  const { settings, ...rest } = read;
  if (settings.login !== undefined || settings.workspace !== undefined) return read;
  const env = Deno.env.toObject(); // a native password is set, so the workspace was not looked for
  const path = envFilePath(options, env);
  const variables = mergeVariables(env, path === false ? undefined : await readEnvFile(path));
  const sources = { profile: options.profile, variables };
  const profiles = needsProfiles(sources) ? await readProfiles(env) : undefined;
  const { login } = resolveWorkspace(sources, profiles);
  keepSecrets({ password: undefined, login });
  return { ...rest, settings: { ...settings, login } };
}

async function nothing(): Promise<void> {}

/** Hides the secrets in any text of a server, a driver or the SDK that repeats them. */
function keepSecrets({ password, login }: Pick<Settings, "password" | "login">): void {
  if (typeof password === "string") keepSecret(password);
  for (const [name, value] of Object.entries(login?.attributes ?? {})) if (isSecret(name)) keepSecret(value);
}

/** The variables that are checked even though a local Lakebase does not use them. */
function alwaysChecked(variables: Variables): Variables {
  return new Map([...variables].filter(([name]) => ["PGPORT", "LAKEBASE_ENDPOINT", "LAKEBASE_BRANCH"].includes(name)));
}

function envFilePath(options: ConnectOptions, env: Record<string, string | undefined>): string | false | undefined {
  const given: unknown = options.envFile ?? env["LAKEBASE_ENV_FILE"];
  if (given === undefined || given === false) return given;
  if (given === "" && options.envFile === undefined) return false;
  if (typeof given === "string" && given.trim() !== "" && !given.includes("\0")) return given;
  const origin = { source: "option", name: "envFile" } as const;
  throw badSetting(`option ${quotedOption("envFile")} is ${quoted(given)}; it must be a file, or false`, {
    setting: "envFile",
    origin,
  });
}

/** A native login to a known server needs no workspace, and so no profiles. */
function profilesNeeded(options: ConnectOptions, variables: Variables): boolean {
  const isGiven = (option: "password" | "host" | "user" | "branch") =>
    options[option] !== undefined || SETTING_NAMES[option]!.some((name) => variables.has(name));
  // Only the workspace knows a branch's host.
  const isComplete = isGiven("password") && isGiven("host") && isGiven("user") && !isGiven("branch");
  return !isComplete && options.workspace === undefined && needsProfiles({ profile: options.profile, variables });
}

function envFileUse(file: EnvFile | undefined, found: readonly Setting[]): EnvFileUse | undefined {
  if (file === undefined) return undefined;
  const taken = found.filter(({ origin }) => origin.source === ".env").map(({ origin }) => origin.name);
  const refused = refusedNames(file);
  return taken.length + refused.length === 0 ? undefined : { path: file.path, taken: [...new Set(taken)], refused };
}

/** The variables that name a server elsewhere. */
const SERVERS = ["LAKEBASE_ENDPOINT", "LAKEBASE_INSTANCE", "PGHOST", "DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE"];

/**
 * Decides whether to connect to a Lakebase on this machine: by the option `local`, else by `LAKEBASE_LOCAL`.
 *
 * @param options The caller's options.
 * @param variables The environment over `.env`.
 * @returns How to start it, or `undefined` for a workspace.
 * @throws {LakebaseError} `BAD_SETTING`; also where `.env` asks for a local one while code or the environment names a
 * server.
 */
export function resolveLocal(options: ConnectOptions, variables: Variables): Found<LocalOptions> | undefined {
  const given: unknown = options.local;
  const origin = { source: "option", name: "local" } as const;
  if (given === undefined) return localByVariable(options, variables);
  if (typeof given === "boolean") return given ? { value: {}, origin } : undefined;
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    const state = `option ${quotedOption("local")} is ${quoted(given)}; it must be true, false or an object`;
    throw badSetting(state, { setting: "local", origin });
  }
  checkOptionNames(given, LOCAL_OPTION_NAMES, "local.");
  return { value: given, origin };
}

function localByVariable(options: ConnectOptions, variables: Variables): Found<LocalOptions> | undefined {
  const found = variables.get("LAKEBASE_LOCAL");
  if (found === undefined || /^(0|false|no|off)$/i.test(found.value)) return undefined;
  const { value, origin } = found;
  const about = { setting: "LAKEBASE_LOCAL", origin };
  if (!/^(1|true|yes|on)$/i.test(value)) {
    throw badSetting(`${describeOrigin(origin)} is ${quoted(value)}; it must be true or false`, about);
  }
  const option = (["endpoint", "instance", "host", "profile", "workspace"] as const)
    .find((name) => options[name] !== undefined);
  const server = option === undefined
    ? SERVERS.map((name) => variables.get(name)?.origin).find((origin) => origin?.source === "environment")
    : { source: "option", name: option } as const;
  if (origin.source === ".env" && server !== undefined) {
    const remedy = `Remove it from the file, or turn .env off with ${
      optionText({ envFile: false }, "envFile: false")
    } (LAKEBASE_ENV_FILE=)`;
    throw badSetting(
      `${describeOrigin(origin)} wants a database on this machine, and ${
        describeOrigin(server)
      } names another. ${remedy}`,
      about,
    );
  }
  return { value: {}, origin };
}
