import { type SqlKind, type SqlToken, sqlTokens } from "../core/sql_text.ts";
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
export function scopeAt(top: Group, group: Group, catalog: Catalog | undefined): Scope {
  const finder = new RelationFinder(catalog);
  finder.findQueries(top, 0);
  const relations: Relation[] = [];
  for (let at: Group | undefined = group; at !== undefined; at = at.parent) relations.push(...finder.relations(at, 0));
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

  /** Finds `name [(columns)] AS [NOT] [MATERIALIZED] (query)` anywhere. */
  findQueries(group: Group, depth: number): void {
    const { pieces } = group;
    for (const [index, piece] of pieces.entries()) {
      if (piece.opens === undefined || depth > MAX_DEPTH) continue;
      this.findQueries(piece.opens, depth + 1);
      let before = index - 1;
      while (pieces[before]?.text === "materialized" || pieces[before]?.text === "not") before--;
      if (pieces[before]?.text !== "as" || !isQuery(piece.opens)) continue;
      const [named, columns] = commonTableName(pieces, before - 1);
      if (named === undefined || !isCommonTable(pieces, named)) continue;
      const alias = pieces[named]!.text;
      this.queries.set(alias, { alias, columns: columns ?? this.#output(piece.opens, depth) });
    }
  }

  /** The relations after FROM, JOIN, UPDATE and INTO in a group. */
  relations({ pieces }: Group, depth: number): Relation[] {
    const found: Relation[] = [];
    for (let index = 0; index < pieces.length; index++) {
      const { kind, text } = pieces[index]!;
      if (kind !== "word" || !BEFORE_TABLES.has(text) || pieces[index - 1]?.text === "distinct") continue;
      do index = this.#relation(pieces, index + 1, depth, found); while (
        pieces[index]?.text === "," && text === "from"
      );
      index--;
    }
    // `excluded` has the rows that `INSERT ... ON CONFLICT` did not insert.
    const [into] = found;
    if (into !== undefined && pieces.some(({ text }) => text === "conflict")) {
      found.push({ ...into, alias: "excluded" });
    }
    return found;
  }

  /** Reads one relation and returns the index after it. */
  #relation(pieces: readonly Piece[], start: number, depth: number, found: Relation[]): number {
    let index = start;
    while (/^(?:only|lateral|if|not|exists)$/.test(pieces[index]?.text ?? "")) index++;
    const first = pieces[index];
    if (first === undefined) return index;
    let relation: Relation;
    if (first.opens !== undefined) {
      relation = { alias: "", columns: depth > MAX_DEPTH ? [] : this.#output(first.opens, depth + 1) };
      index += 2;
    } else {
      const path: string[] = [];
      while (isName(pieces[index])) {
        path.push(pieces[index++]!.text);
        if (pieces[index]?.text !== ".") break;
        index++;
      }
      if (path.length === 0) return Math.max(index, start);
      relation = this.#named(path);
      if (pieces[index]?.opens !== undefined && relation.table === undefined) index += 2; // a function's arguments
    }
    if (pieces[index]?.text === "as") index++;
    const alias = pieces[index];
    if (isName(alias) && !(alias!.kind === "word" && NO_ALIAS.has(alias!.text))) {
      relation = { ...relation, alias: alias!.text };
      index++;
      if (pieces[index]?.opens !== undefined) {
        relation.columns = columnNames(pieces[index]!.opens!);
        index += 2;
      }
    }
    found.push(relation);
    return index;
  }

  #named(path: readonly string[]): Relation {
    const alias = path.at(-1)!;
    const query = path.length === 1 ? this.queries.get(alias) : undefined;
    if (query !== undefined) return query;
    const table = findTable(this.#catalog, path.at(-2), alias);
    return table === undefined ? { alias, columns: [] } : { alias, columns: table.columns, table };
  }

  /** The columns of a query, as far as their names can be derived. */
  #output(group: Group, depth: number): CatalogColumn[] {
    const { pieces } = group;
    const from = this.relations(group, depth + 1);
    const select = pieces.findIndex(({ text, kind }) => kind === "word" && (text === "select" || text === "returning"));
    if (select === -1) return [];
    const columns: CatalogColumn[] = [];
    let item: Piece[] = [];
    for (const piece of [...pieces.slice(select + 1), undefined]) {
      const ends = piece === undefined || (piece.kind === "word" && ENDS_LIST.has(piece.text));
      if (!ends && piece.text !== ",") item.push(piece);
      else {
        columns.push(...outputColumns(item, from));
        item = [];
      }
      if (ends) break;
    }
    return columns;
  }
}

const ENDS_LIST: ReadonlySet<string> = new Set(
  ["from", "where", "group", "having", "window", "order", "limit", "union", "intersect", "except", "into"],
);

function outputColumns(item: readonly Piece[], from: readonly Relation[]): CatalogColumn[] {
  const last = item.at(-1);
  if (last?.text === "*") {
    const alias = item.length > 1 ? item.at(-3)?.text : undefined;
    return from.filter((relation) => alias === undefined || relation.alias === alias).flatMap(({ columns }) => columns);
  }
  if (isName(last)) {
    const column = from.flatMap(({ columns }) => columns).find(({ name }) => name === last!.text);
    return [{ name: last!.text, type: item.at(-2)?.text === "as" ? "" : column?.type ?? "", notNull: false }];
  }
  const called = last?.text === ")" ? item.at(-3) : undefined;
  return isName(called) ? [{ name: called!.text, type: "", notNull: false }] : [];
}

function isName(piece: Piece | undefined): boolean {
  return piece?.kind === "word" || piece?.kind === "name";
}

function columnNames({ pieces }: Group): CatalogColumn[] {
  return pieces.filter((piece, index) => isName(piece) && (index === 0 || pieces[index - 1]!.text === ","))
    .map(({ text }) => ({ name: text, type: "", notNull: false }));
}

function isQuery({ pieces }: Group): boolean {
  return /^(?:select|with|values|insert|update|delete|table|merge)$/.test(pieces[0]?.text ?? "");
}

/** The index of the name in `name` or `name (columns)` that ends at an index, and the columns. */
function commonTableName(pieces: readonly Piece[], end: number): [number?, CatalogColumn[]?] {
  if (isName(pieces[end])) return [end];
  const opening = pieces[end - 1]?.opens;
  return pieces[end]?.text === ")" && opening !== undefined && isName(pieces[end - 2])
    ? [end - 2, columnNames(opening)]
    : [];
}

function isCommonTable(pieces: readonly Piece[], index: number): boolean {
  return /^(?:with|recursive|,)$/.test(pieces[index - 1]?.text ?? "");
}

/** A token of a statement that is neither space nor comment. */
export interface Piece {
  kind: SqlKind;
  /** A word in lower case, a name without quotes, or the text of any other token. */
  text: string;
  start: number;
  end: number;
  /** The innermost group around it. A bracket belongs to the group outside it. */
  group: Group;
  /** The group that an opening bracket opens. */
  opens?: Group;
}

/** The tokens in one pair of brackets. The outermost group is the statement. */
interface Group {
  parent: Group | undefined;
  pieces: Piece[];
}

/** A statement that is being written. */
export interface SqlStatement {
  /** All tokens, in order. */
  pieces: readonly Piece[];
  /** The outermost group. */
  top: Group;
  /** The innermost group at the position. */
  group: Group;
  /** The kind of the token around the position; `space` between tokens. */
  inside: SqlKind;
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
  let top: Group = { parent: undefined, pieces: [] };
  let [pieces, group]: [Piece[], Group] = [[], top];
  let here: Group | undefined;
  let inside: SqlKind = "space";
  const sql = text.slice(0, end);
  for (const token of tokensAround(sql, start, at)) {
    if (token.start >= at) here ??= group;
    const character = sql[token.start]!;
    if (token.start < at && (at < token.end || (at === token.end && (!token.closed || JOINS.test(character))))) {
      inside = token.kind;
    }
    if (token.kind === "symbol" && character === ";") {
      if (here !== undefined) break;
      top = group = { parent: undefined, pieces: [] };
      pieces = [];
      continue;
    }
    if (token.kind === "space" || token.kind === "comment") continue;
    if (token.kind === "symbol" && ")]".includes(character)) group = group.parent ?? group;
    const piece: Piece = { kind: token.kind, text: textOf(sql, token), start: token.start, end: token.end, group };
    pieces.push(piece);
    group.pieces.push(piece);
    if (token.kind === "symbol" && "([".includes(character)) {
      group = piece.opens = { parent: group, pieces: [] };
    }
  }
  return { pieces, top, group: here ?? group, inside };
}

/** The first character of a token that typing at its end continues: of words, numbers, and comments to the end of a line. */
const JOINS = /[\w\u0080-\uffff-]/;

/** Reads tokens. An unclosed quoted name ends at the cursor, not at the next quote. */
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
  return kind === "name" ? written.replace(/^"|"$/g, "").replaceAll('""', '"') : written;
}
