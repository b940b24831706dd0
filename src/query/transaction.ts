// @ts-types="npm:@types/pg@^8.11.0"
import type pg from "npm:pg@^8.23.0";
import { LakebaseError } from "../errors.ts";
import { acquire, until } from "./cancel.ts";
import { exchange, type FindSession } from "./run.ts";
import { Execution } from "./execution.ts";
import { type Lease, type Session, sublease, type TransactionState } from "./session.ts";
import { checkStops } from "./options.ts";
import { stoppable } from "./stop.ts";
import { explainFailure } from "./explain_failure.ts";

/** How a transaction runs. */
export interface TransactionOptions {
  /** What it sees of others. @default {"read committed"} */
  isolation?: "read committed" | "repeatable read" | "serializable";
  /** Whether it may only read. @default {false} */
  readOnly?: boolean;
  /** Ends it: what runs is canceled, everything is rolled back, and the signal's reason is thrown. */
  signal?: AbortSignal;
  /** Seconds that all of it may take, the wait for a connection included. @default {no limit} */
  timeout?: number;
}

/**
 * Runs statements that take effect together or not at all.
 *
 * @param outside Where the connection comes from.
 * @param work Gets a session for the statements; none runs on it once this has ended.
 * @throws What `work` threw, {@linkcode TransactionOptions.signal}'s reason, or a `LakebaseError`: `CONNECTION_LOST` where
 * the outcome of the commit is not known.
 */
export async function transact<T>(
  outside: Session,
  work: (find: FindSession) => T | PromiseLike<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const begin = beginStatement(options);
  checkStops(options);
  using stop = stoppable({ signal: options.signal, timeout: options.timeout });
  const lease = await acquire(outside, stop.signal);
  using transaction = new Transaction(lease, outside, stop.signal);
  try {
    const find = () => transaction;
    await transaction.command(begin, stop.signal);
    const result = await until((async () => await work(find))(), stop.signal);
    await commit(transaction, stop.signal);
    outside.learned.committed();
    return result;
  } catch (error) {
    await transaction.rollBack();
    throw error;
  } finally {
    transaction.leave();
    lease.release();
  }
}

async function commit(transaction: Transaction, signal: AbortSignal | undefined): Promise<void> {
  transaction.leave();
  const tag = await transaction.command("COMMIT", signal).catch((error) => {
    if (!signal?.aborted || transaction.lease.broken === undefined) throw error;
    throw new LakebaseError("CONNECTION_LOST", "Stopped while committing: whether it took effect is not known", {
      cause: error,
    });
  });
  if (tag === "ROLLBACK") throw rolledBack(transaction.failure);
}

/** How long the server has to roll back before its connection is closed. */
const ROLLBACK_LIMIT_MS = 1000;

/** The statements of one transaction: one at a time, on one connection, and none after its end. */
class Transaction implements Session, TransactionState, Disposable {
  readonly types: Session["types"];
  readonly learned: Session["learned"];
  readonly transaction: TransactionState = this;
  readonly lookUp: Session["lookUp"];
  readonly place: Session["place"];
  readonly connections = 1;
  readonly lease: Lease;
  failure: string | undefined;
  readonly #outside: Session;
  readonly #over = new AbortController();
  readonly #stopped: AbortSignal | undefined;
  readonly #onStop = () => this.#over.abort(this.#stopped?.reason);
  #turn: Promise<void> = Promise.resolve();
  #left = false;

  constructor(lease: Lease, outside: Session, stopped: AbortSignal | undefined) {
    this.lease = lease;
    this.#outside = outside;
    this.types = outside.types;
    this.learned = outside.learned;
    this.lookUp = outside.lookUp;
    this.place = outside.place;
    this.#stopped = stopped;
    stopped?.addEventListener("abort", this.#onStop, { once: true });
  }

  /** Ends every statement with the transaction. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  cancel(client: pg.PoolClient): Promise<void> {
    return this.#outside.cancel(client);
  }

  async acquire(): Promise<Lease> {
    const { lease } = this;
    const release = await this.#takeTurn();
    if (this.#left) {
      release();
      throw ended();
    }
    return sublease(lease, release);
  }

  /** Takes no more statements. */
  leave(): void {
    this.#left = true;
  }

  /** Runs BEGIN, COMMIT or ROLLBACK when the statements before it have ended; its tag. */
  async command(text: string, signal: AbortSignal | undefined): Promise<string> {
    const release = await until(this.#takeTurn(), signal);
    const statement = { text, values: [] };
    const execution = new Execution(statement, { types: this.types });
    try {
      await exchange(this, this.lease, signal, execution);
      return execution.tag;
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw await explainFailure(this, error, statement);
    } finally {
      release();
    }
  }

  /** Ends what still runs, then the transaction; a connection on which that fails is closed. */
  async rollBack(): Promise<void> {
    this.leave();
    if (!this.#over.signal.aborted) this.#over.abort(ended());
    if (this.lease.broken !== undefined) return;
    // A server that went silent answers neither what still runs nor this; closing the connection rolls back as well.
    const limit = AbortSignal.timeout(ROLLBACK_LIMIT_MS);
    await this.command("ROLLBACK", limit).catch((error: Error) => this.lease.broken ??= error);
  }

  [Symbol.dispose](): void {
    this.#stopped?.removeEventListener("abort", this.#onStop);
  }

  async #takeTurn(): Promise<() => void> {
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    await before;
    return resolve;
  }
}

const ISOLATION: readonly string[] = ["read committed", "repeatable read", "serializable"];

function beginStatement({ isolation = "read committed", readOnly = false }: TransactionOptions): string {
  if (!ISOLATION.includes(isolation)) {
    throw new LakebaseError(
      "BAD_SETTING",
      `Cannot begin a transaction: isolation is "${isolation}"; it must be ${ISOLATION.join(", ")}`,
    );
  }
  return `BEGIN ISOLATION LEVEL ${isolation.toUpperCase()}${readOnly ? " READ ONLY" : ""}`;
}

function ended(): LakebaseError {
  return new LakebaseError(
    "CLOSED",
    "Cannot run the statement: its transaction has ended. Is an await missing in the function that ran in it?",
  );
}

/** COMMIT of a transaction in which a statement failed and was caught answers ROLLBACK, without an error. */
function rolledBack(failure: string | undefined): LakebaseError {
  const because = failure === undefined ? "" : ` The statement: ${failure}`;
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot commit: a statement of this transaction failed before, so the server rolled everything back.${because}`,
    { sqlstate: "25P02" },
  );
}
