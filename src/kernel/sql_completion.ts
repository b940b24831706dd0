import { markUnseen, UNSEEN } from "../core/text.ts";
import { type Catalogue, type CatalogueFunction, type CatalogueTable, signatureOf } from "./catalog.ts";
import type { CellRegion, Found } from "./completion.ts";
import { findTable, type Piece, type Scope, scopeAt, type SqlStatement, statementAt } from "./sql_scope.ts";

/** Something that fits. */
export interface Candidate {
  /** What is written, quoted where SQL needs it. */
  text: string;
  /** What it is: `table`, `column`, `keyword` and the like. */
  type: string;
  /** What else to say of it. */
  signature?: string;
}

const KINDS: Readonly<Record<string, string>> = { v: "view", m: "view", f: "table", r: "table", p: "table" };

/**
 * What fits at a place of some SQL.
 *
 * @returns `undefined` within a `${value}`, which is TypeScript.
 */
export function sqlCandidates(
  code: string,
  { start, end }: CellRegion,
  at: number,
  catalogue: Catalogue | undefined,
): Found | undefined {
  const statement = statementAt(code, start, end, at);
  const { inside, pieces, top, group } = statement;
  if (inside === "value") return undefined;
  if (inside === "string" || inside === "comment" || inside === "number" || inside === "parameter") {
    return { start: at, candidates: [] };
  }
  const typed = pieces.find((piece) =>
    piece.start < at && at <= piece.end && (piece.kind === "word" || inside === "name")
  );
  const from = typed?.start ?? at;
  const written = code.slice(from, at);
  const before = pieces.filter((piece) => piece.end <= from);
  const context = new Context(catalogue, scopeAt(top, group, catalogue), written, isLower(code, written, pieces));
  const qualifier = qualifierOf(before);
  return {
    start: from,
    end: inside === "name" && typed !== undefined ? typed.end : at, // an editor closes quotes by itself
    candidates: qualifier.length > 0 ? context.qualified(qualifier) : context.plain(clauseOf(statement, from)),
  };
}

/** Keywords come in the case in which one writes. */
function isLower(code: string, written: string, pieces: readonly Piece[]): boolean {
  const first = pieces.find(({ kind }) => kind === "word");
  const example = written === "" && first !== undefined ? code.slice(first.start, first.end) : written;
  return example !== "" && example === example.toLowerCase();
}

/** The names before a dot that a place stands behind. */
function qualifierOf(before: readonly Piece[]): string[] {
  const names: string[] = [];
  for (let index = before.length - 1; before[index]?.text === "."; index -= 2) {
    const name = before[index - 1];
    if (name?.kind !== "word" && name?.kind !== "name") break;
    names.unshift(name.text);
  }
  return names;
}

type Clause = "tables" | "afterTable" | "procedures" | "values" | "start";

const TABLE_WORDS = new Set([
  "from",
  "join",
  "update",
  "into",
  "table",
  "truncate",
  "references",
  "analyze",
  "vacuum",
  "only",
]);
const OTHER_CLAUSES = new Set(
  [
    "select",
    "where",
    "on",
    "set",
    "by",
    "having",
    "returning",
    "values",
    "limit",
    "offset",
    "when",
    "and",
    "or",
    "using",
  ],
);

/** What is wanted at a place, going by the words before it. */
function clauseOf({ group, pieces }: SqlStatement, at: number): Clause {
  const before = group.pieces.filter(({ end }) => end <= at);
  const last = before.at(-1);
  if (last === undefined) return pieces.some(({ end }) => end <= at) ? "values" : "start";
  if (last.kind === "word" && TABLE_WORDS.has(last.text)) return "tables";
  if (last.text === "call" || last.text === "procedure") return "procedures";
  const clause = before.findLast(({ kind, text }) =>
    kind === "word" && (TABLE_WORDS.has(text) || OTHER_CLAUSES.has(text))
  );
  if (clause === undefined || !TABLE_WORDS.has(clause.text)) return "values";
  if (last.text === ",") return clause.text === "from" || clause.text === "table" ? "tables" : "values";
  return last.kind === "word" || last.kind === "name" ? "afterTable" : "values";
}

/** What there is to choose from. */
class Context {
  readonly #catalogue: Catalogue | undefined;
  readonly #scope: Scope;
  readonly #quoted: boolean;
  readonly #prefix: string;
  readonly #lower: boolean;

  constructor(catalogue: Catalogue | undefined, scope: Scope, written: string, lower: boolean) {
    this.#catalogue = catalogue;
    this.#scope = scope;
    this.#lower = lower;
    this.#quoted = written.startsWith('"');
    this.#prefix = written.replace(/^"/, "").toLowerCase();
  }

  /** Behind `alias.`, `schema.` or `schema.table.`. */
  *qualified(names: readonly string[]): Generator<Candidate> {
    const [name = "", schema] = [...names].reverse();
    const { relations, queries } = this.#scope;
    const relation = schema === undefined
      ? relations.find(({ alias }) => alias === name) ?? queries.find(({ alias }) => alias === name)
      : undefined;
    const table = relation ?? findTable(this.#catalogue, schema, name);
    if (table !== undefined) {
      yield* this.#columns([{ alias: name, columns: table.columns }]);
    }
    if (schema !== undefined) return;
    yield* this.#tables(({ schema }) => schema === name);
    yield* this.#functions(({ schema }) => schema === name);
  }

  /** Without anything before it. */
  *plain(clause: Clause): Generator<Candidate> {
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
    if (clause !== "tables" && clause !== "start") yield* this.#sources();
    if (this.#prefix === "") return;
    yield* this.#keywords(KEYWORDS);
    yield* this.#functions(({ visible, result }) => visible && result !== "");
  }

  #schemas(): Set<string> {
    const { tables = [], functions = [] } = this.#catalogue ?? {};
    return new Set([...tables, ...functions].map(({ schema }) => schema));
  }

  *#sources(): Generator<Candidate> {
    for (const { alias } of this.#scope.queries) yield* this.#name(alias, "table", "WITH query");
    yield* this.#tables(({ visible, schema }) => visible && !isSystem(schema));
    for (const schema of this.#schemas()) yield* this.#name(schema, "schema");
    // The system's own tables come last, and only where one asks for them.
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

  *#tables(wanted: (table: CatalogueTable) => boolean): Generator<Candidate> {
    for (const table of this.#catalogue?.tables ?? []) {
      if (wanted(table)) yield* this.#name(table.name, KINDS[table.kind] ?? "table", table.schema);
    }
  }

  *#functions(wanted: (item: CatalogueFunction) => boolean): Generator<Candidate> {
    for (const item of this.#catalogue?.functions ?? []) {
      if (wanted(item)) yield* this.#name(item.name, "function", signatureOf(item));
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
      text: plain ? name : quoted(name),
      type,
      ...(signature === undefined ? {} : { signature: seen(signature) }),
    };
  }
}

const HIDDEN = new RegExp(`\\$\\{|${UNSEEN}`);
const TO_ESCAPE = new RegExp(`[\\\\$]|${UNSEEN}`, "g");

/**
 * A name in quotes. In a `%%sql` cell a `${` begins JavaScript, which would run as the person who took the name; that, and
 * characters that can't be seen, are written by their numbers.
 */
function quoted(name: string): string {
  const text = name.replaceAll('"', '""');
  if (!HIDDEN.test(text)) return `"${text}"`;
  const number = (unit: string) => `\\${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return `U&"${text.replace(TO_ESCAPE, (found) => found === "\\" ? "\\\\" : found.split("").map(number).join(""))}"`;
}

function seen(text: string): string {
  return text.replace(new RegExp(UNSEEN, "g"), markUnseen);
}

function isSystem(schema: string): boolean {
  return schema === "pg_catalog" || schema === "information_schema";
}

/** Words that begin a statement of PostgreSQL. */
export const STATEMENTS: ReadonlySet<string> = new Set(
  ("abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate declare delete " +
    "discard do drop end execute explain fetch grant import insert listen load lock merge move notify prepare " +
    "reassign refresh reindex release reset revoke rollback savepoint security select set show start table truncate " +
    "unlisten update vacuum values with").split(" "),
);

/** Words of SQL that are worth completing. */
export const KEYWORDS: readonly string[] =
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

/** Words that follow a table and are no alias of it. */
export const NO_ALIAS: ReadonlySet<string> = new Set(
  ("and as asc cross default desc do else end except fetch for from full group having in inner intersect into is " +
    "isnull join lateral left like limit natural not notnull offset on or order returning right select set similar " +
    "tablesample then union using values when where window with").split(" "),
);

/** Words that are names only within quotes. */
export const RESERVED: ReadonlySet<string> = new Set(
  ("all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation " +
    "column concurrently constraint create cross current_catalog current_date current_role current_schema " +
    "current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for " +
    "foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral " +
    "leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps " +
    "placing primary references returning right select session_user similar some symmetric system_user table " +
    "tablesample then to trailing true union unique user using variadic verbose when where window with").split(" "),
);

/** Words that go on after a table. */
export const AFTER_TABLE: readonly string[] =
  ("where join left inner full cross natural on using group order having limit offset set values returning union as tablesample")
    .split(" ");
