import { pause } from "../core/backoff.ts";
import { LakebaseError } from "../core/errors.ts";
import { inNotebook } from "../draw/notebook.ts";
import type { Lease, Session } from "./session.ts";

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

/** How long the server has to end a canceled statement before its connection is closed. */
const CANCEL_LIMIT_MS = 900;
/** How long the server may take from the end of a request's connection to the signal. */
const SIGNAL_MS = 20;
/** How long after a request the next one is made: the first may have come before the statement had begun. */
const ASK_AGAIN_MS = 200;

/**
 * The promise, unless stopped first.
 *
 * @param work What is waited for; it goes on by itself when stopped.
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

/** A signal that aborts when one of them does. */
export function eitherSignal(a: AbortSignal | undefined, b: AbortSignal | undefined): AbortSignal | undefined {
  return a === undefined || b === undefined ? a ?? b : AbortSignal.any([a, b]);
}

/**
 * A connection, unless stopped first; one that comes later is given back.
 *
 * @param what The statement that it is for, or what else.
 */
export function acquire(session: Session, signal: AbortSignal | undefined, what?: string): Promise<Lease> {
  const acquiring = session.acquire(what);
  if (signal === undefined) return acquiring;
  return until(acquiring, signal).catch((error) => {
    if (signal.aborted) acquiring.then((late) => late.release(), () => {});
    throw error;
  });
}

/**
 * Waits for work on a connection; when stopped, has the server end it, and waits for that within a limit.
 *
 * A request to cancel says which connection is meant, not which statement, and a proxy on the way may deliver it late. Only
 * the error that it causes shows that it has arrived, so after any other end the connection is not used again. Nor before
 * the server has closed the request's own connection: PostgreSQL signals the process, then its group, so twice, and the
 * second signal could hit the next statement.
 *
 * @param work What runs; it settles once the server is ready for more.
 * @throws What `work` throws; whoever asked to stop looks at the signal.
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
    await Promise.race([requests.ended, limit.promise]).catch(() => {});
    if (requests.count === 1 && requests.taken === 1 && isCancellation(error)) lease.broken = undefined;
    throw error;
  } finally {
    clearTimeout(timer);
    requests.over = true;
  }
}

/**
 * A session that is held is worth more than the certainty that no request comes late: one that reaches the server between two
 * statements does nothing, so once all were taken, and the server had a moment for their signals, it goes on.
 */
async function settle(lease: Lease, requests: Requests, limit: Promise<never>, work?: Promise<unknown>): Promise<void> {
  requests.over = true;
  try {
    if (work !== undefined) await Promise.race([work.catch(() => {}), limit]);
    await Promise.race([requests.ended, limit]);
    if (requests.taken !== requests.count) return;
    await pause(SIGNAL_MS);
    lease.broken = undefined;
  } catch {
    // The server has not answered in time: it may still be at work.
  }
}

interface Requests {
  /** How many were sent. */
  count: number;
  /** How many the server has taken, to the end of their own connection. */
  taken: number;
  /** Set to send no more. */
  over: boolean;
  /** When none is under way any more. */
  ended: Promise<void>;
}

function ask(session: Session, { client }: Lease, work: Promise<unknown>): Requests {
  const requests: Requests = { count: 0, taken: 0, over: false, ended: Promise.resolve() };
  const settled = new AbortController();
  work.catch(() => {}).finally(() => settled.abort());
  const send = async () => {
    while (!requests.over) {
      requests.count++;
      await session.cancel(client).then(() => requests.taken++, () => {});
      await pause(ASK_AGAIN_MS, settled.signal).catch(() => {}); // leaves no timer behind
    }
  };
  requests.ended = send();
  return requests;
}

/** The server's own limit on a statement has the same SQLSTATE. */
function isCancellation(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  return code === "57014" && !/timeout/.test(String(message));
}
