import type { Refusal } from "../auth/workspace_request.ts";
import { LakebaseError, optionName } from "../core/errors.ts";

/** The kind of work on a file or a folder of a Volume. */
export type VolumeWork = "open" | "read" | "write" | "remove";

/** Makes the error for a path in a Volume. */
export function badPath(work: VolumeWork, path: string, state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot ${work} ${path}: ${state}`, { cause });
}

/** The privilege of Unity Catalog that each kind of work needs. */
const PRIVILEGES: Readonly<Record<VolumeWork, string>> = {
  open: "READ VOLUME",
  read: "READ VOLUME",
  write: "WRITE VOLUME",
  remove: "WRITE VOLUME",
};

/** Makes the errors for answers of the Files API. */
export function refusing(work: VolumeWork, path: string): (refusal: Refusal) => LakebaseError {
  return ({ status, said }) => {
    const quoted = said === undefined ? "" : `: "${said}"`;
    if (status === 429 || (status >= 500 && status !== 507)) {
      const state = status === 429 ? "the workspace gets too many requests; try again later" : "the workspace failed";
      return new LakebaseError(
        "WORKSPACE_UNAVAILABLE",
        `Cannot ${work} ${path}: ${state} (it answered ${status}${quoted})`,
      );
    }
    if (status === 404 && work !== "write") return badPath(work, path, "there is no such file");
    return badPath(work, path, `${stateOf(status, work)}${quoted}`);
  };
}

function stateOf(status: number, work: VolumeWork): string {
  switch (status) {
    case 403:
      return `this login may not ${work} it; it needs the privilege ${PRIVILEGES[work]}, and USE of the catalog and ` +
        "of the schema. The workspace says";
    case 404:
      return "there is no such Volume. The workspace says";
    case 409:
      return "a file of that name exists now; it was not replaced. The workspace says";
    case 412:
    case 416:
      return "it changed while it was read; read it when nothing writes to it. The workspace says";
    case 413:
      return `a file of a Volume is smaller than that; ${SEVERAL_FILES}. The workspace says`;
    case 507:
      return "the storage of the Volume is full. The workspace says";
    default:
      return `the workspace answered ${status}`;
  }
}

/** Makes the error for a file that is larger than the Files API takes. */
export function tooLarge(path: string, limit: number): LakebaseError {
  return badPath(
    "write",
    path,
    `it would have more bytes than a file of a Volume may have, ${limit / 1024 ** 3} GiB; ${SEVERAL_FILES}`,
  );
}

const SEVERAL_FILES =
  `write several files: into a folder with ${optionName("rowsPerFile")}, or with {n} in the name and ` +
  optionName("parallel");
