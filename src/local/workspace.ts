import { createHash } from "node:crypto";
import { Endpoint } from "./endpoint.ts";
import type { LocalBranch, LocalEndpoint, LocalInstance, LocalProject } from "./project.ts";

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
