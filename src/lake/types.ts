import { Buffer } from "node:buffer";
import { countText } from "../core/text.ts";
import { BUILT_IN } from "../core/type_names.ts";
import { keepTexts, type TextColumn } from "../draw/cell.ts";
import { type Field, fieldsOf } from "../sql/result.ts";
import { unreadableAnswer } from "./answer.ts";

/** A column of a result, as the manifest describes it. */
export interface ManifestColumn {
  /** The name. */
  name: string;
  /** The name of the type, without parameters, such as `DECIMAL`. */
  type_name?: string;
  /** The complete type, such as `DECIMAL(10,2)` or `STRUCT<a: INT>`. */
  type_text?: string;
  /** The digits of a DECIMAL. */
  type_precision?: number;
  /** The digits after the point. */
  type_scale?: number;
}

/** A type, with the types that it contains. */
export interface WarehouseType {
  /** The name in capitals: `INT`, `DECIMAL`, `ARRAY`. */
  name: string;
  /** The fields of a STRUCT, by name; the element of an ARRAY or the value of a MAP, by the name `""`. */
  parts?: ReadonlyMap<string, WarehouseType>;
  /** The digits of a DECIMAL: their number in total, and after the point. */
  digits?: readonly [precision: number, scale: number];
}

/** The Postgres type with the same values, for each type of a warehouse. Nested values become JSON. */
const POSTGRES_TYPES: Readonly<Record<string, string>> = {
  BOOLEAN: "bool",
  TINYINT: "int2",
  BYTE: "int2",
  SMALLINT: "int2",
  SHORT: "int2",
  INT: "int4",
  INTEGER: "int4",
  BIGINT: "int8",
  LONG: "int8",
  FLOAT: "float4",
  REAL: "float4",
  DOUBLE: "float8",
  DECIMAL: "numeric",
  STRING: "text",
  CHAR: "text",
  VARCHAR: "text",
  BINARY: "bytea",
  DATE: "date",
  TIMESTAMP: "timestamptz",
  TIMESTAMP_NTZ: "timestamp",
  INTERVAL: "interval",
  ARRAY: "jsonb",
  MAP: "jsonb",
  STRUCT: "jsonb",
  VARIANT: "jsonb",
  OBJECT: "jsonb",
};

/** The Postgres type with the same values as a type of a warehouse; `text` for types that Postgres does not have. */
export function postgresType({ name }: WarehouseType): string {
  return POSTGRES_TYPES[name] ?? "text";
}

/**
 * Describes the columns of a result.
 *
 * @returns A field for each column. Its `type` is the warehouse's type; its `oid` belongs to the Postgres type with
 * the same values.
 */
export function fieldsOfManifest(columns: readonly ManifestColumn[]): Field[] {
  const types = columns.map(typeOf);
  const wireFields = columns.map(({ name }, at) => ({ name, dataTypeID: BUILT_IN[postgresType(types[at]!)]![0] }));
  return fieldsOf(wireFields).map((field, index) => ({ ...field, type: typeText(columns[index]!) }));
}

/** A column's type as the warehouse writes it. */
function typeText({ type_text, type_name, type_precision, type_scale }: ManifestColumn): string {
  if (type_text !== undefined && type_text !== "") return type_text;
  const size = type_name === "DECIMAL" && type_precision !== undefined ? `(${type_precision},${type_scale ?? 0})` : "";
  return `${type_name ?? "STRING"}${size}`;
}

/** A column's type with the types that it contains. */
export function typeOf(column: ManifestColumn): WarehouseType {
  return parseType(typeText(column));
}

/** The maximum depth of nested types. */
const MAX_DEPTH = 100;

/**
 * Reads a type such as `STRUCT<a: INT, b: ARRAY<DECIMAL(10,2)>>` in linear time. A type in another form has no parts, and its
 * values stay as they are in JSON.
 */
export function parseType(text: string): WarehouseType {
  return new TypeReader(text).type(0);
}

class TypeReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  type(depth: number): WarehouseType {
    const name = this.#match(/\s*([A-Za-z_]+)/y).trim().toUpperCase();
    if (depth < MAX_DEPTH && this.#match(/\s*</y) !== "") {
      const parts = this.#parts(name, depth + 1);
      this.#match(/\s*>/y);
      return { name, parts };
    }
    const [precision, scale = "0"] = this.#match(/\s*\(\s*\d+\s*(?:,\s*\d+\s*)?\)/y).match(/\d+/g) ?? [];
    // Skips the rest of an INTERVAL, NOT NULL, a COLLATE or a COMMENT.
    while (this.#match(/\s*(?:\([^)]*\)|'(?:[^'\\]|\\.)*'|[^<>,:'()\s]+)/y) !== "");
    return name === "DECIMAL" && precision !== undefined
      ? { name, digits: [Number(precision), Number(scale)] }
      : { name };
  }

  #parts(name: string, depth: number): ReadonlyMap<string, WarehouseType> {
    const parts = new Map<string, WarehouseType>();
    do {
      const key = name === "STRUCT" ? this.#fieldName() : "";
      parts.set(key, this.type(depth)); // the value of a MAP comes last
    } while (this.#match(/\s*,/y) !== "");
    return parts;
  }

  #fieldName(): string {
    const name = this.#match(/\s*(?:`(?:[^`]|``)*`|[^:<>,`\s]+)/y).trim();
    this.#match(/\s*:/y);
    return name.startsWith("`") ? name.slice(1, -1).replaceAll("``", "`") : name;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [match = ""] = pattern.exec(this.#text) ?? [];
    this.#at += match.length;
    return match;
  }
}

/** Turns the text of a value into the value. */
type TextReader = (text: string) => unknown;

/** Makes the reader for a type's values, which the API writes in JSON. The values are the same as those of a Lakebase. */
function textReader(type: WarehouseType): TextReader {
  switch (postgresType(type)) {
    case "bool":
      return (text) => text === "true";
    case "int2":
    case "int4":
    case "float4":
    case "float8":
      return Number;
    case "int8":
      return readInteger;
    case "bytea":
      return readBytes;
    case "date":
      return withEra;
    case "timestamptz":
      return readInstant;
    case "timestamp":
      return (text) => readLocalTime(text);
    case "interval":
      return intervalText;
    case "jsonb":
      return (text) => readNested(text, type);
    default:
      return String;
  }
}

/**
 * Reads bytes. A warehouse writes them in Base64. Bytes inside another value come from this module's reader of Arrow, which
 * writes them as Postgres does.
 */
function readBytes(text: string): Uint8Array {
  return new Uint8Array(text.startsWith("\\x") ? Buffer.from(text.slice(2), "hex") : Buffer.from(text, "base64"));
}

function readInteger(text: string): number | bigint {
  const number = Number(text);
  return Number.isSafeInteger(number) || !/^-?\d+$/.test(text) ? number : BigInt(text);
}

/** Reads a point in time. Without a zone, the value stays text, because the warehouse's zone is not known here. */
function readInstant(text: string): Date | string {
  if (/^[+-]\d{4,9}-.*Z$|^0000-.*Z$/.test(text)) return readLocalTime(text.slice(0, -1), "+00");
  if (!/^\d{4}-\d\d-\d\d[T ].*(?:Z|[+-]\d\d:?\d\d)$/.test(text)) return text;
  const time = Date.parse(text.replace(" ", "T"));
  return Number.isNaN(time) ? text : new Date(time);
}

/** Writes a time without a zone as Postgres does: `2026-01-31 12:34:56.789`. */
function readLocalTime(text: string, zone = ""): string {
  let end = text.length;
  if (text.includes(".")) {
    while (text[end - 1] === "0") end--;
    if (text[end - 1] === ".") end--;
  }
  return withEra(`${text.slice(0, end).replace("T", " ")}${zone}`);
}

/** Writes a year before 1 or after 9999 as Postgres does. ISO 8601 has `+12000-01-31`, and `-0043-03-15` for 44 BC. */
function withEra(text: string): string {
  const [, sign, year, rest] = /^([+-]?)(\d{4,9})(-\d\d-\d\d.*)$/.exec(text) ?? [];
  if (year === undefined || sign === "" && Number(year) > 0) return text;
  if (sign === "+" && Number(year) > 0) return `${Number(year)}${rest}`;
  return `${String(Number(year) + 1).padStart(4, "0")}${rest} BC`;
}

/**
 * Turns the text of an interval, which the reader of Arrow writes for Postgres, into a warehouse's form, such as
 * `1 02:03:04.000000000` or `1-2`.
 */
export function intervalText(text: string): string {
  const [, months] = /^(-?\d+) mons$/.exec(text) ?? [];
  if (months !== undefined) {
    const count = Math.abs(Number(months));
    return `${months.startsWith("-") ? "-" : ""}${Math.floor(count / 12)}-${count % 12}`;
  }
  const [, sign, whole, fraction = ""] = /^(-?)(\d+)(?:\.(\d+))? seconds$/.exec(text) ?? [];
  if (whole === undefined) return text;
  const seconds = BigInt(whole);
  const time = [seconds / 3600n % 24n, seconds / 60n % 60n, seconds % 60n].map((part) => String(part).padStart(2, "0"));
  return `${sign}${seconds / 86_400n} ${time.join(":")}.${fraction.padEnd(9, "0")}`;
}

/** A number in JSON whose digits JavaScript would change. */
class ExactNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/**
 * Reads an ARRAY, a MAP, a STRUCT or a VARIANT from its JSON. The values inside it are read like those of a column: a BIGINT
 * that is too large for a number as a bigint, a DECIMAL as text with all digits.
 *
 * @returns The value; the text itself if it is not JSON.
 */
export function readNested(text: string, type: WarehouseType): unknown {
  try {
    return nestedValue(JSON.parse(text, keepDigits as Parameters<typeof JSON.parse>[1]), type);
  } catch {
    return text; // not JSON, or nested too deep
  }
}

function keepDigits(_key: string, value: unknown, { source }: { source?: string }): unknown {
  return typeof value === "number" && source !== undefined && String(value) !== source
    ? new ExactNumber(source)
    : value;
}

function nestedValue(value: unknown, type: WarehouseType | undefined): unknown {
  if (value === null) return null;
  if (value instanceof ExactNumber || typeof value !== "object") {
    const text = value instanceof ExactNumber ? value.text : String(value);
    const postgres = type && POSTGRES_TYPES[type.name];
    if (type === undefined || postgres === "jsonb" || postgres === undefined) {
      return value instanceof ExactNumber ? readInteger(text) : value;
    }
    return typeof value === "boolean" ? value : textReader(type)(text);
  }
  if (Array.isArray(value)) return value.map((item) => nestedValue(item, type?.parts?.get("")));
  const partOf = (key: string) => type?.name === "STRUCT" ? type.parts?.get(key) : type?.parts?.get("");
  // `fromEntries` makes `__proto__` an ordinary key.
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, nestedValue(item, partOf(key))]));
}

/** The values of a row in the format JSON_ARRAY: texts, and `null` for NULL. */
export type JsonRow = readonly (string | null)[];

/** The maximum number of rows whose texts are kept for drawing. */
const MAX_KEPT_TEXTS = 1000;

/**
 * Makes the function that turns a row of an inline result into an object.
 *
 * @param columns The columns of the manifest.
 * @param fields The same columns, with their keys in a row.
 */
export function jsonRowReader(columns: readonly ManifestColumn[], fields: readonly Field[]): (row: JsonRow) => unknown {
  const types = columns.map(typeOf);
  const readers = types.map(textReader);
  const keys = fields.map(({ key }) => key);
  // Each row is a copy of this object. `fromEntries` makes `__proto__` an ordinary key.
  const empty: Record<string, unknown> = Object.fromEntries(keys.map((key) => [key, null]));
  const drawnFromText = new Map<string, TextColumn>(); // a `Date` has only milliseconds
  for (const [index, key] of keys.entries()) {
    if (postgresType(types[index]!) !== "timestamptz") continue;
    drawnFromText.set(key, { index, type: fields[index]!.type, parse: readers[index]! });
  }
  let textsToKeep = drawnFromText.size === 0 ? 0 : MAX_KEPT_TEXTS;
  return (texts) => {
    if (texts.length !== keys.length) {
      throw unreadableAnswer(
        `a row has ${countText(texts.length, "value")}, and its description ${countText(keys.length, "column")}`,
      );
    }
    const row = { ...empty };
    for (let index = 0; index < keys.length; index++) {
      const text = texts[index]!;
      if (text !== null) row[keys[index]!] = readers[index]!(text);
    }
    if (textsToKeep-- > 0) keepTexts(row, drawnFromText, texts);
    return row;
  };
}
