import type { Table } from "npm:apache-arrow@21.2.0";
import { closest } from "../../core/closest.ts";
import { LakebaseError } from "../../core/errors.ts";
import { lazyImport, loadModule } from "../../core/lazy_import.ts";
import { type Bundle, DRAW, SelfDrawn } from "../../draw/notebook.ts";
import { drawResult, type ResultOrigin, SHOWN_ROWS } from "../../draw/table.ts";
import type { Fragment } from "../../sql/fragment.ts";
import { takesNothing } from "../../sql/options.ts";
import type { Field } from "../../sql/result.ts";
import type { FindSession } from "../../sql/run.ts";
import { DEFAULT_TYPES } from "../../sql/types.ts";
import type { LoadOptions } from "../load/options.ts";
import type { LoadResult } from "../load/load.ts";
import type { PullOptions, PullResult, PullTarget } from "../pull/pull.ts";
import { type Batch, type ColumnData, type ColumnType, type ColumnValues, isSet } from "./batch.ts";
import { type ValueReader, valueReader } from "./value.ts";

/**
 * A column of a result, in typed arrays with the layout of Arrow. {@linkcode values} gives these arrays. {@linkcode get},
 * {@linkcode toArray} and iteration give what `await sql` gives, converted on demand: a text becomes a string, a
 * `timestamptz` a `Date`, and a `numeric` its exact text.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const columns = await db.sql`SELECT n, nullif(n, 2) * 1.5 AS fare FROM generate_series(1, 3) AS n`.columns();
 * const n = columns.get("n");
 * assert.deepEqual(n.values, Int32Array.of(1, 2, 3)); // as they lie in memory
 * const fare = columns.get("fare");
 * assert.deepEqual([fare.type, fare.length, fare.nullCount, fare.isNull(1)], ["numeric", 3, 1, true]);
 * assert.deepEqual(fare.toArray(), ["1.5", null, "4.5"]);
 * ```
 */
export class Column<T = unknown> implements Iterable<T | null> {
  /** The name; `name_2` if an earlier column is called `name`. */
  readonly name: string;
  /** The Postgres type, such as `timestamptz`. */
  readonly type: string;
  readonly #data: ColumnData;
  readonly #read: ValueReader;

  /** Called by `columns()`. */
  constructor({ key, type, oid }: Pick<Field, "key" | "type" | "oid">, data: ColumnData, reader?: ValueReader) {
    this.name = key;
    this.type = type;
    this.#data = data;
    this.#read = reader ?? (isArrayText(type, data) ? arrayReader(oid, valueReader(data)) : valueReader(data));
  }

  /** The number of values, including NULLs. */
  get length(): number {
    return this.#data.length;
  }

  /** The number of NULLs. */
  get nullCount(): number {
    return this.#data.nullCount;
  }

  /** How the values are stored, including the scale of a decimal and the element type of a list. */
  get storage(): ColumnType {
    return this.#data.type;
  }

  /**
   * The values in memory; do not change them. A NULL has the value 0.
   *
   * - int2, int4, oid, float4, float8: one number per value
   * - int8: `BigInt64Array`
   * - time, timestamp, timestamptz: microseconds since midnight or since 1970-01-01, in a `BigInt64Array`
   * - date: days since 1970-01-01, in an `Int32Array`
   * - numeric(p, s): the number times 10^s, as four 32-bit words with the lowest first; {@linkcode storage} has the scale
   * - bool: one bit per value, with the lowest bit of a byte first
   * - uuid: 16 bytes per value
   * - text, json, bytea and all other types: bytes; {@linkcode offsets} tells where each value begins
   * - arrays: empty; {@linkcode elements} has the elements
   *
   * An infinite date or timestamp has the least or the greatest number of its array's type.
   */
  get values(): ColumnValues {
    return this.#data.values;
  }

  /** One bit per value, with the lowest bit of a byte first; 0 means NULL. `undefined` if no value is NULL. */
  get nullBitmap(): Uint8Array | undefined {
    return this.#data.nullBitmap;
  }

  /** Where each text, bytea or array begins, and where the last one ends; `undefined` for types of fixed size. */
  get offsets(): Int32Array | undefined {
    return this.#data.offsets;
  }

  /** The elements of all arrays, one after the other; `undefined` if the column does not store arrays. */
  get elements(): Column | undefined {
    const { child } = this.#data;
    const type = this.type.replace(/\[\]$/, "");
    return child === undefined ? undefined : new Column({ key: "item", type, oid: 0 }, child);
  }

  /** Whether a value is NULL. */
  isNull(row: number): boolean {
    const { nullBitmap } = this.#data;
    return nullBitmap !== undefined && this.#has(row) && !isSet(nullBitmap, row);
  }

  /**
   * Gives the value of a row.
   *
   * @param row The row, from 0.
   * @returns The value that `await sql` gives; `null` for NULL; `undefined` if there is no such row.
   */
  get(row: number): T | null | undefined {
    return this.#has(row) ? this.#read(row) as T | null : undefined;
  }

  /** Gives all values, as {@linkcode get} does. */
  toArray(): (T | null)[] {
    return Array.from({ length: this.length }, (_, row) => this.#read(row) as T | null);
  }

  /** Yields each value, as {@linkcode get} gives it. */
  *[Symbol.iterator](): Generator<T | null, void, void> {
    for (let row = 0; row < this.length; row++) yield this.#read(row) as T | null;
  }

  /** The text that `console.log` prints. */
  [Symbol.for("Deno.customInspect")](): string {
    const nulls = this.nullCount === 0 ? "" : `, ${this.nullCount.toLocaleString("en-US")} NULL`;
    return `Column "${this.name}" { ${this.type}, ${this.length.toLocaleString("en-US")} values${nulls} }`;
  }

  #has(row: number): boolean {
    return Number.isInteger(row) && row >= 0 && row < this.length;
  }
}

/** Whether a column stores arrays as text, because their elements have no column type; a query parses such arrays. */
function isArrayText(type: string, data: ColumnData): boolean {
  return data.type.kind === "text" && type.endsWith("[]");
}

function arrayReader(oid: number, read: ValueReader): ValueReader {
  const parse = DEFAULT_TYPES.getTypeParser(oid);
  return (row) => {
    const text = read(row) as string | null;
    return text === null ? null : parse(text);
  };
}

/**
 * Arrow's table, under its own name because `deno doc --lint` allows only this package's types in a public type.
 * @internal
 */
export type ArrowTable = Table;

/** The parts of {@linkcode Columns}. */
interface ColumnsParts {
  /** The rows. */
  batch: Batch;
  /** The columns as the server described them. */
  fields: readonly Field[];
  /** Milliseconds from sending the query to its last row. */
  elapsed: number;
  /** The connection and the transaction in which the rows were read. */
  origin: ResultOrigin;
  /** Finds the connection on which `load()` runs. */
  find: FindSession;
  /** Gives the reader of a column whose stored values don't show its type. By default, the storage decides. */
  reader?: (field: Field, data: ColumnData) => ValueReader | undefined;
}

/** The key of the batch behind the columns. */
export const BATCH: unique symbol = Symbol("lakebase.batch");

/**
 * The rows of a query, column by column. They take less than half the memory of objects.
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
export class Columns extends SelfDrawn implements Iterable<Column> {
  /** The number of rows. */
  readonly length: number;
  /** The columns' names and types, in order, as in a result. */
  readonly fields: readonly Field[];
  /** Milliseconds from sending the query to its last row. */
  readonly elapsed: number;
  readonly #batch: Batch;
  readonly #find: FindSession;
  readonly #origin: ResultOrigin;
  readonly #columns: Map<string, Column>;

  /** Called by `columns()`. */
  constructor({ batch, fields, elapsed, origin, find, reader }: ColumnsParts) {
    super();
    this.length = batch.rows;
    this.fields = fields;
    this.elapsed = elapsed;
    this.#batch = batch;
    this.#find = find;
    this.#origin = origin;
    this.#columns = new Map(fields.map((field, at) => {
      const data = batch.columns[at]!;
      return [field.key, new Column(field, data, reader?.(field, data))];
    }));
  }

  /** @internal */
  get [BATCH](): Batch {
    return this.#batch;
  }

  /** The columns' names, in order. If two columns are called `name`, the second is `name_2`. */
  get names(): string[] {
    return [...this.#columns.keys()];
  }

  /**
   * Gives a column.
   *
   * @param name The column's name.
   * @throws {LakebaseError} `BAD_PARAMETER` if there is no column of this name.
   */
  get<T = unknown>(name: string): Column<T> {
    const column = this.#columns.get(name);
    if (column !== undefined) return column as Column<T>;
    if (typeof name !== "string") {
      const found = Deno.inspect(name, { depth: 1, strAbbreviateSize: 40 });
      throw new LakebaseError("BAD_PARAMETER", `Cannot get the column: its name is ${found}; it must be a text`);
    }
    const similar = closest(name, this.names);
    const hint = similar === undefined ? `there are: ${listNames(this.names)}` : `did you mean "${similar}"?`;
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot get the column "${name}": there is no column with that name; ${hint}`,
    );
  }

  /** Iterates over the columns, in order. */
  [Symbol.iterator](): Iterator<Column> {
    return this.#columns.values();
  }

  /**
   * Yields the rows as objects, as `await` of the query gives them. Each object is made on demand.
   *
   * @param from The first row, from 0. @default {0}
   * @param to The row after the last one. @default {the number of rows}
   * @throws {LakebaseError} `BAD_PARAMETER` if one of them is no number.
   */
  *rows<Row = Record<string, unknown>>(from: number = 0, to: number = this.length): Generator<Row, void, void> {
    for (const row of [from, to]) {
      if (typeof row === "number" && !Number.isNaN(row)) continue;
      const found = Deno.inspect(row, { depth: 1, strAbbreviateSize: 40 });
      throw new LakebaseError(
        "BAD_PARAMETER",
        `Cannot give the rows: a row is ${found}; write rows(from, to) with numbers`,
      );
    }
    const columns = [...this.#columns.values()];
    // Each copy has all keys as its own properties, in this order, even `__proto__`; see RowReader.
    const empty: Record<string, unknown> = Object.fromEntries(this.names.map((name) => [name, null]));
    for (let row = Math.max(0, from); row < Math.min(to, this.length); row++) {
      const values = { ...empty };
      for (const column of columns) values[column.name] = column.get(row);
      yield values as Row;
    }
  }

  /**
   * Gives the rows as an Apache Arrow table, for Arquero, DuckDB, Observable Plot and others. The table shares the memory.
   *
   * @returns A `Table` of `apache-arrow`. Types: `Decimal` with its scale, `TimestampMicrosecond` (in UTC for `timestamptz`),
   * `DateDay`, `TimeMicrosecond`; uuid as 16 bytes with the extension type `arrow.uuid`, arrays as `List`, json as text.
   * @throws {LakebaseError} `QUERY_FAILED` if a date or timestamp is infinite, or a time is 24:00:00.
   */
  async toArrow(...none: []): Promise<ArrowTable> {
    takesNothing("toArrow", none, "the columns' types decide; cast in the query", "make an Arrow table");
    await (await loadModule(() => import("../formats/file_format.ts"))).loadArrow();
    const writer = import.meta.resolve("../formats/arrow/write.ts");
    const { arrowTable } = await lazyImport<typeof import("../formats/arrow/write.ts")>(writer);
    return arrowTable(this.#batch);
  }

  /**
   * Writes the rows to a file or a stream, as `pull` of the query would, with all digits. The query does not run again.
   *
   * @param target A file's path or URL, a stream, or `-`.
   * @param options The options of `pull`, except `parallel`, `rowsPerFile`, `partitionBy` and `replace`. The target can't be a
   * folder.
   * @throws {LakebaseError} `BAD_PARAMETER` for a bad target or option; `BAD_FILE` if the file can't be written;
   * `QUERY_FAILED` for a value that the format can't hold.
   */
  async pull(target: PullTarget, options?: PullOptions): Promise<PullResult> {
    const { pullFromMemory } = await loadModule(() => import("../pull/in_memory.ts"));
    const columns = this.#batch.columns.map(({ type }, at) => ({
      name: this.fields[at]!.key,
      oid: this.fields[at]!.oid,
      type,
    }));
    return await pullFromMemory(columns, () => this.#batch, target, options, this.#find);
  }

  /**
   * Loads the rows into a table, as `Lakebase.load` does.
   *
   * @param table The table's name, as for `describe`.
   * @param options Whether to create the table, and what to do with the rows that it has.
   * @throws {LakebaseError} As `Lakebase.load`.
   */
  async load(table: string | Fragment, options?: LoadOptions): Promise<LoadResult> {
    const { loadTable } = await loadModule(() => import("../load/load.ts"));
    return await loadTable(this.#find, table, this, options);
  }

  /** @internal */
  override [DRAW](): Bundle {
    const { fields, elapsed, length: rowCount } = this;
    const facts = {
      fields,
      elapsed,
      rowCount,
      notices: [],
      tag: `SELECT ${rowCount}`,
      more: false,
      ...this.#origin,
    };
    return drawResult(Object.assign([...this.rows(0, SHOWN_ROWS)], facts));
  }
}

/** Lists at most 20 names, since a table may have 1,600 columns. */
function listNames(names: readonly string[]): string {
  return names.length > 20 ? `${names.slice(0, 20).join(", ")}, ...` : names.join(", ");
}
