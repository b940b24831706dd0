import { type FileStore, isVolumePath } from "../core/file_store.ts";
import { LakebaseError } from "../core/errors.ts";
import type { FindSession } from "../sql/run.ts";
import type { OpenVolumes } from "../sql/session.ts";
import { until } from "../sql/stop.ts";

/** Finds the function that opens the Volumes of a workspace. */
export type FindVolumes = () => OpenVolumes | undefined | Promise<OpenVolumes | undefined>;

/** Finds the Volumes of a session, when one is first needed. */
export function volumesOfSession(find: FindSession): FindVolumes {
  return async () => (await find()).volumes;
}

/**
 * Finds the store of a path. A path that begins with `/Volumes/` is in a Volume of the connection's workspace, unless
 * such a folder exists on this machine. Inside Databricks the Volumes are folders, and macOS has its disks there.
 */
export class Stores {
  readonly #find: FindVolumes | undefined;
  readonly #signal: AbortSignal | undefined;
  #volumes: Promise<FileStore> | undefined;

  /**
   * Keeps the function; asks for no connection yet.
   *
   * @param find Finds the Volumes of the workspace; `undefined` for rows that do not come from a connection.
   * @param signal Ends the reading from the stores.
   */
  constructor(find: FindVolumes | undefined, signal: AbortSignal | undefined) {
    this.#find = find;
    this.#signal = signal;
  }

  /**
   * The store of a path.
   *
   * @returns `undefined` for a path of this machine.
   * @throws {LakebaseError} The errors of connecting; `BAD_SETTING` if the connection belongs to no workspace.
   */
  async of(path: string): Promise<FileStore | undefined> {
    if (/^dbfs:\/Volumes\//.test(path)) {
      throw new LakebaseError("BAD_PARAMETER", `Cannot open ${path}: leave out "dbfs:", ${path.slice("dbfs:".length)}`);
    }
    if (!isVolumePath(path) || await isHere(path)) return undefined;
    return await (this.#volumes ??= this.#open(path));
  }

  async #open(path: string): Promise<FileStore> {
    const open = await until(this.#find?.(), this.#signal);
    if (open !== undefined) return await open(path, this.#signal);
    throw new LakebaseError(
      "BAD_SETTING",
      `Cannot open ${path}: a Volume is in a workspace, and these rows came from no connection to one`,
    );
  }
}

/** Whether the Volume of a path, or its catalog, is a folder on this machine. */
async function isHere(path: string): Promise<boolean> {
  const parts = path.split("/");
  for (const length of [5, 3]) {
    const folder = parts.slice(0, length).join("/");
    if (parts.length < length || Deno.permissions.querySync({ name: "read", path: folder }).state !== "granted") {
      continue;
    }
    const found = await Deno.stat(folder).catch(() => undefined); // the folder does not exist, or may not be seen
    if (found?.isDirectory) return true;
  }
  return false;
}
