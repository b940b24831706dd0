import { loadModule } from "../core/lazy_import.ts";
import { LakebaseError } from "../core/errors.ts";
import { type Fragment, textStatement } from "../sql/fragment.ts";
import { takesNoOptions } from "../sql/options.ts";
import type { FindSession } from "../sql/run.ts";
import type { ServerSession } from "../sql/server_session.ts";
import type { Session } from "../sql/session.ts";
import { checkWork, currentSession, transactIn, type TransactionOptions } from "../sql/transaction.ts";
import type { LoadOptions } from "../transfer/load/options.ts";
import type { LoadResult } from "../transfer/load/load.ts";
import type { LoadSource } from "../transfer/load/source.ts";
import type { PullOptions, PullResult, PullTarget } from "../transfer/pull/pull.ts";
import { type Result, runForResult } from "./result.ts";
import { makeSql, type Sql } from "./sql.ts";

/** Something that runs statements: a `Lakebase`, a session or a transaction. */
export interface Queryable {
  /** The `sql` tag, for queries that run here. */
  readonly sql: Sql;
  /**
   * Runs one statement.
   *
   * @param text SQL, with `$1`, `$2`, ... for the parameters.
   * @param params The parameters' values.
   * @returns The rows.
   * @throws {LakebaseError} `QUERY_FAILED` with the SQLSTATE, or `CONNECTION_LOST`.
   */
  query<Row = Record<string, unknown>>(text: string, params?: readonly unknown[], ...none: []): Promise<Result<Row>>;
  /**
   * Writes the rows of a table or query to a file or a stream, at the speed of the server's COPY and in constant memory. The
   * file appears whole or not at all: the rows go into a hidden file beside it, which replaces it at the end.
   *
   * Whatever stops the pull, such as `signal`, Stop in a notebook or `Deno.exit()`, also removes the hidden file. It stays
   * behind, for example as `.trips.csv.1a2b3c4d.part`, only if a signal ends the program at once, as Ctrl-C ends a script without
   * a listener; the next pull to the same target removes it.
   *
   * @param what A table in any form that `describe` takes, or a query: `` sql`SELECT ...` ``.
   * @param target A path or `file:` URL that ends in `.csv`, `.tsv`, `.ndjson`, `.arrow` or `.parquet`, the first three also
   * with `.gz`; a folder, whose name ends in `/`; a `WritableStream`, which is closed at the end and aborted if the pull
   * fails; or `-` for standard output. A path that begins with `/Volumes/` is in a Volume of the workspace.
   * @param options The format, if the target's name does not show it, and the other options of a pull.
   * @returns The numbers of rows and bytes that were written; in a cell it draws itself as one line. The pull starts at once.
   * @throws {LakebaseError} `BAD_PARAMETER`; `BAD_FILE` if the target can't be written; or an error of {@linkcode query}.
   */
  pull(what: string | Fragment, target: PullTarget, options?: PullOptions): Promise<PullResult>;
  /**
   * Loads rows into a table, all of them or none. In a transaction, a load that fails rolls back only its own changes.
   *
   * @param table A table in any form that `describe` takes.
   * @param source One of these:
   * - rows: an array or another iterable of objects, whose keys are the names of columns;
   * - a query, its result, or its `columns()`. A query keeps every value exact (in a result, a `Date` has milliseconds only),
   *   and is read whole into memory;
   * - the path of a file, `.csv`, `.tsv`, `.ndjson`, `.arrow` or `.parquet`, also with gzip; `-` is standard input;
   * - a folder, a glob such as `trips/*.parquet`, or a list of files, which are one load; as for a file, a path that begins
   *   with `/Volumes/` is in a Volume of the workspace;
   * - a stream of bytes, with the option `format`.
   * @param options The format of the file, whether to create the table, and whether to replace the rows in it.
   * @returns The `table`, the number of `rows`, the `bytes` that were sent, the milliseconds `elapsed`, and whether the table
   * was `created`.
   * @throws {LakebaseError} `QUERY_FAILED` for a row that the table does not accept, with its line, column and value;
   * `BAD_FILE` for a file that can't be read, has another format, or has columns or values that do not fit; `BAD_PARAMETER`
   * for objects that do not fit, and for options; `CONNECTION_LOST`, `CANCELED`. After an error nothing
   * is loaded; if the connection was lost during the commit, the outcome is unknown, and the message says so.
   */
  load(table: string | Fragment, source: LoadSource, options?: LoadOptions): Promise<LoadResult>;
}

/** Makes the methods that run statements in the session that `find` returns. */
export function queryable(find: FindSession): Queryable {
  return {
    sql: makeSql(find),
    query: async (text, params, ...none) => {
      takesNoOptions(none);
      return await runForResult(find, textStatement(text, params));
    },
    pull: async (what, target, options) => {
      const { pull } = await loadModule(() => import("../transfer/pull/pull.ts")); // loaded late, because most programs do not need it
      return await pull(find, what, target, options);
    },
    load: async (table, source, options) => {
      const { loadTable } = await loadModule(() => import("../transfer/load/load.ts"));
      return await loadTable(find, table, source, options);
    },
  };
}

/**
 * One server session, held until it is closed. Temporary tables, `SET`, `PREPARE`, advisory locks, `LISTEN` and a
 * hand-written `BEGIN ... COMMIT` last from one statement to the next. Statements run one at a time. The session keeps one
 * connection of the pool. It stays open while it is idle, because it sends the server a message every four minutes.
 *
 * If the server ends the session (a restart, a suspend, a limit), the next statement fails with `CONNECTION_LOST` and does
 * not run; the statements after it run in a new session.
 */
export class DatabaseSession implements Queryable, AsyncDisposable {
  /** The `sql` tag, for queries in this session. */
  readonly sql: Sql;
  readonly #session: ServerSession;
  readonly #own: Queryable;
  readonly #find = (): Session => currentSession(this.#session);

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
  async query<Row = Record<string, unknown>>(
    text: string,
    params: readonly unknown[] = [],
    ...none: []
  ): Promise<Result<Row>> {
    return await this.#own.query<Row>(text, params, ...none);
  }

  /**
   * Runs statements as one transaction, like `Lakebase.transaction`. After a hand-written `BEGIN`, it makes a savepoint.
   *
   * @throws {LakebaseError} The errors of `Lakebase.transaction`.
   */
  async transaction<T>(work: (tx: Queryable) => T | PromiseLike<T>, options: TransactionOptions = {}): Promise<T> {
    checkWork(work);
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
   * Ends the session. A statement that is still running is canceled.
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

  /** The same as {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
