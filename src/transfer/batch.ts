import type { ColumnType } from "./column_type.ts";

/** What is known of a column before its values. */
export interface BatchColumn {
  /** The name. */
  name: string;
  /** The Postgres type's oid; where it was cast to text, of the type before. */
  oid: number;
  /** How its values are kept. */
  type: ColumnType;
}

/** Some rows, column by column. */
export interface Batch {
  /** How many; a table may have no columns. */
  rows: number;
  /** The columns. */
  columns: ColumnData[];
}

/** The values of a column; their places in memory are Arrow's, so that nothing is copied on the way there. */
export interface ColumnData {
  /** The name. */
  name: string;
  /** How its values are kept. */
  type: ColumnType;
  /** How many there are, NULLs included. */
  length: number;
  /** How many of them are NULL. */
  nullCount: number;
  /** A bit for each, the lowest of a byte first: set where there is a value; absent where none is NULL. */
  nullBitmap?: Uint8Array;
  /** The values; see {@linkcode ColumnValues}. */
  values: ColumnValues;
  /** Where each text, or list, begins in `values`, or in `child`; one more than there are values. */
  offsets?: Int32Array;
  /** The elements of all lists. */
  child?: ColumnData;
}

/**
 * One for each row; for NULL it is 0.
 *
 * - `Uint8Array`: bool (a bit each), uuid (16 bytes each), text, json and binary (as `offsets` say), list (empty)
 * - `Int16Array`, `Float32Array`, `Float64Array`: as named
 * - `Int32Array`: int32, date
 * - `Uint32Array`: uint32; decimal, of four words each, the lowest first, in two's complement
 * - `BigInt64Array`: int64, time, timestamp
 *
 * An infinite date or timestamp is the least or the greatest number there is, as in Postgres.
 */
export type ColumnValues =
  | Uint8Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array;
