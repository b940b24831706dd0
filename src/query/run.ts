// @ts-types="@types/pg"
import type pg from "pg";
import { LakebaseError } from "../errors.ts";
import { queryError } from "./error.ts";
import type { Statement } from "./fragment.ts";
import { type Heard, listen } from "./listen.ts";
import { type Preview, preview } from "./preview.ts";
import { fieldsOf, makeResult, type Result, rowMaker } from "./result.ts";
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
    const types = session.types as pg.CustomTypesConfig;
    using heard = listen(client);
    const started = performance.now();
    const answer = await client.query({ ...statement, rowMode: "array", types });
    const elapsed = performance.now() - started;
    const last = (Array.isArray(answer) ? answer.at(-1) : answer) as pg.QueryArrayResult<unknown[]>;
    return toResult<Row>({ ...last, more: false }, heard, elapsed);
  });
}

/**
 * Runs a statement and fetches its first rows only.
 *
 * @param limit Rows at most.
 * @throws {LakebaseError} As {@linkcode run}.
 */
export async function runPreview<Row>(
  session: Session,
  statement: Statement,
  limit: number,
  options: StopOptions = {},
): Promise<Result<Row>> {
  return await onConnection(session, statement, options, async ({ client }) => {
    using heard = listen(client);
    const started = performance.now();
    const answer = await preview(client, statement, limit, session.types);
    return toResult<Row>(answer, heard, performance.now() - started);
  });
}

type Answer = Pick<Preview, "rows" | "fields" | "rowCount" | "more">;

function toResult<Row>(answer: Answer, { tag, notices }: Heard, elapsed: number): Result<Row> {
  const fields = fieldsOf(answer.fields ?? []);
  const toRow = rowMaker<Row>(fields);
  const rows = answer.rows as unknown[];
  for (let index = 0; index < rows.length; index++) rows[index] = toRow(rows[index] as unknown[]); // in place: one array less
  const { rowCount, more } = answer;
  return makeResult<Row>({
    rows: rows as Row[],
    fields,
    command: commandOf(tag),
    tag,
    rowCount,
    more,
    elapsed,
    notices,
  });
}

/** `INSERT 0 3` is an `INSERT`, `CREATE TABLE` stays. */
function commandOf(tag: string): string {
  return tag.replace(/( \d+)+$/, "");
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

/** The server did not end a canceled statement: its connection can't be used again. */
export class Unresponsive extends Error {}

/** A connection, unless stopped first. */
export async function acquire(session: Session, signal: AbortSignal): Promise<Lease> {
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

/** Waits for work on a connection; when stopped, has the server end it, and waits for that within a limit. */
export async function cancelable<T>(
  session: Session,
  { client }: Lease,
  signal: AbortSignal,
  work: Promise<T>,
): Promise<T> {
  const stopped = aborted(signal);
  try {
    return await Promise.race([work, stopped.promise]);
  } catch (error) {
    if (!signal.aborted) throw error;
    const limit = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => limit.reject(new Unresponsive("the server did not cancel in time")),
      CANCEL_LIMIT_MS,
    );
    // Until the server has taken the request, it could still hit the next statement on this connection.
    const canceled = session.cancel(client).catch(() => limit.promise);
    const ended = work.catch(() => {});
    await Promise.race([Promise.all([canceled, ended]), limit.promise]).finally(() => clearTimeout(timer));
    return await work;
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
export async function restore(session: Session, client: pg.PoolClient): Promise<Error | undefined> {
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

/** An error for the person who wrote the statement. */
export async function explain(session: Session, error: unknown, { text }: Statement): Promise<LakebaseError> {
  const found = await suggest(session, error, text).catch(() => undefined); // a guess is not worth an error of its own
  return queryError(error, text, found);
}
