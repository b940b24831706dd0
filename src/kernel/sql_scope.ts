import { type SqlKind, type SqlToken, sqlTokens, unquoteName } from "../core/sql_text.ts";
import type { Catalog, CatalogColumn, CatalogTable } from "./catalog.ts";
import { expressionEnd } from "./script_text.ts";

/** A table or query whose columns can be named. */
export interface Relation {
  /** The qualifier of its columns. */
  alias: string;
  columns: readonly CatalogColumn[];
  /** The table, if the catalog has it. */
  table?: CatalogTable;
}

/** The relations that can be named at a position of a statement. */
export interface Scope {
  /** The relations, innermost query first. */
  relations: Relation[];
  /** The statement's `WITH` queries. */
  queries: Relation[];
}

/** Words that a table follows. */
const BEFORE_TABLES: ReadonlySet<string> = new Set(["from", "join", "update", "into", "using", "table"]);
/** Words after a table that are not an alias. */
const NO_ALIAS: ReadonlySet<string> = new Set(
  ("and as asc cross default desc do else end except fetch for from full group having in inner intersect into is " +
    "isnull join lateral left like limit natural not notnull offset on or order returning right select set similar " +
    "tablesample then union using values when where window with").split(" "),
);

/** The maximum depth of nested queries to resolve. */
const MAX_DEPTH = 8;

/**
 * The scope of a group of a statement: the relations of its query and of the queries around it.
 *
 * @param top The statement.
 * @param group The group.
 * @param catalog The database's catalog.
 */
export function scopeAt(top: TokenGroup, group: TokenGroup, catalog: Catalog | undefined): Scope {
  const finder = new RelationFinder(catalog);
  finder.findQueries(top, 0);
  const relations: Relation[] = [];
  for (let at: TokenGroup | undefined = group; at !== undefined; at = at.parent) {
    relations.push(...finder.relations(at, 0));
  }
  return { relations, queries: [...finder.queries.values()] };
}

/** Finds a table by its name. */
export function findTable(
  catalog: Catalog | undefined,
  schema: string | undefined,
  name: string,
): CatalogTable | undefined {
  return catalog?.tables.find((table) =>
    table.name === name && (schema === undefined ? table.visible : table.schema === schema)
  );
}

class RelationFinder {
  readonly queries = new Map<string, Relation>();
  readonly #catalog: Catalog | undefined;

  constructor(catalog: Catalog | undefined) {
    this.#catalog = catalog;
  }

  /** Finds each `name [(columns)] AS [NOT] [MATERIALIZED] (query)` in a group and the groups in it. */
  findQueries(group: TokenGroup, depth: number): void {
    const { tokens } = group;
    for (const [index, token] of tokens.entries()) {
      if (token.opens === undefined || depth > MAX_DEPTH) continue;
      this.findQueries(token.opens, depth + 1);
      let before = index - 1;
      while (tokens[before]?.text === "materialized" || tokens[before]?.text === "not") before--;
      if (tokens[before]?.text !== "as" || !isQuery(token.opens)) continue;
      const [name, columns] = commonTableName(tokens, before - 1);
      if (name === undefined || !isCommonTable(tokens, name)) continue;
      const alias = tokens[name]!.text;
      this.queries.set(alias, { alias, columns: columns ?? this.#outputOf(token.opens, depth) });
    }
  }

  /** The relations after FROM, JOIN, UPDATE and INTO in a group. */
  relations({ tokens }: TokenGroup, depth: number): Relation[] {
    const relations: Relation[] = [];
    for (let index = 0; index < tokens.length; index++) {
      const { kind, text } = tokens[index]!;
      if (kind !== "word" || !BEFORE_TABLES.has(text) || tokens[index - 1]?.text === "distinct") continue;
      do index = this.#relation(tokens, index + 1, depth, relations); while (
        tokens[index]?.text === "," && text === "from"
      );
      index--;
    }
    // `excluded` has the rows that `INSERT ... ON CONFLICT` did not insert.
    const [target] = relations;
    if (target !== undefined && tokens.some(({ text }) => text === "conflict")) {
      relations.push({ ...target, alias: "excluded" });
    }
    return relations;
  }

  /** Adds the relation at an index, and returns the index after it. */
  #relation(tokens: readonly StatementToken[], start: number, depth: number, relations: Relation[]): number {
    let index = start;
    while (/^(?:only|lateral|if|not|exists)$/.test(tokens[index]?.text ?? "")) index++;
    const first = tokens[index];
    if (first === undefined) return index;
    let relation: Relation;
    if (first.opens !== undefined) {
      relation = { alias: "", columns: depth > MAX_DEPTH ? [] : this.#outputOf(first.opens, depth + 1) };
      index += 2;
    } else {
      const path: string[] = [];
      while (isName(tokens[index])) {
        path.push(tokens[index++]!.text);
        if (tokens[index]?.text !== ".") break;
        index++;
      }
      if (path.length === 0) return Math.max(index, start);
      relation = this.#relationNamed(path);
      if (tokens[index]?.opens !== undefined && relation.table === undefined) index += 2; // a function's arguments
    }
    if (tokens[index]?.text === "as") index++;
    const alias = tokens[index];
    if (isName(alias) && !(alias!.kind === "word" && NO_ALIAS.has(alias!.text))) {
      relation = { ...relation, alias: alias!.text };
      index++;
      if (tokens[index]?.opens !== undefined) {
        relation.columns = columnNames(tokens[index]!.opens!);
        index += 2;
      }
    }
    relations.push(relation);
    return index;
  }

  #relationNamed(path: readonly string[]): Relation {
    const alias = path.at(-1)!;
    const query = path.length === 1 ? this.queries.get(alias) : undefined;
    if (query !== undefined) return query;
    const table = findTable(this.#catalog, path.at(-2), alias);
    return table === undefined ? { alias, columns: [] } : { alias, columns: table.columns, table };
  }

  /** The columns of a query, as far as their names can be derived. */
  #outputOf(group: TokenGroup, depth: number): CatalogColumn[] {
    const { tokens } = group;
    const from = this.relations(group, depth + 1);
    const select = tokens.findIndex(({ text, kind }) => kind === "word" && (text === "select" || text === "returning"));
    if (select === -1) return [];
    const columns: CatalogColumn[] = [];
    let item: StatementToken[] = [];
    for (const token of [...tokens.slice(select + 1), undefined]) {
      const ends = token === undefined || (token.kind === "word" && ENDS_LIST.has(token.text));
      if (!ends && token.text !== ",") item.push(token);
      else {
        columns.push(...outputColumns(item, from));
        item = [];
      }
      if (ends) break;
    }
    return columns;
  }
}

/** Words that end a SELECT list. */
const ENDS_LIST: ReadonlySet<string> = new Set(
  ["from", "where", "group", "having", "window", "order", "limit", "union", "intersect", "except", "into"],
);

/** The columns that an item of a SELECT list gives. */
function outputColumns(item: readonly StatementToken[], from: readonly Relation[]): CatalogColumn[] {
  const last = item.at(-1);
  if (last?.text === "*") {
    const alias = item.length > 1 ? item.at(-3)?.text : undefined;
    return from.filter((relation) => alias === undefined || relation.alias === alias).flatMap(({ columns }) => columns);
  }
  if (isName(last)) {
    const column = from.flatMap(({ columns }) => columns).find(({ name }) => name === last!.text);
    return [{ name: last!.text, type: item.at(-2)?.text === "as" ? "" : column?.type ?? "", notNull: false }];
  }
  const calledFunction = last?.text === ")" ? item.at(-3) : undefined;
  return isName(calledFunction) ? [{ name: calledFunction!.text, type: "", notNull: false }] : [];
}

function isName(token: StatementToken | undefined): boolean {
  return token?.kind === "word" || token?.kind === "name";
}

function columnNames({ tokens }: TokenGroup): CatalogColumn[] {
  return tokens.filter((token, index) => isName(token) && (index === 0 || tokens[index - 1]!.text === ","))
    .map(({ text }) => ({ name: text, type: "", notNull: false }));
}

function isQuery({ tokens }: TokenGroup): boolean {
  return /^(?:select|with|values|insert|update|delete|table|merge)$/.test(tokens[0]?.text ?? "");
}

/** The index of the name in `name` or `name (columns)` that ends at an index, and the columns. */
function commonTableName(tokens: readonly StatementToken[], end: number): [number?, CatalogColumn[]?] {
  if (isName(tokens[end])) return [end];
  const opening = tokens[end - 1]?.opens;
  return tokens[end]?.text === ")" && opening !== undefined && isName(tokens[end - 2])
    ? [end - 2, columnNames(opening)]
    : [];
}

function isCommonTable(tokens: readonly StatementToken[], index: number): boolean {
  return /^(?:with|recursive|,)$/.test(tokens[index - 1]?.text ?? "");
}

/** A token of a statement that is neither space nor comment. */
export interface StatementToken {
  kind: SqlKind;
  /** A word in lower case, a name without quotes, or the text of any other token. */
  text: string;
  start: number;
  end: number;
  /** The innermost group around it. A bracket belongs to the group outside it. */
  group: TokenGroup;
  /** The group that an opening bracket opens. */
  opens?: TokenGroup;
}

/** The tokens in one pair of brackets. The outermost group is the statement. */
interface TokenGroup {
  parent: TokenGroup | undefined;
  tokens: StatementToken[];
}

/** A statement that is being written. */
export interface SqlStatement {
  /** All tokens, in order. */
  tokens: readonly StatementToken[];
  /** The outermost group. */
  top: TokenGroup;
  /** The innermost group at the position. */
  group: TokenGroup;
  /** The kind of the token around the position; `space` between tokens. */
  kindAtPosition: SqlKind;
}

/**
 * The statement at a position of SQL.
 *
 * @param text The cell.
 * @param start The start of the SQL.
 * @param end The end of the SQL.
 * @param at The position.
 */
export function statementAt(text: string, start: number, end: number, at: number): SqlStatement {
  let top: TokenGroup = { parent: undefined, tokens: [] };
  let [tokens, group]: [StatementToken[], TokenGroup] = [[], top];
  let groupAtPosition: TokenGroup | undefined;
  let kindAtPosition: SqlKind = "space";
  const sql = text.slice(0, end);
  for (const read of tokensAround(sql, start, at)) {
    const { kind, closed } = read;
    if (read.start >= at) groupAtPosition ??= group;
    const character = sql[read.start]!;
    if (read.start < at && (at < read.end || (at === read.end && (!closed || GROWS.test(character))))) {
      kindAtPosition = kind;
    }
    if (kind === "symbol" && character === ";") {
      if (groupAtPosition !== undefined) break;
      top = group = { parent: undefined, tokens: [] };
      tokens = [];
      continue;
    }
    if (kind === "space" || kind === "comment") continue;
    if (kind === "symbol" && ")]".includes(character)) group = group.parent ?? group;
    const token: StatementToken = { kind, text: textOf(sql, read), start: read.start, end: read.end, group };
    tokens.push(token);
    group.tokens.push(token);
    if (kind === "symbol" && "([".includes(character)) {
      group = token.opens = { parent: group, tokens: [] };
    }
  }
  return { tokens, top, group: groupAtPosition ?? group, kindAtPosition };
}

/** The first character of a token that grows when a person types at its end: a word, a number, or a comment of one line. */
const GROWS = /[\w\u0080-\uffff-]/;

/** Reads the tokens of a statement. An unclosed quoted name ends at the cursor, not at the next quote. */
function* tokensAround(sql: string, start: number, at: number): Generator<SqlToken> {
  const valueEnd = expressionEnd;
  for (const token of sqlTokens(sql, { start, valueEnd })) {
    if (token.kind === "name" && !token.closed && token.start < at) {
      yield { ...token, end: at };
      yield* sqlTokens(sql, { start: at, valueEnd });
      return;
    }
    yield token;
  }
}

function textOf(sql: string, { kind, start, end }: { kind: SqlKind; start: number; end: number }): string {
  const written = sql.slice(start, end);
  if (kind === "word") return written.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return kind === "name" ? unquoteName(written.replace(/^"|"$/g, "")) : written;
}
