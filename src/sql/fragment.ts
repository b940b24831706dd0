import { quoteName, type SqlToken, sqlTokens } from "../core/sql_text.ts";
import { typeText } from "../core/text.ts";
import { markUsed } from "./never_run.ts";
import { badParameter, encodeParameter, JSONB_CAST, type WireValue } from "./parameter.ts";
import type { StatementRows } from "./result.ts";
import type { StopOptions } from "./stop.ts";

/** The Postgres protocol counts parameters in 16 bits. */
const MOST_PARAMETERS = 65_535;

/** Matches a parameter such as `$1`, but also the same text in quotes or a comment. */
const NUMBER = /\$\d/;

/** The most characters of a statement that `console.log` prints. */
const MOST_PRINTED = 10_000;

/** Matches text that would continue a number or word right before it. */
const WORD = /^[\p{L}\d_$]/u;

/**
 * A piece of SQL. Its values are kept apart from its text, so a value can never become SQL. `sql.id()`, `sql.join()`,
 * `sql.values()` and `sql.unsafe()` return fragments, and a query inside another query is one.
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
  /** The pieces of text around the values; there is one more piece than there are values. */
  readonly strings: readonly string[];
  /** The values: parameters, or fragments whose text is inserted in their place. */
  readonly values: readonly unknown[];

  /** Called by the `sql` tag. Later changes to the lists do not change the fragment. */
  constructor(strings: readonly string[], values: readonly unknown[]) {
    this.strings = fixed(strings);
    this.values = fixed(values);
    for (const value of values) if (value instanceof Fragment) markUsed(value);
  }
}

/** A quoted name. Each engine writes it in its own quotes: Postgres in double quotes, a SQL warehouse in backticks. */
export class Identifier extends Fragment {
  /** The parts of the name, such as a schema and a table. */
  readonly names: readonly string[];

  /** Called by `sql.id()`. */
  constructor(names: readonly string[]) {
    super([names.map(quoteName).join(".")], []);
    this.names = names;
  }
}

/** Names the property of a query that runs in a SQL warehouse: it is no part of a statement for Postgres. */
export const IN_WAREHOUSE: unique symbol = Symbol("lakebase.inWarehouse");

/** Names the method that runs a query for a load: its values keep everything that the server sent. */
export const EXACT_ROWS: unique symbol = Symbol("lakebase.exactRows");

/** Names the method that tells a pull what may stop the query. */
export const PULL_STOPS: unique symbol = Symbol("lakebase.pullStops");

/**
 * A fragment that can run by itself: a query, as the modules below the API see it.
 * @internal
 */
export interface RunnableFragment extends Fragment {
  /** Runs the query by itself. */
  [EXACT_ROWS](signal: AbortSignal | undefined): Promise<StatementRows | ArrowRows>;
  /**
   * Returns the signal and the timeout of the query.
   *
   * @throws {LakebaseError} `BAD_PARAMETER` if the query has a `limit`, which applies only to what a cell shows.
   */
  [PULL_STOPS](): StopOptions;
}

/** The rows of a query as streams in Arrow's IPC format with the same columns, which can be read once. */
export class ArrowRows {
  /** The streams, each in one piece. The bytes are the reader's. */
  readonly streams: AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** The number of rows. */
  readonly rows: number;
  /** The Postgres type of each column, in order, where Arrow's own type says less. */
  readonly types: readonly (string | undefined)[];

  /** Made by a query of a SQL warehouse. */
  constructor(
    streams: AsyncIterable<Uint8Array<ArrayBuffer>>,
    rows: number,
    types: readonly (string | undefined)[],
  ) {
    this.streams = streams;
    this.rows = rows;
    this.types = types;
  }
}

/** Tells whether a value is a query, and not only a part of one. */
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
  /** The values of `$1`, `$2`, ..., in order. */
  values: WireValue[];
  /** SQL that the library sends before the text; an error's position is counted without it. */
  prefix?: string;
  /** The indexes of the values that are empty arrays. */
  emptyArrays?: number[];
}

/** The texts of plain fragments, by their strings: a template has the same list each time it runs. */
const texts = new WeakMap<readonly string[], string>();

/**
 * Joins a fragment and the fragments inside it into one statement.
 *
 * @param fragment The fragment, as the `sql` tag made it.
 * @returns Its text with numbered parameters, and their values in that order.
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that Postgres has no form for (with its position), `$1` beside
 * `${values}`, a zero character, a fragment that contains itself, or more than 65,535 parameters.
 */
export function compile(fragment: Fragment): Statement {
  markUsed(fragment);
  if (isInWarehouse(fragment)) throw badParameter(ELSEWHERE);
  const text = texts.get(fragment.strings);
  const values = text === undefined ? undefined : plainValues(fragment);
  return text === undefined || values === undefined ? assemble(fragment) : { text, values };
}

const ELSEWHERE =
  "it, or a part of it, was made with the sql of a lakehouse, and runs in a SQL warehouse; to bring its " +
  "rows here, write db.load(table, query, { create: true })";

function isInWarehouse(fragment: Fragment): boolean {
  return (fragment as { [IN_WAREHOUSE]?: boolean })[IN_WAREHOUSE] === true;
}

/**
 * Encodes the values of a fragment whose text is its strings with `$1`, `$2`, ... between them; `undefined` for other fragments
 * and for values that need more than their text.
 */
function plainValues(fragment: Fragment): WireValue[] | undefined {
  if (fragment.values.length !== fragment.strings.length - 1) return undefined;
  const values: WireValue[] = [];
  for (const value of fragment.values) {
    if (value instanceof Fragment) return undefined;
    const parameter = encodeParameter(value, values.length + 1);
    if (parameter.cast !== "" || parameter.emptyArray) return undefined;
    values.push(parameter.value);
  }
  return values;
}

function assemble(fragment: Fragment): Statement {
  let text = "";
  const values: WireValue[] = [];
  const open: { fragment: Fragment; next: number }[] = [{ fragment, next: 0 }]; // no recursion: a loop may nest deeply
  let outer: Set<Fragment> | undefined;
  const written: [start: number, end: number][] = []; // where the person may have written `$1`
  let plain = fragment.values.length === fragment.strings.length - 1;
  let casts = false;
  let emptyArrays: number[] | undefined;
  let afterParameter = false;
  for (let top = open[0]; top !== undefined; top = open[open.length - 1]) {
    const { strings, values: own } = top.fragment;
    const index = top.next++;
    const string = strings[index] ?? "";
    // Text right after `$1`, in this fragment or the next one, must not continue its number.
    text += afterParameter && WORD.test(string) ? ` ${string}` : string;
    // `sql.unsafe()` has no values, and may contain any SQL.
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
      if (isInWarehouse(value)) throw badParameter(ELSEWHERE);
      outer ??= new Set([fragment]);
      if (outer.has(value)) throw badParameter("a fragment contains itself");
      outer.add(value);
      open.push({ fragment: value, next: 0 });
      continue;
    }
    const parameter = encodeParameter(value, values.length + 1);
    if (parameter.emptyArray) (emptyArrays ??= []).push(values.length);
    values.push(parameter.value);
    plain &&= parameter.cast === "";
    casts ||= parameter.cast !== "";
    text += `$${values.length}${parameter.cast}`;
    afterParameter = true;
  }
  if (written.length > 0 && values.length > 0) checkNumbers(text, written);
  const statement = checked({
    text: casts ? withJsonCasts(text) : text,
    values,
    ...(emptyArrays === undefined ? {} : { emptyArrays }),
  });
  if (plain) texts.set(fragment.strings, text);
  return statement;
}

/** Refuses a `$1` that the person wrote, because it would stand for one of the values. */
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
 * Makes a statement of a text and its parameters.
 *
 * @param text SQL with `$1`, `$2`, ...
 * @param params Their values, encoded like `${values}`. None by default.
 * @throws {LakebaseError} `BAD_PARAMETER` as in {@linkcode compile}, and if `text` is not a string or `params` not an array.
 */
export function textStatement(text: string, params: readonly unknown[] = []): Statement {
  if (typeof text !== "string") {
    const instead = (text as unknown) instanceof Fragment ? "await the sql`...` itself" : "it takes a text";
    throw badParameter(`query() has ${typeText(text)} for its SQL; ${instead}`);
  }
  if (!Array.isArray(params)) throw badParameter("query() takes its parameters as an array: query(text, [value, ...])");
  const values: WireValue[] = [];
  const emptyArrays: number[] = [];
  for (const value of params) {
    const parameter = encodeParameter(value, values.length + 1);
    if (parameter.emptyArray) emptyArrays.push(values.length);
    values.push(parameter.value);
  }
  return checked(emptyArrays.length === 0 ? { text, values } : { text, values, emptyArrays });
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

/** Strings by a template's own list, which is the same each time the template runs. */
const known = new WeakMap<readonly string[], readonly string[]>();

/** Returns a template's strings as they were written: backslashes belong to SQL, except in `` \` `` and `\${`. */
export function rawStrings({ raw }: TemplateStringsArray): readonly string[] {
  const before = known.get(raw);
  if (before !== undefined) return before;
  const strings = Object.freeze(raw.map((string) => string.replace(/\\(`|\$\{)/g, "$1")));
  if (Object.isFrozen(raw)) known.set(raw, strings); // a list that a program made itself may change
  return strings;
}

/** Returns what `console.log` prints for a query: its statement, or why it has none. */
export function printed(statement: () => string): string {
  try {
    const text = statement();
    return `Query { ${text.length > MOST_PRINTED ? `${text.slice(0, MOST_PRINTED)}…` : text} }`;
  } catch (error) {
    return `Query { ${(error as Error).message} }`;
  }
}

const JSON_CAST = "::pg_catalog.json";
/** The tokens of the cast: two colons, the schema, a dot, the type. */
const CAST_PIECES = 5;

/**
 * Adapts the casts of JSON parameters to their places. A value that goes straight into a column is cast to `json`, which
 * `json` and `jsonb` columns both take: `jsonb` sorts keys and refuses `\u0000`. If the person wrote a cast, only that one
 * stays. Everywhere else the cast remains `jsonb`.
 *
 * @param text SQL with {@linkcode JSONB_CAST} after each JSON parameter.
 */
function withJsonCasts(text: string): string {
  const kept: string[] = [];
  let from = 0;
  const places = new Places(text);
  let [last, beforeLast]: (SqlToken | undefined)[] = [];
  /** The last JSON parameter, until the token behind its cast comes. */
  let parameter: { end: number; before: string[]; tokensLeft: number } | undefined;
  const adapt = (behind: string) => {
    const { end, before } = parameter!;
    parameter = undefined;
    const casts = behind === ":" || behind === "as" && before.join("") === "cast(";
    if (!casts && !places.assigns(before.at(-1), behind)) return;
    kept.push(text.slice(from, end), casts ? "" : JSON_CAST);
    from = end + JSONB_CAST.length;
  };
  for (const token of sqlTokens(text)) {
    if (token.kind === "space" || token.kind === "comment") continue;
    if (parameter !== undefined && parameter.tokensLeft-- === 0) adapt(word(text, token));
    places.pass(token);
    if (token.kind === "parameter" && text.startsWith(JSONB_CAST, token.end)) {
      const before = [beforeLast, last].flatMap((piece) => piece === undefined ? [] : word(text, piece));
      parameter = { end: token.end, before, tokensLeft: CAST_PIECES };
    }
    [last, beforeLast] = [token, last];
  }
  if (parameter !== undefined) adapt("");
  return kept.join("") + text.slice(from);
}

const ENDS: ReadonlySet<string> = new Set("where from returning on when select union".split(" "));

/** Tracks where a statement puts values straight into columns: in a row of an INSERT, or on the right side in a SET. */
class Places {
  readonly #text: string;
  #depth = 0;
  /** The INSERT or UPDATE around the current token and the list inside it, each with its depth in parentheses. */
  #writes: { kind: "insert" | "update"; depth: number } | undefined;
  #list: { kind: "values" | "set"; depth: number } | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  pass(token: SqlToken): void {
    if (token.kind === "word") return this.#takeWord(word(this.#text, token));
    const first = this.#text[token.start];
    if (first === "(") this.#depth++;
    else if (first === ")") this.#leave();
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

  #takeWord(piece: string): void {
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
