// @ts-types="@types/pg"
import type pg from "pg";
import { LakebaseError } from "../errors.ts";
import { acquire, cancelable, eitherSignal, until } from "./cancel.ts";
import { lookUpOn } from "./catalogue.ts";
import { Execution } from "./execution.ts";
import { explain } from "./failure.ts";
import { fieldsOf } from "./fields.ts";
import type { Statement } from "./fragment.ts";
import { makeResult, type Result } from "./result.ts";
import type { Lease, Session } from "./session.ts";
import { type StopOptions, stoppable } from "./stop.ts";
import type { ParserSource } from "./types.ts";
import type { Exchange } from "./wire.ts";

/** Finds where a statement runs, connecting where that is needed. */
export type FindSession = () => Promise<Session>;

/** How a statement runs. */
export interface RunOptions extends StopOptions {
  /** Fetches no more rows than this. */
  limit?: number | undefined;
  /** For a drawing: learns the names of types that are not known, and whether there are more rows. @default {false} */
  drawn?: boolean | undefined;
  /** Refuses several statements in one before any of them runs. @default {false} */
  single?: boolean | undefined;
  /** How values become JavaScript's. @default {the session's} */
  types?: ParserSource | undefined;
}

/**
 * Runs a statement to its end, or to the rows that are wanted.
 *
 * @throws {LakebaseError} `QUERY_FAILED`, `CONNECTION_LOST`, `CANCELED`, or what connecting throws; the reason of the
 * caller's signal.
 */
export async function run<Row>(
  find: FindSession,
  statement: Statement,
  options: RunOptions = {},
): Promise<Result<Row>> {
  using stop = stoppable(options);
  const session = await until(find(), stop.signal);
  const result = await onConnection(session, statement, stop.signal, async (lease, signal) => {
    const { types = session.types, limit, single, drawn } = options;
    const fetched = limit !== undefined && drawn ? limit + 1 : limit; // the server can't say that the last row was the last
    const reading = { types, learned: session.catalogue };
    let execution = new Execution(statement, { ...reading, limit: fetched, single });
    const started = performance.now();
    try {
      await exchange(session, lease, signal, execution);
    } catch (error) {
      if (signal?.aborted || session.transaction !== undefined || !execution.mayBeSeveral(error)) throw error;
      execution = new Execution(statement, reading); // nothing has run: it was refused while it was parsed
      await exchange(session, lease, signal, execution);
    }
    const elapsed = performance.now() - started;
    session.catalogue.heed(execution.tag, statement.text);
    if (drawn) await nameTypes(session, lease, signal, execution);
    if (limit !== undefined && execution.rows.length > limit) execution.rows.length = limit;
    return toResult<Row>(session, execution, elapsed);
  });
  stop.succeeded();
  return result;
}

/** Sends something on a connection and waits for its end. */
export async function exchange(
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
  if (submit) lease.client.query(work as unknown as pg.Submittable);
  try {
    await cancelable(session, lease, signal, work.done);
  } finally {
    if (work.lost) lease.broken ??= new Error("the connection is lost");
  }
}

async function nameTypes(session: Session, lease: Lease, signal: AbortSignal | undefined, answer: Exchange) {
  const learning = session.catalogue.learnTypes(answer.wireFields, lookUpOn(lease.client));
  const learned = await cancelable(session, lease, signal, learning);
  if (learned) answer.fields = fieldsOf(answer.wireFields, session.catalogue);
}

function toResult<Row>(session: Session, answer: Exchange, elapsed: number): Result<Row> {
  const { rows, fields, wireFields, tag, more, notices } = answer;
  const { catalogue } = session;
  return makeResult<Row>({
    ...{ rows: rows as Row[], fields, command: commandOf(tag), tag, more, elapsed, notices },
    rowCount: countOf(tag),
    describe: async () => {
      await catalogue.learnTypes(wireFields, session.lookUp);
      await catalogue.learnTables(wireFields, session.lookUp);
      return fieldsOf(wireFields, catalogue);
    },
  });
}

/** `INSERT 0 3` is an `INSERT`, `CREATE TABLE` stays. */
function commandOf(tag: string): string {
  return tag.replace(/( \d+)+$/, "");
}

function countOf(tag: string): number | null {
  const count = / (\d+)$/.exec(tag);
  return count === null ? null : Number(count[1]);
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
    const lease = await acquire(session, signal);
    try {
      const result = await work(lease, signal);
      leftTransaction(session, lease);
      return result;
    } finally {
      await restore(session, lease);
      lease.release();
    }
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw await explain(session, error, statement);
  }
}

/** Whether the server has a transaction open on a connection. */
export function isOpenTransaction({ client }: Lease): boolean {
  const status = (client as unknown as { getTransactionStatus?: () => string | null }).getTransactionStatus?.();
  return status === "T" || status === "E";
}

/** A connection goes back to the pool outside of any transaction; what can't be brought there is closed. */
export async function restore({ transaction, held }: Session, lease: Lease): Promise<void> {
  if (transaction !== undefined || held || lease.broken !== undefined || !isOpenTransaction(lease)) return;
  await lease.client.query("ROLLBACK").catch((error: Error) => lease.broken = error);
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
