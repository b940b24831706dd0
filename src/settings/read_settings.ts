import { optionText, quotedOption } from "../core/errors.ts";
import { LOCAL_OPTION_NAMES, type LocalOptions } from "../core/local_options.ts";
import { keepSecret } from "../core/redact.ts";
import { type EnvFile, mergeVariables, readEnvFile, refusedNames, type Variables, WAREHOUSE } from "./environment.ts";
import { type ConnectOptions, OPTION_NAMES, SETTING_NAMES } from "./options.ts";
import { describeOrigin, type Setting, toSetting, type WithOrigin } from "./origin.ts";
import { readProfiles } from "./profiles.ts";
import { badSetting, checkOptionNames, shownValue } from "./read_option.ts";
import { resolveSettings, type Settings } from "./settings.ts";
import { isSecret, needsProfiles, resolveWorkspace } from "./workspace.ts";

/** The settings of one call of `connect()`, and its lease of a local Lakebase, if it has one. */
export interface ReadSettings {
  /** The settings. */
  settings: Settings;
  /** The settings that do not have their defaults, with their origins. */
  explicit: Setting[];
  /** The SQL warehouse that a variable names. */
  warehouse: string | undefined;
  /** The variables of `.env` that are used, and those that are refused; `undefined` if there are none. */
  envFile: EnvFileUse | undefined;
  /** Releases the lease of the local Lakebase; without one, does nothing. */
  releaseLocal: () => Promise<void>;
  /** Takes another lease of the local Lakebase, and returns the function that releases it. */
  leaseLocal: () => () => Promise<void>;
}

/** The use of a `.env` file. */
interface EnvFileUse {
  /** The path of the file. */
  path: string;
  /** The variables that are used. */
  used: string[];
  /** The variables that are never taken from a `.env`, with the reasons. */
  refused: [name: string, reason: string][];
}

/** A lease of a local Lakebase. The server runs until its last lease is released. */
export interface LocalLease {
  /** The environment variables that name the server. */
  env: Record<string, string>;
  /** Releases the lease. */
  release: () => Promise<void>;
  /** Takes another lease, and returns the function that releases it. */
  leaseAgain: () => () => Promise<void>;
}

/** Takes a lease of a local Lakebase, which is started if it does not run. */
type LeaseLocal = (options: LocalOptions) => Promise<LocalLease>;

/**
 * Reads the settings of `connect()` from its options, the environment, `.env` and the profiles.
 *
 * @param options The caller's options.
 * @param leaseLocal Starts a local Lakebase; called if the settings ask for one.
 * @throws {LakebaseError} `BAD_SETTING`
 */
export async function readSettings(options: ConnectOptions, leaseLocal: LeaseLocal): Promise<ReadSettings> {
  checkOptionNames(options, OPTION_NAMES);
  const env = Deno.env.toObject();
  const path = envFilePath(options, env);
  const file = options.local || path === false ? undefined : await readEnvFile(path);
  const variables = mergeVariables(env, file);
  const local = resolveLocal(options, variables);
  if (local === undefined) {
    const profiles = profilesNeeded(options, variables) ? await readProfiles(env) : undefined;
    const { settings, explicit } = resolveSettings(options, variables, profiles);
    keepSecrets(settings);
    const warehouse = variables.get(WAREHOUSE)?.value;
    const envFile = envFileUse(file, explicit);
    return { settings, explicit, warehouse, envFile, releaseLocal: doNothing, leaseLocal: () => doNothing };
  }
  // Finds typos before a server is started. The option `local` overrules the variables, so they are not checked then.
  const checked = resolveSettings(options, options.local === undefined ? alwaysChecked(variables) : new Map());
  const { env: localEnv, release, leaseAgain } = await leaseLocal(local.value);
  const localVariables = mergeVariables(localEnv, undefined, "default");
  const { settings } = resolveSettings(options, localVariables);
  const warehouse = localVariables.get(WAREHOUSE)?.value;
  keepSecrets(settings);
  const fromOptions = checked.explicit.filter(({ setting, origin }) =>
    origin.source === "option" && setting !== "local"
  );
  const explicit = [...fromOptions, toSetting("local", { value: true, origin: local.origin })];
  const envFile = envFileUse(file, explicit);
  return { settings, explicit, warehouse, envFile, releaseLocal: release, leaseLocal: leaseAgain };
}

/** The settings of a workspace alone, for one that is used without a Lakebase. */
export interface WorkspaceSettings extends Pick<Settings, "workspace" | "login" | "connectTimeout"> {}

/** The options that name a workspace. */
type WorkspaceReadOptions = Pick<ConnectOptions, "profile" | "workspace" | "envFile" | "local" | "connectTimeout">;

/**
 * Reads the settings of a workspace, in the same way as {@linkcode readSettings} reads those of a connection. A
 * password or a host of Postgres has no effect.
 *
 * @throws {LakebaseError} `BAD_SETTING`
 */
export async function readWorkspaceSettings(
  options: WorkspaceReadOptions,
  leaseLocal: LeaseLocal,
): Promise<Pick<ReadSettings, "warehouse" | "envFile" | "releaseLocal"> & { settings: WorkspaceSettings }> {
  const read = await readSettings(options, leaseLocal);
  const { settings } = read;
  if (settings.login !== undefined || settings.workspace !== undefined) return read;
  const env = Deno.env.toObject(); // a native password is set, so the workspace was not looked for
  const path = envFilePath(options, env);
  const variables = mergeVariables(env, path === false ? undefined : await readEnvFile(path));
  const sources = { profile: options.profile, variables };
  const profiles = needsProfiles(sources) ? await readProfiles(env) : undefined;
  const { login } = resolveWorkspace(sources, profiles);
  keepSecrets({ password: undefined, login });
  return { ...read, settings: { ...settings, login } };
}

async function doNothing(): Promise<void> {}

/** Remembers the secrets, so that they are hidden if a server, a driver or the SDK repeats them. */
function keepSecrets({ password, login }: Pick<Settings, "password" | "login">): void {
  if (typeof password === "string") keepSecret(password);
  for (const [name, value] of Object.entries(login?.attributes ?? {})) if (isSecret(name)) keepSecret(value);
}

/** The variables that are checked although a local Lakebase does not use them. */
function alwaysChecked(variables: Variables): Variables {
  return new Map([...variables].filter(([name]) => ["PGPORT", "LAKEBASE_ENDPOINT", "LAKEBASE_BRANCH"].includes(name)));
}

function envFilePath(options: ConnectOptions, env: Record<string, string | undefined>): string | false | undefined {
  const path: unknown = options.envFile ?? env["LAKEBASE_ENV_FILE"];
  if (path === undefined || path === false) return path;
  if (path === "" && options.envFile === undefined) return false;
  if (typeof path === "string" && path.trim() !== "" && !path.includes("\0")) return path;
  const origin = { source: "option", name: "envFile" } as const;
  throw badSetting(`option ${quotedOption("envFile")} is ${shownValue(path)}; it must be a file, or false`, {
    setting: "envFile",
    origin,
  });
}

/** A native login to a known server needs no workspace, and so no profiles. */
function profilesNeeded(options: ConnectOptions, variables: Variables): boolean {
  const isSet = (option: "password" | "host" | "user" | "branch") =>
    options[option] !== undefined || SETTING_NAMES[option]!.some((name) => variables.has(name));
  // Only the workspace knows a branch's host.
  const isComplete = isSet("password") && isSet("host") && isSet("user") && !isSet("branch");
  return !isComplete && options.workspace === undefined && needsProfiles({ profile: options.profile, variables });
}

function envFileUse(file: EnvFile | undefined, explicit: readonly Setting[]): EnvFileUse | undefined {
  if (file === undefined) return undefined;
  const used = explicit.filter(({ origin }) => origin.source === ".env").map(({ origin }) => origin.name);
  const refused = refusedNames(file);
  return used.length + refused.length === 0 ? undefined : { path: file.path, used: [...new Set(used)], refused };
}

/** The variables that name a server on another machine. */
const SERVERS = ["LAKEBASE_ENDPOINT", "LAKEBASE_INSTANCE", "PGHOST", "DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE"];

/**
 * Decides whether to connect to a local Lakebase: by the option `local`, or else by `LAKEBASE_LOCAL`.
 *
 * @param options The caller's options.
 * @param variables The environment over `.env`.
 * @returns The options of the local Lakebase; `undefined` for a workspace.
 * @throws {LakebaseError} `BAD_SETTING`; also if `.env` asks for a local one, and code or the environment names a server.
 */
export function resolveLocal(options: ConnectOptions, variables: Variables): WithOrigin<LocalOptions> | undefined {
  const local: unknown = options.local;
  const origin = { source: "option", name: "local" } as const;
  if (local === undefined) return localByVariable(options, variables);
  if (typeof local === "boolean") return local ? { value: {}, origin } : undefined;
  if (typeof local !== "object" || local === null || Array.isArray(local)) {
    const state = `option ${quotedOption("local")} is ${shownValue(local)}; it must be true, false or an object`;
    throw badSetting(state, { setting: "local", origin });
  }
  checkOptionNames(local, LOCAL_OPTION_NAMES, "local.");
  return { value: local, origin };
}

function localByVariable(options: ConnectOptions, variables: Variables): WithOrigin<LocalOptions> | undefined {
  const found = variables.get("LAKEBASE_LOCAL");
  if (found === undefined || /^(0|false|no|off)$/i.test(found.value)) return undefined;
  const { value, origin } = found;
  const setting = { setting: "LAKEBASE_LOCAL", origin };
  if (!/^(1|true|yes|on)$/i.test(value)) {
    throw badSetting(`${describeOrigin(origin)} is ${shownValue(value)}; it must be true or false`, setting);
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
      setting,
    );
  }
  return { value: {}, origin };
}
