import { typeName } from "../../core/type_names.ts";

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

/** How a column's values are kept, in memory and in files. What has no counterpart here is kept as the server's text. */
export type ColumnType =
  /** One bit each. */
  | { kind: "bool" }
  /** Numbers, as they are. */
  | { kind: "int16" | "int32" | "int64" | "uint32" | "float32" | "float64" }
  /** A whole number of 128 bits that counts units of 10^-`scale`; of `precision` digits, at most 38. */
  | { kind: "decimal"; precision: number; scale: number }
  /** Days since 1970-01-01. */
  | { kind: "date" }
  /** Microseconds since midnight. */
  | { kind: "time" }
  /** Microseconds since 1970; `utc` for `timestamptz`, else of a clock whose place is not known. */
  | { kind: "timestamp"; utc: boolean }
  /** 16 bytes. */
  | { kind: "uuid" }
  /** UTF-8. */
  | { kind: "text" | "json" }
  /** Bytes. */
  | { kind: "binary" }
  /** A one-dimensional array. */
  | { kind: "list"; element: ColumnType };

/** How a column of a query is kept. */
export interface ColumnChoice {
  /** The type. */
  type: ColumnType;
  /** Whether it has to be selected as `::text`. */
  cast: boolean;
}

const TEXT: ColumnType = { kind: "text" };

const TYPES: Readonly<Record<string, ColumnType>> = {
  bool: { kind: "bool" },
  int2: { kind: "int16" },
  int4: { kind: "int32" },
  int8: { kind: "int64" },
  oid: { kind: "uint32" },
  float4: { kind: "float32" },
  float8: { kind: "float64" },
  date: { kind: "date" },
  time: { kind: "time" },
  timestamp: { kind: "timestamp", utc: false },
  timestamptz: { kind: "timestamp", utc: true },
  uuid: { kind: "uuid" },
  json: { kind: "json" },
  jsonb: { kind: "json" },
  bytea: { kind: "binary" },
  text: TEXT,
  varchar: TEXT,
  bpchar: TEXT,
  name: TEXT,
};

/** No value of these can be cast, but the server sends them as text in any case. */
const SENT_AS_TEXT: readonly string[] = ["void", "cstring"];

/** The most digits that 128 bits hold. */
const MOST_DIGITS = 38;

/**
 * How a column of a query is kept.
 *
 * @param oid Its type, as the server describes it: of a domain the type below.
 * @param modifier Its type modifier; -1 for none.
 */
export function columnType(oid: number, modifier: number): ColumnChoice {
  const name = typeName(oid);
  const isList = name.endsWith("[]");
  const own = isList ? name.slice(0, -2) : name;
  const type = own === "numeric" ? decimalType(modifier) : TYPES[own];
  if (type === undefined) return { type: TEXT, cast: !SENT_AS_TEXT.includes(name) };
  return { type: isList ? { kind: "list", element: type } : type, cast: false };
}

/** A `numeric` without a precision, or with one that does not fit, is exact as text only. */
function decimalType(modifier: number): ColumnType | undefined {
  if (modifier < 4) return undefined;
  const precision = (modifier - 4) >>> 16;
  const scale = (((modifier - 4) & 0x7ff) ^ 0x400) - 0x400; // 11 bits with a sign, since PostgreSQL 15
  // Files know no scale below 0 nor above the precision: numeric(5, -2) takes 7 digits, numeric(3, 5) 5.
  const digits = scale < 0 ? precision - scale : Math.max(precision, scale);
  return digits > MOST_DIGITS ? undefined : { kind: "decimal", precision: digits, scale: Math.max(0, scale) };
}

/** Values as words of 32 bits: copied as such, no NaN is changed and no bigint made. */
export function words({ values }: ColumnData): Int32Array {
  const aligned = values.byteOffset % 4 === 0 ? values : values.slice();
  return new Int32Array(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength >> 2);
}
