import { quoteName, type SqlToken, sqlTokens } from "../core/sql_text.ts";
import { typeText } from "../core/text.ts";
import { markUsed } from "./never_run.ts";
import { badParameter, encodeParameter, JSONB_CAST, type WireValue } from "./parameter.ts";
import type { StatementRows } from "./result.ts";
import type { StopOptions } from "./stop.ts";

/** The Postgres protocol counts parameters in 16 bits. */
const MAX_PARAMETERS = 65_535;

/** Matches a parameter such as `$1`, and the same text in quotes or a comment. */
const PARAMETER = /\$\d/;

/** The most characters of a statement that `console.log` prints. */
const MAX_PRINTED = 10_000;

/** Matches text that would continue a number or word right before it. */
const CONTINUES_WORD = /^[\p{L}\d_$]/u;

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
  /** The values: each is a parameter, or a fragment whose text is inserted there. */
  readonly values: readonly unknown[];

  /** Called by the `sql` tag. Copies the lists, so later changes to them do not change the fragment. */
  constructor(strings: readonly string[], values: readonly unknown[]) {
    this.strings = frozen(strings);
    this.values = frozen(values);
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

/** Names the property of a query that runs in a SQL warehouse, and can't be part of a statement for Postgres. */
export const IN_WAREHOUSE: unique symbol = Symbol("lakebase.inWarehouse");

/** Names the method that runs a query for a load; the values keep everything that the server sent. */
export const EXACT_ROWS: unique symbol = Symbol("lakebase.exactRows");

/** Names the method that returns to a pull what may stop the query. */
export const PULL_STOPS: unique symbol = Symbol("lakebase.pullStops");

/**
 * A fragment that can run on its own: a query, as the modules below the API see it.
 * @internal
 */
export interface RunnableFragment extends Fragment {
  /** Runs the query on its own. */
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
  /** The streams, each as one array of bytes, which belongs to the reader. */
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

/** Tells whether a value is a query that can run on its own, and not only a part of one. */
export function isRunnable(value: unknown): value is RunnableFragment {
  return value instanceof Fragment && EXACT_ROWS in value;
}

function frozen<T>(list: readonly T[]): readonly T[] {
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
  if (isInWarehouse(fragment)) throw badParameter(OTHER_ENGINE);
  const text = texts.get(fragment.strings);
  const values = text === undefined ? undefined : plainValues(fragment);
  return text === undefined || values === undefined ? assemble(fragment) : { text, values };
}

const OTHER_ENGINE =
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
  let openFragments: Set<Fragment> | undefined;
  const suspects: [start: number, end: number][] = []; // the ranges where the person may have written `$1`
  let plain = fragment.values.length === fragment.strings.length - 1;
  let casts = false;
  let emptyArrays: number[] | undefined;
  let afterParameter = false;
  for (let top = open[0]; top !== undefined; top = open[open.length - 1]) {
    const { strings, values: fragmentValues } = top.fragment;
    const index = top.next++;
    const string = strings[index] ?? "";
    // The text after `$1` may come from another fragment, and must not continue its number.
    text += afterParameter && CONTINUES_WORD.test(string) ? ` ${string}` : string;
    // `sql.unsafe()` has no values, and may contain any SQL.
    if (fragmentValues.length > 0 && PARAMETER.test(string)) suspects.push([text.length - string.length, text.length]);
    if (string !== "") afterParameter = false;
    if (index >= fragmentValues.length) {
      open.pop();
      openFragments?.delete(top.fragment);
      continue;
    }
    const value = fragmentValues[index];
    if (value instanceof Fragment) {
      plain = false;
      if (isInWarehouse(value)) throw badParameter(OTHER_ENGINE);
      openFragments ??= new Set([fragment]);
      if (openFragments.has(value)) throw badParameter("a fragment contains itself");
      openFragments.add(value);
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
  if (suspects.length > 0 && values.length > 0) checkNumbers(text, suspects);
  const statement = checkedStatement({
    text: casts ? withJsonCasts(text) : text,
    values,
    ...(emptyArrays === undefined ? {} : { emptyArrays }),
  });
  if (plain) texts.set(fragment.strings, text);
  return statement;
}

/** Refuses a `$1` that the person wrote, because the server would take it for one of the values. */
function checkNumbers(text: string, suspects: readonly (readonly [start: number, end: number])[]): void {
  let index = 0;
  for (const { kind, start, end } of sqlTokens(text)) {
    while (index < suspects.length && suspects[index]![1] <= start) index++;
    if (index === suspects.length) return;
    if (kind !== "parameter" || start < suspects[index]![0]) continue;
    throw badParameter(
      `it has ${text.slice(start, end)} beside \${values}; write \${value} there, or use query(text, [value, ...])`,
    );
  }
}

/**
 * Makes a statement of a text and the values of its parameters.
 *
 * @param text SQL with `$1`, `$2`, ...
 * @param params The values of `$1`, `$2`, ..., encoded like `${values}`. None by default.
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
  return checkedStatement(emptyArrays.length === 0 ? { text, values } : { text, values, emptyArrays });
}

function checkedStatement(statement: Statement): Statement {
  const { text, values } = statement;
  const zero = text.indexOf("\0");
  if (zero !== -1) throw badParameter(`its text has a zero character, at position ${zero + 1}`);
  if (values.length <= MAX_PARAMETERS) return statement;
  throw badParameter(
    `the statement has ${values.length.toLocaleString("en")} parameters; Postgres takes ` +
      `${MAX_PARAMETERS.toLocaleString("en")}. Bind one array and use = ANY(...) or unnest(...)`,
  );
}

/** The strings of templates by their raw lists: a template has the same list each time it runs. */
const rawLists = new WeakMap<readonly string[], readonly string[]>();

/** Returns a template's strings as they were written: backslashes belong to SQL, except in `` \` `` and `\${`. */
export function rawStrings({ raw }: TemplateStringsArray): readonly string[] {
  const existing = rawLists.get(raw);
  if (existing !== undefined) return existing;
  const strings = Object.freeze(raw.map((string) => string.replace(/\\(`|\$\{)/g, "$1")));
  if (Object.isFrozen(raw)) rawLists.set(raw, strings); // a list that a program made itself may change
  return strings;
}

/** Returns the text that `console.log` prints for a query: its statement, or why the statement can't be made. */
export function inspectionText(statement: () => string): string {
  try {
    const text = statement();
    return `Query { ${text.length > MAX_PRINTED ? `${text.slice(0, MAX_PRINTED)}…` : text} }`;
  } catch (error) {
    return `Query { ${(error as Error).message} }`;
  }
}

const JSON_CAST = "::pg_catalog.json";
/** The number of tokens of a cast: two colons, the schema, a dot, and the type. */
const CAST_TOKENS = 5;

/**
 * Adapts the casts of JSON parameters to their positions. A value that goes straight into a column is cast to `json`, which
 * `json` and `jsonb` columns both take: `jsonb` sorts keys and refuses `\u0000`. Where the person wrote a cast, it replaces
 * ours. Everywhere else the cast remains `jsonb`.
 *
 * @param text SQL with {@linkcode JSONB_CAST} after each JSON parameter.
 */
function withJsonCasts(text: string): string {
  const adapted: string[] = [];
  let from = 0;
  const assignments = new Assignments(text);
  let [last, beforeLast]: (SqlToken | undefined)[] = [];
  /** The last JSON parameter, until the token after its cast has come. */
  let parameter: { end: number; before: string[]; tokensLeft: number } | undefined;
  const adapt = (after: string) => {
    const { end, before } = parameter!;
    parameter = undefined;
    const hasCast = after === ":" || after === "as" && before.join("") === "cast(";
    if (!hasCast && !assignments.contains(before.at(-1), after)) return;
    adapted.push(text.slice(from, end), hasCast ? "" : JSON_CAST);
    from = end + JSONB_CAST.length;
  };
  for (const token of sqlTokens(text)) {
    if (token.kind === "space" || token.kind === "comment") continue;
    if (parameter !== undefined && parameter.tokensLeft-- === 0) adapt(word(text, token));
    assignments.pass(token);
    if (token.kind === "parameter" && text.startsWith(JSONB_CAST, token.end)) {
      const before = [beforeLast, last].flatMap((token) => token === undefined ? [] : word(text, token));
      parameter = { end: token.end, before, tokensLeft: CAST_TOKENS };
    }
    [last, beforeLast] = [token, last];
  }
  if (parameter !== undefined) adapt("");
  return adapted.join("") + text.slice(from);
}

/** The words that end the list of a SET or of VALUES. */
const LIST_ENDS: ReadonlySet<string> = new Set("where from returning on when select union".split(" "));

/** Finds the positions of a statement whose values go straight into columns: in a row of an INSERT, or after `=` in a SET. */
class Assignments {
  readonly #text: string;
  #depth = 0;
  /** The INSERT or UPDATE around the current token and the list inside it, each with its depth in parentheses. */
  #command: { kind: "insert" | "update"; depth: number } | undefined;
  #list: { kind: "values" | "set"; depth: number } | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  /** Moves the current position past the next token. */
  pass(token: SqlToken): void {
    if (token.kind === "word") return this.#takeWord(word(this.#text, token));
    const first = this.#text[token.start];
    if (first === "(") this.#depth++;
    else if (first === ")") this.#leave();
  }

  /** Whether a value between two words, at the current position, goes straight into a column. */
  contains(before: string | undefined, after: string): boolean {
    if (this.#list?.kind === "values") {
      return this.#depth === this.#list.depth + 1 && (before === "(" || before === ",") && /^[,)]$/.test(after);
    }
    const ends = after === "" || /^[,;)]$/.test(after) || LIST_ENDS.has(after);
    return this.#list !== undefined && this.#depth === this.#list.depth && before === "=" && ends;
  }

  #leave(): void {
    this.#depth--;
    if (this.#list !== undefined && this.#depth < this.#list.depth) this.#list = undefined;
    if (this.#command !== undefined && this.#depth < this.#command.depth) this.#command = undefined;
  }

  #takeWord(word: string): void {
    const depth = this.#depth;
    const command = this.#command?.depth === depth ? this.#command.kind : undefined;
    if (word === "insert" || word === "update") this.#command = { kind: word, depth };
    else if (word === "values" && command === "insert") this.#list = { kind: "values", depth };
    else if (word === "set" && command === "update") this.#list = { kind: "set", depth };
    else if (LIST_ENDS.has(word) && this.#list?.depth === depth) this.#list = undefined;
    if (word === "select" && command !== undefined) this.#command = undefined;
  }
}

/** Returns a short token in lower case. */
function word(text: string, { start, end }: SqlToken): string {
  return end - start > 20 ? "..." : text.slice(start, end).toLowerCase();
}
