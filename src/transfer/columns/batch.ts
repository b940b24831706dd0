import { typeName } from "../../core/type_names.ts";

/** A column without its values. */
export interface BatchColumn {
  /** The name. */
  name: string;
  /** The oid of the Postgres type; for a column that is cast to text, the type before the cast. */
  oid: number;
  /** How the values are stored. */
  type: ColumnType;
}

/** Some rows, column by column. */
export interface Batch {
  /** The number of rows, also if there are no columns. */
  rows: number;
  /** The columns. */
  columns: ColumnData[];
}

/** The values of a column, in the memory layout of Arrow, which can use them without a copy. */
export interface ColumnData {
  /** The name. */
  name: string;
  /** How the values are stored. */
  type: ColumnType;
  /** The number of values, including NULLs. */
  length: number;
  /** The number of NULLs. */
  nullCount: number;
  /** One bit per value, with the lowest bit of a byte first; 0 means NULL. Absent if no value is NULL. */
  nullBitmap?: Uint8Array;
  /** The values; see {@linkcode ColumnValues}. */
  values: ColumnValues;
  /** Where each text begins in `values`, or each list in `child`, and where the last one ends. */
  offsets?: Int32Array;
  /** The elements of all lists, one after the other. */
  child?: ColumnData;
}

/**
 * The values of all rows; 0 for NULL.
 *
 * - `Uint8Array`: bool (one bit per value), uuid (16 bytes per value), text, json and binary (`offsets` tells where each
 *   value begins), list (empty)
 * - `Int16Array`, `Float32Array`, `Float64Array`: int16, float32, float64
 * - `Int32Array`: int32, date
 * - `Uint32Array`: uint32; decimal (four words per value, with the lowest first, in two's complement)
 * - `BigInt64Array`: int64, time, timestamp
 *
 * An infinite date or timestamp is the least or the greatest number of its type, as in Postgres.
 */
export type ColumnValues =
  | Uint8Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array;

/** How a column's values are stored, in memory and in files. Values of all other Postgres types are stored as text. */
export type ColumnType =
  /** One bit per value. */
  | { kind: "bool" }
  /** Numbers of the named type. */
  | { kind: "int16" | "int32" | "int64" | "uint32" | "float32" | "float64" }
  /** A whole number of 128 bits, in units of 10^-`scale`, with `precision` digits, at most 38. */
  | { kind: "decimal"; precision: number; scale: number }
  /** Days since 1970-01-01. */
  | { kind: "date" }
  /** Microseconds since midnight. */
  | { kind: "time" }
  /** Microseconds since 1970-01-01: in UTC if `utc` is set, as for `timestamptz`; else in an unknown time zone. */
  | { kind: "timestamp"; utc: boolean }
  /** 16 bytes. */
  | { kind: "uuid" }
  /** Text in UTF-8. */
  | { kind: "text" | "json" }
  /** Bytes. */
  | { kind: "binary" }
  /** A one-dimensional array. */
  | { kind: "list"; element: ColumnType };

/** The names of Arrow's extension types. */
export const ARROW_EXTENSIONS: Readonly<Partial<Record<ColumnType["kind"], string>>> = { uuid: "arrow.uuid" };

/** The keys of a field's metadata that have the name and the parameters of its extension type. */
export const EXTENSION_NAME = "ARROW:extension:name";
export const EXTENSION_METADATA = "ARROW:extension:metadata";

/** The key of the metadata of a Parquet file that has the Arrow schema. polars needs this schema to read JSON as text. */
export const ARROW_SCHEMA = "ARROW:schema";

/** How to read and store a column of a query. */
interface ColumnChoice {
  /** How the values are stored. */
  type: ColumnType;
  /** Whether the query has to cast the column to text. */
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

/** Types that can't be cast to text; the server sends their values as text anyway. */
const SENT_AS_TEXT: readonly string[] = ["void", "cstring"];

/** The most digits that 128 bits hold. */
const MAX_DIGITS = 38;

/**
 * Chooses how to read and store a column of a query.
 *
 * @param oid The column's type, as the server describes it; for a domain, its base type.
 * @param modifier The type modifier; -1 for none.
 */
export function columnType(oid: number, modifier: number): ColumnChoice {
  const name = typeName(oid);
  const isList = name.endsWith("[]");
  const element = isList ? name.slice(0, -2) : name;
  const type = element === "numeric" ? decimalType(modifier) : TYPES[element];
  if (type === undefined) return { type: TEXT, cast: !SENT_AS_TEXT.includes(name) };
  return { type: isList ? { kind: "list", element: type } : type, cast: false };
}

/** Gives the type of a `numeric`; `undefined` if its precision is unknown or too large, because then only text is exact. */
function decimalType(modifier: number): ColumnType | undefined {
  if (modifier < 4) return undefined;
  const precision = (modifier - 4) >>> 16;
  const scale = (((modifier - 4) & 0x7ff) ^ 0x400) - 0x400; // 11 bits with a sign since PostgreSQL 15
  // Files need a scale from 0 to the precision: numeric(5, -2) takes 7 digits, and numeric(3, 5) takes 5.
  const digits = scale < 0 ? precision - scale : Math.max(precision, scale);
  return digits > MAX_DIGITS ? undefined : { kind: "decimal", precision: digits, scale: Math.max(0, scale) };
}

/** Gives the values as 32-bit words. A copy of words keeps the bits of a NaN, and needs no bigint. */
export function columnWords({ values }: ColumnData): Int32Array {
  const aligned = values.byteOffset % 4 === 0 ? values : values.slice();
  return new Int32Array(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength >> 2);
}

/** Whether the bit of a row is set. */
export function isSet(bitmap: Uint8Array, row: number): boolean {
  return (bitmap[row >> 3]! >> (row & 7) & 1) === 1;
}

/** Thrown for a value that a column can't store. The code that throws the error knows only the place of the value in a block. */
export class CellProblem extends Error {
  /** The value's place among the appended values or in a batch, from 0; -1 if unknown. */
  readonly at: number;

  /** Makes the error for the value at a place. */
  constructor(at: number, problem: string) {
    super(problem);
    this.at = at;
  }
}

/**
 * Runs some work. If a part of a value has a problem, throws it with the place of the whole value.
 *
 * @param placeOf Gives the place of the whole from the place of the part; -1 if unknown.
 */
export function problemAt<T>(work: () => T, placeOf: (at: number) => number): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof CellProblem ? new CellProblem(placeOf(error.at), error.message) : error;
  }
}

/**
 * Joins batches of the same columns into one.
 *
 * @param columns The columns, for the case that there is no batch.
 * @param batches The batches, in order.
 * @returns One batch. A single batch is returned without a copy.
 */
export function joinBatches(columns: readonly BatchColumn[], batches: readonly Batch[]): Batch {
  if (batches.length === 1) return batches[0]!;
  const rows = batches.reduce((sum, batch) => sum + batch.rows, 0);
  return {
    rows,
    columns: columns.map(({ name, type }, at) => joinColumns(name, type, batches.map((batch) => batch.columns[at]!))),
  };
}

function joinColumns(name: string, type: BatchColumn["type"], parts: readonly ColumnData[]): ColumnData {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const nullCount = parts.reduce((sum, part) => sum + part.nullCount, 0);
  const nulls = nullCount === 0 ? {} : { nullBitmap: joinBits(length, parts.map(nullsOf)) };
  const column = { name, type, length, nullCount, ...nulls };
  switch (type.kind) {
    case "bool":
      return {
        ...column,
        values: joinBits(length, parts.map((part) => ({ ...part, bits: part.values as Uint8Array }))),
      };
    case "list": {
      const children = parts.map(({ child }) => child!);
      const offsets = joinOffsets(length, parts.map((part) => ({ ...part, from: 0, size: part.child!.length })));
      return { ...column, values: new Uint8Array(), offsets, child: joinColumns("item", type.element, children) };
    }
    case "text":
    case "json":
    case "binary": {
      const texts = parts.map(({ length, values, offsets }) => {
        const [from, to] = [offsets?.[0] ?? 0, offsets?.[length] ?? 0];
        return { length, offsets, from, size: to - from, bytes: (values as Uint8Array).subarray(from, to) };
      });
      const values = joinValues(texts.map(({ bytes }) => bytes), new Uint8Array());
      return { ...column, values, offsets: joinOffsets(length, texts) };
    }
    default: {
      const width = type.kind === "uuid" ? 16 : type.kind === "decimal" ? 4 : 1;
      const values = parts.map((part) => part.values.subarray(0, part.length * width));
      return { ...column, values: joinValues(values, EMPTY[type.kind]) };
    }
  }
}

/** The arrays of columns without values. */
const EMPTY = {
  int16: new Int16Array(),
  int32: new Int32Array(),
  int64: new BigInt64Array(),
  uint32: new Uint32Array(),
  float32: new Float32Array(),
  float64: new Float64Array(),
  decimal: new Uint32Array(),
  date: new Int32Array(),
  time: new BigInt64Array(),
  timestamp: new BigInt64Array(),
  uuid: new Uint8Array(),
} as const;

function joinValues<Values extends ColumnValues>(parts: readonly Values[], empty: Values): Values {
  const Array = (parts[0] ?? empty).constructor as new (length: number) => Values;
  const all = new Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    (all as Uint8Array).set(part as Uint8Array, at);
    at += part.length;
  }
  return all;
}

/** The offsets of one part of a column. They start at `from`, and cover `size` bytes or elements. */
interface PartOffsets {
  length: number;
  offsets?: Int32Array | undefined;
  from: number;
  size: number;
}

function joinOffsets(length: number, parts: readonly PartOffsets[]): Int32Array {
  const all = new Int32Array(length + 1);
  let row = 0;
  let before = 0;
  for (const { offsets, length, from, size } of parts) {
    for (let at = 0; at <= length && offsets !== undefined; at++) all[row + at] = before + offsets[at]! - from;
    row += length;
    before += size;
  }
  if (before > 2 ** 31 - 1) throw new RangeError("the texts of a column have more than 2 GiB");
  return all;
}

/** One bit for each value of one part of a column. */
interface PartBits {
  length: number;
  /** One bit per value; `undefined` if all are set. */
  bits: Uint8Array | undefined;
}

function nullsOf({ length, nullBitmap, nullCount }: ColumnData): PartBits {
  return { length, bits: nullCount === 0 ? undefined : nullBitmap };
}

function joinBits(length: number, parts: readonly PartBits[]): Uint8Array {
  const all = new Uint8Array((length + 7) >> 3);
  let row = 0;
  for (const { length, bits } of parts) {
    if (row % 8 === 0) {
      const bytes = (length + 7) >> 3;
      if (bits === undefined) all.fill(255, row >> 3, (row >> 3) + bytes);
      else all.set(bits.subarray(0, bytes), row >> 3);
      clearRest(all, row + length);
    } else {
      for (let at = 0; at < length; at++) {
        if (bits === undefined || isSet(bits, at)) all[(row + at) >> 3]! |= 1 << ((row + at) & 7);
      }
    }
    row += length;
  }
  return all;
}

/** Clears the rest of a byte, in which the next part only sets bits. */
function clearRest(bits: Uint8Array, from: number): void {
  if (from % 8 !== 0) bits[from >> 3]! &= (1 << (from & 7)) - 1;
}
