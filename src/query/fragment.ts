import { sqlTokens } from "../sql_text.ts";
import { badParameter, encodeParameter, type WireValue } from "./parameter.ts";

/** The Postgres protocol counts parameters in 16 bits. */
const MOST_PARAMETERS = 65_535;

/** What may be a parameter's number, unless it is in quotes or a comment. */
const NUMBER = /\$\d/;

/** What would be part of a number or word that stands before it. */
const WORD = /^[\p{L}\d_$]/u;

/** A piece of SQL with its values kept apart from its text, so that a value can never become SQL. */
export class Fragment {
  /** The text around the values; one more than there are values. */
  readonly strings: readonly string[];
  /** The values: parameters, or other fragments, whose text goes in their place. */
  readonly values: readonly unknown[];

  /** Made by the `sql` tag; a list that changes later does not change what was made of it. */
  constructor(strings: readonly string[], values: readonly unknown[]) {
    this.strings = Object.freeze([...strings]);
    this.values = Object.freeze([...values]);
  }
}

/** A statement as the server takes it. */
export interface Statement {
  /** SQL with `$1`, `$2`, ... */
  text: string;
  /** What they stand for. */
  values: WireValue[];
  /** Sent before the text, and not the person's own: an error's position is counted without it. */
  prefix?: string;
}

/**
 * Puts fragments together to one statement.
 *
 * @param fragment What the `sql` tag made.
 * @returns Its text, with each value numbered, and the values in that order.
 * @throws {LakebaseError} `BAD_PARAMETER`, with the position, for a value that Postgres has no form of; for `$1` beside values.
 */
export function compile(fragment: Fragment): Statement {
  const text: string[] = [];
  const values: WireValue[] = [];
  const open: { fragment: Fragment; next: number }[] = [{ fragment, next: 0 }]; // not by calls: queries are built in loops
  const outer = new Set([fragment]);
  const written: [start: number, end: number][] = []; // where the person may have written a number
  let length = 0;
  const add = (piece: string) => {
    text.push(piece);
    length += piece.length;
  };
  let afterParameter = false;
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const { strings, values: own } = top.fragment;
    const index = top.next++;
    const string = strings[index] ?? "";
    // What follows `$1`, here or at the start of the fragment behind it, must not make another number or word of it.
    add(afterParameter && WORD.test(string) ? ` ${string}` : string);
    // A text of `sql.unsafe()` says for itself what it is.
    if (own.length > 0 && NUMBER.test(string)) written.push([length - string.length, length]);
    if (string !== "") afterParameter = false;
    if (index >= own.length) {
      open.pop();
      outer.delete(top.fragment);
      continue;
    }
    const value = own[index];
    if (value instanceof Fragment) {
      if (outer.has(value)) throw badParameter("a fragment contains itself");
      outer.add(value);
      open.push({ fragment: value, next: 0 });
      continue;
    }
    const parameter = encodeParameter(value, values.length + 1);
    values.push(parameter.value);
    add(`$${values.length}${parameter.cast}`);
    afterParameter = true;
  }
  const statement = { text: text.join(""), values };
  if (written.length > 0 && values.length > 0) checkNumbers(statement.text, written);
  return checked(statement);
}

/** A number that the person wrote would stand for one of the values. */
function checkNumbers(text: string, written: readonly (readonly [start: number, end: number])[]): void {
  let index = 0;
  for (const { kind, start, end } of sqlTokens(text)) {
    while (index < written.length && written[index]![1] <= start) index++;
    if (index === written.length) return;
    if (kind !== "parameter" || start < written[index]![0]) continue;
    throw badParameter(
      `it has ${text.slice(start, end)} beside \${values}; write \${value} there, or use query(text, [value, ...])`,
    );
  }
}

/**
 * A statement of a text and its parameters.
 *
 * @param text SQL with `$1`, `$2`, ...
 * @param params What they stand for, encoded as `${values}` are.
 * @throws {LakebaseError} `BAD_PARAMETER` as {@linkcode compile}, and for what is no text.
 */
export function textStatement(text: string, params: readonly unknown[] = []): Statement {
  if (typeof text !== "string") {
    const instead = (text as unknown) instanceof Fragment ? "await the sql`...` itself" : "it takes a text";
    throw badParameter(`query() has ${text === null ? "null" : `a ${typeof text}`} for its SQL; ${instead}`);
  }
  if (!Array.isArray(params)) throw badParameter("query() takes its parameters as an array: query(text, [value, ...])");
  return checked({ text, values: Array.from(params, (value, index) => encodeParameter(value, index + 1).value) });
}

function checked(statement: Statement): Statement {
  const { text, values } = statement;
  const zero = text.indexOf("\0");
  if (zero !== -1) throw badParameter(`its text has a zero character, at position ${zero + 1}`);
  if (values.length <= MOST_PARAMETERS) return statement;
  throw badParameter(
    `the statement has ${values.length.toLocaleString("en")} parameters; Postgres takes ` +
      `${MOST_PARAMETERS.toLocaleString("en")}. Bind one array and use = ANY(...) or unnest(...)`,
  );
}

/** The strings of a template as they were written: SQL has its own back-slashes. Only `` \` `` and `\${` are JavaScript's. */
export function rawStrings(template: TemplateStringsArray): string[] {
  return template.raw.map((string) => string.replace(/\\(`|\$\{)/g, "$1"));
}
