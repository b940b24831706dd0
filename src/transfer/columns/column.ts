import type { Field } from "../../sql/result.ts";
import { parserSource } from "../../sql/types.ts";
import { type ColumnData, type ColumnType, type ColumnValues, isSet } from "./batch.ts";
import { type ValueReader, valueReader } from "./value.ts";

const PARSERS = parserSource();

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
  const parse = PARSERS.getTypeParser(oid);
  return (row) => {
    const text = read(row) as string | null;
    return text === null ? null : parse(text);
  };
}
