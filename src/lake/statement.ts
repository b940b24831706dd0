import { byteLength } from "../core/bytes.ts";
import { Nesting, quoteInBackticks, type SqlKind, sqlTokens } from "../core/sql_text.ts";
import { Fragment, Identifier } from "../sql/fragment.ts";
import { markUsed } from "../sql/never_run.ts";
import { badParameter, bytesOf, inIso } from "../sql/parameter.ts";

/** A statement as the Statement Execution API takes it. */
export interface WarehouseStatement {
  /** SQL with `:p1`, `:p2`, ... */
  text: string;
  /** The values of the parameters, with their types. */
  parameters: readonly { name: string; type: string; value: string }[];
}

/** The maximum bytes of a statement that the API takes. */
const MAX_STATEMENT_BYTES = 16 * 1024 * 1024;

/** Matches the start of a text that would continue the word before it: a parameter's name, or NULL. */
const CONTINUES_WORD = /^[\p{L}\d_]/u;

/**
 * Joins a fragment and the fragments inside it into one statement for a SQL warehouse.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that no parameter of a warehouse can hold (with its position),
 * for a fragment that contains itself, or for a statement of more than 16 MiB.
 */
export function compileForWarehouse(fragment: Fragment): WarehouseStatement {
  markUsed(fragment);
  const { strings, values } = flatten(fragment);
  const prefix = unusedPrefix(strings);
  const parts = [strings[0]!];
  const positions: number[] = [];
  let length = parts[0]!.length;
  const parameters = values.flatMap((value, index) => {
    const parameter = encodeForWarehouse(value, index + 1);
    const name = `${prefix}${index + 1}`;
    const marker = parameter === undefined ? "NULL" : parameter.call ? `${parameter.call}(:${name})` : `:${name}`;
    const [before, after] = [strings[index]!, strings[index + 1]!];
    const spaceBefore = parameter === undefined && CONTINUES_WORD.test(before.slice(-1)) ? " " : "";
    const spaceAfter = CONTINUES_WORD.test(after) || after === "" && index + 1 < values.length ? " " : "";
    positions.push(length + spaceBefore.length);
    const added = [spaceBefore, marker, spaceAfter, after];
    parts.push(...added);
    length += added.join("").length;
    return parameter === undefined ? [] : [{ name, type: parameter.type, value: parameter.value }];
  });
  const text = parts.join("");
  refuseQuotedValues(text, positions);
  checkSize(text);
  return { text, parameters };
}

/**
 * Refuses values in quotes and comments, where a warehouse would silently take the parameter's name for text.
 *
 * @param positions The positions of the values, in ascending order.
 */
function refuseQuotedValues(text: string, positions: readonly number[]): void {
  if (positions.length === 0 || !/['"`]|--|\/\*|\$\$/.test(text)) return;
  // A backslash in r'...' may or may not be an escape, which depends on the rest of the text. A value is refused if it is in
  // quotes either way.
  const readings = (/\br['"]/i.test(text) ? [true, false] : [true]).map((escapes) =>
    quotedPositions(text, positions, escapes)
  );
  const [first, ...others] = readings;
  for (const [position, kind] of first!) {
    if (!others.every((reading) => reading.has(position))) continue;
    const number = positions.indexOf(position) + 1;
    throw badParameter(
      kind === "comment"
        ? `parameter ${number} is in a comment, where values are not bound; write it outside, or leave it out`
        : `parameter ${number} is within quotes, where values are not bound; write \${value} without the quotes, ` +
          "'a' || ${value} for a part of a text, or ${sql.id(name)} for a name",
    );
  }
}

/** The positions that are inside quotes or comments. */
function quotedPositions(
  text: string,
  positions: readonly number[],
  escapes: boolean,
): Map<number, "comment" | "quotes"> {
  const quoted = new Map<number, "comment" | "quotes">();
  let next = 0;
  for (const { kind, start, end } of tokensOf(text, escapes)) {
    for (; next < positions.length && positions[next]! < end; next++) {
      const position = positions[next]!;
      if (kind === "comment") quoted.set(position, "comment");
      else if ((kind === "string" || kind === "name") && position > start) quoted.set(position, "quotes");
    }
  }
  return quoted;
}

/** The tokens of a statement for a warehouse: those of Postgres, and names in backticks. */
function* tokensOf(
  text: string,
  escapes: boolean,
): Generator<{ kind: SqlKind; start: number; end: number }, void, void> {
  for (let from = 0; from < text.length;) {
    let backtick: number | undefined;
    for (const token of sqlTokens(text, { start: from, escapes })) {
      if (text[token.start] === "`") {
        backtick = token.start;
        break;
      }
      yield token;
    }
    if (backtick === undefined) return;
    const close = text.indexOf("`", backtick + 1); // a doubled backtick begins another name
    from = close === -1 ? text.length : close + 1;
    yield { kind: "name", start: backtick, end: from };
  }
}

/** The texts of a fragment and of the fragments inside it, and the values between the texts. */
function flatten(fragment: Fragment): { strings: string[]; values: unknown[] } {
  const strings = [""];
  const values: unknown[] = [];
  const add = (text: string) => strings[strings.length - 1] += text;
  const stack: { fragment: Fragment; next: number }[] = [{ fragment, next: 0 }]; // fragments may nest too deep for recursion
  const open = new Set([fragment]);
  for (let top = stack[0]; top !== undefined; top = stack[stack.length - 1]) {
    const { strings: texts, values: parts } = top.fragment;
    const index = top.next++;
    add(texts[index] ?? "");
    if (index >= parts.length) {
      stack.pop();
      open.delete(top.fragment);
      continue;
    }
    const value = parts[index];
    if (value instanceof Identifier) {
      markUsed(value);
      add(value.names.map(quoteInBackticks).join("."));
    } else if (value instanceof Fragment) {
      if (open.has(value)) throw badParameter("a fragment contains itself");
      markUsed(value);
      open.add(value);
      stack.push({ fragment: value, next: 0 });
    } else {
      values.push(value);
      strings.push("");
    }
  }
  return { strings, values };
}

/** A prefix for the names of the parameters. The person's text has no such name after a colon. */
function unusedPrefix(strings: readonly string[]): string {
  const used = new Set(
    strings.flatMap((text) => [...text.matchAll(/:\s*(p_*)\d/gi)].map(([, prefix]) => prefix!.toLowerCase())),
  );
  let prefix = "p";
  while (used.has(prefix)) prefix += "_";
  return prefix;
}

function checkSize(text: string): void {
  if (text.length <= MAX_STATEMENT_BYTES / 3) return; // a UTF-16 unit takes at most three bytes
  const bytes = byteLength(text);
  if (bytes <= MAX_STATEMENT_BYTES) return;
  const size = (bytes / 1024 ** 2).toFixed(1);
  throw badParameter(
    `its text has ${size} MiB; a warehouse takes 16 MiB. Put the values into a file, and read it from a Volume`,
  );
}

/** The first words of statements that can't write. The functions that they call can't write either. */
const READS: ReadonlySet<string> = new Set("select values table show describe desc explain list".split(" "));
/** The first words of statements that may contain an INSERT or another write. */
const MAY_WRITE: ReadonlySet<string> = new Set(["with", "from"]);
/** The words of such a statement that show a write. */
const WRITES: ReadonlySet<string> = new Set(["insert", "merge", "update", "delete", "into", "overwrite"]);
/** The first words of statements that run other statements, which may return any number of rows. */
const RUNS: ReadonlySet<string> = new Set(["call", "execute", "begin"]);

/** Whether a statement only reads, so that it may run a second time for the rest of its rows. */
export function readsOnly(text: string): boolean {
  const words = wordsOf(text);
  const { value: first = "" } = words.next();
  return READS.has(first) || MAY_WRITE.has(first) && !words.some((word) => WRITES.has(word));
}

/**
 * Whether a statement may return many rows. Other statements return few, such as a row with the number of changed rows.
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
 * Splits a text at each semicolon that ends a statement, because the API takes one statement at a time. A compound statement,
 * `BEGIN ... END`, and all text after it are one statement.
 *
 * @returns The statements without their semicolons, and without those that are empty or only comments.
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

/** A parameter's value for a SQL warehouse. */
interface WarehouseParameter {
  /** The SQL type, such as `INT` or `DECIMAL(5,2)`. */
  type: string;
  /** The value as text, which the warehouse casts to the type. */
  value: string;
  /** The function that the statement calls with the parameter. It gives BINARY, which no parameter can be. */
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
export function encodeForWarehouse(value: unknown, position: number): WarehouseParameter | undefined {
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

function textParameter(value: string, name: string): WarehouseParameter {
  if (!value.isWellFormed()) throw badParameter(`${name} has half of a surrogate pair, which UTF-8 can't represent`);
  return { type: "STRING", value };
}

function numberParameter(value: number): WarehouseParameter {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    // LIMIT and array positions accept only an INT.
    return { type: value === (value | 0) ? "INT" : "BIGINT", value: String(value) };
  }
  return { type: "DOUBLE", value: Object.is(value, -0) ? "-0.0" : String(value) };
}

/** The maximum number of a DECIMAL's digits. */
const MAX_DIGITS = 38;

function wholeParameter(value: bigint, name: string): WarehouseParameter {
  if (BigInt.asIntN(64, value) === value) return { type: "BIGINT", value: String(value) };
  const digits = String(value).replace("-", "").length;
  if (digits <= MAX_DIGITS) return { type: `DECIMAL(${MAX_DIGITS},0)`, value: String(value) };
  throw badParameter(`${name} has ${digits} digits; a DECIMAL has at most ${MAX_DIGITS}`);
}

function objectParameter(value: object, name: string): WarehouseParameter {
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

function objectAdvice(value: object): string {
  if (Array.isArray(value)) {
    return "an array, and a warehouse takes no arrays: write IN (${sql.join(list)}), or array(${sql.join(list)})";
  }
  if (typeof (value as { then?: unknown }).then === "function") return "a promise; await it first";
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  const name = kind === "Object" ? "an object" : `a ${kind}`;
  return `${name}, and a warehouse takes no maps and structs: bind JSON.stringify(value), and read it with ` +
    "from_json(...) or parse_json(...)";
}

function dateParameter(value: Date, name: string): WarehouseParameter {
  if (Number.isNaN(value.getTime())) throw badParameter(`${name} is an invalid Date`);
  return expectYear(value.toISOString(), "TIMESTAMP", name);
}

/** Refuses a year that a warehouse does not have. */
function expectYear(value: string, type: string, name: string): WarehouseParameter {
  if (/^(?!0000)\d{4}-/.test(value)) return { type, value };
  throw badParameter(`${name} is ${value}; a warehouse has the years 1 to 9999`);
}

/** The types for the Temporal classes, by the tags of the classes. A warehouse has no type for the others. */
const TEMPORAL: Readonly<Record<string, readonly [type: string, text: (value: object) => string]>> = {
  "[object Temporal.Instant]": ["TIMESTAMP", String],
  "[object Temporal.ZonedDateTime]": ["TIMESTAMP", (value) => String((value as { toInstant(): object }).toInstant())],
  "[object Temporal.PlainDateTime]": ["TIMESTAMP_NTZ", inIso],
  "[object Temporal.PlainDate]": ["DATE", inIso],
};

function temporalParameter(value: object, name: string): WarehouseParameter | undefined {
  const tag = Object.prototype.toString.call(value);
  if (!tag.startsWith("[object Temporal.")) return undefined;
  const encoding = TEMPORAL[tag];
  if (encoding !== undefined) return expectYear(encoding[1](value), encoding[0], name);
  throw badParameter(
    `${name} is a ${tag.slice(8, -1)}, for which parameters have no type; bind its toString(), and cast it in the SQL`,
  );
}

/** The classes of the libraries for decimal numbers. Each of them writes every digit with `toFixed()`. */
const DECIMALS: ReadonlySet<string> = new Set(["Decimal", "Big", "BigNumber"]);

function decimalText(value: object): string | undefined {
  const { toFixed, constructor } = value as { toFixed?: unknown; constructor?: { name?: unknown } };
  const isDecimal = typeof constructor?.name === "string" &&
    (DECIMALS.has(constructor.name) || "d" in value || "c" in value);
  return isDecimal && typeof toFixed === "function" ? String(toFixed.call(value)) : undefined;
}

function decimalParameter(value: string, name: string): WarehouseParameter {
  const [, integer = "", fraction = ""] = /^-?(\d+)(?:\.(\d+))?$/.exec(value) ?? [];
  if (integer === "") throw badParameter(`${name} is ${value}, which a DECIMAL can't hold`);
  const digits = integer.replace(/^0+/, "").length + fraction.length;
  if (digits <= MAX_DIGITS) return { type: `DECIMAL(${Math.max(1, digits)},${fraction.length})`, value };
  throw badParameter(`${name} has ${digits} digits; a DECIMAL has at most ${MAX_DIGITS}`);
}
