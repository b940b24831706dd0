import { quoteInBackticks, quoteName } from "../core/sql_text.ts";
import { INVISIBLE, markInvisible } from "../core/text.ts";
import { type Catalog, type CatalogFunction, type CatalogTable, signatureOf } from "./catalog.ts";
import type { CellRegion } from "./magic.ts";
import { STATEMENTS } from "./magic_header.ts";
import { findTable, type Scope, scopeAt, type SqlStatement, statementAt, type StatementToken } from "./sql_scope.ts";

/** A completion. */
export interface Candidate {
  /** The text to insert, quoted where SQL needs it. */
  text: string;
  /** Its kind, such as `table`, `column` or `keyword`. */
  type: string;
  /** A description, such as a column's type. */
  signature?: string;
}

/** The candidates at a position, and the range that they replace; without `end` the range ends at the position. */
export interface Candidates {
  start: number;
  end?: number;
  candidates: Iterable<Candidate>;
}

/** The types of completions by PostgreSQL's `relkind`. */
const COMPLETION_TYPES: Readonly<Record<string, string>> = { v: "view", m: "view", f: "table", r: "table", p: "table" };

/**
 * The completions at a position of SQL.
 *
 * @returns `undefined` within a `${value}`, which is TypeScript.
 */
export function sqlCandidates(
  code: string,
  { start, end }: CellRegion,
  at: number,
  catalog: Catalog | undefined,
): Candidates | undefined {
  const statement = statementAt(code, start, end, at);
  const { kindAtPosition: kind, tokens, top, group } = statement;
  if (kind === "value") return undefined;
  if (kind === "string" || kind === "comment" || kind === "number" || kind === "parameter") {
    return { start: at, candidates: [] };
  }
  const partial = tokens.find((token) =>
    token.start < at && at <= token.end && (token.kind === "word" || kind === "name")
  );
  const from = partial?.start ?? at;
  const written = code.slice(from, at);
  const before = tokens.filter((token) => token.end <= from);
  const finder = new CandidateFinder(catalog, scopeAt(top, group, catalog), written, isLower(code, written, tokens));
  const qualifier = qualifierOf(before);
  return {
    start: from,
    end: kind === "name" && partial !== undefined ? partial.end : at, // the editor has inserted the closing quote
    candidates: qualifier.length > 0 ? finder.qualified(qualifier) : finder.unqualified(clauseOf(statement, from)),
  };
}

/** Whether the person writes keywords in lower case. */
function isLower(code: string, written: string, tokens: readonly StatementToken[]): boolean {
  const first = tokens.find(({ kind }) => kind === "word");
  const example = written === "" && first !== undefined ? code.slice(first.start, first.end) : written;
  return example !== "" && example === example.toLowerCase();
}

/** The names before the dots that precede a position. */
function qualifierOf(before: readonly StatementToken[]): string[] {
  const names: string[] = [];
  for (let index = before.length - 1; before[index]?.text === "."; index -= 2) {
    const name = before[index - 1];
    if (name?.kind !== "word" && name?.kind !== "name") break;
    names.unshift(name.text);
  }
  return names;
}

/** The keywords before a table's name. JupyterLab sorts by the alphabet, so more keywords would hide the tables. */
const BEFORE_TABLE = ["if", "lateral", "only", "rows", "select", "values", "with"];

type Clause = "tables" | "afterTable" | "procedures" | "values" | "start";

/** Words that a table follows. */
const TABLE_WORDS: ReadonlySet<string> = new Set(
  "from join update into table truncate references analyze vacuum only".split(" "),
);
/** Words that begin another clause. */
const OTHER_CLAUSES: ReadonlySet<string> = new Set(
  "select where on set by having returning values limit offset when and or using".split(" "),
);

/** The clause of a position, from the words before it. */
function clauseOf({ group, tokens }: SqlStatement, at: number): Clause {
  const before = group.tokens.filter(({ end }) => end <= at);
  const last = before.at(-1);
  if (last === undefined) return tokens.some(({ end }) => end <= at) ? "values" : "start";
  if (last.kind === "word" && TABLE_WORDS.has(last.text)) return "tables";
  if (last.text === "call" || last.text === "procedure") return "procedures";
  const clause = before.findLast(({ kind, text }) =>
    kind === "word" && (TABLE_WORDS.has(text) || OTHER_CLAUSES.has(text))
  );
  if (clause === undefined || !TABLE_WORDS.has(clause.text)) return "values";
  if (last.text === ",") return clause.text === "from" || clause.text === "table" ? "tables" : "values";
  return last.kind === "word" || last.kind === "name" ? "afterTable" : "values";
}

/** The maximum number of tables that a column's description names. */
const MAX_NAMED_TABLES = 3;

/** Generates the candidates that fit what a person has typed. */
class CandidateFinder {
  readonly #catalog: Catalog | undefined;
  readonly #scope: Scope;
  readonly #quoted: boolean;
  readonly #prefix: string;
  readonly #lower: boolean;

  constructor(catalog: Catalog | undefined, scope: Scope, written: string, lower: boolean) {
    this.#catalog = catalog;
    this.#scope = scope;
    this.#lower = lower;
    this.#quoted = written.startsWith('"');
    this.#prefix = written.replace(/^"/, "").toLowerCase();
  }

  /** The candidates after `alias.`, `schema.` or `schema.table.`. */
  *qualified(names: readonly string[]): Generator<Candidate> {
    const [name = "", schema] = [...names].reverse();
    const { relations, queries } = this.#scope;
    const relation = schema === undefined
      ? relations.find(({ alias }) => alias === name) ?? queries.find(({ alias }) => alias === name)
      : undefined;
    const table = relation ?? findTable(this.#catalog, schema, name);
    if (table !== undefined) {
      yield* this.#columns([{ alias: name, columns: table.columns }]);
    }
    const { catalog } = this.#catalog ?? {};
    if (schema !== undefined && schema !== catalog) return;
    if (schema === undefined && name === catalog) {
      for (const other of this.#schemas()) yield* this.#name(other, "schema");
    }
    yield* this.#tables(({ schema }) => schema === name);
    yield* this.#functions(({ schema }) => schema === name);
  }

  /** The candidates without a qualifier. */
  *unqualified(clause: Clause): Generator<Candidate> {
    if (clause === "procedures") {
      yield* this.#functions(({ visible, result }) => visible && result === "");
      for (const schema of this.#schemas()) yield* this.#name(schema, "schema");
      return;
    }
    if (clause === "start") yield* this.#keywords(STATEMENTS);
    if (clause === "afterTable") yield* this.#keywords(AFTER_TABLE);
    if (clause === "tables") yield* this.#sources();
    yield* this.#columns(this.#scope.relations);
    for (const { alias, table, columns } of this.#scope.relations) {
      if (alias !== "" && (table !== undefined || columns.length > 0)) {
        yield* this.#name(alias, "alias", table === undefined ? undefined : `${table.schema}.${table.name}`);
      }
    }
    if (clause === "values" && this.#scope.relations.length === 0) yield* this.#anyColumns();
    if (clause !== "tables" && clause !== "start") yield* this.#sources();
    if (this.#prefix === "") return;
    const hidesTables = clause === "tables" && this.#catalog !== undefined;
    yield* this.#keywords(hidesTables ? BEFORE_TABLE : KEYWORDS);
    yield* this.#functions(({ visible, result }) =>
      visible && (hidesTables ? /^(?:setof|table)\b/i.test(result) : result !== "")
    );
  }

  #schemas(): Set<string> {
    const { tables = [], functions = [] } = this.#catalog ?? {};
    return new Set([...tables, ...functions].map(({ schema }) => schema));
  }

  *#sources(): Generator<Candidate> {
    for (const { alias } of this.#scope.queries) yield* this.#name(alias, "table", "WITH query");
    yield* this.#tables(({ visible, schema }) => visible && !isSystem(schema));
    for (const schema of this.#schemas()) yield* this.#name(schema, "schema");
    // System tables come last, and only after a first letter.
    if (this.#prefix !== "") yield* this.#tables(({ visible, schema }) => visible && isSystem(schema));
  }

  *#columns(
    relations: readonly { alias: string; columns: Scope["relations"][number]["columns"] }[],
  ): Generator<Candidate> {
    for (const { alias, columns } of relations) {
      for (const { name, type } of columns) {
        yield* this.#name(name, "column", [type, alias && `of ${alias}`].join(" ").trim());
      }
    }
  }

  /** The columns of all tables, for a statement that names no table yet. There may be many, so they need a first letter. */
  *#anyColumns(): Generator<Candidate> {
    if (this.#prefix === "") return;
    const columnsByName = new Map<string, { type: string; tables: string[] }>();
    for (const { schema, name: table, visible, columns } of this.#catalog?.tables ?? []) {
      if (!visible || isSystem(schema)) continue;
      for (const { name, type } of columns) {
        if (!name.toLowerCase().startsWith(this.#prefix)) continue;
        const column = columnsByName.get(name) ?? { type, tables: [] };
        if (column.type !== type) column.type = "";
        if (column.tables.length <= MAX_NAMED_TABLES) column.tables.push(table);
        columnsByName.set(name, column);
      }
    }
    for (const [name, { type, tables }] of columnsByName) {
      const others = tables.length > MAX_NAMED_TABLES ? ", ..." : "";
      yield* this.#name(name, "column", `${type} of ${tables.slice(0, MAX_NAMED_TABLES).join(", ")}${others}`.trim());
    }
  }

  *#tables(fits: (table: CatalogTable) => boolean): Generator<Candidate> {
    for (const table of this.#catalog?.tables ?? []) {
      if (fits(table)) yield* this.#name(table.name, COMPLETION_TYPES[table.kind] ?? "table", table.schema);
    }
  }

  *#functions(fits: (item: CatalogFunction) => boolean): Generator<Candidate> {
    for (const item of this.#catalog?.functions ?? []) {
      if (fits(item)) yield* this.#name(item.name, "function", signatureOf(item));
    }
  }

  *#keywords(words: Iterable<string>): Generator<Candidate> {
    if (this.#quoted) return;
    for (const word of words) {
      if (word.startsWith(this.#prefix)) yield { text: this.#lower ? word : word.toUpperCase(), type: "keyword" };
    }
  }

  *#name(name: string, type: string, signature?: string): Generator<Candidate> {
    if (!name.toLowerCase().startsWith(this.#prefix)) return;
    const plain = !this.#quoted && /^[a-z_][a-z0-9_$]*$/.test(name) && !RESERVED.has(name);
    yield {
      text: plain ? name : this.#catalog?.catalog === undefined ? quotedName(name) : backtickedName(name),
      type,
      ...(signature === undefined ? {} : { signature: showInvisible(signature) }),
    };
  }
}

/** A name in the backticks of a SQL warehouse, which have no escapes: a name that could run code is cut before that code. */
function backtickedName(name: string): string {
  return quoteInBackticks(name.split(UNSAFE, 1)[0]!);
}

const UNSAFE = new RegExp(`\\$\\{|${INVISIBLE}`);
const TO_ESCAPE = new RegExp(`[\\\\$]|${INVISIBLE}`, "g");

/**
 * A quoted name. In a `%%sql` cell `${` begins JavaScript, so a malicious name could run code as the person who selects it.
 * These characters and invisible ones are escaped.
 */
function quotedName(name: string): string {
  const quoted = quoteName(name);
  if (!UNSAFE.test(quoted)) return quoted;
  const number = (unit: string) => `\\${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return `U&${quoted.replace(TO_ESCAPE, (found) => found === "\\" ? "\\\\" : found.split("").map(number).join(""))}`;
}

function showInvisible(text: string): string {
  return text.replace(new RegExp(INVISIBLE, "g"), markInvisible);
}

function isSystem(schema: string): boolean {
  return schema === "pg_catalog" || schema === "information_schema";
}

/** Keywords to offer as completions. */
const KEYWORDS: readonly string[] =
  ("abort add after all alter always analyze and any as asc at authorization before begin between bigint boolean " +
    "both by bytea cascade case cast check checkpoint close cluster collate column columns comment commit " +
    "concurrently conflict constraint copy create cross cube current current_date current_role current_schema " +
    "current_time current_timestamp current_user cursor data database date day deallocate declare default deferrable " +
    "deferred delete desc describe discard distinct do domain drop each else end enum escape except exclude execute " +
    "exists explain extension extract false fetch filter first following for foreign from full function generated " +
    "global grant group grouping groups having hour identity if ilike immutable in index inherits initially inner " +
    "inout insert instead int int4 int8 integer intersect interval into is isnull isolation join json jsonb key " +
    "language last lateral leading left level like limit listen local localtime localtimestamp locked login " +
    "materialized matched merge minute month move names natural no not nothing notify notnull nowait null nulls " +
    "numeric of off offset on only or order ordinality out outer over overlaps overriding owner partition password " +
    "plpgsql position preceding precision prepare primary privileges procedure procedures range read real recursive " +
    "references refresh reindex release rename repeatable replace reset restrict return returning returns revoke " +
    "right role rollback rollup row rows rule savepoint schema second security select sequence serializable session " +
    "session_user set sets share show similar skip smallint some stable start statement stored strict substring " +
    "symmetric table tables tablesample temp temporary text then ties time timestamp timestamptz to trailing " +
    "transaction trigger trim true truncate type unbounded uncommitted union unique unknown unlisten unlogged update " +
    "user using uuid vacuum valid validate values varchar verbose view volatile when where window with within without " +
    "work write year zone").split(" ");

/** Words that must be quoted to be names. */
const RESERVED: ReadonlySet<string> = new Set(
  ("all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation " +
    "column concurrently constraint create cross current_catalog current_date current_role current_schema " +
    "current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for " +
    "foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral " +
    "leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps " +
    "placing primary references returning right select session_user similar some symmetric system_user table " +
    "tablesample then to trailing true union unique user using variadic verbose when where window with").split(" "),
);

/** Words that can follow a table, most likely first. */
const AFTER_TABLE: readonly string[] =
  ("where join left inner full cross natural on using group order having limit offset set values returning union as tablesample")
    .split(" ");
