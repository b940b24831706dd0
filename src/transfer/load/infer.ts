import { typeName } from "../../core/type_names.ts";
import { temporalType } from "../../sql/parameter.ts";

/** The type of a new column, from which {@linkcode sqlTypeName} makes its SQL name. */
export type NewType =
  | (
    | "boolean"
    | "bigint"
    | "numeric"
    | "double precision"
    | "date"
    | "time"
    | "timestamp"
    | "timestamptz"
    | "interval"
    | "uuid"
  )
  | ("text" | "bytea" | "jsonb")
  | `exact ${"bigint" | "numeric"}`
  | `${string}[]`;

/** The type of a column in which only NULL was seen. */
const UNKNOWN: NewType = "text";

/** The type of a list without elements. */
const EMPTY_LIST: NewType = "[]";

/** Marks a type of numbers that a double would round. */
const EXACT = "exact ";

const WHOLE = /^-?(?:0|[1-9]\d*)$/;
const DECIMAL = /^-?(?:0|[1-9]\d*)?\.\d+$/;
const FLOAT = /^(?:-?(?:(?:0|[1-9]\d*)(?:\.\d+)?|\.\d+)[eE][+-]?\d+|NaN|-?Infinity)$/;
const TIME = /^(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?$/;
const DAY = /^(\d{4})-(\d\d)-(\d\d)/;
const CLOCK = /^[ T](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6}0*)?)?( ?Z|[+-]\d\d(?::?\d\d)?)?$/;
const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i;
/** Booleans of Postgres, Python, R and JSON. `T` and `F` are more likely codes, because Postgres writes `t` and `f`. */
const BOOLEAN = /^(?:t|f|true|false|True|False|TRUE|FALSE)$/;

/**
 * The type of a text in a file. A number with leading zeros is an identifier, and stays text. A number that a double would
 * round is marked: beside floating-point numbers, its column becomes numeric.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(["7", "0.10", "007", "2026-01-31", "t"].map(typeOfText), ["bigint", "numeric", "text", "date", "boolean"]);
 * assert.equal(typeOfText("1e400"), "exact numeric");
 * ```
 */
export function typeOfText(text: string): NewType {
  if (text === "-0") return "double precision"; // no other type keeps the sign
  if (WHOLE.test(text)) return typeOfWhole(text);
  if (DECIMAL.test(text)) return isKeptByDouble(text) ? "numeric" : `${EXACT}numeric`;
  if (FLOAT.test(text)) return isKeptByDouble(text) ? "double precision" : `${EXACT}numeric`;
  if (BOOLEAN.test(text)) return "boolean";
  return typeOfWord(text);
}

/** The type of a text in a format that tells texts from numbers and booleans, such as JSON. */
export function typeOfWord(text: string): NewType {
  const day = DAY.exec(text);
  if (day !== null) return isRealDay(day) ? typeOfClock(text.slice(day[0].length)) : "text";
  if (TIME.test(text)) return "time";
  return UUID.test(text) ? "uuid" : "text";
}

/** The type of a JavaScript value; `undefined` for NULL. */
export function typeOfValue(value: unknown): NewType | undefined {
  switch (typeof value) {
    case "boolean":
      return "boolean";
    case "bigint":
      return typeOfWhole(String(value));
    case "number":
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? "bigint" : "double precision";
    case "object":
      return value === null ? undefined : typeOfObject(value);
    default:
      return value === undefined ? undefined : "text";
  }
}

/**
 * The type that holds the values of both types.
 *
 * @param a A type; `undefined` for NULL.
 * @param b The other type; `undefined` for NULL.
 */
export function commonType(a: NewType | undefined, b: NewType | undefined): NewType | undefined {
  if (a === undefined || b === undefined || a === b) return a ?? b;
  if (isNumber(a) && isNumber(b)) return commonNumber(a, b);
  const both = [a, b];
  if (both.includes("date") && both.includes("timestamp")) return "timestamp";
  if (isList(a) && isList(b)) return listOf(commonType(elementOf(a), elementOf(b)));
  const inJson = (type: NewType) => type === "jsonb" || type === "boolean" || isList(type) || isNumber(type);
  return both.includes("jsonb") && both.every(inJson) ? "jsonb" : "text";
}

/** The SQL name of a type. */
export function sqlTypeName(type: NewType | undefined): string {
  return type === EMPTY_LIST ? "jsonb" : type?.replace(EXACT, "") ?? UNKNOWN;
}

/**
 * The SQL type of a new column for a column of a result. A type that a database defines itself becomes text, because other
 * databases may not have it. `bit` and `char` are renamed, because SQL reads them as one bit and one character.
 *
 * @param oid The oid of the result's type.
 */
export function typeOfField(oid: number): string {
  const name = typeName(oid);
  if (name.startsWith("oid ")) return UNKNOWN;
  return name.replace(/^bit\b/, "varbit").replace(/^char\b/, '"char"');
}

function typeOfWhole(text: string): NewType {
  const fits = text.length < 19 || text.length <= 20 && BigInt.asIntN(64, BigInt(text)) === BigInt(text);
  const type = fits ? "bigint" : "numeric";
  return isKeptByDouble(text) ? type : `${EXACT}${type}`;
}

const NUMBERS = ["bigint", "numeric", "double precision"] as const;

function isNumber(type: NewType): boolean {
  return NUMBERS.some((number) => number === type.replace(EXACT, ""));
}

function commonNumber(a: NewType, b: NewType): NewType {
  const index = Math.max(...[a, b].map((type) => NUMBERS.findIndex((number) => type.endsWith(number))));
  const number = NUMBERS[index]!;
  if (!a.startsWith(EXACT) && !b.startsWith(EXACT)) return number;
  // numeric also holds NaN, the infinities and large exponents of a double. It loses only the sign of a zero.
  return `${EXACT}${number === "double precision" ? "numeric" : number}`;
}

function typeOfClock(text: string): NewType {
  if (text === "") return "date";
  const clock = CLOCK.exec(text);
  if (clock === null) return "text";
  return clock[1] === undefined ? "timestamp" : "timestamptz";
}

function isRealDay(day: RegExpExecArray): boolean {
  const [year, month, date] = [Number(day[1]), Number(day[2]), Number(day[3])];
  const utc = new Date(Date.UTC(year, month - 1, date));
  return year >= 100 && utc.getUTCMonth() === month - 1 && utc.getUTCDate() === date; // Date.UTC reads 99 as 1999
}

function typeOfObject(value: object): NewType {
  if (value instanceof Date) return "timestamptz";
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return "bytea";
  // Lists in lists are JSON. Looking into them would need a stack as deep as the lists.
  if (Array.isArray(value)) return value.some(Array.isArray) ? "jsonb" : listType(value.map(typeOfValue));
  if (value instanceof URL) return "text";
  return (temporalType(value) as NewType | undefined) ?? "jsonb";
}

/**
 * The type of a list with elements of these types. Lists in lists may differ in length, and objects have no array type, so
 * both are JSON.
 */
export function listType(elements: Iterable<NewType | undefined>): NewType {
  let common: NewType | undefined;
  for (const type of elements) {
    if (type === "jsonb" || type !== undefined && isList(type)) return "jsonb";
    common = commonType(common, type);
  }
  return listOf(common);
}

function isList(type: NewType): type is `${string}[]` {
  return type.endsWith("[]");
}

function elementOf(list: `${string}[]`): NewType | undefined {
  return list === EMPTY_LIST ? undefined : list.slice(0, -2) as NewType;
}

function listOf(element: NewType | undefined): NewType {
  return element === undefined ? EMPTY_LIST : `${element}[]`;
}

/** A double preserves every decimal within these digits and exponents. */
const SAFE_DIGITS = 15;
const SAFE_EXPONENT = 290;

/**
 * Whether a double preserves a number as written, except for trailing zeros: it preserves `0.1` and
 * `1.7976931348623157e+308`, but not `9007199254740993` and `1e400`.
 *
 * @param text A decimal, `NaN` or an infinity.
 */
function isKeptByDouble(text: string): boolean {
  const written = significantDigits(text);
  if (written === undefined) return true; // NaN and the infinities
  if (written.digits.length <= SAFE_DIGITS && Math.abs(written.exponent) <= SAFE_EXPONENT) return true;
  const kept = significantDigits(String(Number(text)));
  return kept?.digits === written.digits && kept.exponent === written.exponent;
}

/** The digits without leading and trailing zeros, and the exponent of the number written as `0.<digits>`. */
function significantDigits(text: string): { digits: string; exponent: number } | undefined {
  const match = /^-?(\d*)(?:\.(\d*))?(?:e([+-]?\d+))?$/i.exec(text);
  if (match === null) return undefined;
  const [, whole = "", fraction = "", exponent = "0"] = match;
  const all = whole + fraction;
  const first = all.search(/[1-9]/);
  if (first === -1) return { digits: "", exponent: 0 };
  let last = all.length; // a regular expression would scan zeros in the middle repeatedly
  while (all[last - 1] === "0") last--;
  return { digits: all.slice(first, last), exponent: Number(exponent) + whole.length - first };
}

/** The type of a column in a file. The types in all files of a dataset give the type in its new table. */
export type FileType =
  /** The type that was found by sampling rows; `undefined` if all sampled values were NULL. */
  | { sampled: NewType | undefined }
  /** The SQL type that the file declares; `undefined` for a column of NULLs without a type. */
  | { declared: string | undefined };

/** Two files that give a column types without a common type. */
export interface Contradiction {
  /** The column. */
  column: string;
  /** The two files. */
  files: readonly [string, string];
  /** Their types for the column, in the same order. */
  types: readonly [string, string];
}

/** Collects the columns of the files of a dataset. Each column gets a type that holds its values in all files. */
export class DatasetColumns {
  readonly #columns = new Map<string, { file: string; type: FileType }>();
  readonly #partitions = new Map<string, NewType | undefined>();
  readonly #typedByCaller: ReadonlySet<string>;

  /** @param typedByCaller The columns whose types the caller chooses. */
  constructor(typedByCaller: Iterable<string>) {
    this.#typedByCaller = new Set(typedByCaller);
  }

  /** Adds a file's columns. @returns How the file contradicts an earlier one; `undefined` if it does not. */
  add(file: string, columns: ReadonlyMap<string, FileType>): Contradiction | undefined {
    for (const [column, type] of columns) {
      const before = this.#columns.get(column);
      if (before === undefined) {
        this.#columns.set(column, { file, type });
        continue;
      }
      const both = commonFileType(before.type, type);
      if (both !== undefined) {
        this.#columns.set(column, {
          file: sqlTypeOf(both) === sqlTypeOf(before.type) ? before.file : file,
          type: both,
        });
      } else if (!this.#typedByCaller.has(column)) {
        return { column, files: [before.file, file], types: [sqlTypeOf(before.type), sqlTypeOf(type)] };
      }
    }
    return undefined;
  }

  /** Adds a file's partitions. */
  addPartitions(partitions: ReadonlyMap<string, string | null>): void {
    for (const [name, value] of partitions) {
      const type = value === null ? undefined : typeOfText(value);
      this.#partitions.set(name, commonType(this.#partitions.get(name), type));
    }
  }

  /** The columns of the new table and their SQL types. The partitions come last, as in Spark. */
  types(): Map<string, string> {
    const columns = Array.from(this.#columns, ([name, { type }]) => [name, sqlTypeOf(type)] as const);
    const added = [...this.#partitions].filter(([name]) => !this.#columns.has(name));
    const partitions = Array.from(added, ([name, type]) => [name, sqlTypeName(type)] as const);
    return new Map([...columns, ...partitions]);
  }
}

function sqlTypeOf(type: FileType): string {
  return "declared" in type ? type.declared ?? "text" : sqlTypeName(type.sampled);
}

function commonFileType(a: FileType, b: FileType): FileType | undefined {
  if ("sampled" in a) return "sampled" in b ? { sampled: commonType(a.sampled, b.sampled) } : undefined;
  if (!("declared" in b)) return undefined;
  if (a.declared === undefined || b.declared === undefined) return { declared: a.declared ?? b.declared };
  const declared = widerType(a.declared, b.declared);
  return declared === undefined ? undefined : { declared };
}

const INTEGERS = ["smallint", "integer", "bigint"];
/** The most digits of each integer type. */
const DIGITS: Readonly<Record<string, number>> = { smallint: 5, integer: 10, bigint: 19 };
const NUMERIC = /^numeric(?:\((\d+)(?:, ?(\d+))?\))?$/;
const MAX_DIGITS = 1000;

/**
 * The SQL type that holds every value of both types exactly; `undefined` if there is none.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(widerType("integer", "bigint"), "bigint");
 * assert.equal(widerType("numeric(5,2)", "integer"), "numeric(12,2)");
 * assert.equal(widerType("text", "bigint"), undefined);
 * ```
 */
export function widerType(a: string, b: string): string | undefined {
  if (a === b) return a;
  if (a.endsWith("[]") && b.endsWith("[]")) {
    const element = widerType(a.slice(0, -2), b.slice(0, -2));
    return element === undefined ? undefined : `${element}[]`;
  }
  const both = new Set([a, b]);
  if (both.has("date") && both.has("timestamp")) return "timestamp";
  if (both.has("real") && both.has("double precision")) return "double precision";
  return isSqlNumber(a) && isSqlNumber(b) ? widerNumber(a, b) : undefined;
}

function isSqlNumber(type: string): boolean {
  return INTEGERS.includes(type) || type === "real" || type === "double precision" || NUMERIC.test(type);
}

function widerNumber(a: string, b: string): string {
  const whole = [a, b].filter((type) => INTEGERS.includes(type));
  if (whole.length === 2) return INTEGERS[Math.max(INTEGERS.indexOf(a), INTEGERS.indexOf(b))]!;
  const floating = [a, b].some((type) => type === "real" || type === "double precision");
  // A double holds every smallint and integer exactly. Beside a bigint or a numeric, only numeric holds all values.
  if (floating) return whole[0] === "smallint" || whole[0] === "integer" ? "double precision" : "numeric";
  const [first, second] = [digitsOf(a), digitsOf(b)];
  if (first === undefined || second === undefined) return "numeric";
  const scale = Math.max(first.scale, second.scale);
  const precision = Math.max(first.before, second.before) + scale;
  return precision > MAX_DIGITS ? "numeric" : `numeric(${precision},${scale})`;
}

/** The number of digits before and after the decimal point; `undefined` if the type has no limit. */
function digitsOf(type: string): { before: number; scale: number } | undefined {
  const digits = DIGITS[type];
  if (digits !== undefined) return { before: digits, scale: 0 };
  const [, precision, scale = 0] = NUMERIC.exec(type) ?? [];
  return precision === undefined ? undefined : { before: Number(precision) - Number(scale), scale: Number(scale) };
}
