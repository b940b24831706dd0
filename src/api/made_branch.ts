import { type BranchApi, branchId, type BranchState, isMissing } from "../auth/branch.ts";
import { LakebaseError } from "../core/errors.ts";
import { utcText } from "../core/text.ts";
import { announceLeft } from "../draw/notices.ts";
import { inNotebook } from "../draw/notebook.ts";

/** Milliseconds that deleting a branch may take at the end of a script or of a failure. */
const DELETE_LIMIT_MS = 20_000;

/** A branch that this program has made, until it is deleted. */
export class MadeBranch {
  /** `projects/p/branches/b`. */
  readonly name: string;
  readonly #api: BranchApi;
  /** Whether the end of its connection keeps the branch. */
  keep: boolean;
  /** Whether a person waits for the outcome of the deletion. */
  awaited = false;
  /** The error of a deletion that a person waits for. */
  failure: unknown;
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

  /** Notes that the branch exists, so that the end of the program deletes it. */
  begin(): void {
    if (this.keep) return;
    live.add(this);
    unlisten ??= listenForEnd();
  }

  /** Reads the state, with the id that tells it from another branch of the same name. */
  async look(signal?: AbortSignal): Promise<void> {
    this.state = await this.#api.get(this.name, signal);
  }

  /** Deletes the branch, unless it is gone or another branch has its name now. After a failure, the next call tries again. */
  delete(): Promise<void> {
    return this.#deleting ??= this.#delete().catch((error) => {
      this.#deleting = undefined;
      throw error;
    }).finally(() => forget(this));
  }

  async #delete(): Promise<void> {
    const signal = AbortSignal.timeout(DELETE_LIMIT_MS);
    const doing = `delete the branch "${this.id}"`;
    let now: BranchState;
    try {
      now = await this.#api.get(this.name, signal);
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    const another = this.state?.uid !== undefined && now.uid !== this.state.uid;
    if (another || now.deleted !== undefined) return;
    if (now.isDefault || now.isProtected) {
      const what = now.isDefault ? "the project's default branch" : "protected";
      throw new LakebaseError("WORKSPACE_REFUSED", `Cannot ${doing}: it is now ${what}, so it was not deleted`);
    }
    const operation = await this.#api.delete(this.name, true, signal);
    if (operation !== undefined) await this.#api.finish(operation, doing, signal);
  }

  /** Deletes the branch, unless it is to be kept. Gives an error only to a person who waits for the outcome. */
  async leave(): Promise<void> {
    if (this.keep) return;
    try {
      await this.delete();
    } catch (error) {
      if (this.awaited) this.failure = error;
      else await announceLeft([`${(error as Error).message}. ${this.left()}`]);
    }
  }

  /** Says that the branch still exists, until when, and how to delete it. */
  left(): string {
    const { expires } = this.state ?? {};
    const end = expires === undefined ? "" : ` until it expires at ${utcText(expires)}`;
    return `Branch ${this.id} is kept${end}; ${dropText(this.id)}`;
  }
}

/** The branches that the end of the program deletes. */
const live = new Set<MadeBranch>();
/** Removes the listeners for the end of the program; `undefined` while there is no branch. */
let unlisten: (() => void) | undefined;

function forget(made: MadeBranch): void {
  live.delete(made);
  if (live.size > 0) return;
  unlisten?.();
  unlisten = undefined;
}

/** The signals that end a script. Windows has only the first of them. */
const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"];
/** The function that the "Deno + SQL" kernel calls at its end. */
const AT_THE_END = Symbol.for("lakebase.end");

/**
 * Deletes the branches at the end of a script: when there is nothing left to do, and when a signal ends the script.
 * `Deno.exit()` and an uncaught error leave no time for that, so only the names of the branches are printed.
 *
 * @returns A function that removes the listeners.
 */
function listenForEnd(): () => void {
  using stack = new DisposableStack();
  const listen = (type: string, listener: EventListener) => {
    globalThis.addEventListener(type, listener);
    stack.defer(() => globalThis.removeEventListener(type, listener));
  };
  const nameThem = () => void announceLeft([...live].map((made) => made.left()), true);
  listen("beforeunload", (event) => {
    event.preventDefault(); // the script ends after the branches are deleted
    void leaveAll();
  });
  listen("unload", nameThem);
  if (inNotebook()) {
    // There SIGINT means Stop, and an error ends only a cell, so no other event is the end of the program.
    Object.defineProperty(globalThis, AT_THE_END, { value: leaveAll, configurable: true });
    stack.defer(() => Reflect.deleteProperty(globalThis, AT_THE_END));
  } else {
    for (const type of ["error", "unhandledrejection"]) listen(type, nameThem);
    for (const signal of SIGNALS) {
      const listener = () => void endBy(signal);
      Deno.addSignalListener(signal, listener);
      stack.defer(() => Deno.removeSignalListener(signal, listener));
    }
  }
  const listeners = stack.move();
  return () => listeners.dispose();
}

/** Deletes the branches, and then lets the signal end the script. */
async function endBy(signal: Deno.Signal): Promise<void> {
  const branches = [...live];
  unlisten?.(); // a second signal ends the script at once
  unlisten = undefined;
  await Promise.all(branches.map((made) => made.leave()));
  Deno.kill(Deno.pid, signal);
}

async function leaveAll(): Promise<void> {
  await Promise.all([...live].map((made) => made.leave()));
}

/** Says how to delete a branch, as the end of a sentence. */
export function dropText(id: string): string {
  return `delete it with: lakebase branch drop ${id}`;
}
