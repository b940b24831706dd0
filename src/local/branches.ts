import { ApiError, type BranchSpec, checkBranchId, notFound, readBranchSpec, readBranchUpdate } from "./api_json.ts";
import type { Database } from "./database.ts";
import { delay, type Faults } from "./faults.ts";
import { type Branch, DELETED_RETENTION, type Project, type Workspace } from "./workspace.ts";

/** The parts of the local Lakebase that branches need. */
interface BranchesOptions {
  workspace: Workspace;
  /** The data of the branches that existed at the start. */
  database: Database;
  faults: Faults;
  now(): Date;
  /** Makes the server certificate valid for these hosts. */
  certify(hosts: string[]): void;
  endSessions(branch: Branch): void;
}

/** A call of the API of branches. */
interface BranchCall {
  method: string;
  /** The resource, such as `projects/p/branches/b`. */
  name: string;
  query: URLSearchParams;
  /** Reads the body as JSON. */
  body(): Promise<unknown>;
}

/** A long-running operation in the form of the API. */
interface Operation {
  name: string;
  metadata: Record<string, unknown>;
  done: boolean;
  response?: Record<string, unknown>;
  error?: { error_code: string; message: string };
}

/** Limit of a project's branches that are not archived, as in a real project. */
const MAX_BRANCHES = 10;
/** The longest delay that a timer accepts, in milliseconds. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** Creates, changes and deletes branches. Each change is an operation that the client polls. */
export class Branches {
  readonly #options: BranchesOptions;
  readonly #operations = new Map<string, Operation>();
  /** The work for which `close()` waits. */
  readonly #running = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #unreferenced = false;

  constructor(options: BranchesOptions) {
    this.#options = options;
  }

  /** Lets the process end while the databases of branches run. */
  unref(): void {
    this.#unreferenced = true;
    if (this.#timer !== undefined) Deno.unrefTimer(this.#timer);
    for (const { database } of this.#options.workspace.branches) database?.unref();
  }

  /** Ends the operations, and drops the data of the branches that clients have created. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#closing.abort();
    await Promise.all(this.#running);
    await Promise.all(this.#options.workspace.branches.map(({ database }) => database?.close()));
  }

  /** The databases of all branches. */
  get databases(): Database[] {
    const { workspace, database } = this.#options;
    return [database, ...workspace.branches.flatMap((branch) => branch.database ?? [])];
  }

  /** The database of a branch; for `undefined`, that of the branches that existed at the start. */
  databaseOf(branch: Branch | undefined): Database {
    return branch?.database ?? this.#options.database;
  }

  /** Answers a call that changes a branch or reads an operation; `undefined` for other calls. */
  answer(call: BranchCall): Promise<unknown> | undefined {
    const { method, name } = call;
    const [, project, id, verb] = /^(projects\/[^/]+)\/branches(?:\/([^/]+)(?:\/(undelete))?)?$/.exec(name) ?? [];
    if (method === "GET") return /\/operations\/[^/]+$/.test(name) ? this.#readOperation(name) : undefined;
    if (project === undefined) return undefined;
    if (method === "POST" && id === undefined) return this.#create(this.#project(project), call);
    if (method === "POST" && verb === "undelete") return this.#undelete(this.#branch(`${project}/branches/${id}`));
    if (verb !== undefined || id === undefined) return undefined;
    if (method === "PATCH") return this.#update(this.#branch(name), call);
    if (method === "DELETE") return this.#delete(name, call.query);
  }

  /** Purges the branches whose time has come. */
  expire(): void {
    const now = this.#now();
    for (const branch of this.#options.workspace.branches) {
      if (purgeTime(branch) <= now) this.#purge(branch);
    }
    this.#schedule();
  }

  /** Archives a branch, which the next login restores. */
  archive(name: string, restoreAfter: number): void {
    const branch = this.#find(name);
    if (branch === undefined) throw new Error(`Cannot archive ${name}: there is no such branch`);
    branch.archive(restoreAfter, this.#now());
    this.#options.endSessions(branch);
  }

  /** Measures the data of branches. A size that can't be measured now stays as it was. */
  async measure(branches: readonly Branch[]): Promise<void> {
    await Promise.all(branches.map(async (branch) => {
      if (branch.state === "READY" && !branch.deleted) {
        branch.size = await this.databaseOf(branch).size() ?? branch.size;
      }
    }));
  }

  // deno-lint-ignore require-await -- so that all answers are promises
  async #readOperation(name: string): Promise<unknown> {
    const operation = this.#operations.get(name);
    if (operation === undefined) throw notFound("operation id not found");
    return operation;
  }

  async #create(project: Project, { query, body }: BranchCall): Promise<unknown> {
    const id = checkBranchId(query.get("branch_id"));
    const spec = readBranchSpec(await body(), this.#now());
    const existing = project.children.branches.find((branch) => branch.id === id);
    if (existing !== undefined && query.get("replace_existing") !== "true") throw alreadyExists(existing);
    if (existing !== undefined) return this.#change(existing, spec);
    const source = findSource(project, spec);
    checkLimit(project, this.#options.faults.maxBranches ?? MAX_BRANCHES);
    const branch = this.#options.workspace.addBranch(project, id, { branch: source, time: this.#now() });
    branch.isProtected = spec.isProtected ?? false;
    branch.expiresAt = spec.expiresAt;
    this.#schedule();
    return this.#startOperation(branch, () => this.#copyData(branch, source));
  }

  /** Gives a new branch a copy of the source's data, and an endpoint. */
  async #copyData(branch: Branch, source: Branch): Promise<void> {
    const { takes = 0, error, refuseLogins = 0 } = this.#options.faults.branch ?? {};
    if (takes > 0) await delay(takes, this.#closing.signal);
    if (error !== undefined) {
      const { errorCode = "INTERNAL_ERROR", message = "The branch could not be created" } = error;
      throw new ApiError(500, errorCode, message);
    }
    if (branch.deleted || this.#closing.signal.aborted) throw DELETED_IN_CREATION;
    const database = await this.databaseOf(source).copy();
    if (branch.deleted || this.#closing.signal.aborted) {
      await database.close();
      throw DELETED_IN_CREATION;
    }
    if (this.#unreferenced) database.unref();
    branch.database = database;
    branch.addPrimary();
    branch.refusesUntil = performance.now() + refuseLogins;
    branch.setState("READY", this.#now());
    this.#options.certify(this.#options.workspace.endpoints.flatMap(({ hosts }) => hosts));
  }

  async #update(branch: Branch, { query, body }: BranchCall): Promise<unknown> {
    if (branch.deleted) throw notFound("branch id not found");
    const spec = readBranchUpdate(await body(), query.get("update_mask"), this.#now());
    if (branch.default && spec.expiresAt !== undefined) {
      throw new ApiError(400, "BAD_REQUEST", `Branch '${branch.name}' is the default branch, which can't expire`);
    }
    return this.#change(branch, spec);
  }

  #change(branch: Branch, spec: BranchSpec): Operation {
    // deno-lint-ignore require-await -- an operation's work is asynchronous
    return this.#startOperation(branch, async () => {
      if (spec.isProtected !== undefined) branch.isProtected = spec.isProtected;
      if ("expiresAt" in spec) branch.expiresAt = spec.expiresAt;
      this.#schedule();
    });
  }

  // deno-lint-ignore require-await -- so that a refusal is a rejection
  async #delete(name: string, query: URLSearchParams): Promise<unknown> {
    const allowMissing = query.get("allow_missing") === "true";
    if (allowMissing && this.#find(name) === undefined) return this.#endedOperation(name, {});
    const branch = this.#branch(name);
    const purge = query.get("purge") === "true";
    if (branch.deleted && !purge) throw notFound("branch id not found");
    const obstacle = this.#obstacleToDelete(branch);
    if (obstacle !== undefined) {
      throw new ApiError(400, "BAD_REQUEST", `Cannot delete branch '${branch.name}'. ${obstacle}`);
    }
    branch.deletedAt ??= this.#now();
    branch.setState("DELETED", this.#now());
    this.#options.endSessions(branch);
    if (purge) this.#purge(branch);
    this.#schedule();
    return this.#endedOperation(name, {});
  }

  /** Why a branch can't be deleted; `undefined` if it can. */
  #obstacleToDelete(branch: Branch): string | undefined {
    if (branch.default || branch.source === undefined) return "Root branches cannot be deleted independently.";
    if (branch.isProtected) return "The branch is protected.";
    const children = this.#options.workspace.branches.filter(({ source, deleted }) =>
      source?.branch === branch && !deleted
    );
    return children.length === 0 ? undefined : `It has child branches: ${children.map(({ id }) => id).join(", ")}.`;
  }

  // deno-lint-ignore require-await -- so that a refusal is a rejection
  async #undelete(branch: Branch): Promise<unknown> {
    if (!branch.deleted) throw new ApiError(400, "BAD_REQUEST", `Branch '${branch.name}' is not deleted`);
    branch.deletedAt = undefined;
    branch.setState(branch.database === undefined ? "INIT" : "READY", this.#now());
    return this.#endedOperation(branch.name, branch.json);
  }

  /** Removes a branch with its data, and ends its sessions. */
  #purge(branch: Branch): void {
    branch.deletedAt ??= this.#now();
    this.#options.endSessions(branch);
    this.#options.workspace.removeBranch(branch);
    if (branch.database !== undefined) this.#track(branch.database.close());
  }

  /** Starts an operation, which ends with the branch or with the error of `work`. */
  #startOperation(branch: Branch, work: () => Promise<void>): Operation {
    const operation = this.#newOperation(branch.name);
    this.#track(
      work().then(
        () => Object.assign(operation, { done: true, response: { "@type": BRANCH_TYPE, ...branch.json } }),
        (error) => {
          const { errorCode = "INTERNAL_ERROR" } = error as Partial<ApiError>;
          Object.assign(operation, { done: true, error: { error_code: errorCode, message: (error as Error).message } });
        },
      ),
    );
    return { ...operation };
  }

  /** An operation that has succeeded at once. */
  #endedOperation(branch: string, response: Record<string, unknown>): Operation {
    return Object.assign(this.#newOperation(branch), { done: true, response: { "@type": BRANCH_TYPE, ...response } });
  }

  #newOperation(branch: string): Operation {
    const name = `${branch}/operations/${crypto.randomUUID()}`;
    const operation = { name, metadata: { "@type": METADATA_TYPE }, done: false };
    this.#operations.set(name, operation);
    const [oldest] = this.#operations.keys();
    if (this.#operations.size > MAX_OPERATIONS) this.#operations.delete(oldest!);
    return operation;
  }

  /** Lets `close()` wait for the end of some work, whose error is reported elsewhere. */
  #track(work: Promise<unknown>): void {
    const running: Promise<void> = work.then(() => {}, () => {}).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Sets the timer for the next purge. */
  #schedule(): void {
    clearTimeout(this.#timer);
    const next = Math.min(...this.#options.workspace.branches.map(purgeTime)) - this.#now();
    if (next === Infinity || this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => this.expire(), Math.max(0, Math.min(next, MAX_TIMEOUT)));
    if (this.#unreferenced) Deno.unrefTimer(this.#timer);
  }

  #project(name: string): Project {
    const project = this.#options.workspace.projects.find((project) => project.name === name);
    if (project === undefined) throw notFound("project id not found");
    return project;
  }

  #branch(name: string): Branch {
    this.#project(name.split("/").slice(0, 2).join("/"));
    const branch = this.#find(name);
    if (branch === undefined) throw notFound("branch id not found");
    return branch;
  }

  #find(name: string): Branch | undefined {
    return this.#options.workspace.branches.find((branch) => branch.name === name);
  }

  #now(): number {
    return this.#options.now().getTime();
  }
}

/** Finds the branch to copy. */
function findSource(project: Project, { sourceBranch, sourceTime, sourceLsn }: BranchSpec): Branch {
  const { branches } = project.children;
  const source = sourceBranch === undefined
    ? branches.find((branch) => branch.default)
    : branches.find(({ name }) => name === sourceBranch);
  if (source === undefined || source.deleted) throw notFound("source branch id not found");
  if (source.state !== "READY") {
    throw new ApiError(400, "BAD_REQUEST", `Branch '${source.name}' is ${source.state}, so it can't be copied`);
  }
  if (sourceTime !== undefined || sourceLsn !== undefined) {
    throw new ApiError(
      400,
      "BAD_REQUEST",
      "The local Lakebase can't make a branch of the past: it keeps no history of its data",
    );
  }
  return source;
}

function checkLimit({ children: { branches } }: Project, limit: number): void {
  const active = branches.filter(({ state, deleted }) => state !== "ARCHIVED" && !deleted);
  if (active.length < limit) return;
  throw new ApiError(
    400,
    "RESOURCE_LIMIT_EXCEEDED",
    `The project has reached its limit of ${limit} branches that are not archived. Delete a branch first`,
  );
}

/** The time at which a branch is purged, in milliseconds since the epoch. A protected branch does not expire. */
function purgeTime({ expiresAt = Infinity, deletedAt, isProtected }: Branch): number {
  if (deletedAt !== undefined) return deletedAt + DELETED_RETENTION;
  return isProtected ? Infinity : expiresAt;
}

const BRANCH_TYPE = "type.googleapis.com/databricks.postgres.v1.Branch";
const METADATA_TYPE = "type.googleapis.com/databricks.postgres.v1.BranchOperationMetadata";
const MAX_OPERATIONS = 10_000;
const DELETED_IN_CREATION = new ApiError(404, "NOT_FOUND", "The branch was deleted while it was created");

function alreadyExists({ name, deletedAt }: Branch): ApiError {
  const state = deletedAt === undefined
    ? "already exists"
    : "is deleted, and its name is in use until it is purged; delete it with purge=true, or undelete it";
  return new ApiError(409, "ALREADY_EXISTS", `Branch '${name}' ${state}`);
}
