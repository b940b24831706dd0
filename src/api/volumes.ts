import type { Workspace } from "../auth/workspace.ts";
import { LakebaseError, optionName } from "../core/errors.ts";
import type { OpenVolumes } from "../sql/session.ts";

/**
 * Opens the Volumes of the workspace that a connection's login belongs to.
 *
 * @param workspace Gives the workspace; `undefined` for a native password, which belongs to none.
 */
export function volumesOf(workspace: (() => Workspace) | undefined): OpenVolumes {
  return async (signal) => {
    if (workspace === undefined) {
      throw new LakebaseError(
        "BAD_SETTING",
        "Cannot open a Volume: this connection has a native password, which belongs to no workspace; connect with the " +
          `login of a workspace, or give the option ${optionName("workspace")} too`,
      );
    }
    const { Volumes } = await import("../lake/volumes.ts"); // loaded late, because most programs do not need it
    return new Volumes(workspace(), { signal });
  };
}
