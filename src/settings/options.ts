import type { LocalOptions } from "../local/mod.ts";

/** Turns the text that Postgres sends for a value into the value. */
export type TypeParser = (text: string) => unknown;

/** Parsers by the name of the Postgres type, such as `{ numeric: Number }`. */
export type TypeParsers = Readonly<Record<string, TypeParser>>;

/** The part of the SDK's `WorkspaceClient` that is used: who to ask, and how to sign the request. */
export interface WorkspaceClientLike {
  /** The client's configuration. */
  config: {
    /** The workspace's address. */
    getHost(): Promise<URL>;
    /** Adds the login to a request's headers. */
    authenticate(headers: Headers): Promise<void>;
    /** The workspace's id, sent with each request: a host that serves several workspaces asks for it. */
    workspaceId?: string | undefined;
  };
}

/** How the server's certificate is checked; `require` verifies as `verify-full` does. */
export type SslMode = "verify-full" | "require" | "no-verify" | "disable";

/**
 * What `connect()` may be told. Each value comes from the option, else the environment, else `.env`, else the default.
 * Every duration is in seconds.
 */
export interface ConnectOptions {
  /**
   * `projects/p/branches/b/endpoints/e`, `projects/p/branches/b`, `projects/p`, or the project's id alone.
   * Environment: `LAKEBASE_ENDPOINT`.
   * @default {the workspace's only project, its default branch, its READ_WRITE endpoint}
   */
  endpoint?: string;
  /**
   * Makes transactions read only, on the branch's READ_ONLY endpoint or its read replica where it has one. Elsewhere it is
   * for your own mistakes, and no protection: `BEGIN READ WRITE` undoes it. What must not write needs a role that may not.
   *
   * @default {false}
   */
  readOnly?: boolean;
  /**
   * The name of a Lakebase Provisioned instance, instead of an endpoint: the older product, of which no new instances can be
   * made. Environment: `LAKEBASE_INSTANCE`.
   */
  instance?: string;
  /** A profile of `~/.databrickscfg`. Environment: `DATABRICKS_CONFIG_PROFILE`. */
  profile?: string;
  /** A `WorkspaceClient` of `@databricks/sdk-experimental` to ask, instead of one made from the environment. */
  workspace?: WorkspaceClientLike;
  /** The database server's host name. Environment: `PGHOST`. @default {the endpoint's} */
  host?: string;
  /** The database server's port. Environment: `PGPORT`. @default {5432} */
  port?: number;
  /** Environment: `PGDATABASE`. @default {"databricks_postgres"} */
  database?: string;
  /** The Postgres role. Environment: `PGUSER`, `DATABRICKS_CLIENT_ID`. @default {the workspace's current user, or `group`} */
  user?: string;
  /** A native Postgres password, or a function that gives one; no OAuth then. Environment: `PGPASSWORD`. */
  password?: string | (() => string | Promise<string>);
  /**
   * The workspace group to log in as: its role is the group's name. Nothing of a group is sent without it. The workspace's
   * public API does not list groups any more, so a workspace may refuse it.
   */
  group?: string;
  /** How long an OAuth credential lives, in seconds, 300 to 3600. @default {the workspace's, one hour} */
  tokenTtl?: number;
  /** The certificate authorities to trust instead of the system's: PEM text, or a file. Environment: `PGSSLROOTCERT`. */
  ca?: string;
  /** Environment: `PGSSLMODE`, where `no-verify` is not taken. `disable` works on loopback only. @default {"verify-full"} */
  sslMode?: SslMode;
  /** Connections at most. @default {15} */
  max?: number;
  /** Seconds until an unused connection is closed. @default {30} */
  idleTimeout?: number;
  /** Seconds until a connection is replaced. @default {3600} */
  maxLifetime?: number;
  /** Seconds that connecting may take, waking the compute included. @default {60} */
  connectTimeout?: number;
  /** Seconds that a statement may take; 0 for no limit. @default {0} */
  statementTimeout?: number;
  /**
   * Parsers that replace the usual ones, by the name of a type that every Postgres has, such as `{ numeric: Number }` or
   * `{ timestamptz: String }`. Each gets the server's text, never NULL; an array's elements follow their type.
   */
  types?: TypeParsers;
  /**
   * The file to read as `.env`, or `false` for none. Environment: `LAKEBASE_ENV_FILE`, where an empty value is `false`.
   * @default {".env" in the working directory, where there is one}
   */
  envFile?: string | false;
  /** Connects to a Lakebase on this machine, started when first asked for. Environment: `LAKEBASE_LOCAL`. @default {false} */
  local?: boolean | LocalOptions;
}

/** The names in {@linkcode ConnectOptions}: an option that is not here is a typo. */
export const OPTION_NAMES: readonly (keyof ConnectOptions)[] = [
  "endpoint",
  "readOnly",
  "instance",
  "profile",
  "workspace",
  "host",
  "port",
  "database",
  "user",
  "password",
  "group",
  "tokenTtl",
  "ca",
  "sslMode",
  "max",
  "idleTimeout",
  "maxLifetime",
  "connectTimeout",
  "statementTimeout",
  "types",
  "envFile",
  "local",
];

/** The options that the environment can set, and by which names, first come first served. */
export const SETTING_NAMES: Readonly<Partial<Record<keyof ConnectOptions, readonly string[]>>> = {
  endpoint: ["LAKEBASE_ENDPOINT"],
  instance: ["LAKEBASE_INSTANCE"],
  profile: ["DATABRICKS_CONFIG_PROFILE"],
  host: ["PGHOST"],
  port: ["PGPORT"],
  database: ["PGDATABASE"],
  user: ["PGUSER"],
  password: ["PGPASSWORD"],
  sslMode: ["PGSSLMODE"],
  ca: ["PGSSLROOTCERT"],
};
