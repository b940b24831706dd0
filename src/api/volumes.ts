import type { Workspace } from "../auth/workspace.ts";
import { LakebaseError, optionName } from "../core/errors.ts";
import { readVolumePath } from "../core/volume_path.ts";
import type { OpenVolumes } from "../sql/session.ts";

/**
 * Opens the Volumes of the workspace that a connection's login belongs to.
 *
 * @param workspace Gives the workspace; `undefined` for a native password, which belongs to none.
 * @param used Gets the Volumes that are opened, for a checkup.
 */
export function volumesOf(workspace: (() => Workspace) | undefined, used?: Set<string>): OpenVolumes {
  return async (path, signal) => {
    if (workspace === undefined) {
      throw new LakebaseError(
        "BAD_SETTING",
        `Cannot open ${path}: this connection has a native password, which belongs to no workspace; connect with the login ` +
          `of a workspace, or give the option ${optionName("workspace")} too`,
      );
    }
    const place = readVolumePath(path);
    if (typeof place !== "string") used?.add(place.root);
    const { Volumes } = await import("../lake/volumes.ts"); // loaded late, because most programs do not need it
    return new Volumes(workspace(), { signal });
  };
}
