/** A project of the workspace. */
export interface LocalProject {
  /** Its id, as in `projects/{id}`. */
  id: string;
  /** The name that people see. @default {its id} */
  displayName?: string;
  /** Its branches. @default {[{ id: "production", endpoints: [{ id: "primary" }] }]} */
  branches?: LocalBranch[];
}

/** A branch of a project. */
export interface LocalBranch {
  /** Its id, as in `branches/{id}`. */
  id: string;
  /** Whether it is the project's default. @default {true for the project's first branch} */
  default?: boolean;
  /** What it is doing. @default {"READY"} */
  state?: "INIT" | "READY" | "RESETTING" | "IMPORTING" | "ARCHIVED" | "DELETED";
  /** Its compute endpoints. @default {[{ id: "primary" }]} */
  endpoints?: LocalEndpoint[];
}

/** A compute endpoint of a branch. */
export interface LocalEndpoint {
  /** Its id, as in `endpoints/{id}`. */
  id: string;
  /** Whether it may write. @default {"READ_WRITE"} */
  type?: "READ_WRITE" | "READ_ONLY";
  /** Whether it is awake. @default {"ACTIVE"} */
  state?: "ACTIVE" | "IDLE" | "INIT" | "DEGRADED";
  /** Refuses every login with SQLSTATE 28000. */
  disabled?: boolean;
  /** What `status.hosts.host` says; logins under this name in SNI are logins to this endpoint. @default {"localhost"} */
  host?: string;
  /** What `status.hosts.read_only_host` says; logins under this name are read only. @default {none} */
  readOnlyHost?: string;
  /** Leaves `status.hosts` out, as while an endpoint is being made. */
  withoutHosts?: boolean;
}

/** A Lakebase Provisioned instance. */
export interface LocalInstance {
  /** Its name. */
  name: string;
  /** What it is doing. @default {"AVAILABLE"} */
  state?: "AVAILABLE" | "STARTING" | "STOPPED" | "UPDATING" | "FAILING_OVER" | "UPGRADING" | "DELETING";
}
