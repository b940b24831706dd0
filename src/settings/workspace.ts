import { type LakebaseError, optionText } from "../core/errors.ts";
import { describeOrigin, type Origin, trustRank, type WithOrigin } from "./origin.ts";
import { type ConfigProfile, defaultProfile, type Profiles } from "./profiles.ts";
import { badSetting, quotedName } from "./read_option.ts";
import type { Variables } from "./environment.ts";

/** A workspace and the login for it, as the Databricks SDK takes them. */
export interface WorkspaceLogin {
  /** The workspace's address, such as `https://w.cloud.databricks.com`; `undefined` if none is named. */
  host: string | undefined;
  /** The workspace's id, for a host that serves several workspaces. */
  workspaceId: string | undefined;
  /** The profile of `~/.databrickscfg`. */
  profile: string | undefined;
  /** The profiles that could be chosen, if no address is known. */
  choices?: readonly string[];
  /** The other attributes by their names in the SDK, such as `token` and `clientId`. */
  attributes: Readonly<Record<string, string>>;
}

/** A {@linkcode WorkspaceLogin}, and the origins of its parts. */
export interface WorkspaceWithOrigins {
  /** The login. */
  login: WorkspaceLogin;
  /** Where the workspace's address comes from. */
  host: Origin | undefined;
  /** The values that are used, by the names of their variables. */
  used: ReadonlyMap<string, WithOrigin>;
  /** Where the login comes from: the most trusted origin of its secrets. */
  from: Origin;
}

interface Attribute {
  /** The attribute's name in the SDK. */
  name: string;
  /** The login method that the attribute belongs to. */
  method?: "pat" | "basic" | "oauth" | "azure" | "google";
  /** Whether the attribute is a secret. */
  secret?: true;
  /** Why the attribute is not taken from `.env`. */
  notInFile?: string;
}

const PROGRAM = "it names a program";
const FILE = "it names a configuration file";
const SERVICE = "it names a service that gives out logins";

/** The environment variables that the SDK reads. */
const ATTRIBUTES: Readonly<Record<string, Attribute>> = {
  DATABRICKS_HOST: { name: "host" },
  DATABRICKS_ACCOUNT_ID: { name: "accountId" },
  DATABRICKS_WORKSPACE_ID: { name: "workspaceId" },
  DATABRICKS_EXPERIMENTAL_IS_UNIFIED_HOST: { name: "experimentalIsUnifiedHost" },
  DATABRICKS_AUTH_TYPE: { name: "authType" },
  DATABRICKS_TOKEN: { name: "token", method: "pat", secret: true },
  DATABRICKS_USERNAME: { name: "username", method: "basic" },
  DATABRICKS_PASSWORD: { name: "password", method: "basic", secret: true },
  DATABRICKS_CLIENT_ID: { name: "clientId", method: "oauth" },
  DATABRICKS_CLIENT_SECRET: { name: "clientSecret", method: "oauth", secret: true },
  ARM_CLIENT_ID: { name: "azureClientId", method: "azure" },
  ARM_CLIENT_SECRET: { name: "azureClientSecret", method: "azure", secret: true },
  ARM_TENANT_ID: { name: "azureTenantId", method: "azure" },
  ARM_ENVIRONMENT: { name: "azureEnvironment" },
  DATABRICKS_AZURE_LOGIN_APP_ID: { name: "azureLoginAppId", method: "azure" },
  // The SDK puts a part of this value into a shell command: `az ... --subscription`.
  DATABRICKS_AZURE_RESOURCE_ID: { name: "azureWorkspaceResourceId", method: "azure", notInFile: PROGRAM },
  ARM_USE_MSI: { name: "azureUseMsi", method: "azure", notInFile: SERVICE },
  DATABRICKS_METADATA_SERVICE_URL: { name: "metadataServiceUrl", notInFile: SERVICE },
  GOOGLE_CREDENTIALS: { name: "googleCredentials", method: "google", secret: true, notInFile: FILE },
  DATABRICKS_GOOGLE_SERVICE_ACCOUNT: { name: "googleServiceAccount", method: "google", notInFile: SERVICE },
  DATABRICKS_CLI_PATH: { name: "databricksCliPath", notInFile: PROGRAM },
};

/** Whether an SDK attribute of that name is a secret. */
export function isSecret(attribute: string): boolean {
  return Object.values(ATTRIBUTES).some(({ name, secret }) => name === attribute && secret === true);
}

/**
 * The login methods that some attributes belong to, such as `azure` and `pat`, in alphabetical order, each with the variables of
 * its attributes.
 */
export function loginMethods(attributes: Readonly<Record<string, string>>): Map<string, string[]> {
  const methods = new Map<string, string[]>();
  for (const [variable, { name, method }] of Object.entries(ATTRIBUTES)) {
    if (name in attributes && method !== undefined) methods.set(method, [...methods.get(method) ?? [], variable]);
  }
  return new Map([...methods].sort());
}

/** The variables that are taken from `.env`, in addition to those of this module's own options. */
export const IN_ENV_FILE: readonly string[] = [
  "DATABRICKS_CONFIG_PROFILE",
  ...Object.entries(ATTRIBUTES).filter(([, { notInFile }]) => notInFile === undefined).map(([name]) => name),
];

/** The variables that are never taken from `.env`, with the reasons. */
export const NEVER_IN_ENV_FILE: Readonly<Record<string, string>> = {
  DATABRICKS_CONFIG_FILE: FILE,
  ...Object.fromEntries(
    Object.entries(ATTRIBUTES).flatMap(([name, { notInFile }]) => notInFile === undefined ? [] : [[name, notInFile]]),
  ),
};

/** The origin of a login that a tool on this machine keeps: `databricks`, `az`, `gcloud`. */
const MACHINE: Origin = { source: "machine", name: 'the one that "databricks auth login" or another tool keeps' };

/** The attributes that each login method needs. */
const METHOD_ATTRIBUTES: Readonly<Record<string, readonly string[]>> = {
  "pat": ["token"],
  "basic": ["username", "password"],
  "oauth-m2m": ["clientId", "clientSecret"],
  "azure-client-secret": ["azureClientId", "azureClientSecret", "azureTenantId"],
};

/** The settings that decide which workspace is used. */
interface WorkspaceSources {
  /** The option `profile`. */
  profile: string | undefined;
  /** The variables of the environment and `.env`. */
  variables: Variables;
}

/** Whether the profiles of `~/.databrickscfg` are needed to find the workspace and its login. */
export function needsProfiles({ profile, variables }: WorkspaceSources): boolean {
  if (profile !== undefined || variables.has("DATABRICKS_CONFIG_PROFILE")) return true;
  return !hasLogin(attributesOf(variables));
}

/**
 * Decides which workspace to use, and with which login. A profile is used as a whole: its login goes to its own host.
 *
 * @param profiles The profiles of `~/.databrickscfg`, if {@linkcode needsProfiles} says so.
 * @throws {LakebaseError} `BAD_SETTING` if the login would go to a host from a less trusted source.
 */
export function resolveWorkspace(sources: WorkspaceSources, profiles: Profiles | undefined): WorkspaceWithOrigins {
  const named = sources.profile === undefined
    ? sources.variables.get("DATABRICKS_CONFIG_PROFILE")
    : optionProfile(sources.profile);
  const attributes = sources.profile === undefined
    ? attributesOf(sources.variables)
    : machineAttributes(sources.variables);
  const host = attributes.get("host");
  const address = host === undefined ? undefined : checkAddress(host);
  const name = named?.value ?? (profiles === undefined ? undefined : impliedProfile(attributes, address, profiles));
  const profile = name === undefined ? undefined : profiles?.sections.get(name);
  const profileHost = profile?.get("host");
  const profileAddress = profileHost === undefined ? undefined : checkAddress(profileHost);
  if (address !== undefined && profileAddress !== undefined && address.url !== profileAddress.url) {
    throw badSetting(
      `${describeOrigin(host!.origin)} is ${address.url}, and ${
        describeOrigin(profileHost!.origin)
      } is for ${profileAddress.url}; a profile's login goes to its own host. Leave one of the two out`,
    );
  }
  const merged = new Map([...attributesIn(profile), ...attributes]);
  const hostOrigin = mostTrusted([host?.origin, profileHost?.origin]);
  const url = (address ?? profileAddress)?.url;
  const workspaceId = checkWorkspaceId(merged.get("workspaceId"))?.value ?? address?.workspaceId ??
    profileAddress?.workspaceId;
  const choices = url !== undefined || profiles === undefined ? [] : profilesWithHost(profiles);
  const from = loginOrigin(merged);
  checkTrust({ host: hostOrigin, attributes: merged, profile: attributesIn(profile), from });
  return {
    login: {
      host: url,
      workspaceId,
      profile: name,
      ...(choices.length === 0 ? {} : { choices }),
      attributes: bindToMethod(plainAttributes(merged), hostOrigin),
    },
    host: hostOrigin,
    used: usedVariables(attributes, profileHost),
    from,
  };
}

function profilesWithHost({ sections }: Profiles): string[] {
  return [...sections].filter(([, values]) => values.has("host")).map(([name]) => name);
}

function optionProfile(name: string): WithOrigin {
  return { value: name, origin: { source: "option", name: "profile" } };
}

/** The values that are used, by the names of their variables. */
function usedVariables(
  attributes: ReadonlyMap<string, WithOrigin>,
  profileHost: WithOrigin | undefined,
): Map<string, WithOrigin> {
  const names = Object.entries(ATTRIBUTES).filter(([, { name }]) => attributes.has(name));
  const used = new Map(names.map(([variable, { name }]) => [variable, attributes.get(name)!]));
  if (profileHost !== undefined && !used.has("DATABRICKS_HOST")) used.set("DATABRICKS_HOST", profileHost);
  return used;
}

/** If code names a profile, only the variables that describe this machine are taken from the environment. */
function machineAttributes(variables: Variables): Map<string, WithOrigin> {
  const path = variables.get("DATABRICKS_CLI_PATH");
  return new Map(path === undefined ? [] : [["databricksCliPath", path]]);
}

/** The variables by their names in the SDK. If the environment has one login method, `.env` does not add another. */
function attributesOf(variables: Variables): Map<string, WithOrigin> {
  const attributes = Object.entries(ATTRIBUTES).flatMap(([variable, attribute]) => {
    const value = variables.get(variable);
    return value === undefined ? [] : [{ ...attribute, value }];
  });
  const fromEnvironment = attributes.filter(({ value }) => value.origin.source !== ".env");
  const methods = new Set(fromEnvironment.map(({ method }) => method));
  methods.delete(undefined);
  const kept = attributes.filter(({ method, value }) => {
    return method === undefined || methods.size === 0 || methods.has(method) || value.origin.source !== ".env";
  });
  return new Map(kept.map(({ name, value }) => [name, value]));
}

/** The attributes of a profile by their names in the SDK. */
function attributesIn(profile: ConfigProfile | undefined): Map<string, WithOrigin> {
  const attributes = Object.values(ATTRIBUTES).flatMap(({ name }) => {
    const value = profile?.get(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
    return value === undefined ? [] : [[name, value] as const];
  });
  return new Map(attributes);
}

/** Whether a login method is given. If so, the profiles are not read. */
function hasLogin(attributes: ReadonlyMap<string, WithOrigin>): boolean {
  return attributes.has("authType") || attributes.has("metadataServiceUrl") ||
    Object.values(ATTRIBUTES).some(({ name, method }) => method !== undefined && attributes.has(name));
}

/** The profile that is used if none is named: the one for the host, or the default one. */
function impliedProfile(
  attributes: ReadonlyMap<string, WithOrigin>,
  address: WorkspaceAddress | undefined,
  profiles: Profiles,
): string | undefined {
  if (hasLogin(attributes)) return undefined;
  if (address === undefined) return defaultProfile(profiles);
  const fitting = [...profiles.sections].filter(([, values]) => {
    const host = values.get("host");
    return host !== undefined && parseAddress(host.value)?.url === address.url;
  }).map(([name]) => name);
  if (fitting.length < 2) return fitting[0];
  const chosen = defaultProfile(profiles);
  if (chosen !== undefined && fitting.includes(chosen)) return chosen;
  throw badSetting(
    `the profiles ${fitting.join(", ")} of ${profiles.path} are all for ${address.url}; ` +
      'name one of them as "profile" (DATABRICKS_CONFIG_PROFILE)',
  );
}

/** The address of a workspace. */
interface WorkspaceAddress {
  /** Its scheme, host and port. */
  url: string;
  /** The workspace's id that the address has. */
  workspaceId?: string;
}

/** Parses a workspace's address, without its path. The parameter `o` has the workspace's id. */
function parseAddress(text: string): WorkspaceAddress | undefined {
  const url = URL.parse(/^https?:\/\//i.test(text) ? text : `https://${text}`);
  if (url === null || url.hostname === "" || url.username !== "" || url.password !== "") return undefined;
  const id = url.searchParams.get("o");
  return { url: url.origin, ...(id !== null && /^\d+$/.test(id) ? { workspaceId: id } : {}) };
}

function checkAddress({ value, origin }: WithOrigin): WorkspaceAddress {
  const address = parseAddress(value.trim());
  if (address !== undefined) return address;
  const state = value.includes("@") ? "holds a login, which is not shown" : `is ${quotedName(value)}`;
  throw badSetting(
    `${describeOrigin(origin)} ${state}; it must be a workspace's address, such as https://w.cloud.databricks.com`,
    {
      setting: "DATABRICKS_HOST",
      origin,
    },
  );
}

/** Checks that an id has only digits, because the id is sent in a header. */
function checkWorkspaceId(id: WithOrigin | undefined): WithOrigin | undefined {
  if (id === undefined || /^\d{1,30}$/.test(id.value)) return id;
  throw badSetting(
    `${describeOrigin(id.origin)} is ${quotedName(id.value)}; it must be the digits of a workspace's id`,
    {
      setting: "DATABRICKS_WORKSPACE_ID",
      origin: id.origin,
    },
  );
}

function plainAttributes(attributes: ReadonlyMap<string, WithOrigin>): Record<string, string> {
  return Object.fromEntries(
    [...attributes].filter(([name]) => name !== "host" && name !== "workspaceId").map((
      [name, { value }],
    ) => [name, value]),
  );
}

function mostTrusted(origins: readonly (Origin | undefined)[]): Origin | undefined {
  return origins.filter((origin) => origin !== undefined).sort((a, b) => trustRank(a) - trustRank(b))[0];
}

/** Where the login comes from: the origin of its secrets, or else this machine. */
function loginOrigin(attributes: ReadonlyMap<string, WithOrigin>): Origin {
  const secrets = Object.values(ATTRIBUTES).flatMap(({ name, secret }) =>
    secret ? attributes.get(name)?.origin ?? [] : []
  );
  return mostTrusted(secrets) ?? MACHINE;
}

interface LoginSources {
  /** Where the workspace's address comes from. */
  host: Origin | undefined;
  /** All attributes of the login. */
  attributes: ReadonlyMap<string, WithOrigin>;
  /** The attributes of the profile. */
  profile: ReadonlyMap<string, WithOrigin>;
  /** Where the login comes from. */
  from: Origin;
}

/** Applies the rule of trust to the workspace's address: a login goes only where its own source, or a more trusted one, sends it. */
function checkTrust({ host, attributes, profile, from }: LoginSources): void {
  if (host !== undefined && trustRank(host) > trustRank(from)) {
    throw untrustedSetting(host, "names the workspace", from);
  }
  for (const name of ["authType", "azureEnvironment"]) {
    const chosen = attributes.get(name);
    if (chosen === undefined || chosen.value === profile.get(name)?.value) continue;
    if (chosen.origin.source === ".env" && from.source !== ".env") {
      throw untrustedSetting(chosen.origin, "chooses how to log in", from);
    }
  }
}

/**
 * Makes the error for a setting that would decide where a login from a more trusted source goes.
 *
 * @param setting Where the setting comes from.
 * @param does What the setting does, such as `names the server`.
 * @param login Where the login comes from.
 */
export function untrustedSetting(setting: Origin, does: string, login: Origin): LakebaseError {
  return badSetting(
    `${describeOrigin(setting)} ${does}, and the login is ${
      login.source === "machine" ? login.name : `from ${describeOrigin(login)}`
    }; ` +
      `a login goes only where its own source, or a more trusted one, sends it. Give both in one place${
        [setting, login].some(({ source }) => source === ".env")
          ? `, or turn .env off with ${optionText({ envFile: false }, "envFile: false")} (LAKEBASE_ENV_FILE=)`
          : login.source === "option" && /^PG[A-Z]+$/.test(setting.name)
          ? `, as in host: Deno.env.get("${setting.name}")`
          : ""
      }`,
    { setting: setting.name, origin: setting },
  );
}

/**
 * Chooses the login method if `.env` names the host. The whole login must be in that file then, because the SDK must not fall
 * back to logins of this machine.
 */
function bindToMethod(attributes: Record<string, string>, host: Origin | undefined): Record<string, string> {
  if (host?.source !== ".env") return attributes;
  const complete = Object.keys(METHOD_ATTRIBUTES).filter((method) =>
    METHOD_ATTRIBUTES[method]!.every((name) => name in attributes)
  );
  const { authType } = attributes;
  const method = authType === undefined ? complete[0] : complete.find((name) => name === authType);
  if (method !== undefined) return { ...attributes, authType: method };
  throw untrustedSetting(host, "names the workspace, but has no complete login for it", MACHINE);
}
