// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import { statementLine } from "../core/sql_text.ts";
import { isTraced, traced } from "../core/trace.ts";
import { type CatalogQuery, catalogQueryOn, settleEmptyArrays } from "./catalog_cache.ts";
import type { Exchange } from "./exchange.ts";
import { Description, Execution } from "./execution.ts";
import { explainFailure } from "./failure.ts";
import { FirstRows } from "./first_rows.ts";
import { compile, Fragment, type Statement } from "./fragment.ts";
import { fieldsOf, OUTCOME, StatementRows } from "./result.ts";
import type { Lease, Session } from "./session.ts";
import { noteCustomSettings } from "./session_state.ts";
import { acquire, cancelable, cleanUp, eitherSignal, type StopOptions, stoppable, until } from "./stop.ts";
import type { ParserSource } from "./types.ts";

/** Finds the session that a statement runs in, and connects if there is no connection yet. */
export type FindSession = () => Session | Promise<Session>;

/** How a statement runs. */
export interface RunOptions extends StopOptions {
  /** The most rows to fetch if the statement only reads; a statement that may do more runs to its end. */
  limit?: number | undefined;
  /** Refuses a text of several statements before any of them runs. @default {false} */
  single?: boolean | undefined;
  /** The parsers of values. @default {the session's} */
  types?: ParserSource | undefined;
  /** Whether the statement has run before, and must not write a second time. @default {false} */
  again?: boolean | undefined;
  /** Makes the array that the rows are pushed to. @default {plain `StatementRows`} */
  makeRows?: (() => StatementRows<unknown>) | undefined;
}

/**
 * Runs a statement to its end, or until the limit of rows is reached. Every step here costs each small query time, so
 * nothing is awaited that is already there.
 *
 * @param query The statement, or a fragment to make it of.
 * @throws {LakebaseError} `QUERY_FAILED`, `CONNECTION_LOST`, `CANCELED`, or what connecting throws; the reason of the
 * caller's signal.
 */
export async function run<Row>(
  find: FindSession,
  query: Fragment | Statement,
  options: RunOptions = {},
): Promise<StatementRows<Row>> {
  let statement: Statement;
  try {
    statement = query instanceof Fragment ? compile(query) : query;
  } catch {
    await undefined; // without this, the trace of the error would not lead to the line of the caller
    statement = compile(query as Fragment);
  }
  const stop = stoppable(options);
  try { // `using` would cost as much as three calls
    const finding = find();
    const session = finding instanceof Promise ? await until(finding, stop.signal) : finding;
    const runOnce = isTraced() ? runTraced : runIn; // a closure would cost each statement time
    const result = await runOnce<Row>(session, statement, stop.signal, options);
    stop.succeeded();
    return result;
  } finally {
    stop[Symbol.dispose]();
  }
}

function runIn<Row>(
  session: Session,
  statement: Statement,
  stop: AbortSignal | undefined,
  options: RunOptions,
): Promise<StatementRows<Row>> {
  const executeOnce = options.again ? executeAgain<Row> : execute<Row>;
  return onConnection(session, statement, stop, (lease, signal) => {
    return executeOnce({ session, lease, signal, statement, options });
  });
}

function runTraced<Row>(...parameters: Parameters<typeof runIn>): Promise<StatementRows<Row>> {
  const [{ server }, { text }] = parameters;
  return traced({ text, server }, async (span) => {
    const rows = await runIn<Row>(...parameters);
    span.setCommandTag(rows[OUTCOME]!.tag);
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

async function execute<Row>(running: Run): Promise<StatementRows<Row>> {
  const { session, lease, signal, options } = running;
  const { types = session.types, limit, single, makeRows = makeStatementRows } = options;
  const statement = running.statement.emptyArrays === undefined
    ? running.statement
    : await withEmptyArrays(session, lease, signal, running.statement);
  const { catalog } = session;
  const { text } = statement;
  const execution = limit === undefined
    ? new Execution(statement, { types, catalog, single, makeRows })
    : new FirstRows(statement, { types, catalog, makeRows, rows: limit, whole: catalog.small.has(text) });
  const started = performance.now();
  await runExchange(session, lease, signal, execution);
  const elapsed = performance.now() - started;
  catalog.invalidate(execution.tag, text);
  if (execution instanceof FirstRows) {
    catalog.rememberSize(text, execution.count <= limit!);
    if (!execution.complete) execution.rows.length = limit!;
  }
  if (!execution.hasTypes) await fetchTypes(session, lease, signal, execution);
  return toResult<Row>(session, lease, execution, elapsed);
}

function executeAgain<Row>(running: Run): Promise<StatementRows<Row>> {
  const { session, lease, signal } = running;
  return runAgain(session, lease, signal, () => execute<Row>(running));
}

/**
 * Runs an exchange on a connection, and waits for its end.
 *
 * @param submit Whether `pg` has to submit the exchange; otherwise it is under way already.
 */
export function runExchange(
  session: Session,
  lease: Lease,
  signal: AbortSignal | undefined,
  exchange: Exchange,
  submit = true,
): Promise<void> {
  exchange.onFailed = () => {
    lease.broken ??= new Error("a request to cancel may still be on its way");
    session.cancel(lease.client).catch(() => {}); // the connection is closed in any case
  };
  exchange.onLost = () => lease.broken ??= new Error("the connection is lost");
  if (submit) lease.client.query(exchange as unknown as pg.Submittable);
  return cancelable(session, lease, signal, exchange.done);
}

/** Asks the server for the types of a statement's parameters, and writes its empty arrays as these types need it. */
export async function withEmptyArrays(
  session: Session,
  lease: Lease,
  signal: AbortSignal | undefined,
  statement: Statement,
): Promise<Statement> {
  const description = new Description(`${statement.prefix ?? ""}${statement.text}`);
  await runExchange(session, lease, signal, description);
  const settling = settleEmptyArrays(statement, description.parameters, catalogQueryOn(lease.client));
  return { ...statement, values: await cancelable(session, lease, signal, settling) };
}

/** Looks up the database's own types among the columns; one round trip for those that are not cached. */
export async function fetchTypes(
  session: Session,
  lease: Lease,
  signal: AbortSignal | undefined,
  exchange: Exchange,
  catalogQuery: CatalogQuery = catalogQueryOn(lease.client),
): Promise<void> {
  await cancelable(session, lease, signal, session.catalog.fetchTypes(exchange.wireFields, catalogQuery));
  exchange.typesFetched();
}

/** The state of a transaction, by the letter that the server sends for it. */
const STATUS: Record<string, "open" | "failed" | undefined> = { T: "open", E: "failed" };

function toResult<Row>(session: Session, lease: Lease, execution: Exchange, elapsed: number): StatementRows<Row> {
  const { catalog, queryIfFree, place, transaction } = session;
  const { fields, wireFields, tag, more, notices } = execution;
  const rows = execution.rows as StatementRows<Row>;
  const describe = async () => {
    await catalog.fetchTypes(wireFields, queryIfFree);
    await catalog.fetchTables(wireFields, queryIfFree);
    return fieldsOf(wireFields, catalog);
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
 * @param work The work; its signal aborts with `stop` and with the session.
 */
export async function onConnection<T>(
  session: Session,
  statement: Statement,
  stop: AbortSignal | undefined,
  work: (lease: Lease, signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  const signal = eitherSignal(stop, session.signal);
  let lease: Lease | undefined;
  try {
    lease = await acquire(session, signal, statement.text);
    if (session.held || session.transaction !== undefined) noteCustomSettings(lease, statement);
    try {
      const result = await work(lease, signal);
      checkTransaction(session, lease);
      return result;
    } finally {
      const restoring = rollBackOpen(session, lease);
      if (restoring !== undefined) await restoring;
      lease.release();
    }
  } catch (error) {
    noteCancellation(session, lease, signal, statement);
    if (signal?.aborted) throw signal.reason;
    throw await explainFailure(session, error, statement);
  }
}

/** Notes that a canceled statement has made its transaction fail, for the error of the next statement. */
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
 * Rolls back a transaction that a statement left open, because no connection goes back to the pool in a transaction. If
 * the rollback fails, the connection is closed. Returns `undefined` if there is nothing to do.
 */
export function rollBackOpen(
  { transaction, held }: Pick<Session, "transaction" | "held">,
  lease: Lease,
): Promise<unknown> | undefined {
  if (transaction !== undefined || held || lease.broken !== undefined || !isOpenTransaction(lease)) return undefined;
  return cleanUp(lease, lease.client.query("ROLLBACK"));
}

/** Refuses a statement that itself began or ended a transaction, unless the session keeps its connection. */
export function checkTransaction({ transaction, held }: Session, lease: Lease): void {
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
  transaction.markEnded();
  throw new LakebaseError(
    "QUERY_FAILED",
    "Cannot end a transaction from inside: this statement ended it, so no other statement can run in it. Return from the " +
      "function to commit, or throw to roll back",
    { sqlstate: "25P01" },
  );
}

const SAVEPOINT = "lakebase_again";

/**
 * Runs a statement again for more of its rows. Its text shows that it only reads, but the functions that it calls may
 * write, so the server is told to refuse every write.
 *
 * @param session The session; a transaction that is open in it goes on.
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
    if (!nested && lease.broken === undefined) await send("ROLLBACK"); // nobody else ends the transaction that was begun here
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

/** Makes the error for a query that ran to its end for its first rows, and had too many rows to keep them all. */
export function notKept(kept: number, count: number): LakebaseError {
  const all = count.toLocaleString("en-US");
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot give all ${all} rows: the query ran to its end for the first rows, and only ${kept} rows were kept. Running it ` +
      "again would repeat what its functions do. To get all rows, write await sql`...` before it is drawn",
  );
}
