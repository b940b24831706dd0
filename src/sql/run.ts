// @ts-types="npm:@types/pg@^8.11.0"
import type pg from "npm:pg@^8.23.0";
import { LakebaseError } from "../core/errors.ts";
import type { Exchange } from "./exchange.ts";
import { Execution } from "./execution.ts";
import { explainFailure } from "./failure.ts";
import { FirstRows } from "./first_rows.ts";
import { compile, Fragment, type Statement } from "./fragment.ts";
import { type LookUp, lookUpOn } from "./learned_types.ts";
import { fieldsOf, OUTCOME, StatementRows } from "./result.ts";
import type { Lease, Session } from "./session.ts";
import { acquire, cancelable, eitherSignal, type StopOptions, stoppable, until } from "./stop.ts";
import type { ParserSource } from "./types.ts";

/** Finds where a statement runs, connecting where that is needed. */
export type FindSession = () => Session | Promise<Session>;

/** How a statement runs. */
export interface RunOptions extends StopOptions {
  /** Rows that are wanted of one statement that reads; where it may do more than that, it runs to its end all the same. */
  limit?: number | undefined;
  /** Refuses several statements in one before any of them runs. @default {false} */
  single?: boolean | undefined;
  /** How values become JavaScript's. @default {the session's} */
  types?: ParserSource | undefined;
  /** Whether it has run before, and must not write a second time. @default {false} */
  again?: boolean | undefined;
  /** Makes what its rows are pushed to. @default {plain `StatementRows`} */
  makeRows?: (() => StatementRows<unknown>) | undefined;
}

/**
 * Runs a statement to its end, or to the rows that are wanted. Each small query pays for every step here, so nothing is
 * awaited that is there already.
 *
 * @throws {LakebaseError} `QUERY_FAILED`, `CONNECTION_LOST`, `CANCELED`, or what connecting throws; the reason of the
 * caller's signal.
 */
export async function run<Row>(
  find: FindSession,
  what: Fragment | Statement,
  options: RunOptions = {},
): Promise<StatementRows<Row>> {
  let statement: Statement;
  try {
    statement = what instanceof Fragment ? compile(what) : what;
  } catch {
    await undefined; // the trace of what is thrown inside an `await` of a query ends there; behind it, at the caller's line
    statement = compile(what as Fragment);
  }
  const stop = stoppable(options);
  try { // `using` would cost as much as three frames
    const found = find();
    const session = found instanceof Promise ? await until(found, stop.signal) : found;
    const result = await onConnection(session, statement, stop.signal, (lease, signal) => {
      const work = () => execute<Row>({ session, lease, signal, statement, options });
      return options.again ? runAgain(session, lease, signal, work) : work();
    });
    stop.succeeded();
    return result;
  } finally {
    stop[Symbol.dispose]();
  }
}

const makeStatementRows = () => new StatementRows();

interface Run {
  session: Session;
  lease: Lease;
  signal: AbortSignal | undefined;
  statement: Statement;
  options: RunOptions;
}

async function execute<Row>({ session, lease, signal, statement, options }: Run): Promise<StatementRows<Row>> {
  const { types = session.types, limit, single, makeRows = makeStatementRows } = options;
  const { learned } = session;
  const { text } = statement;
  const execution = limit === undefined
    ? new Execution(statement, { types, learned, single, makeRows })
    : new FirstRows(statement, { types, learned, makeRows, rows: limit, whole: learned.small.has(text) });
  const started = performance.now();
  await exchange(session, lease, signal, execution);
  const elapsed = performance.now() - started;
  learned.heed(execution.tag, text);
  if (execution instanceof FirstRows) {
    learned.heedSize(text, execution.count <= limit!);
    if (!execution.complete) execution.rows.length = limit!;
  }
  if (!execution.knowsTypes) await learnTypes(session, lease, signal, execution);
  return toResult<Row>(session, lease, execution, elapsed);
}

/** Sends something on a connection and waits for its end. */
export function exchange(
  session: Session,
  lease: Lease,
  signal: AbortSignal | undefined,
  work: Exchange,
  submit = true,
): Promise<void> {
  work.onDoomed = () => {
    lease.broken ??= new Error("a request to cancel may still be on its way");
    session.cancel(lease.client).catch(() => {});
  };
  work.onLost = () => lease.broken ??= new Error("the connection is lost");
  if (submit) lease.client.query(work as unknown as pg.Submittable);
  return cancelable(session, lease, signal, work.done);
}

/** Learns the database's own types among the columns: one round trip, once for each type. */
export async function learnTypes(
  session: Session,
  lease: Lease,
  signal: AbortSignal | undefined,
  answer: Exchange,
  lookUp: LookUp = lookUpOn(lease.client),
): Promise<void> {
  await cancelable(session, lease, signal, session.learned.learnTypes(answer.wireFields, lookUp));
  answer.typesLearned();
}

/** What is drawn with a result; the server's words for it are `T` and `E`. */
const STATUS: Record<string, "open" | "failed" | undefined> = { T: "open", E: "failed" };

function toResult<Row>(session: Session, lease: Lease, execution: Exchange, elapsed: number): StatementRows<Row> {
  const { learned, lookUp, place, transaction } = session;
  const { fields, wireFields, tag, more, notices } = execution;
  const rows = execution.rows as StatementRows<Row>;
  const describe = async () => {
    await learned.learnTypes(wireFields, lookUp);
    await learned.learnTables(wireFields, lookUp);
    return fieldsOf(wireFields, learned);
  };
  rows[OUTCOME] = {
    fields,
    tag,
    more,
    elapsed,
    notices,
    describe,
    place: place?.(),
    transaction: transaction && STATUS[statusOf(lease) ?? ""],
    session,
  };
  return rows;
}

/**
 * Gets a connection for a piece of work, and gives it back in the state it was in.
 *
 * @param work Gets the connection, and the signal to heed.
 */
export async function onConnection<T>(
  session: Session,
  statement: Statement,
  stopped: AbortSignal | undefined,
  work: (lease: Lease, signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  const signal = eitherSignal(stopped, session.signal);
  try {
    const lease = await acquire(session, signal, statement.text);
    try {
      const result = await work(lease, signal);
      leftTransaction(session, lease);
      return result;
    } finally {
      const restoring = restore(session, lease);
      if (restoring !== undefined) await restoring;
      lease.release();
    }
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw await explainFailure(session, error, statement);
  }
}

/** Whether the server has a transaction open on a connection. */
export function isOpenTransaction(lease: Lease): boolean {
  const status = statusOf(lease);
  return status === "T" || status === "E";
}

function statusOf({ client }: Lease): string | null | undefined {
  return (client as unknown as { getTransactionStatus?: () => string | null }).getTransactionStatus?.();
}

/**
 * A connection goes back to the pool outside of any transaction; what can't be brought there is closed. `undefined` where
 * there is nothing to do.
 */
export function restore(
  { transaction, held }: Pick<Session, "transaction" | "held">,
  lease: Lease,
): Promise<unknown> | undefined {
  if (transaction !== undefined || held || lease.broken !== undefined || !isOpenTransaction(lease)) return undefined;
  return lease.client.query("ROLLBACK").catch((error: Error) => lease.broken = error);
}

/** Statements begin and end transactions by `transaction()` only, unless they hold their connection. */
export function leftTransaction({ transaction, held }: Session, lease: Lease): void {
  if (held) return;
  const open = isOpenTransaction(lease);
  if (transaction === undefined && open) {
    throw new LakebaseError(
      "QUERY_FAILED",
      "Cannot leave a transaction open: the next query may run on another connection, so it was rolled back. " +
        "Use db.transaction(async (tx) => { await tx.sql`...` })",
      { sqlstate: "25000" },
    );
  }
  if (transaction === undefined || open) return;
  transaction.leave();
  throw new LakebaseError(
    "QUERY_FAILED",
    "Cannot end a transaction from inside: this statement ended it, and nothing more runs in it. Return from the " +
      "function to commit, throw to roll back",
    { sqlstate: "25P01" },
  );
}

const SAVEPOINT = "lakebase_again";

/**
 * Runs a statement that has run before, for more of its rows. Its text tells that it reads, but not what the functions that it
 * calls do: so the server is told to refuse whatever would write.
 *
 * @param session Where; a transaction of its own goes on.
 * @param lease The connection.
 * @param signal Stops it.
 * @param work Runs it.
 * @throws {LakebaseError} `QUERY_FAILED` where it would have written a second time; what `work` throws.
 */
export async function runAgain<T>(
  session: Session,
  lease: Lease,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const nested = session.transaction !== undefined;
  const say = (text: string) => cancelable(session, lease, signal, lease.client.query(text));
  await say(nested ? `SAVEPOINT ${SAVEPOINT}; SET LOCAL transaction_read_only = on` : "BEGIN READ ONLY");
  const result = await work().catch(async (error) => {
    if (!nested && lease.broken === undefined) await say("ROLLBACK"); // whoever holds the session does not end what we began
    throw (error as { code?: unknown } | null)?.code === "25006" ? wouldWrite(error) : error;
  });
  await say(nested ? `ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}` : "COMMIT");
  return result;
}

function wouldWrite(cause: unknown): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    "Cannot fetch the other rows: a function that the query calls writes, and the query has run for the first rows. To " +
      "have all of them write await sql`...` before it is drawn, or make a query anew to run it again",
    { cause, sqlstate: "25006" },
  );
}

/** For a statement that has run to its end for its first rows, and had too many to keep them all. */
export function notKept(kept: number, count: number): LakebaseError {
  const all = count.toLocaleString("en-US");
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot give all ${all} rows: the query has run to its end, once, for the first rows, and only ${kept} were kept. To ` +
      "run it again would do again what its functions do. For all rows write await sql`...` before it is drawn",
  );
}
