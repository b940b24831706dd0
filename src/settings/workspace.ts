import { type LakebaseError, optionText } from "../core/errors.ts";
import { describeOrigin, type Found, type Origin, trustRank } from "./origin.ts";
import { type ConfigProfile, defaultProfile, type Profiles } from "./profiles.ts";
import { badSetting, quotedName } from "./read_option.ts";
import type { Variables } from "./environment.ts";

/** A workspace and the login for it, as the Databricks SDK takes them. */
export interface WorkspaceLogin {
  /** Its address, such as `https://w.cloud.databricks.com`; `undefined` where none is named. */
  host: string | undefined;
  /** Its id, for a host that serves several workspaces. */
  workspaceId: string | undefined;
  /** The profile of `~/.databrickscfg`. */
  profile: string | undefined;
  /** Where no address is found: the profiles that could be chosen instead. */
  choices?: readonly string[];
  /** The other attributes by their names in the SDK, such as `token` and `clientId`. */
  attributes: Readonly<Record<string, string>>;
}

/** A {@linkcode WorkspaceLogin}, with where its parts come from. */
export interface FoundWorkspace {
  /** The login. */
  login: WorkspaceLogin;
  /** Where the workspace's address comes from. */
  host: Origin | undefined;
  /** The values that are used, by the names of their variables. */
  used: ReadonlyMap<string, Found>;
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
 * The login methods, such as `azure` and `pat`, that some attributes belong to, in alphabetical order, each with the
 * variables of its attributes.
 */
export function loginKinds(attributes: Readonly<Record<string, string>>): Map<string, string[]> {
  const kinds = new Map<string, string[]>();
  for (const [variable, { name, method }] of Object.entries(ATTRIBUTES)) {
    if (name in attributes && method !== undefined) kinds.set(method, [...kinds.get(method) ?? [], variable]);
  }
  return new Map([...kinds].sort());
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

/** The attributes that each login method needs. With a host from `.env` the SDK must not fall back to logins of this machine. */
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
 * @param profiles The profiles of `~/.databrickscfg`, where {@linkcode needsProfiles} says so.
 * @throws {LakebaseError} `BAD_SETTING` where the login would go to a host from a less trusted source.
 */
export function resolveWorkspace(sources: WorkspaceSources, profiles: Profiles | undefined): FoundWorkspace {
  const named = sources.profile === undefined
    ? sources.variables.get("DATABRICKS_CONFIG_PROFILE")
    : optionProfile(sources.profile);
  const given = sources.profile === undefined ? attributesOf(sources.variables) : machineAttributes(sources.variables);
  const host = given.get("host");
  const address = host === undefined ? undefined : checkAddress(host);
  const name = named?.value ?? (profiles === undefined ? undefined : impliedProfile(given, address, profiles));
  const profile = name === undefined ? undefined : profiles?.sections.get(name);
  const own = profile?.get("host");
  const ownAddress = own === undefined ? undefined : checkAddress(own);
  if (address !== undefined && ownAddress !== undefined && address.origin !== ownAddress.origin) {
    throw badSetting(
      `${describeOrigin(host!.origin)} is ${address.origin}, and ${
        describeOrigin(own!.origin)
      } is for ${ownAddress.origin}; ` +
        "a profile's login goes to its own host. Leave one of the two out",
    );
  }
  const all = new Map([...attributesIn(profile), ...given]);
  const trusted = mostTrusted([host?.origin, own?.origin]);
  const found = (address ?? ownAddress)?.origin;
  const choices = found !== undefined || profiles === undefined ? [] : profilesWithHost(profiles);
  const login = {
    host: found,
    workspaceId: checkWorkspaceId(all.get("workspaceId"))?.value ?? address?.workspaceId ?? ownAddress?.workspaceId,
    profile: name,
    ...(choices.length === 0 ? {} : { choices }),
    attributes: plainAttributes(all),
  };
  const from = loginOrigin(all);
  checkTrust({ host: trusted, all, own: attributesIn(profile), from });
  return {
    login: { ...login, attributes: bindToMethod(login.attributes, trusted) },
    host: trusted,
    used: usedOf(given, own),
    from,
  };
}

function profilesWithHost({ sections }: Profiles): string[] {
  return [...sections].filter(([, values]) => values.has("host")).map(([name]) => name);
}

function optionProfile(name: string): Found {
  return { value: name, origin: { source: "option", name: "profile" } };
}

function usedOf(given: ReadonlyMap<string, Found>, own: Found | undefined): Map<string, Found> {
  const names = Object.entries(ATTRIBUTES).filter(([, { name }]) => given.has(name));
  const used = new Map(names.map(([variable, { name }]) => [variable, given.get(name)!]));
  if (own !== undefined && !used.has("DATABRICKS_HOST")) used.set("DATABRICKS_HOST", own);
  return used;
}

/** Where code names a profile, only the variables that describe the machine are taken from the environment. */
function machineAttributes(variables: Variables): Map<string, Found> {
  const found = variables.get("DATABRICKS_CLI_PATH");
  return new Map(found === undefined ? [] : [["databricksCliPath", found]]);
}

/** The variables by their names in the SDK. If the environment has one login method, `.env` does not add another. */
function attributesOf(variables: Variables): Map<string, Found> {
  const found = Object.entries(ATTRIBUTES).flatMap(([variable, attribute]) => {
    const value = variables.get(variable);
    return value === undefined ? [] : [{ ...attribute, found: value }];
  });
  const methods = new Set(found.filter(({ found }) => found.origin.source !== ".env").map(({ method }) => method));
  methods.delete(undefined);
  const kept = found.filter(({ method, found }) => {
    return method === undefined || methods.size === 0 || methods.has(method) || found.origin.source !== ".env";
  });
  return new Map(kept.map(({ name, found }) => [name, found]));
}

function attributesIn(profile: ConfigProfile | undefined): Map<string, Found> {
  const found = Object.values(ATTRIBUTES).flatMap(({ name }) => {
    const value = profile?.get(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
    return value === undefined ? [] : [[name, value] as const];
  });
  return new Map(found);
}

/** Whether a login method is given. If so, the profiles are not read. */
function hasLogin(attributes: ReadonlyMap<string, Found>): boolean {
  return attributes.has("authType") || attributes.has("metadataServiceUrl") ||
    Object.values(ATTRIBUTES).some(({ name, method }) => method !== undefined && attributes.has(name));
}

/** The profile to use where none is named: the one for the host, or the default one. */
function impliedProfile(
  given: ReadonlyMap<string, Found>,
  address: Address | undefined,
  profiles: Profiles,
): string | undefined {
  if (hasLogin(given)) return undefined;
  if (address === undefined) return defaultProfile(profiles);
  const fitting = [...profiles.sections].filter(([, values]) => {
    const host = values.get("host");
    return host !== undefined && parseAddress(host.value)?.origin === address.origin;
  }).map(([name]) => name);
  const usual = defaultProfile(profiles);
  if (fitting.length < 2) return fitting[0];
  if (usual !== undefined && fitting.includes(usual)) return usual;
  throw badSetting(
    `the profiles ${fitting.join(", ")} of ${profiles.path} are all for ${address.origin}; ` +
      'name one of them as "profile" (DATABRICKS_CONFIG_PROFILE)',
  );
}

interface Address {
  origin: string;
  workspaceId?: string;
}

/** Parses a workspace's address. It drops the path, and takes the workspace's id from `?o=`. */
function parseAddress(text: string): Address | undefined {
  const url = URL.parse(/^https?:\/\//i.test(text) ? text : `https://${text}`);
  if (url === null || url.hostname === "" || url.username !== "" || url.password !== "") return undefined;
  const id = url.searchParams.get("o");
  return { origin: url.origin, ...(id !== null && /^\d+$/.test(id) ? { workspaceId: id } : {}) };
}

function checkAddress({ value, origin }: Found): Address {
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
function checkWorkspaceId(found: Found | undefined): Found | undefined {
  if (found === undefined || /^\d{1,30}$/.test(found.value)) return found;
  throw badSetting(
    `${describeOrigin(found.origin)} is ${quotedName(found.value)}; it must be the digits of a workspace's id`,
    {
      setting: "DATABRICKS_WORKSPACE_ID",
      origin: found.origin,
    },
  );
}

function plainAttributes(all: ReadonlyMap<string, Found>): Record<string, string> {
  const left = new Set(["host", "workspaceId"]);
  return Object.fromEntries([...all].filter(([name]) => !left.has(name)).map(([name, { value }]) => [name, value]));
}

function mostTrusted(origins: readonly (Origin | undefined)[]): Origin | undefined {
  return origins.filter((origin) => origin !== undefined).sort((a, b) => trustRank(a) - trustRank(b))[0];
}

/** Where the login comes from: the origin of its secrets, or else this machine. */
function loginOrigin(all: ReadonlyMap<string, Found>): Origin {
  const secrets = Object.values(ATTRIBUTES).flatMap(({ name, secret }) => secret ? all.get(name)?.origin ?? [] : []);
  return mostTrusted(secrets) ?? MACHINE;
}

interface Login {
  host: Origin | undefined;
  all: ReadonlyMap<string, Found>;
  own: ReadonlyMap<string, Found>;
  from: Origin;
}

function checkTrust({ host, all, own, from }: Login): void {
  if (host !== undefined && trustRank(host) > trustRank(from)) {
    throw untrustedSetting(host, "names the workspace", from);
  }
  for (const name of ["authType", "azureEnvironment"]) {
    const chosen = all.get(name);
    if (chosen === undefined || chosen.value === own.get(name)?.value) continue;
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
 * Where `.env` names the host, the whole login must be in that file too: the SDK must not fall back to logins of this
 * machine.
 */
function bindToMethod(attributes: Record<string, string>, host: Origin | undefined): Record<string, string> {
  if (host?.source !== ".env") return attributes;
  const whole = Object.keys(METHOD_ATTRIBUTES).filter((method) =>
    METHOD_ATTRIBUTES[method]!.every((name) => name in attributes)
  );
  const { authType } = attributes;
  const method = authType === undefined ? whole[0] : whole.find((name) => name === authType);
  if (method !== undefined) return { ...attributes, authType: method };
  throw untrustedSetting(host, "names the workspace, but has no complete login for it", MACHINE);
}
