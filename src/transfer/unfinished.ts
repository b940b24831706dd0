/** Signals that end a program. */
const ENDING: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"];

/** Paths of files that are not whole yet. */
const files = new Set<string>();

/**
 * Removes a file when the program ends before it is whole, by itself or by a signal. What a signal would do without us, it
 * does: where the program listens to it too, that is the program's matter, and the writing goes on.
 */
export function watchUnfinished(path: string): void {
  if (files.size === 0) {
    globalThis.addEventListener("unload", removeAll);
    if (boundSignals() !== undefined) { for (const end of ENDS) end.listen(); }
  }
  files.add(path);
}

/** The file is whole, or was removed. */
export function forgetUnfinished(path: string): void {
  if (!files.delete(path) || files.size > 0) return;
  globalThis.removeEventListener("unload", removeAll);
  for (const end of ENDS) end.unlisten();
}

/** A signal that ends the program, unless the program itself listens to it. */
class End {
  readonly #signal: Deno.Signal;
  /** Whether another listener was there before this one. */
  #joined = false;

  constructor(signal: Deno.Signal) {
    this.#signal = signal;
  }

  listen(): void {
    const bound = boundSignals();
    Deno.addSignalListener(this.#signal, this.#onSignal);
    this.#joined = boundSignals() === bound;
  }

  unlisten(): void {
    Deno.removeSignalListener(this.#signal, this.#onSignal);
  }

  /**
   * One that was there before has been called by now, and may have been for one time; one that came later is still there. Where
   * the earlier one has left without a signal, the first signal is taken for its, and only the second ends the program.
   */
  readonly #onSignal = (): void => {
    const bound = boundSignals();
    this.unlisten();
    if (!this.#joined && boundSignals() !== bound) {
      removeAll();
      Deno.kill(Deno.pid, this.#signal); // with its usual effect now
      return;
    }
    // Not at once: Deno calls listeners that are added while it calls them.
    queueMicrotask(() => files.size > 0 && this.listen());
  };
}

const ENDS = ENDING.map((signal) => new End(signal));

/**
 * How many signals are listened to; a second listener of the same one adds none. Deno takes a listener for a handler that
 * replaces the signal's usual effect, and has no public way to tell whether there are others. To guess would end a program
 * that had asked to go on, or call its listeners twice.
 *
 * @returns `undefined` where that can't be told: in a worker, which sees its own listeners only, or in a Deno that has hidden
 * it. Signals are left alone then, and one that ends the program leaves the file, hidden, as SIGKILL does.
 */
function boundSignals(): number | undefined {
  if ("WorkerGlobalScope" in globalThis) return undefined;
  const deno = Deno as unknown as { internal: symbol } & Record<symbol, Hidden | undefined>;
  const resources = deno[deno.internal]?.core?.resources?.();
  return resources && Object.values(resources).filter((name) => name === "signal").length;
}

interface Hidden {
  core?: { resources?(): Record<string, string> };
}

function removeAll(): void {
  for (const path of files) {
    try {
      Deno.removeSync(path, { recursive: true });
    } catch {
      // The program is ending; there is nobody to tell.
    }
  }
}
