import { temporalType } from "../../sql/parameter.ts";
import { typeName } from "../../core/type_names.ts";

/** A type that a new column may get, as SQL has it. */
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

/** The type for a column of which nothing but NULL was seen. */
const UNKNOWN: NewType = "text";

/** A list without elements: it tells no more than that it is one. */
const EMPTY_LIST: NewType = "[]";

/** Marks that numbers were seen which a double would round. */
const EXACT = "exact ";

const WHOLE = /^-?(?:0|[1-9]\d*)$/;
const DECIMAL = /^-?(?:0|[1-9]\d*)?\.\d+$/;
const FLOAT = /^(?:-?(?:(?:0|[1-9]\d*)(?:\.\d+)?|\.\d+)[eE][+-]?\d+|NaN|-?Infinity)$/;
const TIME = /^(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?$/;
const DAY = /^(\d{4})-(\d\d)-(\d\d)/;
const CLOCK = /^[ T](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6}0*)?)?( ?Z|[+-]\d\d(?::?\d\d)?)?$/;
const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i;
/** As Postgres, Python, R and JSON write them. A capital `T` or `F` alone is rather a code: the server's own are small. */
const BOOLEAN = /^(?:t|f|true|false|True|False|TRUE|FALSE)$/;

/**
 * The type of a text in a file. A number with leading zeros is an identifier, and stays text. One that a double would round
 * is marked: beside others of floating point it takes a numeric.
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
  if (text === "-0") return "double precision"; // no other type keeps its sign
  if (WHOLE.test(text)) return typeOfWhole(text);
  if (DECIMAL.test(text)) return isKeptByDouble(text) ? "numeric" : `${EXACT}numeric`;
  if (FLOAT.test(text)) return isKeptByDouble(text) ? "double precision" : `${EXACT}numeric`;
  if (BOOLEAN.test(text)) return "boolean";
  return typeOfWord(text);
}

/** The type of a text in a file whose format has numbers and booleans of its own. */
export function typeOfWord(text: string): NewType {
  const day = DAY.exec(text);
  if (day !== null) return isThere(day) ? typeOfClock(text.slice(day[0].length)) : "text";
  if (TIME.test(text)) return "time";
  return UUID.test(text) ? "uuid" : "text";
}

/** The type of a value of JavaScript; `undefined` for NULL. */
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
 * The type that takes the values of both.
 *
 * @param types What was seen; `undefined` for NULL.
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

/** What SQL has to say for it. */
export function typeText(type: NewType | undefined): string {
  return type === EMPTY_LIST ? "jsonb" : type?.replace(EXACT, "") ?? UNKNOWN;
}

/**
 * The type for a column of a result, as SQL has it. Types that a database made for itself are not in every database; `bit`
 * by itself is SQL's for one bit, and `char` for one character.
 *
 * @param oid The result's type.
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
  const place = Math.max(...[a, b].map((type) => NUMBERS.findIndex((number) => type.endsWith(number))));
  const number = NUMBERS[place]!;
  if (!a.startsWith(EXACT) && !b.startsWith(EXACT)) return number;
  // numeric takes what a double has too: NaN, the infinities, any exponent; of a zero it forgets the sign.
  return `${EXACT}${number === "double precision" ? "numeric" : number}`;
}

function typeOfClock(text: string): NewType {
  if (text === "") return "date";
  const clock = CLOCK.exec(text);
  if (clock === null) return "text";
  return clock[1] === undefined ? "timestamp" : "timestamptz";
}

function isThere(day: RegExpExecArray): boolean {
  const [year, month, date] = [Number(day[1]), Number(day[2]), Number(day[3])];
  const found = new Date(Date.UTC(year, month - 1, date));
  return year >= 100 && found.getUTCMonth() === month - 1 && found.getUTCDate() === date; // Date.UTC takes 99 for 1999
}

function typeOfObject(value: object): NewType {
  if (value instanceof Date) return "timestamptz";
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return "bytea";
  // Lists in lists are JSON, however deep: they are not looked into, which would take a stack as deep.
  if (Array.isArray(value)) return value.some(Array.isArray) ? "jsonb" : listType(value.map(typeOfValue));
  if (value instanceof URL) return "text";
  return (temporalType(value) as NewType | undefined) ?? "jsonb";
}

/**
 * The type of a list of values of these types. Lists in lists may be of different lengths, and objects have no array of
 * theirs: both are JSON.
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

/** Decimals of so many digits, and of such a size, a double always gives back. */
const SAFE_DIGITS = 15;
const SAFE_EXPONENT = 290;

/**
 * Whether a double gives a number back as it was written, but for zeros at its end: `0.1` and `1.7976931348623157e+308`
 * are, `9007199254740993` and `1e400` are not.
 *
 * @param text A decimal, `NaN` or an infinity.
 */
export function isKeptByDouble(text: string): boolean {
  const written = parts(text);
  if (written === undefined) return true; // NaN and the infinities
  if (written.digits.length <= SAFE_DIGITS && Math.abs(written.exponent) <= SAFE_EXPONENT) return true;
  const kept = parts(String(Number(text)));
  return kept?.digits === written.digits && kept.exponent === written.exponent;
}

/** The digits without zeros at their ends, and the power of ten of the first of them. */
function parts(text: string): { digits: string; exponent: number } | undefined {
  const found = /^-?(\d*)(?:\.(\d*))?(?:e([+-]?\d+))?$/i.exec(text);
  if (found === null) return undefined;
  const [, whole = "", fraction = "", exponent = "0"] = found;
  const all = whole + fraction;
  const first = all.search(/[1-9]/);
  if (first === -1) return { digits: "", exponent: 0 };
  let last = all.length; // a pattern for the zeros at the end would look at those in the middle again and again
  while (all[last - 1] === "0") last--;
  return { digits: all.slice(first, last), exponent: Number(exponent) + whole.length - first };
}
