import { createHash } from "node:crypto";

/** A named resource of the API, with its JSON and its children by kind. */
export interface Resource {
  name: string;
  json: Record<string, unknown>;
  children: Record<string, Resource[]>;
}

/** The resources of a workspace. */
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

  /** Finds `projects/p/branches/b/...`, or the kind of the first part that does not exist. Undefined for no such kind. */
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

  /** Makes every endpoint IDLE, or the IDLE ones ACTIVE again. */
  suspend(suspended: boolean): void {
    for (const endpoint of this.endpoints) {
      if (suspended) endpoint.state = "IDLE";
      else if (endpoint.state === "IDLE") endpoint.state = "ACTIVE";
    }
  }

  /** The JSON of an instance. */
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
    const defaultBranch = branches.find((branch) => branch.default) ?? branches[0];
    return {
      name,
      children: { branches: branches.map((branch) => this.#branch(name, branch, branch === defaultBranch)) },
      json: {
        ...this.#common(name, "", { project_id: id }),
        status: {
          project_id: id,
          display_name: displayName,
          owner: this.#owner,
          pg_version: 17,
          ...(defaultBranch ? { default_branch: `${name}/branches/${defaultBranch.id}` } : {}),
          enable_pg_native_login: true,
          history_retention_duration: "604800s",
        },
      },
    };
  }

  #branch(parent: string, branch: LocalBranch, defaultBranch: boolean): Resource {
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
        status: { branch_id: id, current_state: state, default: defaultBranch, is_protected: false },
      },
    };
  }

  #endpoint(parent: string, settings: LocalEndpoint): Resource {
    const name = `${parent}/endpoints/${settings.id}`;
    const common = this.#common(name, "ep-", { parent, endpoint_id: settings.id });
    const endpoint = new Endpoint(name, settings);
    this.endpoints.push(endpoint);
    // A getter, because suspending changes the state while the workspace is served.
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

/** A time as the API writes it: RFC 3339 in UTC, without fractions. */
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

/** An id that depends on the name alone, so that it is the same in every run. */
function uid(prefix: string, name: string): string {
  const hex = createHash("sha256").update(name).digest("hex");
  if (prefix) return `${prefix}local-${hex.slice(0, 8)}`;
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    "-",
  );
}

/** A project of the workspace. */
export interface LocalProject {
  /** The id in `projects/{id}`. */
  id: string;
  /** The display name. @default {the id} */
  displayName?: string;
  /** The branches. @default {[{ id: "production", endpoints: [{ id: "primary" }] }]} */
  branches?: LocalBranch[];
}

/** A branch of a project. */
export interface LocalBranch {
  /** The id in `branches/{id}`. */
  id: string;
  /** Whether this is the project's default branch. @default {true for the project's first branch} */
  default?: boolean;
  /** The branch's state. @default {"READY"} */
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

/** A Lakebase Provisioned instance. */
export interface LocalInstance {
  /** The name. */
  name: string;
  /** The instance's state. @default {"AVAILABLE"} */
  state?: "AVAILABLE" | "STARTING" | "STOPPED" | "UPDATING" | "FAILING_OVER" | "UPGRADING" | "DELETING";
}

/** A compute endpoint, for the API and for the Postgres port. */
export class Endpoint {
  /** `projects/p/branches/b/endpoints/e`. */
  readonly name: string;
  readonly readOnly: boolean;
  readonly disabled: boolean;
  /** Undefined if the endpoint has no hosts yet. */
  readonly host: string | undefined;
  readonly pooledHost: string | undefined;
  readonly readOnlyHost: string | undefined;
  /** The compute's state; IDLE while suspended. */
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

  /** The names that a client may send in SNI. */
  get hosts(): string[] {
    return [this.host, this.pooledHost, this.readOnlyHost].filter((host) => host !== undefined);
  }

  /** The `status` in the API's answer. */
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

/** Changes `ep-x.database...` to `ep-x-pooler.database...`, and `name` to `name-pooler.localhost`. */
function pooled(host: string): string {
  const [first, ...rest] = host.split(".");
  return rest.length ? [`${first}-pooler`, ...rest].join(".") : `${first}-pooler.localhost`;
}
