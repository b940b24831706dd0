// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import { statementLine } from "../core/sql_text.ts";
import { isTraced, traced } from "../core/trace.ts";
import { Description, settleEmptyArrays } from "./description.ts";
import type { Exchange } from "./exchange.ts";
import { Execution } from "./execution.ts";
import { explainFailure } from "./failure.ts";
import { FirstRows } from "./first_rows.ts";
import { compile, Fragment, type Statement } from "./fragment.ts";
import { type LookUp, lookUpOn } from "./learned_types.ts";
import { fieldsOf, OUTCOME, StatementRows } from "./result.ts";
import { type Lease, noteSettings, type Session } from "./session.ts";
import { acquire, cancelable, cleanUp, eitherSignal, type StopOptions, stoppable, until } from "./stop.ts";
import type { ParserSource } from "./types.ts";

/** Finds the session that a statement runs in, and connects if there is none yet. */
export type FindSession = () => Session | Promise<Session>;

/** How a statement runs. */
export interface RunOptions extends StopOptions {
  /** Rows to fetch of a statement that only reads; a statement that may do more runs to its end. */
  limit?: number | undefined;
  /** Refuses several statements in one before any of them runs. @default {false} */
  single?: boolean | undefined;
  /** The parsers of values. @default {the session's} */
  types?: ParserSource | undefined;
  /** Whether the statement has run before, and must not write a second time. @default {false} */
  again?: boolean | undefined;
  /** Makes the array that the rows are pushed to. @default {plain `StatementRows`} */
  makeRows?: (() => StatementRows<unknown>) | undefined;
}

/**
 * Runs a statement to its end, or to the number of rows that is asked for. Each small query pays for every step here, so
 * nothing is awaited that is already there.
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
    await undefined; // an error that is thrown within the `await` of a query has no trace to the caller's line
    statement = compile(what as Fragment);
  }
  const stop = stoppable(options);
  try { // `using` would cost as much as three frames
    const found = find();
    const session = found instanceof Promise ? await until(found, stop.signal) : found;
    const runs = isTraced() ? runTraced : runIn; // no closure, which each statement would pay for
    const result = await runs<Row>(session, statement, stop.signal, options);
    stop.succeeded();
    return result;
  } finally {
    stop[Symbol.dispose]();
  }
}

function runIn<Row>(
  session: Session,
  statement: Statement,
  stopped: AbortSignal | undefined,
  options: RunOptions,
): Promise<StatementRows<Row>> {
  const execution = options.again ? executeAgain<Row> : execute<Row>;
  return onConnection(session, statement, stopped, (lease, signal) => {
    return execution({ session, lease, signal, statement, options });
  });
}

function runTraced<Row>(...parameters: Parameters<typeof runIn>): Promise<StatementRows<Row>> {
  const [{ server }, { text }] = parameters;
  return traced({ text, server }, async (span) => {
    const rows = await runIn<Row>(...parameters);
    span.did(rows[OUTCOME]!.tag);
    return rows;
  });
}

const makeStatementRows = () => new StatementRows();

interface Run {
  session: Session;
  lease: Lease;
  signal: AbortSignal | undefined;
  statement: Statement;
  options: RunOptions;
}

async function execute<Row>({ session, lease, signal, statement: given, options }: Run): Promise<StatementRows<Row>> {
  const { types = session.types, limit, single, makeRows = makeStatementRows } = options;
  const statement = given.emptyArrays === undefined ? given : await withEmptyArrays(session, lease, signal, given);
  const { learned } = session;
  const { text } = statement;
  const execution = limit === undefined
    ? new Execution(statement, { types, learned, single, makeRows })
    : new FirstRows(statement, { types, learned, makeRows, rows: limit, whole: learned.small.has(text) });
  const started = performance.now();
  await exchange(session, lease, signal, execution);
  const elapsed = performance.now() - started;
  learned.statementRan(execution.tag, text);
  if (execution instanceof FirstRows) {
    learned.keepSize(text, execution.count <= limit!);
    if (!execution.complete) execution.rows.length = limit!;
  }
  if (!execution.knowsTypes) await learnTypes(session, lease, signal, execution);
  return toResult<Row>(session, lease, execution, elapsed);
}

function executeAgain<Row>(running: Run): Promise<StatementRows<Row>> {
  const { session, lease, signal } = running;
  return runAgain(session, lease, signal, () => execute<Row>(running));
}

/** Sends something on a connection and waits for its end. */
export function exchange(
  session: Session,
  lease: Lease,
  signal: AbortSignal | undefined,
  work: Exchange,
  submit = true,
): Promise<void> {
  work.onFailed = () => {
    lease.broken ??= new Error("a request to cancel may still be on its way");
    session.cancel(lease.client).catch(() => {}); // the connection is closed in any case
  };
  work.onLost = () => lease.broken ??= new Error("the connection is lost");
  if (submit) lease.client.query(work as unknown as pg.Submittable);
  return cancelable(session, lease, signal, work.done);
}

/** Asks for the types of the parameters of a statement that has empty arrays, and writes those as their types need it. */
export async function withEmptyArrays(
  session: Session,
  lease: Lease,
  signal: AbortSignal | undefined,
  statement: Statement,
): Promise<Statement> {
  const description = new Description(`${statement.prefix ?? ""}${statement.text}`);
  await exchange(session, lease, signal, description);
  const settling = settleEmptyArrays(statement, description.parameters, lookUpOn(lease.client));
  return { ...statement, values: await cancelable(session, lease, signal, settling) };
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

/** The state of a transaction, by the letter that the server sends for it. */
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
 * Gets a connection for a piece of work, and gives it back in the state that it was in.
 *
 * @param work Is given the connection, and the signal that stops it.
 */
export async function onConnection<T>(
  session: Session,
  statement: Statement,
  stopped: AbortSignal | undefined,
  work: (lease: Lease, signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  const signal = eitherSignal(stopped, session.signal);
  let lease: Lease | undefined;
  try {
    lease = await acquire(session, signal, statement.text);
    if (session.held || session.transaction !== undefined) noteSettings(lease, statement);
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
    noteCancellation(session, lease, signal, statement);
    if (signal?.aborted) throw signal.reason;
    throw await explainFailure(session, error, statement);
  }
}

/** Keeps for the next statement of a transaction that a canceled one has made it fail. */
export function noteCancellation(
  { transaction }: Pick<Session, "transaction">,
  lease: Lease | undefined,
  signal: AbortSignal | undefined,
  { text }: Pick<Statement, "text">,
): void {
  if (!signal?.aborted || transaction === undefined || lease === undefined || statusOf(lease) !== "E") return;
  transaction.failure ??= `canceled: ${statementLine(text)}`;
}

/** Whether the server has a transaction open on a connection. */
export function isOpenTransaction(lease: { client: object }): boolean {
  const status = statusOf(lease);
  return status === "T" || status === "E";
}

function statusOf({ client }: { client: object }): string | null | undefined {
  return (client as { getTransactionStatus?: () => string | null }).getTransactionStatus?.();
}

/**
 * Ends a transaction that was left open, because a connection goes back to the pool outside of any; if that fails, the
 * connection is closed. `undefined` if there is nothing to do.
 */
export function restore(
  { transaction, held }: Pick<Session, "transaction" | "held">,
  lease: Lease,
): Promise<unknown> | undefined {
  if (transaction !== undefined || held || lease.broken !== undefined || !isOpenTransaction(lease)) return undefined;
  return cleanUp(lease, lease.client.query("ROLLBACK"));
}

/** Refuses a statement that began or ended a transaction by itself, unless the session holds its connection. */
export function leftTransaction({ transaction, held }: Session, lease: Lease): void {
  if (held) return;
  const open = isOpenTransaction(lease);
  if (transaction === undefined && open) {
    throw new LakebaseError(
      "QUERY_FAILED",
      "Cannot leave a transaction open: the next query may run on another connection, so this one was rolled back. " +
        "Use db.transaction(async (tx) => { await tx.sql`...` })",
      { sqlstate: "25000" },
    );
  }
  if (transaction === undefined || open) return;
  transaction.leave();
  throw new LakebaseError(
    "QUERY_FAILED",
    "Cannot end a transaction from inside: this statement ended it, so no other statement can run in it. Return from the " +
      "function to commit, or throw to roll back",
    { sqlstate: "25P01" },
  );
}

const SAVEPOINT = "lakebase_again";

/**
 * Runs a statement again for more of its rows. Its text shows that it only reads, but not what the functions that it calls
 * do, so the server is told to refuse every write.
 *
 * @param session The session; a transaction that is open in it goes on.
 * @param lease The connection.
 * @param signal Stops the statement.
 * @param work Runs the statement.
 * @throws {LakebaseError} `QUERY_FAILED` if the statement would have written a second time; the errors of `work`.
 */
async function runAgain<T>(
  session: Session,
  lease: Lease,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const nested = session.transaction !== undefined;
  const send = (text: string) => cancelable(session, lease, signal, lease.client.query(text));
  await send(nested ? `SAVEPOINT ${SAVEPOINT}; SET LOCAL transaction_read_only = on` : "BEGIN READ ONLY");
  const result = await work().catch(async (error) => {
    if (!nested && lease.broken === undefined) await send("ROLLBACK"); // the holder of the session does not end a transaction that was begun here
    throw (error as { code?: unknown } | null)?.code === "25006" ? wouldWrite(error) : error;
  });
  await send(nested ? `ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}` : "COMMIT");
  return result;
}

function wouldWrite(cause: unknown): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    "Cannot fetch the other rows: the query calls a function that writes, and it has already run for the first rows. To get " +
      "all rows, write await sql`...` before it is drawn, or make a new query, which runs it again",
    { cause, sqlstate: "25006" },
  );
}

/** The error for a statement that ran to its end for its first rows, and had too many rows to keep them all. */
export function notKept(kept: number, count: number): LakebaseError {
  const all = count.toLocaleString("en-US");
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot give all ${all} rows: the query ran to its end for the first rows, and only ${kept} rows were kept. Running it ` +
      "again would repeat what its functions do. To get all rows, write await sql`...` before it is drawn",
  );
}
