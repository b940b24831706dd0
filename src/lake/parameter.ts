import { Buffer } from "node:buffer";
import { LakebaseError } from "../core/errors.ts";

/** A value of a statement for a SQL warehouse. */
export interface Parameter {
  /** The SQL type, such as `INT` or `DECIMAL(5,2)`. */
  type: string;
  /** The value as text, which the warehouse casts to the type. */
  value: string;
  /** A function that the statement calls with the parameter, because no parameter can be BINARY. */
  call?: "unhex";
}

/**
 * Turns a value into a parameter with the type that keeps all of it. A whole number becomes the smallest of INT, BIGINT and
 * DECIMAL(38,0); another number DOUBLE; a number of decimal.js, big.js or bignumber.js DECIMAL; a `Date` TIMESTAMP; bytes BINARY.
 *
 * @param value Any value of a program.
 * @param position The parameter's number, from 1, for the error.
 * @returns The parameter; `undefined` for `null`: only the keyword NULL fits every type.
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that a warehouse takes no parameter for, with its position.
 */
export function encodeParameter(value: unknown, position: number): Parameter | undefined {
  const name = `parameter ${position}`;
  switch (typeof value) {
    case "string":
      return text(value, name);
    case "number":
      return number(value);
    case "bigint":
      return whole(value, name);
    case "boolean":
      return { type: "BOOLEAN", value: String(value) };
    case "object":
      return value === null ? undefined : object(value, name);
    case "undefined":
      throw badParameter(`${name} is undefined; write null for NULL`);
    default:
      throw badParameter(`${name} is a ${typeof value}`);
  }
}

/** Makes the error for a statement that can't be sent. @param state What is wrong, as the end of a sentence. */
export function badParameter(state: string): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot run the query: ${state}`);
}

function text(value: string, name: string): Parameter {
  if (!value.isWellFormed()) throw badParameter(`${name} has half of a surrogate pair, which UTF-8 has no form of`);
  return { type: "STRING", value };
}

function number(value: number): Parameter {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    // LIMIT and array positions take an INT only.
    return { type: value === (value | 0) ? "INT" : "BIGINT", value: String(value) };
  }
  return { type: "DOUBLE", value: Object.is(value, -0) ? "-0.0" : String(value) };
}

/** The most digits of a DECIMAL. */
const MOST_DIGITS = 38;

function whole(value: bigint, name: string): Parameter {
  if (BigInt.asIntN(64, value) === value) return { type: "BIGINT", value: String(value) };
  const digits = String(value).replace("-", "").length;
  if (digits <= MOST_DIGITS) return { type: `DECIMAL(${MOST_DIGITS},0)`, value: String(value) };
  throw badParameter(`${name} has ${digits} digits; a DECIMAL has at most ${MOST_DIGITS}`);
}

function object(value: object, name: string): Parameter {
  if (value instanceof Date) return date(value, name);
  if (value instanceof URL) return { type: "STRING", value: value.href };
  const bytes = bytesOf(value);
  if (bytes !== undefined) return { type: "STRING", value: bytes.toString("hex"), call: "unhex" };
  const temporal = temporalParameter(value, name);
  if (temporal !== undefined) return temporal;
  const digits = decimalText(value);
  if (digits !== undefined) return decimal(digits, name);
  throw badParameter(`${name} is ${instead(value)}`);
}

function bytesOf(value: object): Buffer | undefined {
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength);
  return value instanceof ArrayBuffer ? Buffer.from(value) : undefined;
}

function instead(value: object): string {
  if (Array.isArray(value)) {
    return "an array, and a warehouse takes no arrays: write IN (${sql.join(list)}), or array(${sql.join(list)})";
  }
  if (typeof (value as { then?: unknown }).then === "function") return "a promise; await it first";
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  const what = kind === "Object" ? "an object" : `a ${kind}`;
  return `${what}, and a warehouse takes no maps and structs: bind JSON.stringify(value), and read it with ` +
    "from_json(...) or parse_json(...)";
}

function date(value: Date, name: string): Parameter {
  if (Number.isNaN(value.getTime())) throw badParameter(`${name} is an invalid Date`);
  return inYears(value.toISOString(), "TIMESTAMP", name);
}

/** A warehouse has the years 1 to 9999. */
function inYears(value: string, type: string, name: string): Parameter {
  if (/^(?!0000)\d{4}-/.test(value)) return { type, value };
  throw badParameter(`${name} is ${value}; a warehouse has the years 1 to 9999`);
}

/** The Temporal classes that a warehouse has a type for, by their tags. */
const TEMPORAL: Readonly<Record<string, readonly [type: string, text: (value: object) => string]>> = {
  "[object Temporal.Instant]": ["TIMESTAMP", String],
  "[object Temporal.ZonedDateTime]": ["TIMESTAMP", (value) => String((value as { toInstant(): object }).toInstant())],
  "[object Temporal.PlainDateTime]": ["TIMESTAMP_NTZ", inIso],
  "[object Temporal.PlainDate]": ["DATE", inIso],
};

/** Writes a value in the ISO calendar, without the name of its own calendar. */
function inIso(value: object): string {
  return (value as { toString(options: object): string }).toString({ calendarName: "never" });
}

function temporalParameter(value: object, name: string): Parameter | undefined {
  const tag = Object.prototype.toString.call(value);
  if (!tag.startsWith("[object Temporal.")) return undefined;
  const kind = TEMPORAL[tag];
  if (kind !== undefined) return inYears(kind[1](value), kind[0], name);
  throw badParameter(
    `${name} is a ${tag.slice(8, -1)}, which no parameter has a type for; bind its toString(), and cast it in the SQL`,
  );
}

/** The classes of the libraries for decimal numbers. All of them write every digit with `toFixed()`. */
const DECIMALS: ReadonlySet<string> = new Set(["Decimal", "Big", "BigNumber"]);

function decimalText(value: object): string | undefined {
  const { toFixed, constructor } = value as { toFixed?: unknown; constructor?: { name?: unknown } };
  const known = typeof constructor?.name === "string" &&
    (DECIMALS.has(constructor.name) || "d" in value || "c" in value);
  return known && typeof toFixed === "function" ? String(toFixed.call(value)) : undefined;
}

function decimal(value: string, name: string): Parameter {
  const [, integer = "", fraction = ""] = /^-?(\d+)(?:\.(\d+))?$/.exec(value) ?? [];
  if (integer === "") throw badParameter(`${name} is ${value}, which no DECIMAL has`);
  const digits = integer.replace(/^0+/, "").length + fraction.length;
  if (digits <= MOST_DIGITS) return { type: `DECIMAL(${Math.max(1, digits)},${fraction.length})`, value };
  throw badParameter(`${name} has ${digits} digits; a DECIMAL has at most ${MOST_DIGITS}`);
}
