import { createHash } from "node:crypto";

/** A name that the API knows, with the JSON that describes it and its children by kind. */
export interface Resource {
  name: string;
  json: Record<string, unknown>;
  children: Record<string, Resource[]>;
}

/** Everything that a workspace holds, found by name. */
export class Workspace {
  readonly projects: Resource[];
  readonly instances: LocalInstance[];
  readonly endpoints: Endpoint[] = [];
  readonly #owner: string;
  readonly #created: string = timestamp(new Date());
  readonly #roles: string[];

  constructor(projects: LocalProject[], instances: LocalInstance[], owner: string, roles: string[] = [owner]) {
    this.#owner = owner;
    this.#roles = roles;
    this.instances = instances;
    this.projects = projects.map((project) => this.#project(project));
  }

  /** Walks `projects/p/branches/b/...`; the kind of whatever is missing first, where something is. */
  find(name: string): Resource | { missing: string } | undefined {
    const parts = name.split("/");
    if (parts.length % 2 || parts.some((part) => !part)) return undefined;
    let level: Record<string, Resource[]> = { projects: this.projects };
    let found: Resource | undefined;
    for (let i = 0; i < parts.length; i += 2) {
      const [kind = "", path] = [parts[i], parts.slice(0, i + 2).join("/")];
      const list = Object.hasOwn(level, kind) ? level[kind] : undefined;
      if (!list) return undefined;
      found = list.find((resource) => resource.name === path);
      if (!found) return { missing: SINGULAR[kind] ?? kind };
      level = found.children;
    }
    return found;
  }

  /** Sets every endpoint IDLE, or those that are IDLE back to ACTIVE. */
  suspend(suspended: boolean): void {
    for (const endpoint of this.endpoints) {
      if (suspended) endpoint.state = "IDLE";
      else if (endpoint.state === "IDLE") endpoint.state = "ACTIVE";
    }
  }

  /** JSON of an instance. */
  instance(instance: LocalInstance): Record<string, unknown> {
    const { name, state = "AVAILABLE" } = instance;
    return {
      name,
      uid: uid("", name),
      state,
      read_write_dns: "localhost",
      pg_version: "PG_VERSION_16",
      capacity: "CU_1",
      effective_capacity: "CU_1",
      stopped: state === "STOPPED",
      effective_stopped: state === "STOPPED",
      creator: this.#owner,
      creation_time: this.#created,
      node_count: 1,
    };
  }

  #project({ id, displayName = id, branches = [{ id: "production" }] }: LocalProject): Resource {
    const name = `projects/${id}`;
    const standard = branches.find((branch) => branch.default) ?? branches[0];
    return {
      name,
      children: { branches: branches.map((branch) => this.#branch(name, branch, branch === standard)) },
      json: {
        ...this.#common(name, "", { project_id: id }),
        status: {
          project_id: id,
          display_name: displayName,
          owner: this.#owner,
          pg_version: 17,
          ...(standard ? { default_branch: `${name}/branches/${standard.id}` } : {}),
          enable_pg_native_login: true,
          history_retention_duration: "604800s",
        },
      },
    };
  }

  #branch(parent: string, branch: LocalBranch, standard: boolean): Resource {
    const { id, state = "READY", endpoints = [{ id: "primary" }] } = branch;
    const name = `${parent}/branches/${id}`;
    return {
      name,
      children: {
        endpoints: endpoints.map((endpoint) => this.#endpoint(name, endpoint)),
        databases: [this.#database(name)],
        roles: this.#roles.map((role) => this.#role(name, role)),
      },
      json: {
        ...this.#common(name, "br-", { parent, branch_id: id }),
        status: { branch_id: id, current_state: state, default: standard, is_protected: false },
      },
    };
  }

  #endpoint(parent: string, settings: LocalEndpoint): Resource {
    const name = `${parent}/endpoints/${settings.id}`;
    const common = this.#common(name, "ep-", { parent, endpoint_id: settings.id });
    const endpoint = new Endpoint(name, settings);
    this.endpoints.push(endpoint);
    // A getter, because suspending changes the state while the workspace is being served.
    const json = {
      ...common,
      get status(): Record<string, unknown> {
        return endpoint.status;
      },
    };
    return { name, json, children: {} };
  }

  #database(parent: string): Resource {
    const id = "databricks-postgres";
    const name = `${parent}/databases/${id}`;
    const role = `${parent}/roles/${roleId(this.#owner)}`;
    const status = { database_id: id, postgres_database: "databricks_postgres", role };
    return { name, children: {}, json: { ...this.#common(name, "", { parent, database_id: id }), status } };
  }

  #role(parent: string, role: string): Resource {
    const name = `${parent}/roles/${roleId(role)}`;
    const status = {
      postgres_role: role,
      identity_type: role.includes("@") ? "USER" : "SERVICE_PRINCIPAL",
      auth_method: "LAKEBASE_OAUTH_V1",
      membership_roles: ["DATABRICKS_SUPERUSER"],
    };
    return { name, children: {}, json: { ...this.#common(name, "", { parent, role_id: roleId(role) }), status } };
  }

  #common(name: string, prefix: string, more: Record<string, unknown>): Record<string, unknown> {
    return { name, uid: uid(prefix, name), ...more, create_time: this.#created, update_time: this.#created };
  }
}

/** RFC 3339 in UTC, as the API writes a time. */
export function timestamp(at: Date): string {
  return at.toISOString().replace(/\.\d+/, "");
}

const SINGULAR: Record<string, string> = {
  projects: "project",
  branches: "branch",
  endpoints: "endpoint",
  databases: "database",
  roles: "role",
};

function roleId(role: string): string {
  return role.toLowerCase().replace(/[^a-z0-9]+/g, "-");
}

/** Always the same for a name, so that two runs agree. */
function uid(prefix: string, name: string): string {
  const hex = createHash("sha256").update(name).digest("hex");
  if (prefix) return `${prefix}local-${hex.slice(0, 8)}`;
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    "-",
  );
}

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

/** A compute endpoint, as the API tells of it and as the Postgres port obeys it. */
export class Endpoint {
  /** `projects/p/branches/b/endpoints/e`. */
  readonly name: string;
  readonly readOnly: boolean;
  readonly disabled: boolean;
  /** Undefined where it has no hosts yet. */
  readonly host: string | undefined;
  readonly pooledHost: string | undefined;
  readonly readOnlyHost: string | undefined;
  /** Changes while it is served: a suspended one is IDLE. */
  state: NonNullable<LocalEndpoint["state"]>;
  readonly #id: string;

  constructor(name: string, settings: LocalEndpoint) {
    const { id, type = "READ_WRITE", state = "ACTIVE", disabled = false, host = "localhost", readOnlyHost } = settings;
    this.name = name;
    this.readOnly = type === "READ_ONLY";
    this.disabled = disabled;
    this.state = state;
    this.#id = id;
    if (settings.withoutHosts) return;
    this.host = host;
    this.pooledHost = this.readOnly ? undefined : pooled(host);
    this.readOnlyHost = readOnlyHost;
  }

  /** The names that a client may ask for in TLS. */
  get hosts(): string[] {
    return [this.host, this.pooledHost, this.readOnlyHost].filter((host) => host !== undefined);
  }

  /** `status` in the API's answer. */
  get status(): Record<string, unknown> {
    const hosts = {
      host: this.host,
      ...(this.pooledHost ? { read_write_pooled_host: this.pooledHost } : {}),
      ...(this.readOnlyHost ? { read_only_host: this.readOnlyHost } : {}),
    };
    return {
      endpoint_id: this.#id,
      endpoint_type: `ENDPOINT_TYPE_${this.readOnly ? "READ_ONLY" : "READ_WRITE"}`,
      current_state: this.state,
      disabled: this.disabled,
      autoscaling_limit_min_cu: 1,
      autoscaling_limit_max_cu: 1,
      suspend_timeout_duration: "86400s",
      ...(this.host ? { hosts } : {}),
    };
  }
}

/** `ep-x.database...` becomes `ep-x-pooler.database...`; a bare name goes under `.localhost`. */
function pooled(host: string): string {
  const [first, ...rest] = host.split(".");
  return rest.length ? [`${first}-pooler`, ...rest].join(".") : `${first}-pooler.localhost`;
}
