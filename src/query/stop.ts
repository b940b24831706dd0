import { LakebaseError } from "../errors.ts";
import { inNotebook } from "../notebook/display.ts";

/** A second Stop this soon is for the kernel. */
const SECOND_STOP_MS = 2000;

/** What the "Deno + SQL" kernel leaves in the global scope: it is not ended by SIGINT. */
const SURVIVES_STOP = Symbol.for("lakebase.kernel");

/** What is under way in this notebook, to be canceled by its Stop button. */
const active = new Set<AbortController>();
/** Those of them that Stop has ended, or has tried to. */
const stopped = new WeakSet<AbortController>();
let listening = false;
/** Asking costs an exception outside of a notebook. */
let isCell: boolean | undefined;
let lastStop = -Infinity;
/** A Stop that a short statement outran is for the next one, such as a loop's, if that comes this soon. */
const OUTRUN_MS = 500;
let outrunAt = -Infinity;
let resume: ReturnType<typeof setTimeout> | undefined;

/** A statement that can be stopped. */
export interface Stoppable extends Disposable {
  /**
   * Aborts with Stop, the caller's signal or the timeout, with the error to throw as its reason; `undefined` where nothing
   * could stop it.
   */
  readonly signal: AbortSignal | undefined;
  /** The statement has done its work, whether or not it was told to stop. */
  succeeded(): void;
}

/** Nothing to watch costs nothing. */
const UNSTOPPABLE: Stoppable = { signal: undefined, succeeded() {}, [Symbol.dispose]() {} };

/** What else may stop it. */
export interface StopOptions {
  /** The caller's own signal; its reason is what is thrown. */
  signal?: AbortSignal | undefined;
  /** Seconds that it may take. */
  timeout?: number | undefined;
}

/**
 * Makes what runs in a cell stoppable. Stop is SIGINT, which would end the Deno kernel and every variable in it; while a
 * statement runs (and only then) it is listened to.
 *
 * @param options The caller's signal and timeout.
 * @returns The signal to heed; dispose of it when the statement has ended.
 */
export function stoppable({ signal, timeout }: StopOptions = {}): Stoppable {
  signal?.throwIfAborted();
  const cell = isCell ??= inNotebook();
  if (!cell && signal === undefined && timeout === undefined) return UNSTOPPABLE;
  if (cell) refuseOutrun();
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer = timeout === undefined
    ? undefined
    : setTimeout(() => controller.abort(timedOut(timeout)), timeout * 1000);
  if (cell) {
    active.add(controller);
    listen();
  }
  return {
    signal: controller.signal,
    succeeded() {
      if (stopped.has(controller)) outrunAt = Date.now();
    },
    [Symbol.dispose]() {
      signal?.removeEventListener("abort", onAbort);
      clearTimeout(timer);
      active.delete(controller);
      if (active.size === 0) unlisten();
    },
  };
}

function refuseOutrun(): void {
  const since = Date.now() - outrunAt;
  outrunAt = -Infinity;
  if (since < OUTRUN_MS) throw canceled();
}

function listen(): void {
  if (listening) return;
  const wait = lastStop + SECOND_STOP_MS - Date.now();
  if (wait > 0) {
    resume ??= setTimeout(() => {
      resume = undefined;
      if (active.size > 0) listen();
    }, wait);
    return;
  }
  Deno.addSignalListener("SIGINT", onStop);
  listening = true;
}

function unlisten(): void {
  clearTimeout(resume);
  resume = undefined;
  // A signal that comes between two short queries of a loop would be nobody's.
  if (!listening || SURVIVES_STOP in globalThis) return;
  Deno.removeSignalListener("SIGINT", onStop);
  listening = false;
}

function onStop(): void {
  const survives = SURVIVES_STOP in globalThis;
  lastStop = survives ? -Infinity : Date.now();
  if (!survives) unlisten(); // a second Stop does what it would without us
  for (const controller of active) {
    stopped.add(controller);
    controller.abort(canceled());
  }
  listen();
}

function canceled(): LakebaseError {
  return new LakebaseError("CANCELED", "Canceled");
}

function timedOut(timeout: number): LakebaseError {
  return new LakebaseError("CANCELED", `Canceled: the query took longer than its timeout of ${timeout} s`);
}
