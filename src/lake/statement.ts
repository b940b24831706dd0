import { Buffer } from "node:buffer";
import { LakebaseError } from "../core/errors.ts";
import { Nesting, type SqlKind, sqlTokens } from "../core/sql_text.ts";
import { Fragment, Identifier } from "../sql/fragment.ts";
import { markUsed } from "../sql/never_run.ts";
import { inIso } from "../sql/parameter.ts";

/** A statement as the Statement Execution API takes it. */
export interface WarehouseStatement {
  /** SQL with `:p1`, `:p2`, ... */
  text: string;
  /** The values of the parameters, with their types. */
  parameters: readonly { name: string; type: string; value: string }[];
}

/** The longest statement that the API takes, in bytes. */
const LONGEST = 16 * 1024 * 1024;

/** Matches the start of a text that would continue the word before it, which is a parameter's name or NULL. */
const WORD = /^[\p{L}\d_]/u;

/**
 * Joins a fragment and the fragments inside it into one statement for a SQL warehouse.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that no parameter of a warehouse can hold (with its position),
 * for a fragment that contains itself, or for a statement of more than 16 MiB.
 */
export function compileForWarehouse(fragment: Fragment): WarehouseStatement {
  markUsed(fragment);
  const { pieces, values } = flatten(fragment);
  const prefix = freePrefix(pieces);
  const text = [pieces[0]!];
  const places: number[] = [];
  let length = text[0]!.length;
  const parameters = values.flatMap((value, index) => {
    const parameter = encodeParameter(value, index + 1);
    const name = `${prefix}${index + 1}`;
    const marker = parameter === undefined ? "NULL" : parameter.call ? `${parameter.call}(:${name})` : `:${name}`;
    const [before, after] = [pieces[index]!, pieces[index + 1]!];
    const apart = parameter === undefined && WORD.test(before.slice(-1)) ? " " : "";
    const goesOn = WORD.test(after) || after === "" && index + 1 < values.length;
    places.push(length + apart.length);
    const added = [apart, marker, goesOn ? " " : "", after];
    text.push(...added);
    length += added.join("").length;
    return parameter === undefined ? [] : [{ name, type: parameter.type, value: parameter.value }];
  });
  const whole = text.join("");
  checkPlaces(whole, places);
  return checked({ text: whole, parameters });
}

/**
 * Refuses values in quotes and comments. A warehouse would silently take the parameter's name for text there.
 *
 * @param places The positions of the values, in ascending order.
 */
function checkPlaces(text: string, places: readonly number[]): void {
  if (places.length === 0 || !/['"`]|--|\/\*|\$\$/.test(text)) return;
  // The meaning of a backslash in r'...' depends on the rest of the text. So a position counts only if both readings agree.
  const readings = (/\br['"]/i.test(text) ? [true, false] : [true]).map((escapes) =>
    quotedPlaces(text, places, escapes)
  );
  const [first, ...others] = readings;
  for (const [place, kind] of first!) {
    if (!others.every((reading) => reading.has(place))) continue;
    const number = places.indexOf(place) + 1;
    throw badParameter(
      kind === "comment"
        ? `parameter ${number} is in a comment, where values are not bound; write it outside, or leave it out`
        : `parameter ${number} is within quotes, where values are not bound; write \${value} without the quotes, ` +
          "'a' || ${value} for a part of a text, or ${sql.id(name)} for a name",
    );
  }
}

/** The positions that are inside quotes or comments. */
function quotedPlaces(text: string, places: readonly number[], escapes: boolean): Map<number, "comment" | "quotes"> {
  const found = new Map<number, "comment" | "quotes">();
  let next = 0;
  for (const { kind, start, end } of tokensOf(text, escapes)) {
    for (; next < places.length && places[next]! < end; next++) {
      if (kind === "comment") found.set(places[next]!, "comment");
      else if ((kind === "string" || kind === "name") && places[next]! > start) found.set(places[next]!, "quotes");
    }
  }
  return found;
}

/** The tokens of a statement for a warehouse: Postgres's tokens, and names in backticks. */
function* tokensOf(
  text: string,
  escapes: boolean,
): Generator<{ kind: SqlKind; start: number; end: number }, void, void> {
  for (let from = 0; from < text.length;) {
    let ticked: number | undefined;
    for (const token of sqlTokens(text, { start: from, escapes })) {
      if (text[token.start] === "`") {
        ticked = token.start;
        break;
      }
      yield token;
    }
    if (ticked === undefined) return;
    const close = text.indexOf("`", ticked + 1); // a doubled backtick begins another name
    from = close === -1 ? text.length : close + 1;
    yield { kind: "name", start: ticked, end: from };
  }
}

/** The pieces of text of a fragment, and the values between them. */
function flatten(fragment: Fragment): { pieces: string[]; values: unknown[] } {
  const pieces = [""];
  const values: unknown[] = [];
  const add = (text: string) => pieces[pieces.length - 1] += text;
  const open: { fragment: Fragment; next: number }[] = [{ fragment, next: 0 }]; // no recursion: a loop may nest deeply
  const outer = new Set([fragment]);
  for (let top = open[0]; top !== undefined; top = open[open.length - 1]) {
    const { strings, values: own } = top.fragment;
    const index = top.next++;
    add(strings[index] ?? "");
    if (index >= own.length) {
      open.pop();
      outer.delete(top.fragment);
      continue;
    }
    const value = own[index];
    if (value instanceof Identifier) {
      markUsed(value);
      add(value.names.map(quoteName).join("."));
    } else if (value instanceof Fragment) {
      if (outer.has(value)) throw badParameter("a fragment contains itself");
      markUsed(value);
      outer.add(value);
      open.push({ fragment: value, next: 0 });
    } else {
      values.push(value);
      pieces.push("");
    }
  }
  return { pieces, values };
}

/** A name in backticks. */
function quoteName(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}

/** A prefix for the names of the parameters that occurs nowhere in the person's own text after a colon. */
function freePrefix(pieces: readonly string[]): string {
  const taken = new Set(
    pieces.flatMap((piece) => [...piece.matchAll(/:\s*(p_*)\d/gi)].map(([, name]) => name!.toLowerCase())),
  );
  let prefix = "p";
  while (taken.has(prefix)) prefix += "_";
  return prefix;
}

function checked(statement: WarehouseStatement): WarehouseStatement {
  const { text } = statement;
  if (text.length <= LONGEST / 3) return statement; // a UTF-16 unit takes at most three bytes
  const bytes = new TextEncoder().encode(text).length;
  if (bytes <= LONGEST) return statement;
  const size = (bytes / 1024 ** 2).toFixed(1);
  throw badParameter(
    `its text has ${size} MiB; a warehouse takes 16 MiB. Put the values into a file, and read it from a Volume`,
  );
}

/** The first words of statements that can't write. The functions that such a statement calls can't write either. */
const READS: ReadonlySet<string> = new Set("select values table show describe desc explain list".split(" "));
/** The first words of statements that may contain an INSERT or another write, and the words that show this. */
const MAY_WRITE: ReadonlySet<string> = new Set(["with", "from"]);
const WRITES: ReadonlySet<string> = new Set(["insert", "merge", "update", "delete", "into", "overwrite"]);
/** The first words of statements that run other statements, which may return any number of rows. */
const RUNS: ReadonlySet<string> = new Set(["call", "execute", "begin"]);

/** Whether a text only reads, so that it may run a second time for its other rows. */
export function readsOnly(text: string): boolean {
  const words = wordsOf(text);
  const { value: first = "" } = words.next();
  return READS.has(first) || MAY_WRITE.has(first) && !words.some((word) => WRITES.has(word));
}

/**
 * Whether a statement may return many rows. Other statements return few, such as the number of rows that they have
 * changed.
 */
export function returnsRows(text: string): boolean {
  const { value: first = "" } = wordsOf(text).next();
  return READS.has(first) || MAY_WRITE.has(first) || RUNS.has(first);
}

function* wordsOf(text: string): Generator<string, undefined, void> {
  for (const { kind, start, end } of tokensOf(text, true)) {
    if (kind === "word") yield text.slice(start, end).toLowerCase();
  }
}

/**
 * Splits a text at each semicolon that ends a statement, because the API takes one statement. A compound statement, `BEGIN ...
 * END`, and all text after it are one statement.
 *
 * @returns The statements, without semicolons. Empty statements and those with only comments are left out.
 */
export function splitStatements(text: string): string[] {
  const statements: string[] = [];
  let nesting = new Nesting();
  let [start, first] = [0, ""];
  const end = (at: number) => {
    if (first !== "") statements.push(text.slice(start, at).trim());
    nesting = new Nesting();
    [start, first] = [at + 1, ""];
  };
  for (const { kind, start: at, end: to } of tokensOf(text, true)) {
    if (text[at] === ";" && nesting.top && first !== "begin") {
      end(at);
      continue;
    }
    if (kind !== "space" && kind !== "comment") first ||= text.slice(at, to).toLowerCase();
    nesting.take(kind, text.slice(at, to));
  }
  end(text.length);
  return statements;
}

/** A value of a statement for a SQL warehouse. */
interface Parameter {
  /** The SQL type, such as `INT` or `DECIMAL(5,2)`. */
  type: string;
  /** The value as text, which the warehouse casts to the type. */
  value: string;
  /** A function that the statement calls with the parameter, because no parameter can be BINARY. */
  call?: "unhex";
}

/**
 * Turns a value into a parameter whose type can hold the exact value. A whole number becomes INT, BIGINT or
 * DECIMAL(38,0), whichever is the smallest that fits; any other number DOUBLE; a number of decimal.js, big.js or
 * bignumber.js DECIMAL; a `Date` TIMESTAMP; bytes BINARY.
 *
 * @param value Any value of a program.
 * @param position The parameter's number, from 1, for the error.
 * @returns The parameter; `undefined` for `null`, because only the keyword NULL fits every type.
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that no parameter of a warehouse can hold, with its position.
 */
export function encodeParameter(value: unknown, position: number): Parameter | undefined {
  const name = `parameter ${position}`;
  switch (typeof value) {
    case "string":
      return textParameter(value, name);
    case "number":
      return numberParameter(value);
    case "bigint":
      return wholeParameter(value, name);
    case "boolean":
      return { type: "BOOLEAN", value: String(value) };
    case "object":
      return value === null ? undefined : objectParameter(value, name);
    case "undefined":
      throw badParameter(`${name} is undefined; write null for NULL`);
    default:
      throw badParameter(`${name} is a ${typeof value}`);
  }
}

/** Makes the error for a statement that can't be sent. @param state What is wrong, as the end of a sentence. */
function badParameter(state: string): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot run the query: ${state}`);
}

function textParameter(value: string, name: string): Parameter {
  if (!value.isWellFormed()) throw badParameter(`${name} has half of a surrogate pair, which UTF-8 can't represent`);
  return { type: "STRING", value };
}

function numberParameter(value: number): Parameter {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    // LIMIT and array positions accept only an INT.
    return { type: value === (value | 0) ? "INT" : "BIGINT", value: String(value) };
  }
  return { type: "DOUBLE", value: Object.is(value, -0) ? "-0.0" : String(value) };
}

/** The most digits of a DECIMAL. */
const MOST_DIGITS = 38;

function wholeParameter(value: bigint, name: string): Parameter {
  if (BigInt.asIntN(64, value) === value) return { type: "BIGINT", value: String(value) };
  const digits = String(value).replace("-", "").length;
  if (digits <= MOST_DIGITS) return { type: `DECIMAL(${MOST_DIGITS},0)`, value: String(value) };
  throw badParameter(`${name} has ${digits} digits; a DECIMAL has at most ${MOST_DIGITS}`);
}

function objectParameter(value: object, name: string): Parameter {
  if (value instanceof Date) return dateParameter(value, name);
  if (value instanceof URL) return { type: "STRING", value: value.href };
  const bytes = bytesOf(value);
  if (bytes !== undefined) return { type: "STRING", value: bytes.toString("hex"), call: "unhex" };
  const temporal = temporalParameter(value, name);
  if (temporal !== undefined) return temporal;
  const digits = decimalText(value);
  if (digits !== undefined) return decimalParameter(digits, name);
  throw badParameter(`${name} is ${objectAdvice(value)}`);
}

function bytesOf(value: object): Buffer | undefined {
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength);
  return value instanceof ArrayBuffer ? Buffer.from(value) : undefined;
}

function objectAdvice(value: object): string {
  if (Array.isArray(value)) {
    return "an array, and a warehouse takes no arrays: write IN (${sql.join(list)}), or array(${sql.join(list)})";
  }
  if (typeof (value as { then?: unknown }).then === "function") return "a promise; await it first";
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  const what = kind === "Object" ? "an object" : `a ${kind}`;
  return `${what}, and a warehouse takes no maps and structs: bind JSON.stringify(value), and read it with ` +
    "from_json(...) or parse_json(...)";
}

function dateParameter(value: Date, name: string): Parameter {
  if (Number.isNaN(value.getTime())) throw badParameter(`${name} is an invalid Date`);
  return inYears(value.toISOString(), "TIMESTAMP", name);
}

/** Refuses a year that a warehouse does not have: it has the years 1 to 9999. */
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

function temporalParameter(value: object, name: string): Parameter | undefined {
  const tag = Object.prototype.toString.call(value);
  if (!tag.startsWith("[object Temporal.")) return undefined;
  const kind = TEMPORAL[tag];
  if (kind !== undefined) return inYears(kind[1](value), kind[0], name);
  throw badParameter(
    `${name} is a ${tag.slice(8, -1)}, for which parameters have no type; bind its toString(), and cast it in the SQL`,
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

function decimalParameter(value: string, name: string): Parameter {
  const [, integer = "", fraction = ""] = /^-?(\d+)(?:\.(\d+))?$/.exec(value) ?? [];
  if (integer === "") throw badParameter(`${name} is ${value}, which a DECIMAL can't hold`);
  const digits = integer.replace(/^0+/, "").length + fraction.length;
  if (digits <= MOST_DIGITS) return { type: `DECIMAL(${Math.max(1, digits)},${fraction.length})`, value };
  throw badParameter(`${name} has ${digits} digits; a DECIMAL has at most ${MOST_DIGITS}`);
}
