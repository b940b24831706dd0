import { type Database, DEFAULT_DATABASE } from "./database.ts";
import { Endpoint, type LocalEndpoint } from "./endpoint.ts";
import { commonFields, newUid, type Resource, roleId, stableUid, timestamp } from "./resource.ts";

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

/** What a branch belongs to. */
export interface BranchOwner {
  /** `projects/p`. */
  project: string;
  /** The project's owner, a role. */
  owner: string;
  /** The roles of the branch. */
  roles: readonly string[];
}

/** The branch that another one was made from, and when. */
export interface BranchSource {
  branch: Branch;
  /** Milliseconds since the epoch. */
  time: number;
}

/** A branch of a project, for the API and for the Postgres port: its endpoints, its data, and how long it lives. */
export class Branch implements Resource {
  /** `projects/p/branches/b`. */
  readonly name: string;
  readonly id: string;
  readonly project: string;
  readonly created: Date;
  readonly default: boolean;
  /** Undefined for a branch that was there at the start. */
  readonly source: BranchSource | undefined;
  readonly endpoints: Endpoint[];
  readonly children: Resource["children"];
  /** The data; undefined for those of the local Lakebase itself, which all branches from the start share. */
  database: Database | undefined;
  /** Size of the data in bytes, where it has been measured. */
  size: number | undefined;
  isProtected = false;
  /** Milliseconds since the epoch; undefined for never. */
  expiresAt: number | undefined;
  /** Milliseconds since the epoch; undefined unless the branch is deleted. */
  deletedAt: number | undefined;
  /** Until when logins are refused, as `performance.now()` counts. */
  refusesUntil = -Infinity;
  readonly #common: Record<string, unknown>;
  #state: NonNullable<LocalBranch["state"]>;
  #changed: number;
  #restoreAfter = 0;

  /** `made` is for a branch that a client creates: where it comes from. */
  constructor(
    { project, owner, roles }: BranchOwner,
    settings: LocalBranch & { default: boolean },
    made?: BranchSource,
  ) {
    const { id, state = "READY", endpoints = [{ id: "primary" }] } = settings;
    this.name = `${project}/branches/${id}`;
    this.id = id;
    this.project = project;
    this.default = settings.default;
    this.source = made;
    this.created = new Date(made?.time ?? Date.now());
    this.#state = state;
    this.#changed = this.created.getTime();
    const uid = made === undefined ? stableUid("br-", this.name) : newUid("br-");
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

  /** Changes the state at a time in milliseconds since the epoch. */
  setState(state: NonNullable<LocalBranch["state"]>, now: number): void {
    this.#state = state;
    this.#changed = now;
  }

  /** Archives it; logins are refused for some milliseconds from the one that restores it. */
  archive(restoreAfter: number, now: number): void {
    this.#restoreAfter = restoreAfter;
    this.setState("ARCHIVED", now);
  }

  /** Restores it for a login, if it is archived. */
  restore(now: number): void {
    if (this.#state !== "ARCHIVED") return;
    this.refusesUntil = performance.now() + this.#restoreAfter;
    this.setState("READY", now);
  }

  /** Adds the endpoint of a branch that a client has created, with a host of its own. */
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
      state_change_time: timestamp(this.#changed),
      ...(source ? { source_branch: source.branch.name, source_branch_time: timestamp(source.time) } : {}),
      ...(size === undefined ? {} : { logical_size_bytes: size }),
      ...(expiresAt === undefined ? {} : { expire_time: timestamp(expiresAt) }),
      ...(deletedAt === undefined
        ? {}
        : { delete_time: timestamp(deletedAt), purge_time: timestamp(deletedAt + DELETED_KEPT) }),
    };
  }

  #database(owner: string): Resource {
    const id = "databricks-postgres";
    const name = `${this.name}/databases/${id}`;
    const role = `${this.name}/roles/${roleId(owner)}`;
    const status = { database_id: id, postgres_database: DEFAULT_DATABASE, role };
    const json = { ...this.#fields(name, { database_id: id }), status };
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
    return { name, children: {}, json: { ...this.#fields(name, { role_id: roleId(role) }), status } };
  }

  #fields(name: string, more: Record<string, unknown>): Record<string, unknown> {
    return commonFields(name, stableUid("", name), this.created, { parent: this.name, ...more });
  }
}

/** Milliseconds that a deleted branch can be restored in. */
export const DELETED_KEPT = 7 * 86_400_000;
