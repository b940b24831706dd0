/**
 * Options of `startLocal` and of `connect({ local })`. Durations are in milliseconds, whereas `connect()` takes seconds.
 */
export interface LocalOptions {
  /**
   * `postgres://` URL of a server to use as the database. Its roles are not a security boundary: sessions log in as the
   * URL's user, and a session becomes that user again with `RESET SESSION AUTHORIZATION`.
   *
   * @default {an embedded PGlite}
   */
  database?: string;
  /** Directory that keeps PGlite's data between runs. @default {none: the data are in memory until the process ends} */
  dataDir?: string;
  /** The workspace's user, who is also the Postgres role. @default {"you@example.com"} */
  user?: string;
  /** Port of the workspace API. @default {0: the system chooses one} */
  workspacePort?: number;
  /** Port of Postgres. @default {0: the system chooses one} */
  postgresPort?: number;
  /** The workspace's projects. @default {project "local" with branch "production" and endpoint "primary"} */
  projects?: LocalProject[];
  /** Lakebase Provisioned instances. @default {none} */
  instances?: LocalInstance[];
  /**
   * SQL warehouses, whose statements run on the database. Their dialect is Postgres's, not Spark's.
   *
   * @default {one that is running}
   */
  warehouses?: LocalWarehouse[];
  /** Names of catalogs. In a statement of a warehouse, each of them means the database. @default {["main"]} */
  catalogs?: string[];
  /** Native logins: passwords by role. The roles are created. @default {none} */
  passwords?: Record<string, string>;
  /** Service principals that may log in with OAuth client credentials. @default {none} */
  servicePrincipals?: ServicePrincipal[];
  /** Groups of the user; each becomes a Postgres role. @default {none} */
  groups?: string[];
  /** Full names of the Volumes. @default {["main.raw.landing"]} */
  volumes?: string[];
  /** Directory that keeps the files of the Volumes. @default {a temporary one, removed by `close()`} */
  volumesDir?: string;
  /** Limit of the size of a file in a Volume, in bytes. @default {5 GiB, as in a real workspace} */
  fileLimit?: number;
  /**
   * Makes the host behave like a unified host, which serves several workspaces: each request must name this id in
   * `X-Databricks-Workspace-Id` or `X-Databricks-Org-Id`. @default {none: the host serves one workspace}
   */
  workspaceId?: string;
  /** Milliseconds within which a Postgres connection must log in. @default {15_000} */
  handshakeTimeout?: number;
  /**
   * Milliseconds that a session waits for another session's transaction: PGlite runs one transaction at a time.
   * @default {30_000}
   */
  lockTimeout?: number;
  /** Closes the local Lakebase when it aborts. */
  signal?: AbortSignal;
}

/**
 * The names of {@linkcode LocalOptions}; any other name is a typo. The names and the types are in this file because
 * settings are read without loading the local Lakebase.
 */
export const LOCAL_OPTION_NAMES: readonly string[] = Object.keys(
  {
    database: true,
    dataDir: true,
    user: true,
    workspacePort: true,
    postgresPort: true,
    projects: true,
    instances: true,
    warehouses: true,
    catalogs: true,
    passwords: true,
    servicePrincipals: true,
    groups: true,
    volumes: true,
    volumesDir: true,
    fileLimit: true,
    workspaceId: true,
    handshakeTimeout: true,
    lockTimeout: true,
    signal: true,
  } satisfies Record<keyof LocalOptions, true>,
);

/** A project of the workspace. */
export interface LocalProject {
  /** The id in `projects/{id}`. */
  id: string;
  /** The display name. @default {the id} */
  displayName?: string;
  /** The branches. @default {[{ id: "production", endpoints: [{ id: "primary" }] }]} */
  branches?: LocalBranch[];
}

/** A Lakebase Provisioned instance. */
export interface LocalInstance {
  /** The name. */
  name: string;
  /** The instance's state. @default {"AVAILABLE"} */
  state?: "AVAILABLE" | "STARTING" | "STOPPED" | "UPDATING" | "FAILING_OVER" | "UPGRADING" | "DELETING";
}

/** A branch of a project. */
export interface LocalBranch {
  /** The id in `branches/{id}`. */
  id: string;
  /** Whether this is the project's default branch. @default {true for the project's first branch} */
  default?: boolean;
  /** The state of the branch. @default {"READY"} */
  state?: "INIT" | "READY" | "RESETTING" | "IMPORTING" | "ARCHIVED" | "DELETED";
  /** The compute endpoints. @default {[{ id: "primary" }]} */
  endpoints?: LocalEndpoint[];
}

/** A compute endpoint of a branch. */
export interface LocalEndpoint {
  /** The id in `endpoints/{id}`. */
  id: string;
  /** Whether sessions may write. @default {"READ_WRITE"} */
  type?: "READ_WRITE" | "READ_ONLY";
  /** The compute's state. @default {"ACTIVE"} */
  state?: "ACTIVE" | "IDLE" | "INIT" | "DEGRADED";
  /** Whether every login is refused with SQLSTATE 28000. @default {false} */
  disabled?: boolean;
  /** `status.hosts.host`; logins with this name in SNI go to this endpoint. @default {"localhost"} */
  host?: string;
  /** `status.hosts.read_only_host`; logins with this name in SNI are read only. @default {none} */
  readOnlyHost?: string;
  /** Whether `status.hosts` is missing, as during an endpoint's creation. @default {false} */
  withoutHosts?: boolean;
}

/** A SQL warehouse of the workspace. Its statements run on the local database. */
export interface LocalWarehouse {
  /** The name. */
  name: string;
  /** The id. @default {16 hexadecimal digits that depend on the name} */
  id?: string;
  /** The state at first. @default {"RUNNING"} */
  state?: "RUNNING" | "STARTING" | "STOPPED" | "STOPPING" | "DELETING" | "DELETED";
  /** Milliseconds that a start takes. @default {0} */
  startTime?: number;
  /** Rows of a chunk of a result. @default {as many as fit into 16 MiB} */
  chunkRows?: number;
}

/** A service principal that may log in with OAuth client credentials. */
export interface ServicePrincipal {
  /** The application id, which is also the Postgres role. */
  clientId: string;
  /** The secret of the client id. */
  clientSecret: string;
}
