import { pause } from "../backoff.ts";
import type { Lease, Session } from "./session.ts";

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
