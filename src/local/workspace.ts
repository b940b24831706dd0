import type { LocalBranch, LocalEndpoint, LocalInstance, LocalProject } from "../core/local_options.ts";
import { commonFields, newUid, type Resource, roleId, stableUid, timestamp } from "./api_json.ts";
import { type Database, DEFAULT_DATABASE } from "./database.ts";

/** A project. */
export interface Project extends Resource {
  children: { branches: Branch[] };
}

/** The projects and instances of a workspace. */
export class Workspace {
  readonly projects: Project[];
  readonly instances: LocalInstance[];
  readonly #owner: string;
  readonly #created = new Date();
  readonly #roles: string[];

  constructor(projects: LocalProject[], instances: LocalInstance[], owner: string, roles: string[] = [owner]) {
    this.#owner = owner;
    this.#roles = roles;
    this.instances = instances;
    this.projects = projects.map((project) => this.#project(project));
  }

  get branches(): Branch[] {
    return this.projects.flatMap(({ children }) => children.branches);
  }

  get endpoints(): Endpoint[] {
    return this.branches.flatMap(({ endpoints }) => endpoints);
  }

  /** Adds a branch to a project. It is in creation: it has no data and no endpoint yet. */
  addBranch(project: Project, id: string, source: BranchSource): Branch {
    const settings: LocalBranch & { default: boolean } = { id, default: false, state: "INIT", endpoints: [] };
    const branch = new Branch(this.#branchParent(project.name), settings, source);
    project.children.branches.push(branch);
    return branch;
  }

  removeBranch(branch: Branch): void {
    const { branches } = this.projects.find(({ name }) => name === branch.project)!.children;
    branches.splice(branches.indexOf(branch), 1);
  }

  /**
   * Finds a resource by its full name, `projects/p/branches/b/...`. Returns the kind of the first part that does not exist
   * as `missing`; `undefined` if the name has an unknown kind.
   */
  find(name: string): Resource | { missing: string } | undefined {
    const parts = name.split("/");
    if (parts.length % 2 || parts.some((part) => !part)) return undefined;
    let level: Record<string, Resource[]> = { projects: this.projects };
    let resource: Resource | undefined;
    for (let i = 0; i < parts.length; i += 2) {
      const [kind = "", path] = [parts[i], parts.slice(0, i + 2).join("/")];
      const list = Object.hasOwn(level, kind) ? level[kind] : undefined;
      if (!list) return undefined;
      resource = list.find(({ name }) => name === path);
      if (!resource) return { missing: SINGULAR[kind] ?? kind };
      level = resource.children;
    }
    return resource;
  }

  /** Makes every endpoint IDLE, or the IDLE ones ACTIVE again. */
  suspend(suspended: boolean): void {
    for (const endpoint of this.endpoints) {
      if (suspended) endpoint.state = "IDLE";
      else if (endpoint.state === "IDLE") endpoint.state = "ACTIVE";
    }
  }

  /** The JSON of an instance. */
  instanceJson(instance: LocalInstance): Record<string, unknown> {
    const { name, state = "AVAILABLE" } = instance;
    return {
      name,
      uid: stableUid("", name),
      state,
      read_write_dns: "localhost",
      pg_version: "PG_VERSION_16",
      capacity: "CU_1",
      effective_capacity: "CU_1",
      stopped: state === "STOPPED",
      effective_stopped: state === "STOPPED",
      creator: this.#owner,
      creation_time: timestamp(this.#created),
      node_count: 1,
    };
  }

  #project({ id, displayName = id, branches = [{ id: "production" }] }: LocalProject): Project {
    const name = `projects/${id}`;
    const defaultBranch = branches.find((branch) => branch.default) ?? branches[0];
    const parent = this.#branchParent(name);
    return {
      name,
      children: {
        branches: branches.map((branch) => new Branch(parent, { ...branch, default: branch === defaultBranch })),
      },
      json: {
        ...commonFields(name, stableUid("", name), this.#created, { project_id: id }),
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

  #branchParent(project: string): BranchParent {
    return { project, owner: this.#owner, roles: this.#roles };
  }
}

const SINGULAR: Record<string, string> = {
  projects: "project",
  branches: "branch",
  endpoints: "endpoint",
  databases: "database",
  roles: "role",
};

/** The properties that a branch takes from its project. */
interface BranchParent {
  /** The project's full name, `projects/p`. */
  project: string;
  /** The role of the project's owner. */
  owner: string;
  roles: readonly string[];
}

/** The branch from which another one was created, and the time of its data. */
interface BranchSource {
  branch: Branch;
  /** Milliseconds since the epoch. */
  time: number;
}

/** A branch of a project, for the API and for the Postgres port. */
export class Branch implements Resource {
  /** `projects/p/branches/b`. */
  readonly name: string;
  readonly id: string;
  readonly project: string;
  readonly created: Date;
  readonly default: boolean;
  /** `undefined` for a branch that existed at the start. */
  readonly source: BranchSource | undefined;
  readonly endpoints: Endpoint[];
  readonly children: Resource["children"];
  /** The branch's data; `undefined` for a branch that existed at the start. All of these share one database. */
  database: Database | undefined;
  /** The size of the data in bytes; `undefined` until it is measured. */
  size: number | undefined;
  isProtected = false;
  /** Milliseconds since the epoch; `undefined` for never. */
  expiresAt: number | undefined;
  /** Milliseconds since the epoch; `undefined` unless the branch is deleted. */
  deletedAt: number | undefined;
  /** When the branch accepts logins again, on the clock of `performance.now()`. */
  refusesUntil = -Infinity;
  readonly #common: Record<string, unknown>;
  #state: NonNullable<LocalBranch["state"]>;
  /** When the state last changed, in milliseconds since the epoch. */
  #stateChangedAt: number;
  /** Milliseconds for which logins are refused, beginning with the one that restores the archived branch. */
  #restoreAfter = 0;

  /** Only a branch that a client creates has a `source`. */
  constructor(
    { project, owner, roles }: BranchParent,
    settings: LocalBranch & { default: boolean },
    source?: BranchSource,
  ) {
    const { id, state = "READY", endpoints = [{ id: "primary" }] } = settings;
    this.name = `${project}/branches/${id}`;
    this.id = id;
    this.project = project;
    this.default = settings.default;
    this.source = source;
    this.created = new Date(source?.time ?? Date.now());
    this.#state = state;
    this.#stateChangedAt = this.created.getTime();
    const uid = source === undefined ? stableUid("br-", this.name) : newUid("br-");
    this.#common = commonFields(this.name, uid, this.created, { parent: project, branch_id: id });
    this.endpoints = endpoints.map((endpoint) =>
      new Endpoint(this, stableUid("ep-", `${this.name}/endpoints/${endpoint.id}`), endpoint)
    );
    this.children = {
      endpoints: this.endpoints,
      databases: [this.#database(owner)],
      roles: roles.map((role) => this.#role(role)),
    };
  }

  get state(): NonNullable<LocalBranch["state"]> {
    return this.#state;
  }

  /** Changes the state. `now` is in milliseconds since the epoch, here and below. */
  setState(state: NonNullable<LocalBranch["state"]>, now: number): void {
    this.#state = state;
    this.#stateChangedAt = now;
  }

  /** Archives the branch. From the login that restores it, logins are refused for `restoreAfter` milliseconds. */
  archive(restoreAfter: number, now: number): void {
    this.#restoreAfter = restoreAfter;
    this.setState("ARCHIVED", now);
  }

  /** Restores the branch if it is archived. */
  restore(now: number): void {
    if (this.#state !== "ARCHIVED") return;
    this.refusesUntil = performance.now() + this.#restoreAfter;
    this.setState("READY", now);
  }

  /** Adds the endpoint of a branch that a client has created. It has a host of its own. */
  addPrimary(): void {
    const uid = newUid("ep-");
    this.endpoints.push(new Endpoint(this, uid, { id: "primary", host: `${uid}.localhost` }));
  }

  get deleted(): boolean {
    return this.deletedAt !== undefined;
  }

  get acceptsLogins(): boolean {
    return !this.deleted && performance.now() >= this.refusesUntil;
  }

  get json(): Record<string, unknown> {
    return { ...this.#common, status: this.#status };
  }

  get #status(): Record<string, unknown> {
    const { source, size, expiresAt, deletedAt } = this;
    return {
      branch_id: this.id,
      current_state: this.#state,
      default: this.default,
      is_protected: this.isProtected,
      state_change_time: timestamp(this.#stateChangedAt),
      ...(source ? { source_branch: source.branch.name, source_branch_time: timestamp(source.time) } : {}),
      ...(size === undefined ? {} : { logical_size_bytes: size }),
      ...(expiresAt === undefined ? {} : { expire_time: timestamp(expiresAt) }),
      ...(deletedAt === undefined
        ? {}
        : { delete_time: timestamp(deletedAt), purge_time: timestamp(deletedAt + DELETED_RETENTION) }),
    };
  }

  #database(owner: string): Resource {
    const id = "databricks-postgres";
    const name = `${this.name}/databases/${id}`;
    const role = `${this.name}/roles/${roleId(owner)}`;
    const status = { database_id: id, postgres_database: DEFAULT_DATABASE, role };
    const json = { ...this.#childFields(name, { database_id: id }), status };
    return { name, children: {}, json };
  }

  #role(role: string): Resource {
    const name = `${this.name}/roles/${roleId(role)}`;
    const status = {
      postgres_role: role,
      identity_type: role.includes("@") ? "USER" : "SERVICE_PRINCIPAL",
      auth_method: "LAKEBASE_OAUTH_V1",
      membership_roles: ["DATABRICKS_SUPERUSER"],
    };
    return { name, children: {}, json: { ...this.#childFields(name, { role_id: roleId(role) }), status } };
  }

  #childFields(name: string, fields: Record<string, unknown>): Record<string, unknown> {
    return commonFields(name, stableUid("", name), this.created, { parent: this.name, ...fields });
  }
}

/** Milliseconds for which a deleted branch is kept and can be restored. */
export const DELETED_RETENTION = 7 * 86_400_000;

/** A compute endpoint of a branch, for the API and for the Postgres port. */
export class Endpoint implements Resource {
  /** `projects/p/branches/b/endpoints/e`. */
  readonly name: string;
  readonly branch: Branch;
  readonly children: Resource["children"] = {};
  readonly readOnly: boolean;
  readonly disabled: boolean;
  /** The host; `undefined` if the endpoint has no hosts yet. */
  readonly host: string | undefined;
  readonly pooledHost: string | undefined;
  readonly readOnlyHost: string | undefined;
  /** The compute's state: IDLE while it is suspended. */
  state: NonNullable<LocalEndpoint["state"]>;
  readonly #id: string;
  readonly #common: Record<string, unknown>;

  constructor(branch: Branch, uid: string, settings: LocalEndpoint) {
    const { id, type = "READ_WRITE", state = "ACTIVE", disabled = false, host = "localhost", readOnlyHost } = settings;
    this.branch = branch;
    this.name = `${branch.name}/endpoints/${id}`;
    this.#common = commonFields(this.name, uid, branch.created, { parent: branch.name, endpoint_id: id });
    this.readOnly = type === "READ_ONLY";
    this.disabled = disabled;
    this.state = state;
    this.#id = id;
    if (settings.withoutHosts) return;
    this.host = host;
    this.pooledHost = this.readOnly ? undefined : poolerHost(host);
    this.readOnlyHost = readOnlyHost;
  }

  /** The host names that lead to this endpoint. Clients send them in SNI. */
  get hosts(): string[] {
    return [this.host, this.pooledHost, this.readOnlyHost].filter((host) => host !== undefined);
  }

  /** Whether logins are accepted. An IDLE compute counts, because it wakes for a login. */
  get up(): boolean {
    return !this.disabled && this.state !== "INIT" && this.branch.acceptsLogins;
  }

  get json(): Record<string, unknown> {
    return { ...this.#common, status: this.#status };
  }

  get #status(): Record<string, unknown> {
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
function poolerHost(host: string): string {
  const [first, ...rest] = host.split(".");
  return rest.length ? [`${first}-pooler`, ...rest].join(".") : `${first}-pooler.localhost`;
}
