import { LakebaseError } from "../core/errors.ts";
import { type Bundle, DISPLAY, holdIdle } from "../draw/notebook.ts";
import { drawResult } from "../draw/result.ts";
import type { PlotOptions } from "../plot/options.ts";
import type { Plot } from "../plot/plot.ts";
import type { Notice } from "../sql/exchange.ts";
import type { Fragment, Statement } from "../sql/fragment.ts";
import { type Field, OUTCOME, StatementRows } from "../sql/result.ts";
import { type FindSession, run, type RunOptions } from "../sql/run.ts";
import type { LoadOptions } from "../transfer/load/options.ts";
import type { LoadResult } from "../transfer/load/result.ts";
import type { PullOptions, PullResult, PullTarget } from "../transfer/pull/pull.ts";
import { Lookup } from "./lookup.ts";

/**
 * The rows of a query: an array of objects, with what else the server said. `map`, `filter` and the like give plain
 * arrays.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const rows = await db.sql`VALUES ('Harlem', 12.50), ('SoHo', 8.00)`;
 * assert.equal(rows.length, 2);
 * assert.deepEqual(rows.fields.map(({ name, type }) => `${name} ${type}`), ["column1 text", "column2 numeric"]);
 * assert.deepEqual([rows.command, rows.rowCount, rows.more], ["SELECT", 2, false]);
 * console.log(`${rows.elapsed} ms`);
 * ```
 */
export class Result<Row = Record<string, unknown>> extends StatementRows<Row> {
  /** The columns, in their order. */
  get fields(): readonly Field[] {
    return this[OUTCOME].fields;
  }
  /** The command, such as `SELECT` or `INSERT`. */
  get command(): string {
    return this.tag.replace(/( \d+)+$/, ""); // `INSERT 0 3` is an `INSERT`, `CREATE TABLE` stays
  }
  /** The command as the server reports it, such as `INSERT 0 3`. */
  get tag(): string {
    return this[OUTCOME].tag;
  }
  /** Whether the server had more rows than were fetched. */
  get more(): boolean {
    return this[OUTCOME].more;
  }
  /** Rows returned or changed; `null` for commands that have no count. */
  get rowCount(): number | null {
    const count = / (\d+)$/.exec(this.tag);
    return count === null ? null : Number(count[1]);
  }
  /** Milliseconds from sending the query to its last row. */
  get elapsed(): number {
    return this[OUTCOME].elapsed;
  }
  /** What the server said beside its answer. */
  get notices(): readonly Notice[] {
    return this[OUTCOME].notices;
  }
  /** Where it ran, such as `app at db.example.com:5432`, if more than one connection was open then; else `undefined`. */
  get place(): string | undefined {
    return this[OUTCOME].place;
  }
  /** Whether the session was in a transaction after it, and whether in one that has failed. */
  get transaction(): "open" | "failed" | undefined {
    return this[OUTCOME].transaction;
  }
  /**
   * The columns with what only the catalogue knows: the names of a database's own types, and `nullable`. It asks for what
   * was not asked before on this connection; awaiting a query never does by itself.
   *
   * @throws {LakebaseError} As the query.
   */
  describe(): Promise<readonly Field[]> {
    return this[OUTCOME].describe();
  }

  /**
   * Draws its rows as a chart, as `Query.plot` does; what is computed is computed here.
   *
   * @param options What is drawn, and how; without any, what fits the types of its columns.
   * @throws {LakebaseError} `BAD_PARAMETER`.
   */
  plot(options: PlotOptions = {}): Lookup<Plot> {
    return new Lookup(async () => {
      const { plotRows } = await import("../plot/plot_query.ts");
      return await plotRows(this, this.fields, options);
    });
  }

  /**
   * Writes the rows that are here to a file or a stream, as `pull` of the query would; the query does not run again.
   * A `Date` has milliseconds, and a `numeric` goes into Arrow and Parquet as text.
   *
   * @param target A file's path or URL, a stream, or `-`.
   * @param options As for `pull`, but for what only the server can do: `parallel`, and folders.
   * @throws {LakebaseError} `BAD_PARAMETER`, also for a value that a program put there and that is none of the column's type;
   * `BAD_FILE`.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * const rows = await db.sql`SELECT n FROM generate_series(1, 3) AS n`;
   * const file = `${await Deno.makeTempDir()}/n.csv`;
   * await rows.pull(file);
   * assert.equal(await Deno.readTextFile(file), "n\n1\n2\n3\n");
   * assert.equal((await rows.load("numbers", { create: true })).rows, 3);
   * ```
   */
  async pull(target: PullTarget, options?: PullOptions): Promise<PullResult> {
    const { batchOfRows, columnsOfFields } = await import("../transfer/columns/rows_batch.ts");
    const { pullInHand } = await import("../transfer/pull/in_hand.ts");
    const columns = columnsOfFields(this.fields);
    return await pullInHand(
      columns,
      () => batchOfRows(this as readonly unknown[] as object[], columns),
      target,
      options,
    );
  }

  /**
   * Loads the rows that are here into a table, as `load` of the query would; the query does not run again.
   *
   * @param table A table as `describe` takes it.
   * @param options Whether the table is to be made, and what becomes of the rows in it.
   * @throws {LakebaseError} As `load`.
   */
  async load(table: string | Fragment, options?: LoadOptions): Promise<LoadResult> {
    const { session } = this[OUTCOME];
    if (session === undefined) {
      throw new LakebaseError(
        "BAD_PARAMETER",
        "Cannot load: this list knows no connection; load it with db.load(table, rows)",
      );
    }
    const { loadTable } = await import("../transfer/load/load.ts");
    return await loadTable(() => session, table, this, options);
  }

  /** How a notebook draws it: the first rows as a table, or one line for a command without rows. */
  [DISPLAY](): Bundle {
    return holdIdle(drawResult(this));
  }
}

const makeRows = () => new Result<unknown>();

/** {@linkcode run}, with rows for a person. */
export function runForResult<Row>(
  find: FindSession,
  what: Fragment | Statement,
  options: RunOptions = {},
): Promise<Result<Row>> {
  return run<Row>(find, what, { ...options, makeRows }) as Promise<Result<Row>>;
}
