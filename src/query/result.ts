import { LakebaseError } from "../errors.ts";
import { type Bundle, DISPLAY, holdIdle } from "../notebook/display.ts";
import { drawResult } from "../notebook/result.ts";
import type { PlotOptions } from "../plot/options.ts";
import type { Plot } from "../plot/plot.ts";
import type { LoadOptions } from "../transfer/load_options.ts";
import type { LoadResult } from "../transfer/load_result.ts";
import type { PullOptions, PullResult, PullTarget } from "../transfer/pull.ts";
import type { Field } from "./fields.ts";
import type { Fragment } from "./fragment.ts";
import { Lookup } from "./lookup.ts";
import type { FindSession } from "./run.ts";
import type { Notice } from "./wire.ts";

export type { Field, Notice };

/** What a {@linkcode Result} knows beside its rows. */
export interface About {
  /** The columns. */
  fields: readonly Field[];
  /** The command as the server reports it, such as `INSERT 0 3`. */
  tag: string;
  /** Whether the server had more rows than were fetched. */
  more: boolean;
  /** Milliseconds from sending to the last row. */
  elapsed: number;
  /** What the server said beside them. */
  notices: readonly Notice[];
  /** Asks the catalogue what it knows of the columns. */
  describe: () => Promise<readonly Field[]>;
  /** Where it ran, where there was more than one connection that it could be. */
  place?: string | undefined;
  /** Whether the session was in a transaction after it, and whether in one that has failed. */
  transaction?: "open" | "failed" | undefined;
  /** Finds the connection that the rows are loaded on; none where no single query gave them. */
  find?: FindSession;
}

/** Tells an array of rows what else is known of them; the rows are pushed into it as they come. */
export let makeResult: <Row>(rows: Result<Row>, about: About) => Result<Row>;

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
export class Result<Row = Record<string, unknown>> extends Array<Row> {
  /** One property for all that is known: many on an array would cost more than a small query does. */
  #about!: About;

  static {
    makeResult = (rows, about) => {
      rows.#about = about;
      return rows;
    };
  }

  /** The columns, in their order. */
  get fields(): readonly Field[] {
    return this.#about.fields;
  }
  /** The command, such as `SELECT` or `INSERT`. */
  get command(): string {
    return this.tag.replace(/( \d+)+$/, ""); // `INSERT 0 3` is an `INSERT`, `CREATE TABLE` stays
  }
  /** The command as the server reports it, such as `INSERT 0 3`. */
  get tag(): string {
    return this.#about.tag;
  }
  /** Whether the server had more rows than were fetched. */
  get more(): boolean {
    return this.#about.more;
  }
  /** Rows returned or changed; `null` for commands that have no count. */
  get rowCount(): number | null {
    const count = / (\d+)$/.exec(this.tag);
    return count === null ? null : Number(count[1]);
  }
  /** Milliseconds from sending the query to its last row. */
  get elapsed(): number {
    return this.#about.elapsed;
  }
  /** What the server said beside its answer. */
  get notices(): readonly Notice[] {
    return this.#about.notices;
  }
  /** Where it ran, such as `app at db.example.com:5432`, if more than one connection was open then; else `undefined`. */
  get place(): string | undefined {
    return this.#about.place;
  }
  /** Whether the session was in a transaction after it, and whether in one that has failed. */
  get transaction(): "open" | "failed" | undefined {
    return this.#about.transaction;
  }
  /**
   * The columns with what only the catalogue knows: the names of a database's own types, and `nullable`. It asks for what
   * was not asked before on this connection; awaiting a query never does by itself.
   *
   * @throws {LakebaseError} As the query.
   */
  describe(): Promise<readonly Field[]> {
    return this.#about.describe();
  }

  /**
   * Draws its rows as a chart, as `Query.plot` does; what is computed is computed here.
   *
   * @param options What is drawn, and how; without any, what fits the types of its columns.
   * @throws {LakebaseError} `BAD_PARAMETER`.
   */
  plot(options: PlotOptions = {}): Lookup<Plot> {
    return new Lookup(async () => {
      const { plotRows } = await import("../plot/plot_rows.ts");
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
    const { batchOfRows, columnsOfFields } = await import("../transfer/rows_batch.ts");
    const { pullInHand } = await import("../transfer/pull_in_hand.ts");
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
    const { find } = this.#about;
    if (find === undefined) {
      throw new LakebaseError(
        "BAD_PARAMETER",
        "Cannot load: this list knows no connection; load it with db.load(table, rows)",
      );
    }
    const { loadTable } = await import("../transfer/load.ts");
    return await loadTable(find, table, this, options);
  }

  /** How a notebook draws it: the first rows as a table, or one line for a command without rows. */
  [DISPLAY](): Bundle {
    return holdIdle(drawResult(this));
  }

  /** What `map` and `filter` make. */
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
}
