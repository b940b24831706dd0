import { closest } from "../core/closest.ts";
import { quotedOption } from "../core/errors.ts";
import { builtInNames, canonicalName } from "../core/type_names.ts";
import { typeText } from "../core/text.ts";
import type { Variables } from "./environment.ts";
import {
  type ConnectOptions,
  OPTION_NAMES,
  type SslMode,
  type TypeParser,
  type TypeParsers,
  type WorkspaceClientLike,
} from "./options.ts";
import { describeOrigin, type Origin, type Setting, toSetting, trustRank, type WithOrigin } from "./origin.ts";
import type { Profiles } from "./profiles.ts";
import { badSetting, checkOptionNames, OptionReader, type Range, shownValue } from "./read_option.ts";
import { checkHost, checkTakesOAuth, findServer, isLoopback } from "./server.ts";
import { resolveWorkspace, untrustedSetting, type WorkspaceLogin, type WorkspaceWithOrigins } from "./workspace.ts";

/** {@linkcode ConnectOptions} with every value resolved. */
export interface Settings {
  /** The endpoint as the caller named it; `undefined` for the workspace's only endpoint. */
  endpoint: string | undefined;
  /** The id of a branch of the workspace's only project, if no endpoint is named. */
  branch: string | undefined;
  /** The Provisioned instance, instead of an endpoint. */
  instance: string | undefined;
  /** Whether every transaction is read only. */
  readOnly: boolean;
  /** The caller's own client; if `undefined`, a client is made from `login`. */
  workspace: WorkspaceClientLike | undefined;
  /** The workspace and the login for it; `undefined` if no workspace is needed. */
  login: WorkspaceLogin | undefined;
  /** The server's host; `undefined` for the host of the endpoint. */
  host: string | undefined;
  /**
   * The error to report unless the workspace names `host` for the endpoint; `undefined` if the host needs no
   * confirmation.
   */
  unconfirmedHost: string | undefined;
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
  /** The lifetime of a credential in seconds. */
  tokenTtl: number | undefined;
  /** PEM text or a file's path; `undefined` for the system's roots. */
  ca: string | undefined;
  /** How the certificate is checked. */
  sslMode: SslMode;
  /** The largest number of connections. */
  max: number;
  /** Seconds until an unused connection is closed. */
  idleTimeout: number;
  /** Seconds until a connection is replaced. */
  maxLifetime: number;
  /** Seconds that connecting may take. */
  connectTimeout: number;
  /** Seconds that a statement may take; 0 for no limit. */
  statementTimeout: number;
  /** The SQL that runs on each new session, or a function that returns it. */
  onConnect: ConnectOptions["onConnect"];
  /** The startup options of a session (PGOPTIONS). */
  serverOptions: string | undefined;
  /** Parsers by type name. */
  types: TypeParsers;
}

/** {@linkcode Settings}, and the origins of those that do not have their defaults. */
export interface SettingsWithOrigins {
  /** The settings. */
  settings: Settings;
  /** The settings that do not have their defaults, in the order of the options. */
  explicit: Setting[];
}

/**
 * Resolves the settings: options over environment over `.env` over profiles over defaults, each value with its origin. This
 * function is pure.
 *
 * @param options The caller's options.
 * @param variables The environment over `.env`.
 * @param profiles The profiles of `~/.databrickscfg`; `undefined` if they are not needed.
 * @returns Every value that `connect()` needs and that can be known without a request to the workspace.
 * @throws {LakebaseError} `BAD_SETTING`, with the name of the setting, the value found and what is allowed; also where
 * a less trusted source would decide where a login goes.
 */
export function resolveSettings(
  options: ConnectOptions,
  variables: Variables,
  profiles?: Profiles,
): SettingsWithOrigins {
  checkOptionNames(options, OPTION_NAMES);
  const read = new OptionReader(options, variables);
  const profile = options.profile === undefined ? undefined : read.text("profile");
  const { endpoint, branch, instance, ignoreHost } = findServer(options, read);
  const password = read.password();
  const group = checkLength(read.text("group"), MAX_NAME_LENGTH)?.value;
  const host = ignoreHost ? undefined : read.text("host");
  if (host !== undefined) checkHost(host.value);
  const client = workspaceClient(options, read);
  const ca = read.text("ca");
  const sslMode = checkSslMode(read, host?.value);
  const user = checkLength(read.text("user"), MAX_NAME_LENGTH)?.value ?? group ?? servicePrincipal(options, variables);
  checkLogin({ host: host?.value, user, password: password?.value, group, tokenTtl: options.tokenTtl });
  const needsNoWorkspace = password !== undefined && host !== undefined && user !== undefined;
  const workspace = needsNoWorkspace || client !== undefined
    ? undefined
    : resolveWorkspace({ profile: profile?.value, variables }, profiles);
  const login = { password, workspace, client: client !== undefined };
  const unconfirmedHost = checkTrust(login, { host, ca, sslMode, port: findPort(read) });
  const settings = {
    endpoint,
    branch,
    instance,
    readOnly: read.flag("readOnly"),
    workspace: client,
    login: workspace?.login,
    host: host?.value,
    unconfirmedHost,
    user,
    password: password?.value,
    group,
    database: checkLength(read.text("database"), MAX_NAME_LENGTH)?.value ?? "databricks_postgres",
    ca: ca?.value === "system" ? undefined : ca?.value,
    sslMode: sslMode.value,
    ...numbers(read),
    serverOptions: checkLength(variables.get("PGOPTIONS"), MAX_OPTIONS_LENGTH)?.value,
    onConnect: checkOnConnect(read),
    types: checkTypes(read),
  };
  read.unchecked("envFile");
  read.unchecked("local");
  return { settings, explicit: explicitSettings(read, workspace, variables) };
}

/**
 * The most characters of a value. The server accepts logins of up to 10,000 bytes, and closes the connection of a longer
 * one without an error.
 */
const [MAX_NAME_LENGTH, MAX_OPTIONS_LENGTH] = [250, 6000];

function checkLength(setting: WithOrigin | undefined, most: number): WithOrigin | undefined {
  if (setting === undefined || setting.value.length <= most) return setting;
  const { value, origin } = setting;
  const subject = origin.source === "option" ? `option "${origin.name}"` : describeOrigin(origin);
  throw badSetting(`${subject} has ${value.length} characters; it may have up to ${most}`, {
    setting: origin.name,
    origin,
  });
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

function numbers(read: OptionReader): Numbers {
  const names = Object.keys(NUMBERS) as (keyof Numbers)[];
  return Object.fromEntries(names.map((name) => [name, read.number(name, NUMBERS[name])])) as unknown as Numbers;
}

function findPort(read: OptionReader): WithOrigin<unknown> | undefined {
  read.number("port", NUMBERS.port);
  return read.explicit.get("port");
}

/** The role of a service principal is its client id. */
function servicePrincipal(options: ConnectOptions, variables: Variables): string | undefined {
  const usesEnvironment = options.workspace === undefined && options.profile === undefined;
  return usesEnvironment ? variables.get("DATABRICKS_CLIENT_ID")?.value : undefined;
}

/** The settings that do not have their defaults, as the doctor lists them. */
function explicitSettings(
  read: OptionReader,
  workspace: WorkspaceWithOrigins | undefined,
  variables: Variables,
): Setting[] {
  const options = [...read.explicit].map(([setting, value]) => toSetting(setting, value));
  const used = workspace?.used ?? new Map<string, WithOrigin>();
  const others = [...used].sort().map(([name, value]) => toSetting(name, value));
  const address = workspace?.login.host === undefined || workspace.host === undefined
    ? []
    : [toSetting("workspace", { value: workspace.login.host, origin: workspace.host })];
  const role = read.explicit.has("user") || read.explicit.has("group")
    ? undefined
    : variables.get("DATABRICKS_CLIENT_ID");
  return [...options, ...(role && workspace ? [toSetting("user", role)] : []), ...address, ...others];
}

function workspaceClient(options: ConnectOptions, read: OptionReader): WorkspaceClientLike | undefined {
  const client = options.workspace;
  if (client === undefined) return undefined;
  const { origin } = read.unchecked("workspace") ?? { origin: { source: "option" as const, name: "workspace" } };
  if (typeof client?.config?.getHost === "function" && typeof client.config.authenticate === "function") return client;
  throw badSetting(
    `option "workspace" is ${shownValue(client)}; it must be a WorkspaceClient of @databricks/sdk-experimental`,
    { setting: "workspace", origin },
  );
}

function checkOnConnect(read: OptionReader): Settings["onConnect"] {
  const found = read.unchecked("onConnect");
  if (found === undefined) return undefined;
  const { value, origin } = found;
  if (typeof value === "function") return value as () => string;
  if (typeof value === "string" && value.trim() !== "" && !value.includes("\0")) return value;
  throw badSetting(
    `option "onConnect" is ${
      shownValue(value)
    }; it must be SQL such as "SET search_path TO app", or a function that returns it`,
    { setting: "onConnect", origin },
  );
}

/** The parsers of the option `types`, under the names that results have for their types. */
function checkTypes(read: OptionReader): TypeParsers {
  const found = read.unchecked("types");
  if (found === undefined) return {};
  const { value: types, origin } = found;
  const badTypes = (state: string) => badSetting(`option "types" ${state}`, { setting: "types", origin });
  if (typeof types !== "object" || types === null || Array.isArray(types)) {
    throw badTypes(`is ${shownValue(types)}; it must be an object such as { numeric: Number }`);
  }
  return Object.fromEntries(
    Object.entries(types).map(([key, parser]) => {
      const name = canonicalName(key);
      if (!builtInNames().includes(name)) {
        const nearest = closest(name, builtInNames());
        throw badTypes(
          `has "${key}", which is not a Postgres type${nearest === undefined ? "" : `; did you mean "${nearest}"?`}`,
        );
      }
      if (typeof parser === "function") return [name, parser as TypeParser];
      throw badTypes(`has ${typeText(parser)} for "${key}"; it must be a function`);
    }),
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
      `"password" is a native login; ${
        quotedOption("group")
      } and "tokenTtl" belong to OAuth. Leave one of them out, or unset PGPASSWORD`,
    );
  }
  if (password !== undefined && user === undefined) {
    throw badSetting(
      `"password" (PGPASSWORD) is set without ${quotedOption("user")} (PGUSER); a native login needs the role's name`,
    );
  }
  if (password === undefined && host !== undefined) checkTakesOAuth(host);
}

function checkSslMode(read: OptionReader, host: string | undefined): WithOrigin<SslMode> {
  const found = read.text("sslMode");
  if (found === undefined) return { value: "verify-full", origin: { source: "default", name: "sslMode" } };
  const { value: mode, origin } = found;
  const from = origin.source === "option" ? `option ${quotedOption("sslMode")}` : describeOrigin(origin);
  const setting = { setting: "sslMode", origin };
  if (mode === "verify-full" || mode === "require") return { value: mode, origin };
  if (mode === "no-verify" && origin.source === "option") return { value: mode, origin };
  if (mode !== "disable" && mode !== "prefer" && mode !== "allow") {
    throw badSetting(
      `${from} is ${shownValue(mode)}; it must be verify-full or require (both verify the server)`,
      setting,
    );
  }
  if (host !== undefined && isLoopback(host)) return { value: "disable", origin };
  throw badSetting(
    `${from} is "${mode}", which may send the login in plain text; that is for loopback hosts. Use verify-full`,
    setting,
  );
}

interface LoginCandidates {
  password: WithOrigin<unknown> | undefined;
  workspace: WorkspaceWithOrigins | undefined;
  client: boolean;
}

interface ServerSources {
  host: WithOrigin | undefined;
  port: WithOrigin<unknown> | undefined;
  ca: WithOrigin | undefined;
  sslMode: WithOrigin<SslMode>;
}

/**
 * Applies the rule of trust to the database's host. A password goes to a host from its own source or from a more trusted one.
 * An OAuth token goes to the host that its workspace names, or to one from code or the environment. A port, CA or `sslMode`
 * from `.env` is used with logins from that `.env` only.
 *
 * @returns The error to report unless the workspace confirms the host; `undefined` if the host needs no
 * confirmation.
 */
function checkTrust({ password, workspace, client }: LoginCandidates, server: ServerSources): string | undefined {
  const code: Origin = { source: "option", name: "workspace" };
  const login = password?.origin ?? (client ? code : workspace!.from);
  const weakenings: [origin: Origin | undefined, does: string][] = [
    [Number(server.port?.value ?? 5432) === 5432 ? undefined : server.port?.origin, "names the server's port"],
    [server.ca?.value === "system" ? undefined : server.ca?.origin, "names the certificate authorities to trust"],
    [server.sslMode.value === "disable" ? server.sslMode.origin : undefined, "turns TLS off"],
  ];
  for (const [origin, does] of weakenings) {
    if (origin?.source === ".env" && login.source !== ".env") throw untrustedSetting(origin, does, login);
  }
  const host = server.host?.origin;
  if (password !== undefined) {
    const named = host ?? (workspace?.host?.source === ".env" ? workspace.host : undefined);
    if (named !== undefined && trustRank(named) > trustRank(login)) {
      throw untrustedSetting(
        named,
        host === undefined ? "names the workspace, which names the server" : "names the server",
        login,
      );
    }
    return undefined;
  }
  if (host?.source !== ".env" || login.source === ".env") return undefined;
  return untrustedSetting(host, "names a server that is not the endpoint's", login).message;
}
