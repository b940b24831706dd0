import { type Fragment, textStatement } from "../sql/fragment.ts";
import type { FindSession } from "../sql/run.ts";
import type { LoadOptions } from "../transfer/load/options.ts";
import type { LoadResult } from "../transfer/load/result.ts";
import type { LoadSource } from "../transfer/load/source.ts";
import type { PullOptions, PullResult, PullTarget } from "../transfer/pull/pull.ts";
import { type Result, runForResult } from "./result.ts";
import { makeSql, type Sql } from "./sql.ts";

/** What runs statements: a `Lakebase`, or a transaction on it. */
export interface Queryable {
  /** The `sql` tag, for queries that run here. */
  readonly sql: Sql;
  /**
   * Runs one statement.
   *
   * @param text SQL, with `$1`, `$2`, ... where parameters go.
   * @param params The parameters' values.
   * @returns The rows.
   * @throws {LakebaseError} `QUERY_FAILED` with the SQLSTATE, or `CONNECTION_LOST`.
   */
  query<Row = Record<string, unknown>>(text: string, params?: readonly unknown[]): Promise<Result<Row>>;
  /**
   * Writes the rows of a table or query to a file or a stream, at the speed of the server's COPY and in constant memory. There
   * is a whole file or none: the rows go into a hidden file beside it, which takes its place at the end.
   *
   * A signal that ends the program, such as Ctrl-C, takes the hidden file with it. Where the program listens to that signal
   * itself, the pull goes on, until it ends or is stopped with `signal`. What nothing can take away is the hidden file,
   * `.trips.csv.1a2b3c4d.part`, of a program that was killed with SIGKILL, or that pulled in a worker.
   *
   * @param what A table as `describe` takes it, or a query: `` sql`SELECT ...` ``.
   * @param target A path or `file:` URL that ends in `.csv`, `.tsv`, `.ndjson`, `.arrow` or `.parquet`, the first three also in
   * `.gz`; a folder, whose name ends in `/`; a `WritableStream`, which is closed at the end and aborted when the pull fails; `-` for standard output.
   * @param options The format where the target does not tell it, and more.
   * @returns How many rows and bytes were written; in a cell it draws itself as one line. It starts at once.
   * @throws {LakebaseError} `BAD_PARAMETER`, `BAD_FILE` where the target can't be written, or as {@linkcode query}.
   */
  pull(what: string | Fragment, target: PullTarget, options?: PullOptions): Promise<PullResult>;
  /**
   * Loads rows into a table, all of them or none. In a transaction one that fails takes back only what it did itself.
   *
   * @param table A table as `describe` takes it.
   * @param source Rows: an array, or anything that can be iterated, of objects with the columns' names; a query, its result,
   * or its `columns()`; of these the query keeps every value exact (a `Date` has milliseconds only), and is read whole into
   * memory. Or a file's path: `.csv`, `.tsv`, `.ndjson`, `.arrow`, `.parquet`, also packed with gzip; `-` is
   * standard input. Or a folder, a glob such as `trips/*.parquet`, or a list of files, which are one load. Or a stream of bytes, with `format`.
   * @param options What the file is, whether the table is to be made, and what becomes of the rows in it.
   * @returns The `table`, the `rows`, the `bytes` that were sent, the milliseconds `elapsed`, and whether it was `created`.
   * @throws {LakebaseError} `QUERY_FAILED` for a row that the table does not take, with its line, its column and its value;
   * `BAD_FILE` for a file that can't be read, is not what it should be, or has columns and values that do not fit;
   * `BAD_PARAMETER` for such rows of a program, and for options; `CONNECTION_LOST`, `CANCELED`. Nothing was loaded then, but
   * for a connection that is lost while the server commits, of which the message says so.
   */
  load(table: string | Fragment, source: LoadSource, options?: LoadOptions): Promise<LoadResult>;
}

/** What runs statements where a session is found. */
export function queryable(find: FindSession): Queryable {
  return {
    sql: makeSql(find),
    query: async (text, params) => await runForResult(find, textStatement(text, params)),
    pull: async (what, target, options) => {
      const { pull } = await import("../transfer/pull/pull.ts"); // more code than most programs need
      return await pull(find, what, target, options);
    },
    load: async (table, source, options) => {
      const { loadTable } = await import("../transfer/load/load.ts");
      return await loadTable(find, table, source, options);
    },
  };
}
