import { AsyncLocalStorage } from "node:async_hooks";
// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import { statementLine } from "../core/sql_text.ts";
import { countText } from "../core/text.ts";
import { Execution } from "./execution.ts";
import { explainFailure } from "./failure.ts";
import { checkCall, ON_OR_OFF } from "./options.ts";
import { exchange, type FindSession, isOpenTransaction } from "./run.ts";
import { heldUp, type Holder, type Lease, type Session, sublease, type TransactionState, Turns } from "./session.ts";
import { acquire, cleanUpLimit, eitherSignal, stoppable, until } from "./stop.ts";

/** How a transaction runs. */
export interface TransactionOptions {
  /** The isolation level: which changes of other transactions it sees. @default {"read committed"} */
  isolation?: "read committed" | "repeatable read" | "serializable";
  /** Whether it may only read. @default {false} */
  readOnly?: boolean;
  /** Cancels what runs, rolls everything back, and throws the signal's reason. */
  signal?: AbortSignal;
  /** Seconds that the whole transaction may take, including the wait for a connection. @default {no limit} */
  timeout?: number;
}

/** A transaction whose function is running, and the scope around it. */
interface Scope {
  transaction: Transaction;
  outer: Scope | undefined;
}

const scopes = new AsyncLocalStorage<Scope>();

/** Returns the innermost transaction whose function the caller runs in, on any connection; `undefined` if there is none. */
export function enclosing(): Session | undefined {
  let scope = scopes.getStore();
  while (scope?.transaction.committed) scope = scope.outer;
  return scope?.transaction;
}

/**
 * Returns where a statement on a session runs: in the session's innermost transaction whose function the caller runs in, or
 * else on the session itself. Code that outlives the function, such as a timer, runs outside of the transaction after a
 * commit. After a rollback its statements are refused, because they would write only half of the work.
 */
export function inScope(session: Session): Session {
  let scope = scopes.getStore();
  while (scope !== undefined && (scope.transaction.root !== session || scope.transaction.committed)) {
    scope = scope.outer;
  }
  return scope?.transaction ?? session;
}

/** Like {@linkcode inScope}, for a transaction: a nested transaction takes all statements until it ends. */
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
 * @param outside The session that the connection comes from.
 * @param work Gets a function that finds the session for a statement.
 * @throws What {@linkcode transact} throws.
 */
export async function transactIn<T>(
  outside: Session,
  work: (find: FindSession) => T | PromiseLike<T>,
  options: TransactionOptions = {},
): Promise<T> {
  return await transact(outside, (find, transaction) => {
    // Await inside the scope: a query that the function returns runs only when it is awaited.
    return scopes.run({ transaction, outer: scopes.getStore() }, async () => await work(find));
  }, options);
}

/** Refuses work that is not a function before a transaction begins. */
export function checkWork(work: unknown): void {
  if (typeof work === "function") return;
  const found = Deno.inspect(work, { depth: 1, strAbbreviateSize: 40 });
  throw new LakebaseError(
    "BAD_PARAMETER",
    `Cannot begin a transaction: its work is ${found}; it must be a function such as async (tx) => { ... }`,
  );
}

/**
 * Runs statements that take effect together or not at all. Inside another transaction they run behind a savepoint.
 *
 * @param outside The session that the connection comes from.
 * @param work Gets a function that finds the session for a statement; no statement runs there after `work` has ended.
 * @throws What `work` threw, the reason of {@linkcode TransactionOptions.signal}, or a `LakebaseError`: `QUERY_FAILED` if a
 * statement failed or was not awaited, `CONNECTION_LOST` if the outcome of the commit is not known.
 */
export async function transact<T>(
  outside: Session,
  work: (find: FindSession, transaction: Transaction) => T | PromiseLike<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const top = topVerbs(checkCall("begin a transaction", options, CHECKS));
  using stop = stoppable(options, "the transaction");
  const stopped = eitherSignal(stop.signal, outside.signal); // a session that is closed ends its transactions
  const lease = await acquire(outside, stopped, "a transaction");
  const verbs = isOpenTransaction(lease) ? nestedVerbs(options, lease) : top;
  using transaction = new Transaction(lease, outside, { verbs, stopped });
  try {
    const find = () => innermostIn(transaction);
    await transaction.command(verbs.begin, stopped);
    const result = await until((async () => await work(find, transaction))(), stopped);
    await transaction.expectIdle(stopped);
    await commit(transaction, stopped);
    transaction.committed = true;
    if (verbs === top) outside.learned.committed();
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
  const tag = await transaction.command(transaction.verbs.commit, signal).catch((error) => {
    if (error instanceof LakebaseError && error.sqlstate === "25P02") throw rolledBack(transaction.failure);
    if (!signal?.aborted || transaction.lease.broken === undefined) throw error;
    throw new LakebaseError("CONNECTION_LOST", "Stopped while committing: whether it took effect is not known", {
      cause: error,
    });
  });
  if (tag === "ROLLBACK" && !transaction.verbs.nested) throw rolledBack(transaction.failure);
}

/** The SQL that begins and ends a transaction. */
interface Verbs {
  begin: string;
  commit: string;
  rollBack: string;
  /** Whether the transaction is part of another one. */
  nested: boolean;
}

/** Runs the statements of one transaction: one at a time, on one connection, and none after its end. */
class Transaction implements Session, TransactionState, Disposable {
  readonly types: Session["types"];
  readonly learned: Session["learned"];
  readonly transaction: TransactionState = this;
  readonly lookUp: Session["lookUp"];
  readonly place: Session["place"];
  readonly volumes: Session["volumes"];
  readonly server: Session["server"];
  readonly connections = 1;
  readonly connectTimeout: Session["connectTimeout"];
  readonly lease: Lease;
  readonly verbs: Verbs;
  /** The session that the outermost transaction's connection came from. */
  readonly root: Session;
  failure: string | undefined;
  committed = false;
  readonly #outside: Session;
  readonly #over = new AbortController();
  readonly #stopped: AbortSignal | undefined;
  readonly #onStop = () => this.#over.abort(this.#stopped?.reason);
  /** The statements that run or wait for their turn. */
  readonly #running = new Set<Holder>();
  readonly #turns = new Turns();
  #left = false;

  /** Called by {@linkcode transact}. */
  constructor(lease: Lease, outside: Session, { verbs, stopped }: { verbs: Verbs; stopped: AbortSignal | undefined }) {
    this.lease = lease;
    this.verbs = verbs;
    this.root = outside instanceof Transaction ? outside.root : outside;
    this.#outside = outside;
    this.types = outside.types;
    this.learned = outside.learned;
    this.lookUp = outside.lookUp;
    this.place = outside.place;
    this.volumes = outside.volumes;
    this.server = outside.server;
    this.connectTimeout = outside.connectTimeout;
    this.#stopped = stopped;
    stopped?.addEventListener("abort", this.#onStop, { once: true });
  }

  /** Aborts every statement when the transaction ends. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  cancel(client: pg.PoolClient): Promise<void> {
    return this.#outside.cancel(client);
  }

  async acquire(what: string = "a statement"): Promise<Lease> {
    if (this.#left) throw ended();
    const running = { what, since: Date.now() };
    this.#running.add(running);
    const { connectTimeout: limit } = this;
    const waits = () => ({ client: this.lease.client, limit, error: () => this.#heldUp() });
    const turn = await this.#turns.take(waits).catch((error) => {
      this.#running.delete(running);
      throw error;
    });
    const release = () => {
      this.#running.delete(running);
      turn();
    };
    if (!this.#over.signal.aborted) return sublease(this.lease, release);
    release();
    throw ended();
  }

  #heldUp(): LakebaseError {
    const [first] = this.#running;
    return heldUp("its transaction, whose statements run one at a time", first!, this.connectTimeout!);
  }

  leave(): void {
    this.close();
    this.#outside.transaction?.leave();
  }

  /** Refuses further statements. */
  close(): void {
    this.#left = true;
  }

  /**
   * Checks that no statement still runs after the function has returned. One that does may finish first: nobody awaits its
   * promise, so its rejection would end the program before this error is read.
   *
   * @throws {LakebaseError} `QUERY_FAILED` if a statement still runs.
   */
  async expectIdle(signal: AbortSignal | undefined): Promise<void> {
    if (this.#running.size === 0) return;
    const running = [...this.#running].map(({ what }) => what);
    this.close();
    const waits = () => ({ client: this.lease.client, limit: this.connectTimeout, error: () => notAwaited(running) });
    (await until(this.#turns.take(waits), signal))();
    throw notAwaited(running);
  }

  /** Runs BEGIN, COMMIT or ROLLBACK after all earlier statements have ended, and returns its tag. */
  async command(text: string, signal: AbortSignal | undefined): Promise<string> {
    const release = await until(this.#turns.take(), signal);
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

  /** Ends the running statements and rolls back; marks the connection as broken if that fails. */
  async rollBack(): Promise<void> {
    this.close();
    if (!this.#over.signal.aborted) this.#over.abort(ended());
    if (this.lease.broken !== undefined) return;
    // A silent server would never answer; closing the connection rolls back as well.
    await this.command(this.verbs.rollBack, cleanUpLimit()).catch((error: Error) => this.lease.broken ??= error);
  }

  [Symbol.dispose](): void {
    this.#stopped?.removeEventListener("abort", this.#onStop);
  }
}

const ISOLATION: readonly string[] = ["read committed", "repeatable read", "serializable"];

const CHECKS = {
  isolation: [(value: unknown) => ISOLATION.includes(value as string), `one of ${ISOLATION.join(", ")}`],
  readOnly: ON_OR_OFF,
} as const;

function topVerbs({ isolation = "read committed", readOnly = false }: TransactionOptions): Verbs {
  const begin = `BEGIN ISOLATION LEVEL ${isolation.toUpperCase()}${readOnly ? " READ ONLY" : ""}`;
  return { begin, commit: "COMMIT", rollBack: "ROLLBACK", nested: false };
}

const SAVEPOINT = "lakebase_nested";

/** A nested read-only transaction always ends in a rollback: only that lets the outer one write again. */
function nestedVerbs({ isolation, readOnly = false }: TransactionOptions, lease: Lease): Verbs {
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

function ended(): LakebaseError {
  return new LakebaseError(
    "CLOSED",
    "Cannot run the statement: its transaction has ended. Is an await missing in the function that ran in it?",
  );
}

/** Makes the error for a COMMIT after a failed statement; the server only answers ROLLBACK, without an error. */
function rolledBack(failure: string | undefined): LakebaseError {
  const because = failure === undefined ? "" : ` The statement: ${failure}`;
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot commit: a statement of this transaction failed before, so the server rolled everything back.${because}`,
    { sqlstate: "25P02" },
  );
}
