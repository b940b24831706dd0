import type { Workspace } from "../auth/workspace.ts";
import { closest } from "../core/closest.ts";
import { LakebaseError, optionName } from "../core/errors.ts";
import { jsonText } from "../core/text.ts";

/** A SQL warehouse of a workspace. */
export interface WarehouseInfo {
  /** The id, such as `0123456789abcdef`. */
  id: string;
  /** The name. */
  name: string;
  /** `RUNNING`, `STOPPED`, `STARTING`, `STOPPING`, `DELETED` or `DELETING`. */
  state: string;
}

/** The path of warehouses in the API. */
export const WAREHOUSES = "/api/2.0/sql/warehouses";

/**
 * Finds a warehouse.
 *
 * @param workspace The workspace.
 * @param idOrName The warehouse's id or name; `undefined` for the only warehouse.
 * @param signal Ends the search.
 * @throws {LakebaseError} `ENDPOINT_NOT_FOUND` if there is none; `ENDPOINT_AMBIGUOUS` with a list if there are several; or the
 * error of a request to the workspace.
 */
export async function findWarehouse(
  workspace: Workspace,
  idOrName: string | undefined,
  signal?: AbortSignal,
): Promise<WarehouseInfo> {
  const all = (await workspace.list(WAREHOUSES, "warehouses", signal)).map(toInfo);
  return chooseWarehouse(all, idOrName, await workspace.origin());
}

function toInfo({ id, name, state }: Record<string, unknown>): WarehouseInfo {
  return { id: jsonText(id), name: jsonText(name ?? id), state: jsonText(state ?? "UNKNOWN") };
}

/** Chooses a warehouse by its id or name, or the only warehouse. */
export function chooseWarehouse(
  all: readonly WarehouseInfo[],
  idOrName: string | undefined,
  workspace: string,
): WarehouseInfo {
  const existing = all.filter(({ state }) => !isDeleted(state));
  if (idOrName !== undefined) return chooseNamed(all, existing, idOrName, workspace);
  if (existing.length === 1) return existing[0]!;
  if (existing.length > 1) {
    throw new LakebaseError(
      "ENDPOINT_AMBIGUOUS",
      `Cannot choose a SQL warehouse: ${workspace} has ${existing.length}; name one with ${
        optionName("warehouse")
      } or ` +
        `DATABRICKS_WAREHOUSE_ID:\n${listText(existing)}`,
    );
  }
  throw notFound(
    `${workspace} has none that this login may use. Ask for "Can use" on a warehouse, or create one in the workspace`,
  );
}

function chooseNamed(
  all: readonly WarehouseInfo[],
  existing: readonly WarehouseInfo[],
  idOrName: string,
  workspace: string,
): WarehouseInfo {
  const byId = all.find(({ id }) => id === idOrName);
  if (byId !== undefined) return expectExisting(byId);
  const exact = existing.filter(({ name }) => name === idOrName);
  const matches = exact.length > 0
    ? exact
    : existing.filter(({ name }) => name.toLowerCase() === idOrName.toLowerCase());
  if (matches.length === 1) return matches[0]!;
  if (matches.length > 1) {
    throw new LakebaseError(
      "ENDPOINT_AMBIGUOUS",
      `Cannot choose a SQL warehouse: ${workspace} has ${matches.length} warehouses named "${idOrName}"; use an id:\n${
        listText(matches)
      }`,
    );
  }
  const deleted = all.find(({ name }) => name === idOrName);
  if (deleted !== undefined) return expectExisting(deleted);
  const suggestion = closest(idOrName, existing.map(({ name }) => name));
  const hint = suggestion !== undefined
    ? `did you mean "${suggestion}"?`
    : existing.length === 0
    ? "this login may use no warehouse"
    : `there are:\n${listText(existing)}`;
  throw notFound(`${workspace} has none with the id or name "${idOrName}"; ${hint}`);
}

function expectExisting(warehouse: WarehouseInfo): WarehouseInfo {
  if (!isDeleted(warehouse.state)) return warehouse;
  throw notFound(`"${warehouse.name}" is ${warehouse.state}; name another`);
}

function isDeleted(state: string): boolean {
  return state === "DELETED" || state === "DELETING";
}

/** The maximum number of warehouses that an error lists. */
const MAX_LISTED = 30;

function listText(warehouses: readonly WarehouseInfo[]): string {
  const lines = warehouses.slice(0, MAX_LISTED).map(({ id, name, state }) => `  ${id}  ${name} (${state})`);
  const omitted = warehouses.length - lines.length;
  return [...lines, ...(omitted > 0 ? [`  and ${omitted} more`] : [])].join("\n");
}

function notFound(state: string): LakebaseError {
  return new LakebaseError("ENDPOINT_NOT_FOUND", `Cannot find the SQL warehouse: ${state}`);
}
