import type { LocalBranch, LocalInstance, LocalProject } from "../core/local_options.ts";
import { Branch, type BranchOwner, type BranchSource, type Endpoint } from "./branch.ts";
import { commonFields, type Resource, stableUid, timestamp } from "./resource.ts";

/** A project, whose branches come and go. */
export interface Project extends Resource {
  children: { branches: Branch[] };
}

/** The resources of a workspace. */
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

  /** Adds a branch to a project. It is being created, and has no endpoint yet. */
  addBranch(project: Project, id: string, source: BranchSource): Branch {
    const settings: LocalBranch & { default: boolean } = { id, default: false, state: "INIT", endpoints: [] };
    const branch = new Branch(this.#ownerOf(project.name), settings, source);
    project.children.branches.push(branch);
    return branch;
  }

  removeBranch(branch: Branch): void {
    const { branches } = this.projects.find(({ name }) => name === branch.project)!.children;
    branches.splice(branches.indexOf(branch), 1);
  }

  /** Finds `projects/p/branches/b/...`, or the kind of the first part that does not exist. Undefined if a kind is unknown. */
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
    const owner = this.#ownerOf(name);
    return {
      name,
      children: {
        branches: branches.map((branch) => new Branch(owner, { ...branch, default: branch === defaultBranch })),
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

  #ownerOf(project: string): BranchOwner {
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
