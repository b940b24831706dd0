// @ts-types="@types/pg"
import type pg from "pg";
import { LakebaseError } from "../errors.ts";
import { queryError } from "./error.ts";
import type { Statement } from "./fragment.ts";
import { fieldsOf, makeResult, type Notice, type Result, rowMaker, type WireField } from "./result.ts";
import type { Lease, Session } from "./session.ts";
import { type StopOptions, stoppable } from "./stop.ts";
import { suggest } from "./suggest.ts";

/** How long the server has to end a canceled statement before its connection is closed. */
const CANCEL_LIMIT_MS = 900;

/**
 * Runs a statement to its end.
 *
 * @throws {LakebaseError} `QUERY_FAILED`, `CONNECTION_LOST`, `CANCELED`, or what connecting throws; the reason of the
 * caller's signal.
 */
export async function run<Row>(
  session: Session,
  statement: Statement,
  options: StopOptions = {},
): Promise<Result<Row>> {
  return await onConnection(session, statement, options, async ({ client }) => {
    const { text, values } = statement;
    const types = session.types as pg.CustomTypesConfig;
    const notices = collectNotices(client);
    const started = performance.now();
    const answer = await client.query({ text, values, rowMode: "array", types });
    const last = (Array.isArray(answer) ? answer.at(-1) : answer) as pg.QueryArrayResult<unknown[]>;
    return toResult<Row>(last, performance.now() - started, notices());
  });
}

function toResult<Row>(answer: pg.QueryArrayResult<unknown[]>, elapsed: number, notices: Notice[]): Result<Row> {
  const fields = fieldsOf((answer.fields ?? []) as WireField[]);
  const toRow = rowMaker<Row>(fields);
  const rows = answer.rows as unknown[];
  for (let index = 0; index < rows.length; index++) rows[index] = toRow(rows[index] as unknown[]); // in place: one array less
  return makeResult<Row>({
    rows: rows as Row[],
    fields,
    command: answer.command ?? "",
    rowCount: answer.rowCount,
    elapsed,
    notices,
  });
}

type WireNotice = Partial<Record<"severity" | "message" | "detail" | "hint", string | undefined>>;

/** Collects what the server says beside its answer, until the returned function is called. */
export function collectNotices(client: pg.PoolClient): () => Notice[] {
  const notices: Notice[] = [];
  const onNotice = ({ severity = "NOTICE", message = "", detail, hint }: WireNotice) => {
    if (notices.length >= 1000) return; // a loop of RAISE NOTICE is not worth the memory
    notices.push({ severity, message, ...(detail ? { detail } : {}), ...(hint ? { hint } : {}) });
  };
  client.on("notice", onNotice);
  return () => {
    client.removeListener("notice", onNotice);
    return notices;
  };
}

/**
 * Gets a connection for a piece of work, cancels it on the server when asked to stop, and gives the connection back in
 * the state it was in.
 */
export async function onConnection<T>(
  session: Session,
  statement: Statement,
  options: StopOptions,
  work: (lease: Lease, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  using stop = stoppable(options);
  const lease = await acquire(session, stop.signal);
  let broken: Error | undefined;
  try {
    const result = await cancelable(session, lease, stop.signal, work(lease, stop.signal));
    if (!session.inTransaction && isOpenTransaction(lease.client)) throw strayTransaction();
    return result;
  } catch (error) {
    if (error instanceof Unresponsive) broken = error;
    if (stop.signal.aborted) throw stop.signal.reason;
    throw await explain(session, error, statement);
  } finally {
    broken ??= await restore(session, lease.client);
    lease.release(broken);
  }
}

class Unresponsive extends Error {}

async function acquire(session: Session, signal: AbortSignal): Promise<Lease> {
  const acquiring = session.acquire();
  const stopped = aborted(signal);
  try {
    return await Promise.race([acquiring, stopped.promise]);
  } catch (error) {
    acquiring.then((late) => late.release(), () => {});
    throw error;
  } finally {
    stopped.forget();
  }
}

async function cancelable<T>(session: Session, { client }: Lease, signal: AbortSignal, work: Promise<T>): Promise<T> {
  const stopped = aborted(signal);
  try {
    return await Promise.race([work, stopped.promise]);
  } catch (error) {
    if (!signal.aborted) throw error;
    const timer = Promise.withResolvers<never>();
    const limit = setTimeout(
      () => timer.reject(new Unresponsive("the server did not cancel in time")),
      CANCEL_LIMIT_MS,
    );
    session.cancel(client).catch(() => {}); // then the limit decides
    return await Promise.race([work, timer.promise]).finally(() => clearTimeout(limit));
  } finally {
    stopped.forget();
  }
}

function aborted(signal: AbortSignal): { promise: Promise<never>; forget: () => void } {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  promise.catch(() => {});
  return { promise, forget: () => signal.removeEventListener("abort", onAbort) };
}

function isOpenTransaction(client: pg.PoolClient): boolean {
  const status = (client as unknown as { getTransactionStatus?: () => string | null }).getTransactionStatus?.();
  return status === "T" || status === "E";
}

/** A connection goes back to the pool outside of any transaction; what can't be brought there is closed. */
async function restore(session: Session, client: pg.PoolClient): Promise<Error | undefined> {
  if (session.inTransaction || !isOpenTransaction(client)) return undefined;
  return await client.query("ROLLBACK").then(() => undefined, (error: Error) => error);
}

function strayTransaction(): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    "Cannot leave a transaction open: the next query may run on another connection, so it was rolled back. " +
      "Use db.transaction(async (tx) => { await tx.sql`...` })",
    { sqlstate: "25000" },
  );
}

async function explain(session: Session, error: unknown, { text }: Statement): Promise<LakebaseError> {
  const found = await suggest(session, error, text).catch(() => undefined); // a guess is not worth an error of its own
  return queryError(error, text, found);
}
