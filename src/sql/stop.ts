import { pause } from "../core/pause.ts";
import { LakebaseError } from "../core/errors.ts";
import { inNotebook } from "../draw/notebook.ts";
import type { Lease, Session } from "./session.ts";

/** A second Stop within this time goes to the kernel. */
const SECOND_STOP_MS = 2000;

/** The "Deno + SQL" kernel defines this in the global scope; SIGINT does not end that kernel. */
const SURVIVES_STOP = Symbol.for("lakebase.kernel");

/** The running statements of this notebook, which its Stop button cancels. */
const active = new Set<AbortController>();
/** The statements that Stop has canceled, or has tried to cancel. */
const stopped = new WeakSet<AbortController>();
let listening = false;
let lastStop = -Infinity;
/** If a statement succeeds in spite of a Stop, the next one within this time (in a loop, say) is stopped instead. */
const OUTRUN_MS = 500;
let outrunAt = -Infinity;
let resume: ReturnType<typeof setTimeout> | undefined;

/** A statement that can be stopped. */
export interface Stoppable extends Disposable {
  /**
   * Aborts on Stop, the caller's signal or the timeout; its reason is the error to throw. `undefined` if nothing can stop
   * the statement.
   */
  readonly signal: AbortSignal | undefined;
  /** Call this when the statement has done its work, whether or not it was told to stop. */
  succeeded(): void;
}

/** Shared by all statements that nothing can stop, to save the cost of watching them. */
const UNSTOPPABLE: Stoppable = { signal: undefined, succeeded() {}, [Symbol.dispose]() {} };

/** What may stop a statement, besides the Stop button. */
export interface StopOptions {
  /** The caller's signal; its reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Seconds that the statement may take. @default {no limit} */
  timeout?: number | undefined;
}

/**
 * Makes a statement stoppable, in a cell also by the Stop button. Stop sends SIGINT, which would end the Deno kernel and
 * lose every variable, so SIGINT is handled while a statement runs, and only then.
 *
 * @param options The caller's signal and timeout.
 * @param what What takes the time, for the error of a timeout.
 * @returns The signal to watch; dispose of it when the statement has ended.
 */
export function stoppable({ signal, timeout }: StopOptions = {}, what = "the query"): Stoppable {
  signal?.throwIfAborted();
  const cell = inNotebook();
  if (!cell && signal === undefined && timeout === undefined) return UNSTOPPABLE;
  if (cell) refuseOutrun();
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer = timeout === undefined
    ? undefined
    : setTimeout(() => controller.abort(timedOut(what, timeout)), timeout * 1000);
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
  // That kernel keeps the listener, so that a Stop between two short queries of a loop is not lost.
  if (!listening || SURVIVES_STOP in globalThis) return;
  Deno.removeSignalListener("SIGINT", onStop);
  listening = false;
}

function onStop(): void {
  const survives = SURVIVES_STOP in globalThis;
  lastStop = survives ? -Infinity : Date.now();
  if (!survives) unlisten(); // a second Stop goes to the kernel
  for (const controller of active) {
    stopped.add(controller);
    controller.abort(canceled());
  }
  listen();
}

function canceled(): LakebaseError {
  return new LakebaseError("CANCELED", "Canceled");
}

function timedOut(what: string, timeout: number): LakebaseError {
  return new LakebaseError("CANCELED", `Canceled: ${what} took longer than its timeout of ${timeout} s`);
}

/** How long the server has to end a canceled statement before its connection is closed. */
const CANCEL_LIMIT_MS = 900;
/** How long the server may take to signal its process after it has closed a request's connection. */
const SIGNAL_MS = 20;
/** The time between two requests to cancel: the first may arrive before the statement begins. */
const ASK_AGAIN_MS = 200;

/**
 * Waits for a promise, unless the signal aborts first.
 *
 * @param work What to wait for; an abort does not end it.
 * @throws The signal's reason.
 */
export async function until<T>(work: T | PromiseLike<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** How long the server has for what ends a piece of work, such as ROLLBACK, before the connection is closed. */
const CLEAN_UP_LIMIT_MS = 1000;

/** Returns a signal that ends cleaning up after a stop, because a silent server must not hold up the caller. */
export function cleanUpLimit(): AbortSignal {
  return AbortSignal.timeout(CLEAN_UP_LIMIT_MS);
}

/**
 * Waits for what leaves a connection clean, such as ROLLBACK. If the server refuses it or does not answer in time, the
 * connection is closed, which ends a transaction as well.
 *
 * @param lease The connection; marked as broken if it is to be closed.
 * @param work What leaves it clean.
 */
export async function cleanUp(lease: Pick<Lease, "broken">, work: Promise<unknown>): Promise<void> {
  try {
    await until(work, cleanUpLimit());
  } catch (error) {
    lease.broken ??= error as Error;
  }
}

/** Returns a signal that aborts when either one does; `undefined` if there is neither. */
export function eitherSignal(a: AbortSignal | undefined, b: AbortSignal | undefined): AbortSignal | undefined {
  return a === undefined || b === undefined ? a ?? b : AbortSignal.any([a, b]);
}

/**
 * Takes a connection, unless the signal aborts first; a connection that comes later is given back.
 *
 * @param what What the connection is for, such as the text of a statement.
 */
export function acquire(session: Session, signal: AbortSignal | undefined, what?: string): Promise<Lease> {
  const acquiring = session.acquire(what, signal);
  if (signal === undefined) return acquiring;
  return until(acquiring, signal).catch((error) => {
    if (signal.aborted) acquiring.then((late) => late.release(), () => {}); // no connection came
    throw error;
  });
}

/**
 * Waits for work on a connection. On an abort, asks the server to cancel the work, and waits for its end within a limit.
 *
 * A request to cancel names a connection, not a statement, and a proxy may deliver it late. Only the error that it causes
 * shows that it has arrived, so after any other end the connection is not used again. It is also not used before the server
 * has closed the request's own connection: PostgreSQL signals the process and then its group, and the second signal could
 * hit the next statement.
 *
 * @param work The running work; it settles once the server is ready for more.
 * @throws What `work` throws; the caller has to check the signal.
 */
export function cancelable<T>(
  session: Session,
  lease: Lease,
  signal: AbortSignal | undefined,
  work: Promise<T>,
): Promise<T> {
  return signal === undefined ? work : untilCanceled(session, lease, signal, work);
}

async function untilCanceled<T>(session: Session, lease: Lease, signal: AbortSignal, work: Promise<T>): Promise<T> {
  const failed = Symbol();
  const outcome = await until(work.then((value) => ({ value }), (error) => ({ [failed]: error })), signal).catch(() => {
    return undefined;
  });
  if (outcome === undefined) return await cancel(session, lease, work);
  if ("value" in outcome) return outcome.value;
  throw outcome[failed];
}

async function cancel<T>(session: Session, lease: Lease, work: Promise<T>): Promise<T> {
  lease.broken = new Error("a request to cancel may still be on its way");
  const limit = Promise.withResolvers<never>();
  const timer = setTimeout(() => limit.reject(new Error("the server did not cancel in time")), CANCEL_LIMIT_MS);
  const requests = ask(session, lease, work);
  try {
    const value = await Promise.race([work, limit.promise]);
    if (session.held) await settle(lease, requests, limit.promise);
    return value;
  } catch (error) {
    requests.over = true;
    if (session.held) await settle(lease, requests, limit.promise, work);
    await Promise.race([requests.ended, limit.promise]).catch(() => {}); // the time is over: the connection stays broken
    if (requests.count === 1 && requests.taken === 1 && isCancellation(error)) lease.broken = undefined;
    throw error;
  } finally {
    clearTimeout(timer);
    requests.over = true;
  }
}

/**
 * Keeps a held session usable after a cancellation, because its state is worth more than certainty about late requests. A
 * request that arrives between two statements does nothing, so the session goes on once the server has taken all requests
 * and has had a moment to send their signals.
 */
async function settle(lease: Lease, requests: Requests, limit: Promise<never>, work?: Promise<unknown>): Promise<void> {
  requests.over = true;
  try {
    if (work !== undefined) await Promise.race([work.catch(() => {}), limit]); // the caller has its error
    await Promise.race([requests.ended, limit]);
    if (requests.taken !== requests.count) return;
    await pause(SIGNAL_MS);
    lease.broken = undefined;
  } catch {
    // The server did not answer in time, and may still be working.
  }
}

interface Requests {
  /** How many were sent. */
  count: number;
  /** How many the server has taken: it has closed their connections. */
  taken: number;
  /** Whether to stop sending. */
  over: boolean;
  /** Resolves when no request is still under way. */
  ended: Promise<void>;
}

function ask(session: Session, { client }: Lease, work: Promise<unknown>): Requests {
  const requests: Requests = { count: 0, taken: 0, over: false, ended: Promise.resolve() };
  const settled = new AbortController();
  work.catch(() => {}).finally(() => settled.abort()); // the caller has its error
  const send = async () => {
    while (!requests.over) {
      requests.count++;
      await session.cancel(client).then(() => requests.taken++, () => {}); // not taken
      await pause(ASK_AGAIN_MS, settled.signal).catch(() => {}); // an abort leaves no timer behind
    }
  };
  requests.ended = send();
  return requests;
}

/** Tells a cancellation from the server's statement timeout, which has the same SQLSTATE. */
function isCancellation(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  return code === "57014" && !/timeout/.test(String(message));
}
