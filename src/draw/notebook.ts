/** What a frontend is given to show, by MIME type. */
export type Bundle = Record<string, string>;

/** The method that the Deno kernel calls on the last value of a cell. */
export const DISPLAY: unique symbol = Symbol.for("Jupyter.display") as never;

/** Whether this runs in a cell of a Deno Jupyter notebook. */
export function inNotebook(): boolean {
  try {
    return Deno.jupyter !== undefined; // throws everywhere else
  } catch {
    return false;
  }
}

/** Whether this module's own kernel runs the cell; its prelude says so. It loses no outputs. */
export function inOwnKernel(): boolean {
  return Symbol.for("lakebase.kernel") in globalThis;
}

/**
 * Shows something in the running cell, at once.
 *
 * @param bundle What to show.
 */
export async function displayNow(bundle: Bundle): Promise<void> {
  await Deno.jupyter.broadcast("display_data", { data: bundle, metadata: {}, transient: {} });
  await settleDisplay();
}

/** Waits until what was just shown can't be lost any more; as in {@linkcode holdIdle}, it may be the cell's last output. */
export async function settleDisplay(): Promise<void> {
  if (inOwnKernel()) return;
  await new Promise((resolve) => setTimeout(resolve, HOLD_MS));
}

/** Sends a message to the kernel in front of this one, which has the `%%sql` cells. */
export async function sendToKernel(type: string, content: Record<string, unknown>): Promise<void> {
  await Deno.jupyter.broadcast(type, content);
}

/** Something shown that can change later. */
export interface LiveDisplay {
  /** Replaces what is shown. */
  update(bundle: Bundle): Promise<void>;
}

/**
 * Shows something in the running cell, at once.
 *
 * @param bundle What to show.
 * @returns A handle to change it.
 */
export async function displayLive(bundle: Bundle): Promise<LiveDisplay> {
  const id = crypto.randomUUID();
  await broadcast("display_data", bundle, id);
  return { update: (next) => broadcast("update_display_data", next, id) };
}

async function broadcast(type: string, data: Bundle, id: string): Promise<void> {
  await Deno.jupyter.broadcast(type, { data, metadata: {}, transient: { display_id: id } });
}

/**
 * How long a cell's end waits for its output. Measured: 15 ms lose none of 3,000 outputs, but 1 of 300 where eight programs
 * share two cores; 30 ms none of 1,200 there.
 */
const HOLD_MS = 30;
const NEVER = new Int32Array(new SharedArrayBuffer(4));

/**
 * Keeps an output from being lost. The Deno kernel's thread that runs cells may report "idle" before its other thread has
 * sent the cell's output, and nbclient, nbconvert and papermill stop listening at "idle". The kernel reads the bundle, then
 * hands it to the other thread within the same turn; this holds the cell's thread for a moment in the turn after.
 *
 * @param bundle What to show; the last thing before returning it.
 */
export function holdIdle(bundle: Bundle): Bundle {
  if (!inNotebook() || inOwnKernel()) return bundle;
  const { "text/plain": plain = "" } = bundle;
  return Object.defineProperty({ ...bundle }, "text/plain", { enumerable: true, get: holdAfterRead(plain) });
}

/** {@linkcode holdIdle} for an error that a drawing throws: the kernel reads its trace just before it sends it. */
export function holdIdleError<T extends Error>(error: T): T {
  if (!inNotebook() || inOwnKernel()) return error;
  return Object.defineProperty(error, "stack", { configurable: true, get: holdAfterRead(error.stack ?? "") });
}

function holdAfterRead(value: string): () => string {
  let read = false;
  let turns = 0;
  const hold = () => {
    if (read) Atomics.wait(NEVER, 0, 0, HOLD_MS);
    else if (turns++ < 1000) queueMicrotask(hold);
  };
  queueMicrotask(hold);
  return () => {
    read = true;
    return value;
  };
}
