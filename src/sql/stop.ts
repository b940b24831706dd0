import { LakebaseError } from "../core/errors.ts";
import { pause } from "../core/pause.ts";
import { inNotebook } from "../draw/notebook.ts";
import type { Lease, Session } from "./session.ts";

/** A second Stop within this time reaches the kernel, which then ends. */
const SECOND_STOP_MS = 2000;

/** The "Deno + SQL" kernel, which SIGINT does not end, defines this in the global scope. */
const SURVIVES_STOP = Symbol.for("lakebase.kernel");

/** The running statements of this notebook, which its Stop button cancels. */
const active = new Set<AbortController>();
/** The statements that Stop has canceled, or has tried to cancel. */
const stopped = new WeakSet<AbortController>();
let listening = false;
let lastStop = -Infinity;
/** If a statement ends before a Stop can cancel it, the next one within this time, as in a loop, is stopped instead. */
const MISSED_STOP_MS = 500;
let missedStopAt = -Infinity;
let listenLater: ReturnType<typeof setTimeout> | undefined;

/** A statement that can be stopped. */
export interface Stoppable extends Disposable {
  /**
   * Aborts on Stop, the caller's signal or the timeout; its reason is the error to throw. `undefined` if nothing can stop
   * the statement.
   */
  readonly signal: AbortSignal | undefined;
  /** Call this when the statement has succeeded, even if it was told to stop. */
  succeeded(): void;
}

/** Stands for all statements that nothing can stop, which saves them the cost of a controller. */
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
 * @param what The work that takes the time, for the error of a timeout.
 * @returns The signal to watch; dispose of it when the statement has ended.
 */
export function stoppable({ signal, timeout }: StopOptions = {}, what = "the query"): Stoppable {
  signal?.throwIfAborted();
  const cell = inNotebook();
  if (!cell && signal === undefined && timeout === undefined) return UNSTOPPABLE;
  if (cell) throwIfStopMissed();
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
      if (stopped.has(controller)) missedStopAt = Date.now();
    },
    [Symbol.dispose]() {
      signal?.removeEventListener("abort", onAbort);
      clearTimeout(timer);
      active.delete(controller);
      if (active.size === 0) unlisten();
    },
  };
}

function throwIfStopMissed(): void {
  const since = Date.now() - missedStopAt;
  missedStopAt = -Infinity;
  if (since < MISSED_STOP_MS) throw canceled();
}

function listen(): void {
  if (listening) return;
  const wait = lastStop + SECOND_STOP_MS - Date.now();
  if (wait > 0) {
    listenLater ??= setTimeout(() => {
      listenLater = undefined;
      if (active.size > 0) listen();
    }, wait);
    return;
  }
  Deno.addSignalListener("SIGINT", onStop);
  listening = true;
}

function unlisten(): void {
  clearTimeout(listenLater);
  listenLater = undefined;
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

/** The time that the server has to end a canceled statement before its connection is closed. */
const CANCEL_LIMIT_MS = 900;
/** The time that the server may take to signal its process after it has closed the connection of a cancel request. */
const SIGNAL_MS = 20;
/** The time between two cancel requests: the first one may arrive before the statement begins. */
const CANCEL_INTERVAL_MS = 200;

/**
 * Waits for a promise, unless the signal aborts first.
 *
 * @param work The promise; an abort does not end the work itself.
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

/** The time that the server has for a command that cleans up, such as ROLLBACK, before the connection is closed. */
const CLEAN_UP_LIMIT_MS = 1000;

/** Returns a signal that ends cleaning up after a stop, because a silent server must not hold up the caller. */
export function cleanUpLimit(): AbortSignal {
  return AbortSignal.timeout(CLEAN_UP_LIMIT_MS);
}

/**
 * Waits for a command that cleans up a connection, such as ROLLBACK. If the server refuses the command or does not answer
 * in time, the connection is marked as broken: closing it ends a transaction as well.
 */
export async function cleanUp(lease: Pick<Lease, "broken">, work: Promise<unknown>): Promise<void> {
  try {
    await until(work, cleanUpLimit());
  } catch (error) {
    lease.broken ??= error as Error;
  }
}

/** Returns a signal that aborts when either of two does; `undefined` if there is neither. */
export function eitherSignal(a: AbortSignal | undefined, b: AbortSignal | undefined): AbortSignal | undefined {
  return a === undefined || b === undefined ? a ?? b : AbortSignal.any([a, b]);
}

/**
 * Takes a connection, unless the signal aborts first; a connection that comes later is released.
 *
 * @param purpose What the connection is for, such as the text of a statement.
 */
export function acquire(session: Session, signal: AbortSignal | undefined, purpose?: string): Promise<Lease> {
  const acquiring = session.acquire(purpose, signal);
  if (signal === undefined) return acquiring;
  return until(acquiring, signal).catch((error) => {
    if (signal.aborted) acquiring.then((late) => late.release(), () => {}); // no connection came
    throw error;
  });
}

/**
 * Waits for work on a connection. On an abort, asks the server to cancel the work, and waits for its end within a limit.
 *
 * A cancel request names a connection and no statement, and a proxy may deliver it late. Only the error that the request
 * causes shows that it has arrived, so after any other end the connection is not used again. The connection is also not
 * used before the server has closed the request's own connection: PostgreSQL signals the process and then its group, and
 * the second signal could hit the next statement.
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
  const settled = work.then(() => true, () => true);
  const isSettled = await until(settled, signal).catch(() => false);
  return isSettled ? await work : await cancel(session, lease, work);
}

async function cancel<T>(session: Session, lease: Lease, work: Promise<T>): Promise<T> {
  lease.broken = new Error("a request to cancel may still be on its way");
  const limit = Promise.withResolvers<never>();
  const timer = setTimeout(() => limit.reject(new Error("the server did not cancel in time")), CANCEL_LIMIT_MS);
  const requests = sendCancelRequests(session, lease, work);
  try {
    const value = await Promise.race([work, limit.promise]);
    if (session.held) await keepIfSafe(lease, requests, limit.promise);
    return value;
  } catch (error) {
    requests.stopped = true;
    if (session.held) await keepIfSafe(lease, requests, limit.promise, work);
    await Promise.race([requests.ended, limit.promise]).catch(() => {}); // the limit has passed, and the connection stays broken
    if (requests.count === 1 && requests.taken === 1 && isCancellation(error)) lease.broken = undefined;
    throw error;
  } finally {
    clearTimeout(timer);
    requests.stopped = true;
  }
}

/**
 * Keeps the connection of a held session after a cancellation, because its state is worth more than certainty about late
 * requests. A request that arrives between two statements does nothing, so the connection is used again once the server
 * has taken all requests and has had a moment to send their signals.
 */
async function keepIfSafe(
  lease: Lease,
  requests: CancelRequests,
  limit: Promise<never>,
  work?: Promise<unknown>,
): Promise<void> {
  requests.stopped = true;
  try {
    if (work !== undefined) await Promise.race([work.catch(() => {}), limit]); // the caller gets the error
    await Promise.race([requests.ended, limit]);
    if (requests.taken !== requests.count) return;
    await pause(SIGNAL_MS);
    lease.broken = undefined;
  } catch {
    // The server did not answer in time, and may still be working.
  }
}

interface CancelRequests {
  /** The number of requests that were sent. */
  count: number;
  /** The number of requests that the server has taken: it has closed their connections. */
  taken: number;
  /** Whether no other request is to be sent. */
  stopped: boolean;
  /** Resolves when no request is still under way. */
  ended: Promise<void>;
}

/** Sends cancel requests until the work ends. */
function sendCancelRequests(session: Session, { client }: Lease, work: Promise<unknown>): CancelRequests {
  const requests: CancelRequests = { count: 0, taken: 0, stopped: false, ended: Promise.resolve() };
  const workEnded = new AbortController();
  work.catch(() => {}).finally(() => workEnded.abort()); // the caller gets the error
  const send = async () => {
    while (!requests.stopped) {
      requests.count++;
      await session.cancel(client).then(() => requests.taken++, () => {}); // the server has not taken it
      await pause(CANCEL_INTERVAL_MS, workEnded.signal).catch(() => {}); // an abort leaves no timer behind
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
