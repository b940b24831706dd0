import { BranchApi, branchId, branchIn, branchOf, type BranchState } from "../auth/branch.ts";
import { closest } from "../core/closest.ts";
import { inTypeScript, LakebaseError, optionText, quotedOption } from "../core/errors.ts";
import { sizeText, utcText } from "../core/text.ts";
import { elapsedText, type TableOptions } from "../draw/table.ts";
import { fieldsFor, type ListingParts } from "../sql/result.ts";
import { checkCall, ON_OR_OFF, type QueryOptions } from "../sql/options.ts";
import { stoppable } from "../sql/stop.ts";
import type { LakebaseParts } from "./open_connection.ts";

/** How `Lakebase.dropBranch` deletes a branch. */
export interface DropBranchOptions extends Pick<QueryOptions, "signal" | "timeout"> {
  /** Whether the branch is deleted for good. Otherwise it can be restored in the workspace for some days. @default {false} */
  purge?: boolean;
}

/** One row of `branches()`. */
export interface BranchInfo {
  /** The branch's id. */
  name: string;
  /** Its state, such as `READY` or `ARCHIVED`. */
  state: string;
  /** The id of the branch that it was copied from; `null` for a root branch. */
  parent: string | null;
  /** When it was created; `null` if that is not known. */
  created: Date | null;
  /** When it expires; `null` for never. */
  expires: Date | null;
  /** The size of its data in bytes; `null` if it is not known. */
  size: number | null;
  /** Whether it is the project's default branch. */
  default: boolean;
  /** Whether it can't be deleted. */
  protected: boolean;
  /** Whether it is the connected branch. */
  connected: boolean;
}

/** Makes a check that a value is a string that matches a pattern. */
export const matches = (pattern: RegExp) => (value: unknown): boolean =>
  typeof value === "string" && pattern.test(value);

/** The check of the name of a branch. */
export const BRANCH_REFERENCE = [
  matches(/^(projects\/\w[\w.-]*\/branches\/)?\w[\w.-]*$/), // not "..", which would change the path of the request
  "a branch's id, or projects/p/branches/b",
] as const;

/** The call or the command that lists the branches, for an error. */
export const BRANCHES: string = inTypeScript("db.branches()", "lakebase branch list");

/** The project of a connection, and the branch that it is connected to. */
export interface ConnectedProject {
  /** The workspace's calls for branches. */
  api: BranchApi;
  /** The project's full name, such as `projects/p`. */
  project: string;
  /** The full name of the connected branch. */
  connected: string;
}

/**
 * Finds the project and the branch that a connection is connected to.
 *
 * @param action What the caller wants to do, for the error.
 * @throws {LakebaseError} `BAD_SETTING` for an instance of Lakebase Provisioned, and for a connection without a workspace.
 */
export function connectedProject({ endpoint, workspace, read }: LakebaseParts, action: string): ConnectedProject {
  if (endpoint !== undefined && "instance" in endpoint.target) {
    throw new LakebaseError(
      "BAD_SETTING",
      `Cannot ${action}: ${endpoint.name} is an instance of Lakebase Provisioned, which has no branches; connect to a ` +
        `project with ${quotedOption("endpoint")}`,
    );
  }
  const connected = branchOf(endpoint?.name ?? read?.settings.endpoint);
  if (connected !== undefined && workspace !== undefined && read !== undefined) {
    return { api: new BranchApi(workspace()), project: connected.split("/branches/")[0]!, connected };
  }
  throw new LakebaseError(
    "BAD_SETTING",
    `Cannot ${action}: this connection has a native password and no workspace; connect with the workspace's login ` +
      `(DATABRICKS_HOST and DATABRICKS_TOKEN, or ${quotedOption("profile")}), and leave out ${quotedOption("host")} ` +
      "(PGHOST), so that the workspace is asked for the endpoint",
  );
}

const FIELDS = fieldsFor({
  name: "text",
  state: "text",
  parent: "text",
  created: "timestamptz",
  expires: "timestamptz",
  size: "int8",
});

/** Lists the branches of a connection's project; see `Lakebase.branches`. */
export async function listBranches(
  parts: LakebaseParts,
  options: Pick<QueryOptions, "signal" | "timeout">,
): Promise<ListingParts<BranchInfo>> {
  const stops = checkCall("list the branches", options, {});
  const { api, project, connected } = connectedProject(parts, "list the branches");
  using stop = stoppable(stops, "the list of branches");
  const started = performance.now();
  const branches = await api.list(project, false, stop.signal);
  const rows = branches.map((branch): BranchInfo => ({
    name: branchId(branch.name),
    state: branch.state,
    parent: branch.parent === undefined ? null : branchId(branch.parent),
    created: branch.created ?? null,
    expires: branch.expires ?? null,
    size: branch.size ?? null,
    default: branch.isDefault,
    protected: branch.isProtected,
    connected: branch.name === connected,
  }));
  const elapsed = performance.now() - started;
  return { rows, fields: FIELDS, elapsed, facts: {}, draw: (rows) => drawBranches(rows, project, elapsed) };
}

function drawBranches(rows: readonly BranchInfo[], project: string, elapsed: number): TableOptions {
  return {
    columns: FIELDS,
    rows: rows.map(({ name, state, parent, created, expires, size, ...marks }) => [
      name,
      [state, ...(["default", "protected", "connected"] as const).filter((mark) => marks[mark])].join(", "),
      parent ?? "",
      created === null ? "" : utcText(created),
      expires === null ? "never" : utcText(expires),
      size === null ? "" : sizeText(size),
    ]),
    footer: `${rows.length} ${rows.length === 1 ? "branch" : "branches"} of ${project}, ${elapsedText(elapsed)}`,
  };
}

/**
 * Deletes a branch of a connection's project; see `Lakebase.dropBranch`.
 *
 * @param inUse The full names of the branches that this program is connected to.
 */
export async function dropBranch(
  parts: LakebaseParts,
  name: string,
  options: DropBranchOptions,
  inUse: readonly (string | undefined)[],
): Promise<void> {
  const action = "drop the branch";
  const { purge = false, ...stops } = checkCall(action, options, { purge: ON_OR_OFF }) as DropBranchOptions;
  if (!BRANCH_REFERENCE[0](name)) {
    const shown = Deno.inspect(name, { depth: 1, strAbbreviateSize: 40 });
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot ${action}: the name is ${shown}; it must be ${BRANCH_REFERENCE[1]}`,
    );
  }
  const { api, project } = connectedProject(parts, action);
  const fullName = branchIn(project, name);
  using stop = stoppable(stops, "the deletion");
  const all = await api.list(fullName.split("/branches/")[0]!, true, stop.signal);
  checkDroppable(fullName, all, purge, inUse);
  const operation = await api.delete(fullName, purge, stop.signal);
  if (operation !== undefined) await api.finish(operation, `${action} "${branchId(fullName)}"`, stop.signal);
  stop.succeeded();
}

function checkDroppable(
  fullName: string,
  all: readonly BranchState[],
  purge: boolean,
  inUse: readonly (string | undefined)[],
): void {
  const id = branchId(fullName);
  const refused = (state: string, code: "ENDPOINT_NOT_FOUND" | "BAD_PARAMETER" = "BAD_PARAMETER") =>
    new LakebaseError(code, `Cannot drop the branch "${id}": ${state}`);
  const existing = all.filter(({ deleted }) => deleted === undefined);
  const branch = all.find(({ name }) => name === fullName);
  if (branch === undefined) {
    const nearest = closest(id, existing.map(({ name }) => branchId(name)));
    throw refused(
      `no branch has that name${nearest === undefined ? `; see ${BRANCHES}` : `; did you mean "${nearest}"?`}`,
      "ENDPOINT_NOT_FOUND",
    );
  }
  if (branch.deleted !== undefined && !purge) {
    throw refused(`it is deleted already; ${optionText({ purge: true })} removes it for good`, "ENDPOINT_NOT_FOUND");
  }
  if (branch.isDefault) throw refused("it is the project's default branch, which can't be dropped");
  if (branch.isProtected) throw refused("it is protected; remove the protection in the workspace first");
  const children = existing.filter(({ parent }) => parent === fullName).map(({ name }) => branchId(name));
  if (children.length > 0) throw refused(`${children.slice(0, 10).join(", ")} were made from it; drop them first`);
  if (inUse.includes(fullName)) {
    const remedy = inTypeScript(
      "this program is connected to it; close() that connection first",
      "this command connects to it; leave out --branch (LAKEBASE_BRANCH) and LAKEBASE_ENDPOINT, or name another branch there",
    );
    throw refused(remedy);
  }
}
