import { LakebaseError } from "../core/errors.ts";
import type { Fragment } from "../sql/fragment.ts";
import type { Result } from "./result.ts";
import type { ServerSession } from "../sql/server_session.ts";
import type { Session } from "../sql/session.ts";
import { inScope, transactIn, type TransactionOptions } from "../sql/transaction.ts";
import type { LoadOptions } from "../transfer/load/options.ts";
import type { LoadResult } from "../transfer/load/result.ts";
import type { LoadSource } from "../transfer/load/source.ts";
import type { PullOptions, PullResult, PullTarget } from "../transfer/pull/pull.ts";
import { type Queryable, queryable } from "./queryable.ts";
import type { Sql } from "./sql.ts";

/**
 * One server session, held until it is closed. Temporary tables, `SET`, `PREPARE`, advisory locks, `LISTEN` and a
 * hand-written `BEGIN ... COMMIT` last from one statement to the next. Statements run one at a time. The session keeps one
 * connection of the pool, is never closed for being idle, and sends the server a message every four minutes.
 *
 * If the server ends the session (a restart, a suspend, a limit), the next statement fails with `CONNECTION_LOST` and does
 * not run; the statements after it run in a new session.
 */
export class DatabaseSession implements Queryable, AsyncDisposable {
  /** The `sql` tag, for queries in this session. */
  readonly sql: Sql;
  readonly #session: ServerSession;
  readonly #own: Queryable;
  readonly #find = (): Session => inScope(this.#session);

  /** Made by `Lakebase.session`. */
  constructor(session: ServerSession) {
    this.#session = session;
    this.#own = queryable(this.#find);
    this.sql = this.#own.sql;
  }

  /** Whether {@linkcode close} was called. */
  get closed(): boolean {
    return this.#session.closed;
  }

  /** Runs one statement in the session; see {@linkcode Queryable.query}. */
  async query<Row = Record<string, unknown>>(text: string, params: readonly unknown[] = []): Promise<Result<Row>> {
    return await this.#own.query<Row>(text, params);
  }

  /**
   * Runs statements as one transaction, as `Lakebase.transaction` does. After a hand-written `BEGIN` it is a savepoint.
   *
   * @throws {LakebaseError} As `Lakebase.transaction`.
   */
  async transaction<T>(work: (tx: Queryable) => T | PromiseLike<T>, options: TransactionOptions = {}): Promise<T> {
    return await transactIn(this.#find(), (find) => work(queryable(find)), options);
  }

  /** Writes the rows of a table or query to a file or a stream; see {@linkcode Queryable.pull}. */
  pull(what: string | Fragment, target: PullTarget, options: PullOptions = {}): Promise<PullResult> {
    return this.#own.pull(what, target, options);
  }

  /** Loads rows into a table, all of them or none; see {@linkcode Queryable.load}. */
  load(table: string | Fragment, source: LoadSource, options: LoadOptions = {}): Promise<LoadResult> {
    return this.#own.load(table, source, options);
  }

  /**
   * Ends the session. A statement that still runs is canceled.
   *
   * @throws {LakebaseError} `QUERY_FAILED` with SQLSTATE `25000` if a transaction was open; it is rolled back.
   */
  async close(): Promise<void> {
    if (this.closed) return;
    if (!await this.#session.close()) return;
    throw new LakebaseError(
      "QUERY_FAILED",
      "Cannot leave a transaction open: the session was closed after BEGIN without COMMIT, so its changes were rolled " +
        "back. Run COMMIT or ROLLBACK before you close it",
      { sqlstate: "25000" },
    );
  }

  /** {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
