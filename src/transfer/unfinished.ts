/** Signals that end a program. */
const ENDING: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"];

/** How long a program has to stop what it was writing by itself. */
const GRACE_MS = 50;

/** A file that is not whole yet. */
export interface Unfinished {
  /** Where it is. */
  path: string;
  /** What stops its writing, after which who writes removes it. */
  signal: AbortSignal | undefined;
}

const files = new Set<Unfinished>();

/**
 * Removes a file when the program ends before it is whole. Only while there are such files signals are listened to; what a
 * signal would do without us, it does then.
 */
export function watchUnfinished(file: Unfinished): void {
  if (files.size === 0) listen();
  files.add(file);
}

/** The file is whole, or was removed. */
export function forgetUnfinished(file: Unfinished): void {
  if (files.delete(file) && files.size === 0) unlisten();
}

function listen(): void {
  globalThis.addEventListener("unload", removeAll);
  for (const [signal, listener] of LISTENERS) Deno.addSignalListener(signal, listener);
}

function unlisten(): void {
  globalThis.removeEventListener("unload", removeAll);
  for (const [signal, listener] of LISTENERS) Deno.removeSignalListener(signal, listener);
}

const LISTENERS = ENDING.map((signal) => [signal, () => onSignal(signal)] as const);

/** A listener of the program's own, or the Stop of a cell, may have stopped the writing; then the program goes on. */
function onSignal(signal: Deno.Signal): void {
  setTimeout(() => {
    if ([...files].every((file) => file.signal?.aborted)) return;
    removeAll();
    files.clear();
    unlisten();
    Deno.kill(Deno.pid, signal);
  }, GRACE_MS);
}

function removeAll(): void {
  for (const { path } of files) {
    try {
      Deno.removeSync(path);
    } catch {
      // The program is ending; there is nobody to tell.
    }
  }
}
