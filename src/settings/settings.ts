import { badSetting, checkOptionNames, quoted, quotedName } from "./bad_setting.ts";
import { checkHost, checkTakesOAuth, isLoopback } from "./host.ts";
import { type ConnectOptions, OPTION_NAMES, type SslMode, type WorkspaceClientLike } from "./options.ts";
import { checkTypes, type TypeParsers } from "../query/types.ts";
import { type Range, readEnvironment, readFlag, readNumber, readPassword, readText } from "./read_option.ts";

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
  const read = (option: keyof ConnectOptions, found = environment) => readText(options, option, found);
  const { endpoint, instance } = server(options, read);
  const password = readPassword(options, environment);
  const group = read("group");
  const given = read("host");
  const host = given === undefined ? undefined : checkHost(given);
  const ownLogin = options.workspace === undefined && options.profile === undefined;
  const user = read("user") ?? group ?? (ownLogin ? environment["DATABRICKS_CLIENT_ID"] : undefined);
  checkLogin({ host, user, password, group, tokenTtl: options.tokenTtl });
  return {
    endpoint,
    instance,
    readOnly: readFlag(options, "readOnly"),
    workspace: workspaceClient(options),
    profile: read("profile"),
    environment: workspaceEnvironment(environment, options.profile !== undefined),
    host,
    database: read("database") ?? "databricks_postgres",
    user,
    password,
    group,
    ca: rootCertificates(read("ca")),
    sslMode: checkSslMode(options, environment, host),
    ...numbers(options, environment),
    types: checkTypes(options.types ?? {}),
  };
}

const NUMBERS = {
  port: { min: 1, max: 65535, fallback: 5432 },
  tokenTtl: { min: 300, max: 3600, fallback: undefined },
  max: { min: 1, max: 10_000, fallback: 15 },
  idleTimeout: { min: 0, fallback: 30, fraction: true },
  maxLifetime: { min: 1, fallback: 3600, fraction: true },
  connectTimeout: { min: 0.001, fallback: 60, fraction: true },
  statementTimeout: { min: 0, fallback: 0, fraction: true },
} satisfies Partial<Record<keyof ConnectOptions, Range>>;

type Numbers = Pick<Settings, keyof typeof NUMBERS>;

function numbers(options: ConnectOptions, environment: Record<string, string>): Numbers {
  const names = Object.keys(NUMBERS) as (keyof Numbers)[];
  return Object.fromEntries(
    names.map((name) => [name, readNumber(options, name, NUMBERS[name], environment)]),
  ) as unknown as Numbers;
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

/** Which server: where an option names one, the environment is not asked for the other. */
function server(
  options: ConnectOptions,
  read: (option: keyof ConnectOptions, found?: Record<string, string>) => string | undefined,
): Pick<Settings, "endpoint" | "instance"> {
  const byOption = options.endpoint !== undefined || options.instance !== undefined;
  const [endpoint, instance] = byOption
    ? [read("endpoint", {}), read("instance", {})]
    : [read("endpoint"), read("instance")];
  if (endpoint !== undefined && instance !== undefined) {
    throw badSetting(
      `"endpoint" and "instance" are both set, to ${quotedName(endpoint)} and ${quotedName(instance)}; keep one`,
    );
  }
  return {
    endpoint: endpoint === undefined ? undefined : checkEndpoint(endpoint),
    instance: instance === undefined ? undefined : checkInstance(instance),
  };
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
  if (password === undefined && host !== undefined) checkTakesOAuth(host);
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
  const mode = given ?? readEnvironment("sslMode", environment)?.value ?? "verify-full";
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
