import type { Table } from "npm:apache-arrow@^21.2.0";
import { closest } from "../../core/closest.ts";
import { LakebaseError } from "../../core/errors.ts";
import { type Bundle, DISPLAY, holdIdle } from "../../draw/notebook.ts";
import { drawResult, type Origin, SHOWN_ROWS } from "../../draw/result.ts";
import type { Fragment } from "../../sql/fragment.ts";
import type { Field } from "../../sql/result.ts";
import type { FindSession } from "../../sql/run.ts";
import type { LoadOptions } from "../load/options.ts";
import type { LoadResult } from "../load/result.ts";
import type { PullOptions, PullResult, PullTarget } from "../pull/pull.ts";
import type { Batch } from "./batch.ts";
import { Column } from "./column.ts";

/**
 * Arrow's table; by a name of its own, since `deno doc --lint` has it that a public type is made of this module's types only.
 * @internal
 */
export type ArrowTable = Table;

/** What {@linkcode Columns} are made of. */
export interface ColumnsParts {
  /** The rows. */
  batch: Batch;
  /** The columns as the server described them. */
  fields: readonly Field[];
  /** Milliseconds from sending the query to its last row. */
  elapsed: number;
  /** The connection and the transaction that they were read in. */
  origin: Origin;
  /** Finds the connection that they are loaded on. */
  find: FindSession;
}

/** The batch that columns are made of. */
export const BATCH: unique symbol = Symbol("lakebase.batch");

/**
 * The rows of a query, column by column: in less than half of the memory that objects take.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const columns = await db.sql`SELECT n, n / 2.0::float8 AS half FROM generate_series(1, 1000) n`.columns();
 * const half = columns.get("half");
 * assert.equal((half.values as Float64Array).reduce((sum, value) => sum + value), 250250);
 * assert.equal(half.get(999), 500);
 * ```
 */
export class Columns implements Iterable<Column> {
  /** How many rows there are. */
  readonly length: number;
  /** The columns in their order, as a result has them. */
  readonly fields: readonly Field[];
  /** Milliseconds from sending the query to its last row. */
  readonly elapsed: number;
  readonly #batch: Batch;
  readonly #find: FindSession;
  readonly #origin: Origin;
  readonly #columns: Map<string, Column>;

  /** Made by `columns()`. */
  constructor({ batch, fields, elapsed, origin, find }: ColumnsParts) {
    this.length = batch.rows;
    this.fields = fields;
    this.elapsed = elapsed;
    this.#batch = batch;
    this.#find = find;
    this.#origin = origin;
    this.#columns = new Map(fields.map((field, at) => [field.key, new Column(field, batch.columns[at]!)]));
  }

  /** @internal */
  get [BATCH](): Batch {
    return this.#batch;
  }

  /** The columns' names, in their order; of two of one name the second is `name_2`. */
  get names(): string[] {
    return [...this.#columns.keys()];
  }

  /**
   * A column.
   *
   * @param name Its name.
   * @throws {LakebaseError} `BAD_PARAMETER` where there is none of it.
   */
  get<T = unknown>(name: string): Column<T> {
    const column = this.#columns.get(name);
    if (column !== undefined) return column as Column<T>;
    const near = closest(String(name), this.names);
    const instead = near === undefined ? `there are: ${some(this.names)}` : `did you mean "${near}"?`;
    throw new LakebaseError("BAD_PARAMETER", `Cannot get the column "${name}": there is none of that name; ${instead}`);
  }

  /** Each column, in their order. */
  [Symbol.iterator](): Iterator<Column> {
    return this.#columns.values();
  }

  /**
   * The rows as objects, made one by one; the same that `await` of the query gives.
   *
   * @param from The first, from 0. @default {0}
   * @param to The one behind the last. @default {all}
   */
  *rows<Row = Record<string, unknown>>(from: number = 0, to: number = this.length): Generator<Row, void, void> {
    const columns = [...this.#columns.values()];
    // A copy has every key as its own, in this order, whatever its name: see RowReader.
    const empty: Record<string, unknown> = Object.fromEntries(this.names.map((name) => [name, null]));
    for (let row = Math.max(0, from); row < Math.min(to, this.length); row++) {
      const values = { ...empty };
      for (const column of columns) values[column.name] = column.get(row);
      yield values as Row;
    }
  }

  /**
   * The same as a table of Apache Arrow, for Arquero, DuckDB, Observable Plot and others; the memory is shared.
   *
   * @returns A `Table` of `apache-arrow`: `Decimal` with its scale, `TimestampMicrosecond` (of `timestamptz` in UTC),
   * `DateDay`, `TimeMicrosecond`, uuid as 16 bytes with the extension type `arrow.uuid`, arrays as `List`, json as text.
   * @throws {LakebaseError} `QUERY_FAILED` where a date or timestamp is infinite, or a time is 24:00:00.
   */
  async toArrow(): Promise<ArrowTable> {
    const { arrowTable } = await import("./arrow_table.ts");
    return arrowTable(this.#batch);
  }

  /**
   * Writes the rows to a file or a stream, as `pull` of the query would, with every digit; the query does not run again.
   *
   * @param target A file's path or URL, a stream, or `-`.
   * @param options As for `pull`, but for what only the server can do: `parallel`, and folders.
   * @throws {LakebaseError} `BAD_PARAMETER`, `BAD_FILE`.
   */
  async pull(target: PullTarget, options?: PullOptions): Promise<PullResult> {
    const { pullFromMemory } = await import("../pull/in_memory.ts");
    const columns = this.#batch.columns.map(({ type }, at) => ({
      name: this.fields[at]!.key,
      oid: this.fields[at]!.oid,
      type,
    }));
    return await pullFromMemory(columns, () => this.#batch, target, options);
  }

  /**
   * Loads the rows into a table, as `load` of them would.
   *
   * @param table A table as `describe` takes it.
   * @param options Whether the table is to be made, and what becomes of the rows in it.
   * @throws {LakebaseError} As `load`.
   */
  async load(table: string | Fragment, options?: LoadOptions): Promise<LoadResult> {
    const { loadTable } = await import("../load/load.ts");
    return await loadTable(this.#find, table, this, options);
  }

  /** How a notebook draws it: the first rows as a table. */
  [DISPLAY](): Bundle {
    return holdIdle(this.#draw());
  }

  /** How `console.log` prints it. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.#draw()["text/plain"]!;
  }

  #draw(): Bundle {
    const { fields, elapsed, length: rowCount } = this;
    const about = {
      fields,
      elapsed,
      rowCount,
      notices: [],
      tag: `SELECT ${rowCount}`,
      more: false,
      ...this.#origin,
    };
    return drawResult(Object.assign([...this.rows(0, SHOWN_ROWS)], about));
  }
}

/** A table may have 1,600 columns. */
function some(names: readonly string[]): string {
  return names.length > 20 ? `${names.slice(0, 20).join(", ")}, ...` : names.join(", ");
}
