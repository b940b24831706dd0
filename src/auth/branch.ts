import { backoff, pause } from "../core/pause.ts";
import { LakebaseError } from "../core/errors.ts";
import { jsonText } from "../core/text.ts";
import type { Workspace } from "./workspace.ts";
import type { JsonObject, WorkspaceRequest } from "./workspace_request.ts";

/** A branch, as the workspace describes it. */
export interface BranchState {
  /** `projects/p/branches/b`. */
  name: string;
  /** The unique id. A later branch of the same name has another one. `undefined` where the workspace gives none. */
  uid: string | undefined;
  /** `INIT`, `READY`, `ARCHIVED` and others. */
  state: string;
  /** The full name of the branch that it was created from. */
  parent: string | undefined;
  /** Whether it is the project's default branch. */
  isDefault: boolean;
  /** Whether it can't be deleted. */
  isProtected: boolean;
  /** When it was created. */
  created: Date | undefined;
  /** When it expires. */
  expires: Date | undefined;
  /** When it was deleted. */
  deleted: Date | undefined;
  /** The size of its data in bytes. */
  size: number | undefined;
}

/** The source and settings of a new branch. Times have the workspace's format. */
export interface BranchSpec {
  source_branch: string;
  source_branch_time?: string;
  source_branch_lsn?: string;
  ttl?: string;
  no_expiry?: true;
}

/** The path of the Lakebase API. */
export const LAKEBASE_API = "/api/2.0/postgres";

/** The id in a branch's full name. */
export function branchId(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

/** The full name of the branch that an endpoint, or a branch, belongs to; `undefined` for other names. */
export function branchOf(name: string | undefined): string | undefined {
  return /^projects\/[^/]+\/branches\/[^/]+/.exec(name ?? "")?.[0];
}

/** The full name of a branch of a project, from its id or its full name. */
export function branchIn(project: string, reference: string): string {
  return reference.startsWith("projects/") ? reference : `${project}/branches/${reference}`;
}

/** The branches of one workspace. */
export class BranchApi {
  readonly #workspace: Workspace;

  /** Keeps the workspace; sends no request. */
  constructor(workspace: Workspace) {
    this.#workspace = workspace;
  }

  /** Gets a branch, and the workspace's time in milliseconds since 1970 if it sends one. */
  async get(name: string, signal?: AbortSignal): Promise<BranchState & { serverTime: number | undefined }> {
    const { body, serverTime } = await this.#request({ method: "GET", path: `${LAKEBASE_API}/${name}` }, name, signal);
    return { ...readBranch(body), serverTime };
  }

  /** Lists the branches of a project; with `deleted` also those that can still be restored. */
  async list(project: string, deleted: boolean, signal?: AbortSignal): Promise<BranchState[]> {
    const path = `${LAKEBASE_API}/${project}/branches${deleted ? "?show_deleted=true" : ""}`;
    try {
      return (await this.#workspace.list(path, "branches", signal)).map(readBranch);
    } catch (cause) {
      if (!isMissing(cause)) throw cause;
      const state = "it is not in the workspace, or this login may not see it";
      throw new LakebaseError("ENDPOINT_NOT_FOUND", `Cannot find ${project}: ${state}`, { cause });
    }
  }

  /**
   * Begins to create a branch. It sends the request only once: a second request might find the branch of the first, and
   * then nobody could tell who created it.
   *
   * @returns The operation's name.
   * @throws {LakebaseError} `CONNECTION_LOST` if the answer was lost, because the branch may exist then.
   */
  async create(name: string, spec: BranchSpec): Promise<string> {
    const [project, id] = name.split("/branches/");
    const path = `${LAKEBASE_API}/${project}/branches`;
    const { body } = await this.#request({
      method: "POST",
      path,
      query: { branch_id: id! },
      body: { spec },
      once: true,
    }, name);
    return operationName(body, name, "CONNECTION_LOST");
  }

  /**
   * Begins to delete a branch.
   *
   * @param purge Whether the branch can't be restored afterwards.
   * @returns The operation's name; `undefined` if there is no such branch.
   */
  async delete(name: string, purge: boolean, signal?: AbortSignal): Promise<string | undefined> {
    const path = `${LAKEBASE_API}/${name}${purge ? "?purge=true" : ""}`;
    try {
      const { body } = await this.#request({ method: "DELETE", path }, name, signal);
      return operationName(body, name, "WORKSPACE_UNAVAILABLE");
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /**
   * Waits until an operation is done.
   *
   * @param doing What the operation does, in words that follow `Cannot`.
   * @throws {LakebaseError} `WORKSPACE_REFUSED` if it failed.
   */
  async finish(operation: string, doing: string, signal?: AbortSignal): Promise<void> {
    for (let attempt = 0;; attempt++) {
      const request = { method: "GET", path: `${LAKEBASE_API}/${operation}` } as const;
      const { body } = await this.#workspace.request({ ...request, about: "the operation" }, signal);
      if (body["done"] === true) return checkOutcome(body, doing);
      await pause(backoff(attempt, { first: 100, most: 2000 }), signal);
    }
  }

  #request(request: WorkspaceRequest, name: string, signal?: AbortSignal) {
    return this.#workspace.request({ ...request, about: `branch ${name}` }, signal);
  }
}

/** Whether an error says that something does not exist. */
export function isMissing(error: unknown): boolean {
  return error instanceof LakebaseError && error.code === "ENDPOINT_NOT_FOUND";
}

/**
 * Reads the name of an operation, such as `projects/p/branches/b/operations/o`. It refuses any other form, because the
 * name becomes part of an address.
 *
 * @param code The code of the error for an answer without such a name.
 */
function operationName(
  { name }: JsonObject,
  branch: string,
  code: "CONNECTION_LOST" | "WORKSPACE_UNAVAILABLE",
): string {
  if (typeof name === "string" && /^projects(?:\/[^\s/?#.][^\s/?#]*)+$/.test(name)) return name;
  throw new LakebaseError(code, `Cannot follow ${branch}: the workspace's answer names no operation`);
}

function checkOutcome({ error }: JsonObject, doing: string): void {
  if (typeof error !== "object" || error === null) return;
  const { error_code: code, message } = error as JsonObject;
  const reason = typeof message === "string" ? message.slice(0, 500) : "";
  const cause = Object.assign(new Error(reason), { code: jsonText(code ?? "") });
  throw new LakebaseError(
    "WORKSPACE_REFUSED",
    `Cannot ${doing}: the operation failed (${jsonText(code)}), "${reason}"`,
    {
      cause,
    },
  );
}

function readBranch(item: JsonObject): BranchState {
  const status = (item["status"] ?? {}) as JsonObject;
  const text = (value: unknown) => typeof value === "string" && value !== "" ? value : undefined;
  const size = Number(status["logical_size_bytes"] ?? NaN); // an int64 is text in protobuf's JSON
  return {
    name: jsonText(item["name"]),
    uid: text(item["uid"]),
    state: text(status["current_state"]) ?? "",
    parent: text(status["source_branch"]),
    isDefault: status["default"] === true,
    isProtected: status["is_protected"] === true,
    created: readTime(item["create_time"]),
    expires: readTime(status["expire_time"]),
    deleted: readTime(status["delete_time"]),
    size: Number.isFinite(size) ? size : undefined,
  };
}

function readTime(value: unknown): Date | undefined {
  const time = typeof value === "string" ? Date.parse(value) : NaN;
  return Number.isNaN(time) ? undefined : new Date(time);
}
