import type { LocalOptions } from "../core/local_options.ts";

/** Turns the text that Postgres sends for a value into the value. */
export type TypeParser = (text: string) => unknown;

/** Parsers by the name of the Postgres type, such as `{ numeric: Number }`. */
export type TypeParsers = Readonly<Record<string, TypeParser>>;

/** The part of the SDK's `WorkspaceClient` that this module uses: the workspace's address, and the signing of requests. */
export interface WorkspaceClientLike {
  /** The client's configuration. */
  config: {
    /** The workspace's address. */
    getHost(): Promise<URL>;
    /** Adds the login to a request's headers. */
    authenticate(headers: Headers): Promise<void>;
    /** The workspace's id, sent with each request. A host that serves several workspaces needs it. */
    workspaceId?: string | undefined;
  };
}

/** How the server's certificate is checked; `require` verifies as `verify-full` does. */
export type SslMode = "verify-full" | "require" | "no-verify" | "disable";

/**
 * The options of `connect()`. A value comes from the option, or else from the environment, or else from `.env`, or else
 * it is the default. Every duration is in seconds.
 */
export interface ConnectOptions {
  /**
   * `projects/p/branches/b/endpoints/e`, `projects/p/branches/b`, `projects/p`, or the project's id alone.
   * Environment: `LAKEBASE_ENDPOINT`.
   * @default {the workspace's only project, its default branch, its READ_WRITE endpoint}
   */
  endpoint?: string;
  /**
   * A branch of the endpoint's project: its id, or `projects/p/branches/b`. The workspace names the branch's host.
   * Environment: `LAKEBASE_BRANCH`.
   * @default {the endpoint's, else the project's default branch}
   */
  branch?: string;
  /**
   * Makes transactions read only, on the branch's READ_ONLY endpoint or read replica if it has one. On another endpoint, this
   * only prevents your own mistakes: `BEGIN READ WRITE` undoes it. To prevent writes, use a role that has no
   * right to write.
   *
   * @default {false}
   */
  readOnly?: boolean;
  /**
   * The name of a Lakebase Provisioned instance, instead of an endpoint. New instances of this older product can't be
   * created. Environment: `LAKEBASE_INSTANCE`.
   */
  instance?: string;
  /** A profile of `~/.databrickscfg`. Environment: `DATABRICKS_CONFIG_PROFILE`. */
  profile?: string;
  /** A `WorkspaceClient` of `@databricks/sdk-experimental` to use instead of one made from the environment. */
  workspace?: WorkspaceClientLike;
  /** The database server's host name. Environment: `PGHOST`. @default {the endpoint's} */
  host?: string;
  /** The database server's port. Environment: `PGPORT`. @default {5432} */
  port?: number;
  /** Environment: `PGDATABASE`. @default {"databricks_postgres"} */
  database?: string;
  /** The Postgres role. Environment: `PGUSER`, `DATABRICKS_CLIENT_ID`. @default {the workspace's current user, or `group`} */
  user?: string;
  /** A native Postgres password, or a function that returns one; OAuth is not used then. Environment: `PGPASSWORD`. */
  password?: string | (() => string | Promise<string>);
  /**
   * The workspace group to log in as. The role has the group's name. The workspace's public API no longer documents
   * groups, so a workspace may refuse this.
   */
  group?: string;
  /** How long an OAuth credential lives, in seconds, 300 to 3600. @default {the workspace's, one hour} */
  tokenTtl?: number;
  /** The certificate authorities to trust instead of the system's: PEM text, or a file. Environment: `PGSSLROOTCERT`. */
  ca?: string;
  /** Environment: `PGSSLMODE`, which does not accept `no-verify`. `disable` works on loopback only. @default {"verify-full"} */
  sslMode?: SslMode;
  /** The largest number of connections. @default {15} */
  max?: number;
  /** Seconds until an unused connection is closed. @default {30} */
  idleTimeout?: number;
  /** Seconds until a connection is replaced. @default {3600} */
  maxLifetime?: number;
  /** Seconds that connecting may take, including waking the compute. @default {60} */
  connectTimeout?: number;
  /** Seconds that a statement may take; 0 for no limit. @default {0} */
  statementTimeout?: number;
  /**
   * SQL that runs first on each new session of the server, such as `SET search_path TO app`; or a function that returns
   * such SQL and is called for each session. The SQL may have several statements, and must end the transactions that it
   * begins. Connecting fails if the SQL fails, or if it takes longer than `connectTimeout`. The SQL does not run for
   * warehouses.
   *
   * @default {none}
   */
  onConnect?: string | (() => string | Promise<string>);
  /**
   * Parsers that replace the usual ones, by the name of a built-in type of Postgres, such as `{ numeric: Number }` or
   * `{ timestamptz: String }`. A parser gets the server's text, never NULL. The elements of an array use the parser of their
   * type.
   */
  types?: TypeParsers;
  /**
   * The file to read as `.env`, or `false` for none. Environment: `LAKEBASE_ENV_FILE`, where an empty value is `false`.
   * @default {".env" in the working directory, if there is one}
   */
  envFile?: string | false;
  /** Connects to a Lakebase on this machine, which is started on first use. Environment: `LAKEBASE_LOCAL`. @default {false} */
  local?: boolean | LocalOptions;
}

/** The names in {@linkcode ConnectOptions}, for finding typos. */
export const OPTION_NAMES: readonly (keyof ConnectOptions)[] = [
  "endpoint",
  "branch",
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
  "onConnect",
  "types",
  "envFile",
  "local",
];

/** The variables that stand for each option. The first variable that is set counts. */
export const SETTING_NAMES: Readonly<Partial<Record<keyof ConnectOptions, readonly string[]>>> = {
  endpoint: ["LAKEBASE_ENDPOINT"],
  branch: ["LAKEBASE_BRANCH"],
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
