import { type SqlToken, sqlTokens } from "../core/sql_text.ts";
import { used } from "./never_run.ts";
import { badParameter, encodeParameter, type WireValue } from "./parameter.ts";
import type { StatementRows } from "./result.ts";
import type { StopOptions } from "./stop.ts";

/** The Postgres protocol counts parameters in 16 bits. */
const MOST_PARAMETERS = 65_535;

/** What may be a parameter's number, unless it is in quotes or a comment. */
const NUMBER = /\$\d/;

/** Characters of a statement that are printed. */
const MOST_PRINTED = 10_000;

/** What would be part of a number or word that stands before it. */
const WORD = /^[\p{L}\d_$]/u;

/**
 * A piece of SQL with its values kept apart from its text, so that a value can never become SQL: what `sql.id()`,
 * `sql.join()`, `sql.values()` and `sql.unsafe()` make, and every query inside another.
 *
 * @example
 * ```ts
 * import { sql } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * const conditions = [sql`zone = ${"Harlem"}`, sql`fare > ${10}`];
 * const query = sql`SELECT * FROM ${sql.id("app", "trips")} WHERE ${sql.join(conditions, sql` AND `)}`;
 * assert.match(Deno.inspect(query), /FROM "app"."trips" WHERE zone = \$1 AND fare > \$2/);
 * ```
 */
export class Fragment {
  /** The text around the values; one more than there are values. */
  readonly strings: readonly string[];
  /** The values: parameters, or other fragments, whose text goes in their place. */
  readonly values: readonly unknown[];

  /** Made by the `sql` tag; a list that changes later does not change what was made of it. */
  constructor(strings: readonly string[], values: readonly unknown[]) {
    this.strings = fixed(strings);
    this.values = fixed(values);
    for (const value of values) if (value instanceof Fragment) used(value);
  }
}

/** Runs a query for a load of its rows: each value keeps everything that the server sent. */
export const EXACT_ROWS: unique symbol = Symbol("lakebase.exactRows");

/** What stops a query, for a pull of its rows. */
export const PULL_STOPS: unique symbol = Symbol("lakebase.pullStops");

/**
 * A fragment that runs by itself: a query of the API, as the rooms below it see one.
 * @internal
 */
export interface RunnableFragment extends Fragment {
  /** Runs the query by itself. */
  [EXACT_ROWS](signal: AbortSignal | undefined): Promise<StatementRows>;
  /** @throws {LakebaseError} `BAD_PARAMETER` if the query has a `limit`, which is for what a cell shows. */
  [PULL_STOPS](): StopOptions;
}

/** Whether something is a query, and not only a part of one. */
export function isRunnable(value: unknown): value is RunnableFragment {
  return value instanceof Fragment && EXACT_ROWS in value;
}

function fixed<T>(list: readonly T[]): readonly T[] {
  return Object.isFrozen(list) ? list : Object.freeze([...list]);
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

/** Texts of plain fragments by their strings, which a template has the same each time. */
const texts = new WeakMap<readonly string[], string>();

/**
 * Puts fragments together to one statement.
 *
 * @param fragment What the `sql` tag made.
 * @returns Its text, with each value numbered, and the values in that order.
 * @throws {LakebaseError} `BAD_PARAMETER`, with the position, for a value that Postgres has no form of; for `$1` beside values.
 */
export function compile(fragment: Fragment): Statement {
  used(fragment);
  const text = texts.get(fragment.strings);
  const values = text === undefined ? undefined : plainValues(fragment);
  return text === undefined || values === undefined ? assemble(fragment) : { text, values };
}

/** The values of a fragment whose text is its strings with `$1`, `$2`, ... between them; `undefined` for another one. */
function plainValues(fragment: Fragment): WireValue[] | undefined {
  if (fragment.values.length !== fragment.strings.length - 1) return undefined;
  const values: WireValue[] = [];
  for (const value of fragment.values) {
    if (value instanceof Fragment) return undefined;
    const parameter = encodeParameter(value, values.length + 1);
    if (parameter.cast !== "") return undefined;
    values.push(parameter.value);
  }
  return values;
}

function assemble(fragment: Fragment): Statement {
  let text = "";
  const values: WireValue[] = [];
  const open: { fragment: Fragment; next: number }[] = [{ fragment, next: 0 }]; // not by calls: queries are built in loops
  let outer: Set<Fragment> | undefined;
  const written: [start: number, end: number][] = []; // where the person may have written a number
  let plain = fragment.values.length === fragment.strings.length - 1;
  let casts = false;
  let afterParameter = false;
  for (let top = open[0]; top !== undefined; top = open[open.length - 1]) {
    const { strings, values: own } = top.fragment;
    const index = top.next++;
    const string = strings[index] ?? "";
    // What follows `$1`, here or at the start of the fragment behind it, must not make another number or word of it.
    text += afterParameter && WORD.test(string) ? ` ${string}` : string;
    // A text of `sql.unsafe()` says for itself what it is.
    if (own.length > 0 && NUMBER.test(string)) written.push([text.length - string.length, text.length]);
    if (string !== "") afterParameter = false;
    if (index >= own.length) {
      open.pop();
      outer?.delete(top.fragment);
      continue;
    }
    const value = own[index];
    if (value instanceof Fragment) {
      plain = false;
      outer ??= new Set([fragment]);
      if (outer.has(value)) throw badParameter("a fragment contains itself");
      outer.add(value);
      open.push({ fragment: value, next: 0 });
      continue;
    }
    const parameter = encodeParameter(value, values.length + 1);
    values.push(parameter.value);
    plain &&= parameter.cast === "";
    casts ||= parameter.cast !== "";
    text += `$${values.length}${parameter.cast}`;
    afterParameter = true;
  }
  if (written.length > 0 && values.length > 0) checkNumbers(text, written);
  const statement = checked({ text: casts ? withJsonCasts(text) : text, values });
  if (plain) texts.set(fragment.strings, text);
  return statement;
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
  const values: WireValue[] = [];
  for (const value of params) values.push(encodeParameter(value, values.length + 1).value);
  return checked({ text, values });
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

/** By the template's own list, which is the same however often the template is run. */
const known = new WeakMap<readonly string[], readonly string[]>();

/** The strings of a template as they were written: SQL has its own back-slashes. Only `` \` `` and `\${` are JavaScript's. */
export function rawStrings({ raw }: TemplateStringsArray): readonly string[] {
  const before = known.get(raw);
  if (before !== undefined) return before;
  const strings = Object.freeze(raw.map((string) => string.replace(/\\(`|\$\{)/g, "$1")));
  if (Object.isFrozen(raw)) known.set(raw, strings); // what a program made up itself may change
  return strings;
}

/** How `console.log` prints a query: as the statement that it is. */
export function printed(query: Fragment): string {
  try {
    const { text } = compile(query);
    return `Query { ${text.length > MOST_PRINTED ? `${text.slice(0, MOST_PRINTED)}…` : text} }`;
  } catch (error) {
    return `Query { ${(error as Error).message} }`;
  }
}

/** Behind each parameter that is JSON: without it the server would take it for text. */
export const JSONB_CAST = "::pg_catalog.jsonb";
const JSON_CAST = "::pg_catalog.json";
/** Pieces of the cast: two colons, the schema, a dot, the type. */
const CAST_PIECES = 5;

/**
 * A statement whose JSON parameters are cast to what they are for. `jsonb` sorts keys and takes no `\u0000`, so it is only
 * where an expression has no type of its own: what goes into a column as it is goes there as `json`, which every column of
 * either type takes; where the person wrote a cast, that one alone stays.
 *
 * @param text SQL with {@linkcode JSONB_CAST} behind each parameter that is JSON.
 */
export function withJsonCasts(text: string): string {
  const tokens = [...sqlTokens(text)].filter(({ kind }) => kind !== "space" && kind !== "comment");
  const kept: string[] = [];
  let from = 0;
  const places = new Places(text);
  tokens.forEach((token, index) => {
    places.pass(token);
    if (token.kind !== "parameter" || !text.startsWith(JSONB_CAST, token.end)) return;
    const before = tokens.slice(Math.max(0, index - 2), index).map((piece) => word(text, piece));
    const next = tokens[index + CAST_PIECES + 1];
    const behind = next === undefined ? "" : word(text, next);
    const casts = behind === ":" || behind === "as" && before.join("") === "cast(";
    if (!casts && !places.assigns(before.at(-1), behind)) return;
    kept.push(text.slice(from, token.end), casts ? "" : JSON_CAST);
    from = token.end + JSONB_CAST.length;
  });
  return kept.join("") + text.slice(from);
}

const ENDS: ReadonlySet<string> = new Set("where from returning on when select union".split(" "));

/** Follows a statement to where values go into columns as they are: a row of an INSERT, the right side in a SET. */
class Places {
  readonly #text: string;
  #depth = 0;
  /** The depth of the statement that writes, and of the list in it. */
  #writes: { kind: "insert" | "update"; depth: number } | undefined;
  #list: { kind: "values" | "set"; depth: number } | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  pass(token: SqlToken): void {
    const piece = word(this.#text, token);
    if (piece === "(") this.#depth++;
    else if (piece === ")") this.#leave();
    else if (token.kind === "word") this.#heed(piece);
  }

  assigns(before: string | undefined, behind: string): boolean {
    if (this.#list?.kind === "values") {
      return this.#depth === this.#list.depth + 1 && (before === "(" || before === ",") && /^[,)]$/.test(behind);
    }
    const ends = behind === "" || /^[,;)]$/.test(behind) || ENDS.has(behind);
    return this.#list !== undefined && this.#depth === this.#list.depth && before === "=" && ends;
  }

  #leave(): void {
    this.#depth--;
    if (this.#list !== undefined && this.#depth < this.#list.depth) this.#list = undefined;
    if (this.#writes !== undefined && this.#depth < this.#writes.depth) this.#writes = undefined;
  }

  #heed(piece: string): void {
    const depth = this.#depth;
    const here = this.#writes?.depth === depth ? this.#writes.kind : undefined;
    if (piece === "insert" || piece === "update") this.#writes = { kind: piece, depth };
    else if (piece === "values" && here === "insert") this.#list = { kind: "values", depth };
    else if (piece === "set" && here === "update") this.#list = { kind: "set", depth };
    else if (ENDS.has(piece) && this.#list?.depth === depth) this.#list = undefined;
    if (piece === "select" && here !== undefined) this.#writes = undefined;
  }
}

function word(text: string, { start, end }: SqlToken): string {
  return end - start > 20 ? "..." : text.slice(start, end).toLowerCase();
}
