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

/** The path of the API for warehouses. */
export const WAREHOUSES = "/api/2.0/sql/warehouses";

/**
 * Finds a warehouse.
 *
 * @param workspace The workspace.
 * @param wanted The warehouse's id or name; `undefined` for the only warehouse.
 * @param signal Stops the search.
 * @throws {LakebaseError} `ENDPOINT_NOT_FOUND` if there is none; `ENDPOINT_AMBIGUOUS` if several fit, with a list and
 * their states; or the error of a request to the workspace.
 */
export async function findWarehouse(
  workspace: Workspace,
  wanted: string | undefined,
  signal?: AbortSignal,
): Promise<WarehouseInfo> {
  const all = (await workspace.list(WAREHOUSES, "warehouses", signal)).map(toInfo);
  return choose(all, wanted, await workspace.origin());
}

function toInfo({ id, name, state }: Record<string, unknown>): WarehouseInfo {
  return { id: jsonText(id), name: jsonText(name ?? id), state: jsonText(state ?? "UNKNOWN") };
}

/** Chooses a warehouse by its id or name, or the only warehouse. */
export function choose(all: readonly WarehouseInfo[], wanted: string | undefined, where: string): WarehouseInfo {
  const there = all.filter(({ state }) => !isDeleted(state));
  if (wanted !== undefined) return chooseNamed(all, there, wanted, where);
  if (there.length === 1) return there[0]!;
  if (there.length > 1) {
    throw new LakebaseError(
      "ENDPOINT_AMBIGUOUS",
      `Cannot choose a SQL warehouse: ${where} has ${there.length}; name one with ${optionName("warehouse")} or ` +
        `DATABRICKS_WAREHOUSE_ID:\n${listed(there)}`,
    );
  }
  throw notFound(
    `${where} has none that this login may use. Ask for "Can use" on a warehouse, or create one in the workspace`,
  );
}

function chooseNamed(
  all: readonly WarehouseInfo[],
  there: readonly WarehouseInfo[],
  wanted: string,
  where: string,
): WarehouseInfo {
  const byId = all.find(({ id }) => id === wanted);
  if (byId !== undefined) return expectThere(byId);
  const named = there.filter(({ name }) => name === wanted);
  const fits = named.length > 0 ? named : there.filter(({ name }) => name.toLowerCase() === wanted.toLowerCase());
  if (fits.length === 1) return fits[0]!;
  if (fits.length > 1) {
    throw new LakebaseError(
      "ENDPOINT_AMBIGUOUS",
      `Cannot choose a SQL warehouse: ${where} has ${fits.length} warehouses named "${wanted}"; use an id:\n${
        listed(fits)
      }`,
    );
  }
  const deleted = all.find(({ name }) => name === wanted);
  if (deleted !== undefined) return expectThere(deleted);
  const near = closest(wanted, there.map(({ name }) => name));
  const hint = near !== undefined
    ? `did you mean "${near}"?`
    : there.length === 0
    ? "this login may use none"
    : `there are:\n${listed(there)}`;
  throw notFound(`${where} has none with the id or name "${wanted}"; ${hint}`);
}

function expectThere(warehouse: WarehouseInfo): WarehouseInfo {
  if (!isDeleted(warehouse.state)) return warehouse;
  throw notFound(`"${warehouse.name}" is ${warehouse.state}; name another`);
}

function isDeleted(state: string): boolean {
  return state === "DELETED" || state === "DELETING";
}

/** The most warehouses that an error lists. */
const MOST_LISTED = 30;

function listed(warehouses: readonly WarehouseInfo[]): string {
  const lines = warehouses.slice(0, MOST_LISTED).map(({ id, name, state }) => `  ${id}  ${name} (${state})`);
  const more = warehouses.length - lines.length;
  return [...lines, ...(more > 0 ? [`  and ${more} more`] : [])].join("\n");
}

function notFound(state: string): LakebaseError {
  return new LakebaseError("ENDPOINT_NOT_FOUND", `Cannot find the SQL warehouse: ${state}`);
}
