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
  /** Whether the branch is gone at once. Otherwise it can be restored in the workspace for some days. @default {false} */
  purge?: boolean;
}

/** One row of `branches()`. */
export interface BranchInfo {
  /** The branch's id. */
  name: string;
  /** Its state, such as `READY` or `ARCHIVED`. */
  state: string;
  /** The id of the branch that it was made from; `null` for a root branch. */
  parent: string | null;
  /** When it was made. */
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

/** The branches of a connection's project, and the branch that it is connected to. */
export interface BranchPlace {
  api: BranchApi;
  /** The project's full name, such as `projects/p`. */
  project: string;
  /** The full name of the connected branch. */
  connected: string;
}

/**
 * Finds the branch that a connection is to.
 *
 * @param doing What the caller does with the branch, for the error.
 * @throws {LakebaseError} `BAD_SETTING` for an instance of Lakebase Provisioned, and for a connection without a workspace.
 */
export function branchPlace({ endpoint, workspace, read }: LakebaseParts, doing: string): BranchPlace {
  if (endpoint !== undefined && "instance" in endpoint.target) {
    throw new LakebaseError(
      "BAD_SETTING",
      `Cannot ${doing}: ${endpoint.name} is an instance of Lakebase Provisioned, which has no branches; connect to a ` +
        `project with ${quotedOption("endpoint")}`,
    );
  }
  const connected = branchOf(endpoint?.name ?? read?.settings.endpoint);
  if (connected !== undefined && workspace !== undefined && read !== undefined) {
    return { api: new BranchApi(workspace()), project: connected.split("/branches/")[0]!, connected };
  }
  throw new LakebaseError(
    "BAD_SETTING",
    `Cannot ${doing}: this connection has a native password and knows no workspace; connect with the workspace's login ` +
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
  given: Pick<QueryOptions, "signal" | "timeout">,
): Promise<ListingParts<BranchInfo>> {
  const options = checkCall("list the branches", given, {});
  const { api, project, connected } = branchPlace(parts, "list the branches");
  using stop = stoppable(options, "the list of branches");
  const started = performance.now();
  const found = await api.list(project, false, stop.signal);
  const rows = found.map((branch): BranchInfo => ({
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
  given: DropBranchOptions,
  inUse: readonly (string | undefined)[],
): Promise<void> {
  const doing = "drop the branch";
  const { purge = false, ...stops } = checkCall(doing, given, { purge: ON_OR_OFF }) as DropBranchOptions;
  if (!BRANCH_REFERENCE[0](name)) {
    const found = Deno.inspect(name, { depth: 1, strAbbreviateSize: 40 });
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot ${doing}: the name is ${found}; it must be ${BRANCH_REFERENCE[1]}`,
    );
  }
  const { api, project } = branchPlace(parts, doing);
  const full = branchIn(project, name);
  using stop = stoppable(stops, "the deletion");
  const all = await api.list(full.split("/branches/")[0]!, true, stop.signal);
  checkDroppable(full, all, purge, inUse);
  const operation = await api.delete(full, purge, stop.signal);
  if (operation !== undefined) await api.finish(operation, `${doing} "${branchId(full)}"`, stop.signal);
  stop.succeeded();
}

function checkDroppable(
  full: string,
  all: readonly BranchState[],
  purge: boolean,
  inUse: readonly (string | undefined)[],
): void {
  const id = branchId(full);
  const fail = (state: string, code: "ENDPOINT_NOT_FOUND" | "BAD_PARAMETER" = "BAD_PARAMETER") => {
    throw new LakebaseError(code, `Cannot drop the branch "${id}": ${state}`);
  };
  const there = all.filter(({ deleted }) => deleted === undefined);
  const found = all.find(({ name }) => name === full);
  if (found === undefined) {
    const near = closest(id, there.map(({ name }) => branchId(name)));
    fail(
      `no branch has that name${near === undefined ? `; see ${BRANCHES}` : `; did you mean "${near}"?`}`,
      "ENDPOINT_NOT_FOUND",
    );
  }
  if (found!.deleted !== undefined && !purge) {
    fail(`it is deleted already; ${optionText({ purge: true })} removes it for good`, "ENDPOINT_NOT_FOUND");
  }
  if (found!.isDefault) fail("it is the project's default branch, which can't be dropped");
  if (found!.isProtected) fail("it is protected; take the protection away in the workspace first");
  const children = there.filter(({ parent }) => parent === full).map(({ name }) => branchId(name));
  if (children.length > 0) fail(`${children.slice(0, 10).join(", ")} were made from it; drop them first`);
  if (inUse.includes(full)) {
    const todo = inTypeScript(
      "this program is connected to it; close() that connection first",
      "this command connects to it; leave out --branch (LAKEBASE_BRANCH) and LAKEBASE_ENDPOINT, or name another branch there",
    );
    fail(todo);
  }
}
