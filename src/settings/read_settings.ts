import { keepSecret } from "../core/redact.ts";
import type { LocalOptions } from "../local/mod.ts";
import { type EnvFile, readEnvFile } from "./dotenv.ts";
import { acquireLocal } from "./embedded.ts";
import { type ConnectOptions, OPTION_NAMES, SETTING_NAMES } from "./options.ts";
import { type Found, listed, type Setting, told } from "./origin.ts";
import { readProfiles } from "./profiles.ts";
import { badSetting, checkOptionNames, quoted } from "./read_option.ts";
import { resolveSettings, type Settings } from "./settings.ts";
import { mergeVariables, refusedNames, type Variables } from "./variables.ts";
import { isSecret, needsProfiles } from "./workspace.ts";

/** What was settled, and what was started for it. */
export interface ReadSettings {
  /** The settings. */
  settings: Settings;
  /** What was given, and where it stands. */
  found: Setting[];
  /** What a person should know of the `.env`: what was taken from it, and what was not. */
  envFile: EnvFileUse | undefined;
  /** Gives back a Lakebase on this machine, where one was started. */
  release: () => Promise<void>;
}

/** What of a `.env` was used. */
export interface EnvFileUse {
  /** The file. */
  path: string;
  /** The variables that were taken from it. */
  taken: string[];
  /** Those that were not, each with the reason. */
  refused: [name: string, reason: string][];
}

/**
 * Reads what `connect()` goes by from its options, the environment, `.env` and profiles; starts a Lakebase on this machine
 * where that is what they say.
 *
 * @throws {LakebaseError} `BAD_SETTING`
 */
export async function readSettings(options: ConnectOptions): Promise<ReadSettings> {
  checkOptionNames(options, OPTION_NAMES);
  const env = Deno.env.toObject();
  const path = envFilePath(options, env);
  const file = options.local || path === false ? undefined : await readEnvFile(path);
  const variables = mergeVariables(env, file);
  const wanted = resolveLocal(options, variables);
  if (wanted === undefined) {
    const profiles = asksProfiles(options, variables) ? await readProfiles(env) : undefined;
    const { settings, found } = resolveSettings(options, variables, profiles);
    keepSecrets(settings);
    return { settings, found, envFile: useOf(file, found), release: async () => {} };
  }
  // A typo is told before a server is started for it; what the environment says is in code's way only where code says nothing.
  resolveSettings(options, options.local === undefined ? checkable(variables) : new Map());
  const local = await acquireLocal(wanted.value);
  const { settings } = resolveSettings(options, mergeVariables(local.env, undefined, "default"));
  keepSecrets(settings);
  const found = [...optionsIn(options), listed("local", { value: true, origin: wanted.origin })];
  return { settings, found, envFile: useOf(file, found), release: local.release };
}

/** What a server, a driver or the SDK repeats of them is not shown. */
function keepSecrets({ password, login }: Settings): void {
  if (typeof password === "string") keepSecret(password);
  for (const [name, value] of Object.entries(login?.attributes ?? {})) if (isSecret(name)) keepSecret(value);
}

/** What is wrong by itself, whatever it is for: it would be passed over in silence. */
function checkable(variables: Variables): Variables {
  return new Map([...variables].filter(([name]) => name === "PGPORT" || name === "LAKEBASE_ENDPOINT"));
}

function envFilePath(options: ConnectOptions, env: Record<string, string | undefined>): string | false | undefined {
  const given: unknown = options.envFile ?? env["LAKEBASE_ENV_FILE"];
  if (given === undefined || given === false) return given;
  if (given === "" && options.envFile === undefined) return false;
  if (typeof given === "string" && given.trim() !== "" && !given.includes("\0")) return given;
  const origin = { source: "option", name: "envFile" } as const;
  throw badSetting(`option "envFile" is ${quoted(given)}; it must be a file, or false`, { setting: "envFile", origin });
}

/** A native login whose server is known asks no workspace. */
function asksProfiles(options: ConnectOptions, variables: Variables): boolean {
  const says = (option: "password" | "host" | "user") =>
    options[option] !== undefined || SETTING_NAMES[option]!.some((name) => variables.has(name));
  const alone = says("password") && says("host") && says("user");
  return !alone && options.workspace === undefined && needsProfiles({ profile: options.profile, variables });
}

function optionsIn(options: ConnectOptions): Setting[] {
  return Object.entries(options).filter(([name, value]) => value !== undefined && name !== "local")
    .map(([name, value]) => listed(name, { value, origin: { source: "option", name } }));
}

function useOf(file: EnvFile | undefined, found: readonly Setting[]): EnvFileUse | undefined {
  if (file === undefined) return undefined;
  const taken = found.filter(({ origin }) => origin.source === ".env").map(({ origin }) => origin.name);
  const refused = refusedNames(file);
  return taken.length + refused.length === 0 ? undefined : { path: file.path, taken: [...new Set(taken)], refused };
}

/** The names in `LocalOptions`: one that is not here is a typo. */
const LOCAL_OPTION_NAMES: readonly (keyof LocalOptions)[] = [
  ...["database", "dataDir", "user", "workspacePort", "postgresPort", "projects", "instances"] as const,
  ...["passwords", "servicePrincipals", "groups", "workspaceId", "handshakeTimeout", "lockTimeout", "signal"] as const,
];

/** What says that another server is meant than one on this machine. */
const SERVERS = ["LAKEBASE_ENDPOINT", "LAKEBASE_INSTANCE", "PGHOST", "DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE"];

/**
 * Settles whether to connect to a Lakebase on this machine: by the option `local`, else `LAKEBASE_LOCAL`.
 *
 * @param options What the caller said.
 * @param variables The environment over `.env`.
 * @returns How to start it, or `undefined` for a workspace.
 * @throws {LakebaseError} `BAD_SETTING`; also where `.env` says so, and code or the environment name a server.
 */
export function resolveLocal(options: ConnectOptions, variables: Variables): Found<LocalOptions> | undefined {
  const given: unknown = options.local;
  const origin = { source: "option", name: "local" } as const;
  if (given === undefined) return localByVariable(options, variables);
  if (typeof given === "boolean") return given ? { value: {}, origin } : undefined;
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    const state = `option "local" is ${quoted(given)}; it must be true, false or an object`;
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
    throw badSetting(`${told(origin)} is ${quoted(value)}; it must be true or false`, about);
  }
  const option = (["endpoint", "instance", "host", "profile", "workspace"] as const)
    .find((name) => options[name] !== undefined);
  const server = option === undefined
    ? SERVERS.map((name) => variables.get(name)?.origin).find((origin) => origin?.source === "environment")
    : { source: "option", name: option } as const;
  if (origin.source === ".env" && server !== undefined) {
    const cure = "Say local: false, or take it out of the file";
    throw badSetting(
      `${told(origin)} wants a database on this machine, and ${told(server)} names another. ${cure}`,
      about,
    );
  }
  return { value: {}, origin };
}
