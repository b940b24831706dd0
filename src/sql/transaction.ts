import { AsyncLocalStorage } from "node:async_hooks";
// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import { statementLine } from "../core/sql_text.ts";
import { countText } from "../core/text.ts";
import { Execution } from "./execution.ts";
import { explainFailure } from "./failure.ts";
import { checkCall, ON_OR_OFF } from "./options.ts";
import { type FindSession, isOpenTransaction, runExchange } from "./run.ts";
import {
  type Holder,
  type Lease,
  type Session,
  sublease,
  type TransactionState,
  Turns,
  waitedTooLong,
  type WaitLimit,
} from "./session.ts";
import { acquire, cleanUpLimit, eitherSignal, stoppable, until } from "./stop.ts";

/** How a transaction runs. */
export interface TransactionOptions {
  /** The isolation level, which decides the changes of other transactions that the transaction sees. @default {"read committed"} */
  isolation?: "read committed" | "repeatable read" | "serializable";
  /** Whether the transaction may only read. @default {false} */
  readOnly?: boolean;
  /** Cancels the running statement, rolls everything back, and throws the signal's reason. */
  signal?: AbortSignal;
  /** Seconds that the whole transaction may take, including the wait for a connection. @default {no limit} */
  timeout?: number;
}

/** A transaction whose function is running, and the scope that it was begun in. */
interface Scope {
  transaction: Transaction;
  outer: Scope | undefined;
}

const scopes = new AsyncLocalStorage<Scope>();

/** Returns the innermost transaction whose function the caller runs in, on any connection; `undefined` if there is none. */
export function enclosingTransaction(): Session | undefined {
  let scope = scopes.getStore();
  while (scope?.transaction.committed) scope = scope.outer;
  return scope?.transaction;
}

/**
 * Returns where a statement on a session runs: in the session's innermost transaction whose function the caller runs in, or
 * else on the session itself. Code that outlives the function, such as a timer, runs outside of the transaction after a
 * commit. After a rollback its statements are refused, because they would write only half of the work.
 */
export function currentSession(session: Session): Session {
  let scope = scopes.getStore();
  while (scope !== undefined && (scope.transaction.root !== session || scope.transaction.committed)) {
    scope = scope.outer;
  }
  return scope?.transaction ?? session;
}

/** Like {@linkcode currentSession}, for a transaction: a nested transaction takes all statements until it ends. */
function innermostIn(transaction: Transaction): Session {
  let innermost: Transaction | undefined;
  for (let scope = scopes.getStore(); scope !== undefined; scope = scope.outer) {
    if (scope.transaction.root === transaction.root) innermost ??= scope.transaction;
    if (scope.transaction === transaction) return innermost ?? transaction;
  }
  return transaction;
}

/**
 * Runs a function in a transaction. All its statements on that session are part of the transaction, including those of
 * `sql` and `db.sql`.
 *
 * @param outer The session that the connection comes from.
 * @param work The function. It gets a function that finds the session for a statement.
 * @throws What {@linkcode transact} throws.
 */
export async function transactIn<T>(
  outer: Session,
  work: (find: FindSession) => T | PromiseLike<T>,
  options: TransactionOptions = {},
): Promise<T> {
  return await transact(outer, (find, transaction) => {
    // Await inside the scope: a query that the function returns runs only when it is awaited.
    return scopes.run({ transaction, outer: scopes.getStore() }, async () => await work(find));
  }, options);
}

/** Refuses work that is not a function, before a transaction begins. */
export function checkWork(work: unknown): void {
  if (typeof work === "function") return;
  const shown = Deno.inspect(work, { depth: 1, strAbbreviateSize: 40 });
  throw new LakebaseError(
    "BAD_PARAMETER",
    `Cannot begin a transaction: its work is ${shown}; it must be a function such as async (tx) => { ... }`,
  );
}

/**
 * Runs statements that take effect together or not at all. Inside another transaction they run after a savepoint.
 *
 * @param outer The session that the connection comes from.
 * @param work The function that runs the statements. It gets a function that finds their session. No statement can run
 * there after `work` has ended.
 * @throws What `work` threw, the reason of {@linkcode TransactionOptions.signal}, or a `LakebaseError`: `QUERY_FAILED` if a
 * statement failed or was not awaited, `CONNECTION_LOST` if the outcome of the commit is not known.
 */
export async function transact<T>(
  outer: Session,
  work: (find: FindSession, transaction: Transaction) => T | PromiseLike<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const outermost = outermostCommands(checkCall("begin a transaction", options, CHECKS));
  using stop = stoppable(options, "the transaction");
  const signal = eitherSignal(stop.signal, outer.signal); // a session that is closed ends its transactions
  const lease = await acquire(outer, signal, "a transaction");
  const commands = isOpenTransaction(lease) ? nestedCommands(options, lease) : outermost;
  using transaction = new Transaction(lease, outer, { commands, signal });
  try {
    const find = () => innermostIn(transaction);
    await transaction.command(commands.begin, signal);
    const result = await until((async () => await work(find, transaction))(), signal);
    await transaction.expectIdle(signal);
    await commit(transaction, signal);
    transaction.committed = true;
    if (commands === outermost) outer.catalog.committed();
    return result;
  } catch (error) {
    await transaction.rollBack();
    throw error;
  } finally {
    transaction.close();
    lease.release();
  }
}

async function commit(transaction: Transaction, signal: AbortSignal | undefined): Promise<void> {
  transaction.close();
  const tag = await transaction.command(transaction.commands.commit, signal).catch((error) => {
    if (error instanceof LakebaseError && error.sqlstate === "25P02") throw rolledBackError(transaction.failure);
    if (!signal?.aborted || transaction.lease.broken === undefined) throw error;
    throw new LakebaseError("CONNECTION_LOST", "Stopped while committing: whether it took effect is not known", {
      cause: error,
    });
  });
  if (tag === "ROLLBACK" && !transaction.commands.nested) throw rolledBackError(transaction.failure);
}

/** The SQL that begins and ends a transaction. */
interface TransactionCommands {
  begin: string;
  commit: string;
  rollBack: string;
  /** Whether the transaction is inside another one. */
  nested: boolean;
}

/** Runs the statements of one transaction: one at a time, on one connection, and none after its end. */
class Transaction implements Session, TransactionState, Disposable {
  readonly types: Session["types"];
  readonly catalog: Session["catalog"];
  readonly transaction: TransactionState = this;
  readonly queryIfFree: Session["queryIfFree"];
  readonly place: Session["place"];
  readonly volumes: Session["volumes"];
  readonly server: Session["server"];
  readonly connections = 1;
  readonly connectTimeout: Session["connectTimeout"];
  readonly lease: Lease;
  readonly commands: TransactionCommands;
  /** The session that the outermost transaction's connection came from. */
  readonly root: Session;
  failure: string | undefined;
  committed = false;
  readonly #outer: Session;
  readonly #ending = new AbortController();
  readonly #outerSignal: AbortSignal | undefined;
  readonly #onAbort = () => this.#ending.abort(this.#outerSignal?.reason);
  /** The statements that run or wait for their turn. */
  readonly #running = new Set<Holder>();
  readonly #turns = new Turns();
  #closed = false;

  /** Called by {@linkcode transact}. */
  constructor(
    lease: Lease,
    outer: Session,
    { commands, signal }: { commands: TransactionCommands; signal: AbortSignal | undefined },
  ) {
    this.lease = lease;
    this.commands = commands;
    this.root = outer instanceof Transaction ? outer.root : outer;
    this.#outer = outer;
    this.types = outer.types;
    this.catalog = outer.catalog;
    this.queryIfFree = outer.queryIfFree;
    this.place = outer.place;
    this.volumes = outer.volumes;
    this.server = outer.server;
    this.connectTimeout = outer.connectTimeout;
    this.#outerSignal = signal;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Aborts every statement when the transaction ends. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  cancel(client: pg.PoolClient): Promise<void> {
    return this.#outer.cancel(client);
  }

  async acquire(purpose: string = "a statement"): Promise<Lease> {
    if (this.#closed) throw endedError();
    const running = { purpose, since: Date.now() };
    this.#running.add(running);
    const endTurn = await this.#turns.take(() => this.#waitLimit(() => this.#waitedTooLong())).catch((error) => {
      this.#running.delete(running);
      throw error;
    });
    const release = () => {
      this.#running.delete(running);
      endTurn();
    };
    if (!this.#ending.signal.aborted) return sublease(this.lease, release);
    release();
    throw endedError();
  }

  #waitLimit(error: () => LakebaseError): WaitLimit {
    return { client: this.lease.client, seconds: this.connectTimeout, error };
  }

  #waitedTooLong(): LakebaseError {
    const [first] = this.#running;
    return waitedTooLong("its transaction, whose statements run one at a time", first!, this.connectTimeout!);
  }

  markEnded(): void {
    this.close();
    this.#outer.transaction?.markEnded();
  }

  /** Refuses further statements. */
  close(): void {
    this.#closed = true;
  }

  /**
   * Checks that no statement still runs after the function has returned. A running statement may finish before the error
   * is thrown: nobody awaits its promise, so its rejection would end the program before this error is read.
   *
   * @throws {LakebaseError} `QUERY_FAILED` if a statement still runs.
   */
  async expectIdle(signal: AbortSignal | undefined): Promise<void> {
    if (this.#running.size === 0) return;
    const running = [...this.#running].map(({ purpose }) => purpose);
    this.close();
    const endTurn = await until(this.#turns.take(() => this.#waitLimit(() => notAwaited(running))), signal);
    endTurn();
    throw notAwaited(running);
  }

  /** Runs BEGIN, COMMIT or ROLLBACK after all earlier statements have ended, and returns its tag. */
  async command(text: string, signal: AbortSignal | undefined): Promise<string> {
    const endTurn = await until(this.#turns.take(), signal);
    const statement = { text, values: [] };
    const execution = new Execution(statement, { types: this.types });
    try {
      await runExchange(this, this.lease, signal, execution);
      return execution.tag;
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw await explainFailure(this, error, statement);
    } finally {
      endTurn();
    }
  }

  /** Ends the running statements and rolls back; marks the connection as broken if the rollback fails. */
  async rollBack(): Promise<void> {
    this.close();
    if (!this.#ending.signal.aborted) this.#ending.abort(endedError());
    if (this.lease.broken !== undefined) return;
    // A silent server would never answer; closing the connection rolls back as well.
    await this.command(this.commands.rollBack, cleanUpLimit()).catch((error: Error) => this.lease.broken ??= error);
  }

  [Symbol.dispose](): void {
    this.#outerSignal?.removeEventListener("abort", this.#onAbort);
  }
}

const ISOLATION: readonly string[] = ["read committed", "repeatable read", "serializable"];

const CHECKS = {
  isolation: [(value: unknown) => ISOLATION.includes(value as string), `one of ${ISOLATION.join(", ")}`],
  readOnly: ON_OR_OFF,
} as const;

function outermostCommands(
  { isolation = "read committed", readOnly = false }: TransactionOptions,
): TransactionCommands {
  const begin = `BEGIN ISOLATION LEVEL ${isolation.toUpperCase()}${readOnly ? " READ ONLY" : ""}`;
  return { begin, commit: "COMMIT", rollBack: "ROLLBACK", nested: false };
}

const SAVEPOINT = "lakebase_nested";

/** A nested read-only transaction always ends in a rollback: only that lets the outer one write again. */
function nestedCommands({ isolation, readOnly = false }: TransactionOptions, lease: Lease): TransactionCommands {
  const rollBack = `ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}`;
  const begin = `SAVEPOINT ${SAVEPOINT}`;
  if (isolation === undefined) {
    return readOnly
      ? { begin: `${begin}; SET LOCAL transaction_read_only = on`, commit: rollBack, rollBack, nested: true }
      : { begin, commit: `RELEASE SAVEPOINT ${SAVEPOINT}`, rollBack, nested: true };
  }
  lease.release();
  throw new LakebaseError(
    "BAD_PARAMETER",
    `Cannot begin a transaction: isolation is "${isolation}", but this transaction is inside another one; leave ` +
      "isolation out, or give it to the outer transaction",
  );
}

function notAwaited(running: readonly string[]): LakebaseError {
  const [first, ...others] = running.map((text) => statementLine(text));
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot commit: ${countText(running.length, "statement")} had not ended when the function of the transaction ` +
      `returned, so everything was rolled back. Put await before it: ${first}${more}`,
    { sqlstate: "25000" },
  );
}

function endedError(): LakebaseError {
  return new LakebaseError(
    "CLOSED",
    "Cannot run the statement: its transaction has ended. Is an await missing in the function that ran in it?",
  );
}

/** Makes the error for a COMMIT after a failed statement, to which the server only answers ROLLBACK, without an error. */
function rolledBackError(failure: string | undefined): LakebaseError {
  const reason = failure === undefined ? "" : ` The statement: ${failure}`;
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot commit: a statement of this transaction failed before, so the server rolled everything back.${reason}`,
    { sqlstate: "25P02" },
  );
}
