import { type BranchApi, branchId, type BranchState, isMissing } from "../auth/branch.ts";
import { LakebaseError } from "../core/errors.ts";
import { utcText } from "../core/text.ts";
import { announceLeftovers } from "../draw/notices.ts";
import { inNotebook } from "../draw/notebook.ts";

/** Milliseconds that deleting a branch may take at the end of a script or of a failure. */
const DELETE_LIMIT_MS = 20_000;

/** A branch that this program has created, until it is deleted. */
export class CreatedBranch {
  /** `projects/p/branches/b`. */
  readonly name: string;
  readonly #api: BranchApi;
  /** Whether the branch stays when its connection is closed. */
  keep: boolean;
  /** Whether the caller of `close()` gets the error of a deletion. Otherwise a notice shows it. */
  reportsFailure = false;
  /** The error of a deletion that the caller gets. */
  failure: unknown;
  /** The branch as the workspace describes it. */
  state: BranchState | undefined;
  #deleting: Promise<void> | undefined;

  constructor(api: BranchApi, name: string, keep: boolean) {
    this.#api = api;
    this.name = name;
    this.keep = keep;
  }

  get id(): string {
    return branchId(this.name);
  }

  /** Makes the end of the program delete the branch. */
  deleteAtEnd(): void {
    if (this.keep) return;
    temporary.add(this);
    unlisten ??= listenForEnd();
  }

  /** Reads the state, which has the id that distinguishes the branch from another one of the same name. */
  async readState(signal?: AbortSignal): Promise<void> {
    this.state = await this.#api.get(this.name, signal);
  }

  /** Deletes the branch, unless it is gone or another branch has its name now. After a failure, the next call tries again. */
  delete(): Promise<void> {
    return this.#deleting ??= this.#delete().catch((error) => {
      this.#deleting = undefined;
      throw error;
    }).finally(() => stopTracking(this));
  }

  async #delete(): Promise<void> {
    const signal = AbortSignal.timeout(DELETE_LIMIT_MS);
    const action = `delete the branch "${this.id}"`;
    let current: BranchState;
    try {
      current = await this.#api.get(this.name, signal);
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    const isAnother = this.state?.uid !== undefined && current.uid !== this.state.uid;
    if (isAnother || current.deleted !== undefined) return;
    if (current.isDefault || current.isProtected) {
      const what = current.isDefault ? "the project's default branch" : "protected";
      throw new LakebaseError("WORKSPACE_REFUSED", `Cannot ${action}: it is now ${what}, so it was not deleted`);
    }
    const operation = await this.#api.delete(this.name, true, signal);
    if (operation !== undefined) await this.#api.finish(operation, action, signal);
  }

  /** Deletes the branch at the end of its connection, unless `keep` is set. It never throws; see `reportsFailure`. */
  async deleteUnlessKept(): Promise<void> {
    if (this.keep) return;
    try {
      await this.delete();
    } catch (error) {
      if (this.reportsFailure) this.failure = error;
      else await announceLeftovers([`${(error as Error).message}. ${this.keptText()}`]);
    }
  }

  /** Says that the branch still exists, when it expires, and how to delete it. */
  keptText(): string {
    const { expires } = this.state ?? {};
    const end = expires === undefined ? "" : ` until it expires at ${utcText(expires)}`;
    return `Branch ${this.id} is kept${end}; ${dropText(this.id)}`;
  }
}

/** The branches that the end of the program deletes. */
const temporary = new Set<CreatedBranch>();
/** Removes the listeners for the end of the program; `undefined` while there is no branch. */
let unlisten: (() => void) | undefined;

function stopTracking(branch: CreatedBranch): void {
  temporary.delete(branch);
  if (temporary.size > 0) return;
  unlisten?.();
  unlisten = undefined;
}

/** The signals that end a script. Windows has only the first of them. */
const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"];
/** The function that the "Deno + SQL" kernel calls at its end. */
const END = Symbol.for("lakebase.end");

/**
 * Deletes the branches at the end of a script: when its event loop is empty, and when a signal ends it. `Deno.exit()` and an
 * uncaught error leave no time for deleting, so only the names of the branches are printed.
 *
 * @returns A function that removes the listeners.
 */
function listenForEnd(): () => void {
  using stack = new DisposableStack();
  const listen = (type: string, listener: EventListener) => {
    globalThis.addEventListener(type, listener);
    stack.defer(() => globalThis.removeEventListener(type, listener));
  };
  const nameBranches = () => void announceLeftovers([...temporary].map((branch) => branch.keptText()), true);
  listen("beforeunload", (event) => {
    event.preventDefault(); // the script ends once the branches are deleted
    void deleteAll();
  });
  listen("unload", nameBranches);
  if (inNotebook()) {
    // In a notebook, SIGINT means Stop, and an error ends only a cell, so no other event is the end of the program.
    Object.defineProperty(globalThis, END, { value: deleteAll, configurable: true });
    stack.defer(() => Reflect.deleteProperty(globalThis, END));
  } else {
    for (const type of ["error", "unhandledrejection"]) listen(type, nameBranches);
    for (const signal of SIGNALS) {
      const listener = () => void endWithSignal(signal);
      Deno.addSignalListener(signal, listener);
      stack.defer(() => Deno.removeSignalListener(signal, listener));
    }
  }
  const listeners = stack.move();
  return () => listeners.dispose();
}

/** Deletes the branches, and then lets the signal end the script. */
async function endWithSignal(signal: Deno.Signal): Promise<void> {
  const branches = [...temporary];
  unlisten?.(); // a second signal ends the script at once
  unlisten = undefined;
  await Promise.all(branches.map((branch) => branch.deleteUnlessKept()));
  Deno.kill(Deno.pid, signal);
}

async function deleteAll(): Promise<void> {
  await Promise.all([...temporary].map((branch) => branch.deleteUnlessKept()));
}

/** Says how to delete a branch, as the end of a sentence. */
export function dropText(id: string): string {
  return `delete it with: lakebase branch drop ${id}`;
}
