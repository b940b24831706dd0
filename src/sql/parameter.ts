import { Buffer } from "node:buffer";
import { LakebaseError } from "../core/errors.ts";
import { quoteElement } from "../core/sql_text.ts";
import { jsonOf } from "../core/text.ts";

/** A value as it is sent to the server: text, bytes, or NULL. */
export type WireValue = string | Buffer | null;

/** The cast after each JSON parameter, without which the server would take the value for text. */
export const JSONB_CAST = "::pg_catalog.jsonb";

/** A value to bind, and the cast that tells the server what it is. */
interface Parameter {
  /** The value. */
  value: WireValue;
  /** `::pg_catalog.jsonb` for an object. It is empty for other values, whose type the server infers from the statement. */
  cast: "" | typeof JSONB_CAST;
  /** Whether the value is {@linkcode EMPTY_ARRAY}. */
  emptyArray?: true;
}

/**
 * Turns a value into a parameter. An array becomes a Postgres array, an object `jsonb`, a typed array or a buffer `bytea`.
 * A `Date`, a Temporal value or a `URL` becomes text.
 *
 * @param value Any value of a program.
 * @param position The parameter's number, from 1, for the error.
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that Postgres has no form for.
 */
export function encodeParameter(value: unknown, position: number): Parameter {
  if (Array.isArray(value) && value.length === 0) return { value: EMPTY_ARRAY, cast: "", emptyArray: true };
  return encodeValue(value, `parameter ${position}`);
}

/**
 * The text of an empty array until the type of its parameter is known. Without the vertical tab it would go into a `jsonb`
 * column as an empty object: Postgres accepts the tab after an array, but not in JSON.
 */
const EMPTY_ARRAY = "{}\v";

/** Encodes a value as {@linkcode encodeParameter} does, with a name for it in errors. */
export function encodeValue(value: unknown, name: string): Parameter {
  if (value === null) return { value, cast: "" };
  const text = scalarText(value, name);
  if (text !== undefined) return { value: text, cast: "" };
  if (Array.isArray(value)) return { value: encodeArray(value, name), cast: "" };
  const bytes = bytesOf(value);
  if (bytes !== undefined) return { value: bytes, cast: "" };
  return { value: jsonText(value, name), cast: JSONB_CAST };
}

/**
 * Makes the error for a statement that can't be sent.
 *
 * @param state What is wrong, as the end of a sentence.
 */
export function badParameter(state: string, cause?: unknown): LakebaseError {
  const error = new LakebaseError("BAD_PARAMETER", `Cannot run the query: ${state}`, { cause });
  states.set(error, state);
  return error;
}

/** The texts that {@linkcode badParameter} was given, because a load reports the same faults of values. */
const states = new WeakMap<LakebaseError, string>();

/** What is wrong with a value, without the work that failed. @param error An error of {@linkcode badParameter}. */
export function parameterState(error: LakebaseError): string {
  return states.get(error) ?? error.message;
}

/** Returns the text of a value; `undefined` for an array, bytes or a plain object. */
function scalarText(value: unknown, name: string): string | undefined {
  switch (typeof value) {
    case "string":
      return wellFormed(value, name);
    case "number":
      return Object.is(value, -0) ? "-0" : String(value); // `String(-0)` drops the sign
    case "bigint":
    case "boolean":
      return String(value);
    case "object":
      if (value instanceof Date) return dateText(value, name);
      if (value instanceof URL) return value.href;
      return temporalText(value!, name);
    case "undefined":
      throw badParameter(`${name} is undefined; write null for NULL`);
    default:
      throw badParameter(`${name} is a ${typeof value}`);
  }
}

/** Refuses what Postgres can't store in text: half of a surrogate pair, which UTF-8 can't encode, and a zero character. */
function wellFormed(text: string, name: string): string {
  if (!text.isWellFormed()) throw badParameter(`${name} has half of a surrogate pair, which UTF-8 can't represent`);
  if (text.includes("\0")) {
    throw badParameter(`${name} has a zero character, which Postgres can't store in text; bind a Uint8Array as bytea`);
  }
  return text;
}

function encodeArray(array: readonly unknown[], name: string): string {
  const element = `${name} is an array that holds a value that can't be bound: it`;
  try {
    return arrayText(array, (value) => {
      if (value === null) return null;
      if (value === undefined) {
        throw badParameter(`${name} is an array that holds undefined; write null for NULL`);
      }
      const text = scalarText(value, element);
      if (text !== undefined) return text;
      const bytes = bytesOf(value);
      return bytes === undefined ? jsonText(value, element) : `\\x${bytes.toString("hex")}`;
    });
  } catch (error) {
    if (error instanceof LakebaseError) throw error;
    if (!(error instanceof RangeError) || error.message.includes("string length")) {
      throw badParameter(`the text of ${name} would have more than the 512 MB of a string in JavaScript`, error);
    }
    throw badParameter(`${name} is an array that holds itself, or is nested too deep`, error);
  }
}

/** The bytes of a value that holds bytes; `undefined` for any other value. */
export function bytesOf(value: unknown): Buffer | undefined {
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength);
  return value instanceof ArrayBuffer ? Buffer.from(value) : undefined;
}

function jsonText(value: unknown, name: string): string {
  if (typeof (value as { then?: unknown }).then === "function") {
    throw badParameter(`${name} is a promise; await it first`);
  }
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (kind === "Map" || kind === "Set") throw badParameter(`${name} is a ${kind}; bind an array or an object`);
  let text: string | undefined;
  try {
    text = jsonOf(value);
  } catch (cause) {
    throw badParameter(`${name} is an object that has no JSON form (${(cause as Error).message})`, cause);
  }
  if (text === undefined) throw badParameter(`${name} is an object whose toJSON() gives undefined`);
  return text;
}

function dateText(date: Date, name: string): string {
  if (Number.isNaN(date.getTime())) throw badParameter(`${name} is an invalid Date`);
  const text = date.toISOString();
  if (!/^[+-]/.test(text)) return yearZero(text);
  const year = date.getUTCFullYear();
  return `${String(year > 0 ? year : 1 - year).padStart(4, "0")}${text.slice(7)}${year > 0 ? "" : " BC"}`;
}

/** Writes year 0 as 1 BC, because Postgres has no year 0. */
function yearZero(text: string): string {
  return text.startsWith("0000") ? `0001${text.slice(4)} BC` : text;
}

/** The Temporal classes for which Postgres has a type, by their tags. */
const TEMPORAL_CLASSES: Readonly<Record<string, { type: string; text: (value: object) => string }>> = {
  "[object Temporal.Instant]": { type: "timestamptz", text: (value) => postgresYear(String(value)) },
  "[object Temporal.ZonedDateTime]": {
    type: "timestamptz", // only the instant, because the server stores no zone
    text: (value) => postgresYear(String((value as { toInstant(): object }).toInstant())),
  },
  "[object Temporal.PlainDateTime]": { type: "timestamp", text: (value) => postgresYear(inIso(value)) },
  "[object Temporal.PlainDate]": { type: "date", text: (value) => postgresYear(inIso(value)) },
  "[object Temporal.PlainTime]": { type: "time", text: String },
  "[object Temporal.Duration]": { type: "interval", text: durationText },
};

/** Returns the Postgres type for a Temporal value; `undefined` for any other object. */
export function temporalType(value: object): string | undefined {
  return TEMPORAL_CLASSES[Object.prototype.toString.call(value)]?.type;
}

function temporalText(value: object, name: string): string | undefined {
  const tag = Object.prototype.toString.call(value);
  if (!tag.startsWith("[object Temporal.")) return undefined;
  const temporal = TEMPORAL_CLASSES[tag];
  if (temporal !== undefined) return temporal.text(value);
  throw badParameter(`${name} is a ${tag.slice(8, -1)}, which Postgres has no type for; bind its toString() as text`);
}

/** Writes a value in the ISO calendar, without the name of its own calendar. */
export function inIso(value: object): string {
  return (value as { toString(options: object): string }).toString({ calendarName: "never" });
}

/** Writes years past 9999 without a sign, and years before 1 with BC, as Postgres does. */
function postgresYear(text: string): string {
  const [, sign, digits = "", rest = ""] = /^([+-])(\d{6})(.*)$/.exec(text) ?? [];
  if (sign === undefined) return yearZero(text);
  const year = Number(digits);
  return sign === "+" ? `${year}${rest}` : `${String(year + 1).padStart(4, "0")}${rest} BC`;
}

/** Writes a duration in ISO 8601 with a sign at each number, because Postgres reads no sign before the `P`. */
function durationText(value: object): string {
  const units = value as Record<string, number>;
  const nanoseconds = ["seconds", "milliseconds", "microseconds", "nanoseconds"].reduce(
    (sum, unit) => sum * 1000n + BigInt(units[unit]!),
    0n,
  );
  const fraction = String(nanoseconds < 0n ? -nanoseconds : nanoseconds).padStart(10, "0");
  const seconds = `${nanoseconds < 0n ? "-" : ""}${fraction.slice(0, -9)}.${fraction.slice(-9)}`;
  const days = units["weeks"]! * 7 + units["days"]!;
  return `P${units["years"]}Y${units["months"]}M${days}DT${units["hours"]}H${units["minutes"]}M${seconds}S`;
}

/**
 * Reads the text of a Postgres array.
 *
 * @param text The array, such as `{1,NULL,"a b"}` or `{{1,2},{3,4}}`.
 * @param element Turns the text of an element into its value.
 * @returns Nested arrays, with `null` for NULL; the text itself if it gives bounds, as `[0:1]={1,2}` does, because a
 * JavaScript array can't keep them.
 */
export function parseArray(text: string, element: (text: string) => unknown): unknown {
  if (text.startsWith("[")) return text;
  const top: unknown[] = [];
  const open: unknown[][] = [top];
  for (let at = 0; at < text.length;) {
    const inner = open[open.length - 1]!;
    const char = text[at]!;
    if (char === "{") {
      const nested: unknown[] = [];
      inner.push(nested);
      open.push(nested);
      at++;
    } else if (char === "}") {
      open.pop();
      at++;
    } else if (char === ",") {
      at++;
    } else if (char === '"') {
      const end = endOfQuoted(text, at);
      inner.push(element(text.slice(at + 1, end - 1).replace(/\\(.)/gs, "$1")));
      at = end;
    } else {
      const end = endOfUnquoted(text, at);
      const unquoted = text.slice(at, end);
      inner.push(unquoted === "NULL" ? null : element(unquoted.replace(/\\(.)/gs, "$1")));
      at = end;
    }
  }
  return top[0];
}

function endOfQuoted(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

function endOfUnquoted(text: string, start: number): number {
  let at = start;
  while (at < text.length && text[at] !== "," && text[at] !== "}") at += text[at] === "\\" ? 2 : 1;
  return at;
}

/**
 * Writes an array in Postgres syntax.
 *
 * @param values The elements; nested arrays are further dimensions.
 * @param element Returns the text of an element that is not an array, or `null` for NULL.
 * @throws {RangeError} If an array contains itself or is nested too deep.
 */
export function arrayText(values: readonly unknown[], element: (value: unknown) => string | null): string {
  const items = Array.from(values, (value) => {
    if (Array.isArray(value)) return arrayText(value, element);
    const text = element(value);
    return text === null ? "NULL" : quoteElement(text);
  });
  return `{${items.join(",")}}`;
}
