import type { Field } from "../../sql/result.ts";
import { parserSource } from "../../sql/types.ts";
import type { ColumnData, ColumnType, ColumnValues } from "./batch.ts";
import { isSet, type ValueReader, valueReader } from "./value.ts";

const PARSERS = parserSource();

/**
 * A column of a result: typed arrays, as Arrow lays them out. {@linkcode values} are as they lie in memory; {@linkcode get}
 * and all that goes over the values give what `await sql` gives, made when asked for: a text becomes a string, a
 * `timestamptz` a `Date`, a `numeric` its exact text.
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
  /** The name; `name_2` where an earlier column has it. */
  readonly name: string;
  /** The Postgres type, such as `timestamptz`. */
  readonly type: string;
  readonly #data: ColumnData;
  readonly #read: ValueReader;

  /** Made by `columns()`. */
  constructor({ key, type, oid }: Pick<Field, "key" | "type" | "oid">, data: ColumnData) {
    this.name = key;
    this.type = type;
    this.#data = data;
    this.#read = isArrayText(type, data) ? arrayReader(oid, valueReader(data)) : valueReader(data);
  }

  /** How many values there are, NULLs included. */
  get length(): number {
    return this.#data.length;
  }

  /** How many are NULL. */
  get nullCount(): number {
    return this.#data.nullCount;
  }

  /** How the values are kept; with the scale of a decimal, the type of a list's elements. */
  get storage(): ColumnType {
    return this.#data.type;
  }

  /**
   * The values in memory, not to be changed; 0 for NULL.
   *
   * - int2, int4, oid, float4, float8: a number each
   * - int8, and in microseconds `time` (since midnight), `timestamp` and `timestamptz` (since 1970): `BigInt64Array`
   * - date: days since 1970, in an `Int32Array`
   * - numeric(p, s): four words each, the lowest first, of the number without its point (its scale is in `storage`)
   * - bool: a bit each; uuid: 16 bytes each
   * - text and all that has no place above, json, bytea: bytes, of which {@linkcode offsets} say which are whose
   * - arrays: none; their elements are in {@linkcode elements}
   *
   * An infinite date or timestamp is the least or the greatest number there is.
   */
  get values(): ColumnValues {
    return this.#data.values;
  }

  /** A bit for each value, the lowest of a byte first: set where it is not NULL; `undefined` where none is NULL. */
  get nullBitmap(): Uint8Array | undefined {
    return this.#data.nullBitmap;
  }

  /** Where each text or array begins; one more than there are values. */
  get offsets(): Int32Array | undefined {
    return this.#data.offsets;
  }

  /** The elements of all arrays. */
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
   * The value of a row.
   *
   * @param row From 0.
   * @returns What `await sql` gives: `null` for NULL; `undefined` where there is no such row.
   */
  get(row: number): T | null | undefined {
    return this.#has(row) ? this.#read(row) as T | null : undefined;
  }

  /** All values, as {@linkcode get} gives them. */
  toArray(): (T | null)[] {
    return Array.from({ length: this.length }, (_, row) => this.#read(row) as T | null);
  }

  /** Each value, as {@linkcode get} gives it. */
  *[Symbol.iterator](): Generator<T | null, void, void> {
    for (let row = 0; row < this.length; row++) yield this.#read(row) as T | null;
  }

  /** How `console.log` prints it. */
  [Symbol.for("Deno.customInspect")](): string {
    const nulls = this.nullCount === 0 ? "" : `, ${this.nullCount.toLocaleString("en-US")} NULL`;
    return `Column "${this.name}" { ${this.type}, ${this.length.toLocaleString("en-US")} values${nulls} }`;
  }

  #has(row: number): boolean {
    return Number.isInteger(row) && row >= 0 && row < this.length;
  }
}

/** An array whose elements have no counterpart came as text; a query reads it as an array nonetheless. */
function isArrayText(type: string, data: ColumnData): boolean {
  return data.type.kind === "text" && type.endsWith("[]");
}

function arrayReader(oid: number, read: ValueReader): ValueReader {
  const parse = PARSERS.getTypeParser(oid);
  return (row) => {
    const text = read(row) as string | null;
    return text === null ? null : parse(text);
  };
}
