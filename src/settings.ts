import { LakebaseError } from "./errors.ts";
import { isIP } from "node:net";
import { badSetting, checkOptionNames, quoted, quotedName } from "./bad_setting.ts";
import { checkTypes, type TypeParsers } from "./query/types.ts";
import { type ConnectOptions, OPTION_NAMES, type SslMode, type WorkspaceClientLike } from "./options.ts";

/** {@linkcode ConnectOptions} with every value found. */
export interface Settings {
  /** The endpoint as it was named; `undefined` for the only one there is. */
  endpoint: string | undefined;
  /** The Provisioned instance, instead of an endpoint. */
  instance: string | undefined;
  /** Whether every transaction is read only. */
  readOnly: boolean;
  /** The caller's own client; else one is made of `profile` and `environment`. */
  workspace: WorkspaceClientLike | undefined;
  /** The profile of `~/.databrickscfg`. */
  profile: string | undefined;
  /** What the Databricks SDK reads, of the environment over `.env`; sorted by name. */
  environment: Record<string, string>;
  /** The server's host; `undefined` for the endpoint's. */
  host: string | undefined;
  /** The server's port. */
  port: number;
  /** The database's name. */
  database: string;
  /** The role; `undefined` for the workspace's current user. */
  user: string | undefined;
  /** The native password; `undefined` for OAuth. */
  password: string | (() => string | Promise<string>) | undefined;
  /** The group to log in as. */
  group: string | undefined;
  /** The credential's life in seconds. */
  tokenTtl: number | undefined;
  /** PEM text or a file's path; `undefined` for the system's roots. */
  ca: string | undefined;
  /** How the certificate is checked. */
  sslMode: SslMode;
  /** Connections at most. */
  max: number;
  /** Seconds. */
  idleTimeout: number;
  /** Seconds. */
  maxLifetime: number;
  /** Seconds. */
  connectTimeout: number;
  /** Seconds; 0 for none. */
  statementTimeout: number;
  /** Parsers by type name. */
  types: TypeParsers;
}

/**
 * Settles what to connect to: options over environment over `.env` over defaults. Pure: it reads and writes nothing else.
 *
 * @param options What the caller said.
 * @param env The process's environment; an empty value counts as none.
 * @param dotenv The values of the `.env` file.
 * @returns Every value that `connect()` needs and that can be known without asking the workspace.
 * @throws {LakebaseError} `BAD_SETTING`, with the name of the setting, what was found and what is allowed.
 */
export function resolveSettings(
  options: ConnectOptions,
  env: Record<string, string | undefined>,
  dotenv: Record<string, string> = {},
): Settings {
  checkOptionNames(options, OPTION_NAMES);
  const environment = present({ ...dotenv, ...present(env) });
  const read = (option: keyof ConnectOptions, ...names: string[]) => text(options, option, environment, names);
  const byOption = options.endpoint !== undefined ||
    options.instance !== undefined;
  const endpoint = byOption ? read("endpoint") : read("endpoint", "LAKEBASE_ENDPOINT");
  const instance = byOption ? read("instance") : read("instance", "LAKEBASE_INSTANCE");
  if (endpoint !== undefined && instance !== undefined) {
    throw badSetting(
      `"endpoint" and "instance" are both set, to ${quotedName(endpoint)} and ${quotedName(instance)}; keep one`,
    );
  }
  const password = secret(options, environment);
  const group = read("group");
  const host = checkHost(read("host", "PGHOST"));
  const ownLogin = options.workspace === undefined &&
    options.profile === undefined;
  const user = read("user", "PGUSER") ?? group ??
    (ownLogin ? environment["DATABRICKS_CLIENT_ID"] : undefined);
  checkLogin({ host, user, password, group, tokenTtl: options.tokenTtl });
  return {
    endpoint: endpoint === undefined ? undefined : checkEndpoint(endpoint),
    instance: instance === undefined ? undefined : checkInstance(instance),
    readOnly: flag(options, "readOnly"),
    workspace: workspaceClient(options),
    profile: read("profile", "DATABRICKS_CONFIG_PROFILE"),
    environment: workspaceEnvironment(environment, options.profile !== undefined),
    host,
    port: count(
      options,
      "port",
      { min: 1, max: 65535, fallback: 5432 },
      environment["PGPORT"],
      "PGPORT",
    ),
    database: read("database", "PGDATABASE") ?? "databricks_postgres",
    user,
    password,
    group,
    tokenTtl: options.tokenTtl === undefined ? undefined : count(options, "tokenTtl", { min: 300, max: 3600 }),
    ca: rootCertificates(read("ca", "PGSSLROOTCERT")),
    sslMode: checkSslMode(options, environment, host),
    max: count(options, "max", { min: 1, max: 10_000, fallback: 15 }),
    idleTimeout: count(options, "idleTimeout", {
      min: 0,
      fallback: 30,
      fraction: true,
    }),
    maxLifetime: count(options, "maxLifetime", {
      min: 1,
      fallback: 3600,
      fraction: true,
    }),
    connectTimeout: count(options, "connectTimeout", {
      min: 0.001,
      fallback: 60,
      fraction: true,
    }),
    statementTimeout: count(options, "statementTimeout", {
      min: 0,
      fallback: 0,
      fraction: true,
    }),
    types: checkTypes(options.types ?? {}),
  };
}

function present(
  values: Record<string, string | undefined>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => !!entry[1]),
  );
}

/** The SDK lets the environment win over a profile, even over one that was asked for in code: then only where it looks. */
function workspaceEnvironment(environment: Record<string, string>, ownProfile: boolean): Record<string, string> {
  const names = ownProfile ? /^DATABRICKS_(CONFIG_FILE|CLI_PATH)$/ : /^(DATABRICKS|ARM|GOOGLE)_/;
  return Object.fromEntries(Object.entries(environment).filter(([name]) => names.test(name)).sort());
}

function text(
  options: ConnectOptions,
  option: keyof ConnectOptions,
  environment: Record<string, string>,
  names: string[],
): string | undefined {
  const value: unknown = options[option];
  if (value === undefined) {
    return names.map((name) => environment[name]).find((found) => found !== undefined);
  }
  if (
    typeof value === "string" && value.trim() !== "" && !value.includes("\0")
  ) return value;
  throw badSetting(
    `option "${option}" is ${quoted(value)}; it must be a text that is not empty`,
  );
}

function secret(
  options: ConnectOptions,
  environment: Record<string, string>,
): Settings["password"] {
  const value: unknown = options.password;
  if (value === undefined) return environment["PGPASSWORD"];
  if (typeof value === "function") {
    return value as () => string | Promise<string>;
  }
  if (typeof value === "string" && value !== "") return value;
  throw badSetting(
    `option "password" is ${value === "" ? "empty" : typeof value}; it must be a text or a function`,
  );
}

function flag(options: ConnectOptions, option: "readOnly"): boolean {
  const value: unknown = options[option] ?? false;
  if (typeof value === "boolean") return value;
  throw badSetting(
    `option "${option}" is ${quoted(value)}; it must be true or false`,
  );
}

interface Range {
  min: number;
  max?: number;
  fallback?: number;
  fraction?: boolean;
}

function count(
  options: ConnectOptions,
  option: keyof ConnectOptions,
  range: Range,
  found?: string,
  from?: string,
): number {
  const given: unknown = options[option];
  const value = given ?? (found === undefined ? range.fallback : Number(found));
  const { min, max = 2_147_483, fraction = false } = range;
  if (
    typeof value === "number" && value >= min && value <= max &&
    (fraction || Number.isInteger(value))
  ) return value;
  const name = given === undefined && from !== undefined
    ? `${from} is "${found}"`
    : `option "${option}" is ${quoted(given)}`;
  throw badSetting(
    `${name}; it must be a ${fraction ? "" : "whole "}number from ${min} to ${max}`,
  );
}

function checkEndpoint(endpoint: string): string {
  const name = endpoint.trim();
  if (
    /^(projects\/[\w.-]+(\/branches\/[\w.-]+(\/endpoints\/[\w.-]+)?)?|[\w.-]+)$/
      .test(name)
  ) return name;
  throw badSetting(
    `"endpoint" (LAKEBASE_ENDPOINT) is ${quotedName(name)}; it must be projects/p/branches/b/endpoints/e, ` +
      "projects/p/branches/b, projects/p, or a project's id",
  );
}

function checkInstance(name: string): string {
  if (/^[\w.-]+$/.test(name)) return name;
  throw badSetting(
    `"instance" (LAKEBASE_INSTANCE) is ${quotedName(name)}; it must be a name of letters, digits and hyphens`,
  );
}

function checkHost(host: string | undefined): string | undefined {
  if (host === undefined) return undefined;
  if (/^[A-Za-z0-9_.-]+$/.test(host) && !host.startsWith("-") || isIP(host) === 6) return host;
  throw badSetting(
    `"host" (PGHOST) is ${quotedName(host)}; it must be a host name alone, without scheme, user, port or path`,
  );
}

function workspaceClient(
  options: ConnectOptions,
): WorkspaceClientLike | undefined {
  const client = options.workspace;
  if (client === undefined) return undefined;
  if (
    typeof client?.config?.getHost === "function" &&
    typeof client.config.authenticate === "function"
  ) return client;
  throw badSetting(
    `option "workspace" is ${quoted(client)}; it must be a WorkspaceClient of @databricks/sdk-experimental`,
  );
}

function checkLogin(
  login: Pick<Settings, "host" | "user" | "password" | "group"> & {
    tokenTtl: number | undefined;
  },
): void {
  const { host, user, password, group, tokenTtl } = login;
  if (
    password !== undefined && (group !== undefined || tokenTtl !== undefined)
  ) {
    throw badSetting(
      `"password" is a native login; "group" and "tokenTtl" belong to OAuth. Take one away, or unset PGPASSWORD`,
    );
  }
  if (password !== undefined && user === undefined) {
    throw badSetting(
      `"password" (PGPASSWORD) is set without "user" (PGUSER); a native login needs the role's name`,
    );
  }
  if (
    password === undefined && host !== undefined && /^[^.]+-pooler\./.test(host)
  ) throw pooledHost(host);
}

/** What to say of a `-pooler` host that was to be used with OAuth. */
export function pooledHost(host: string): LakebaseError {
  return new LakebaseError(
    "POOLED_HOST",
    `Cannot connect to "${host}" with OAuth: Lakebase's connection pooler takes native Postgres passwords only. ` +
      `Use "${host.replace("-pooler.", ".")}", or give a user and a password`,
  );
}

function rootCertificates(ca: string | undefined): string | undefined {
  return ca === "system" ? undefined : ca;
}

function checkSslMode(
  options: ConnectOptions,
  environment: Record<string, string>,
  host: string | undefined,
): SslMode {
  const given: unknown = options.sslMode;
  const mode = given ?? environment["PGSSLMODE"] ?? "verify-full";
  const from = given === undefined ? "PGSSLMODE" : `option "sslMode"`;
  if (mode === "verify-full" || mode === "require") return mode;
  if (mode === "no-verify" && given !== undefined) return mode;
  if (mode !== "disable" && mode !== "prefer" && mode !== "allow") {
    throw badSetting(
      `${from} is ${quoted(mode)}; it must be verify-full or require (both verify the server)`,
    );
  }
  if (host !== undefined && isLoopback(host)) return "disable";
  throw badSetting(
    `${from} is "${mode}", which may send the login in plain text; that is for loopback hosts. Use verify-full`,
  );
}

/**
 * Whether a host name means this machine.
 *
 * @param host A host name or an address.
 * @returns `true` for `localhost`, names under it, `127.0.0.0/8` and `::1`.
 */
export function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host);
}
