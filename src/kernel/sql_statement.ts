import { type SqlKind, type SqlToken, sqlTokens } from "../sql_text.ts";
import { expressionEnd } from "./script_text.ts";

/** A piece of a statement that is neither space nor comment. */
export interface Piece {
  kind: SqlKind;
  /** The word in lower case, the name without quotes, or as it is written. */
  text: string;
  start: number;
  end: number;
  /** The innermost brackets around it; brackets themselves are in the group outside of theirs. */
  group: Group;
  /** Of an opening bracket, the group that it opens. */
  opens?: Group;
}

/** What stands in one pair of brackets; the outermost is the statement. */
export interface Group {
  parent: Group | undefined;
  pieces: Piece[];
}

/** A statement as it is being written. */
export interface SqlStatement {
  /** All of its pieces, in order. */
  pieces: readonly Piece[];
  /** The outermost group. */
  top: Group;
  /** The innermost group at the place. */
  group: Group;
  /** What the place is in: between pieces it is `space`. */
  inside: SqlKind;
}

/**
 * The statement in which a place of some SQL lies.
 *
 * @param text The cell.
 * @param start Where the SQL begins.
 * @param end Where it ends.
 * @param at The place.
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

/** What one goes on writing at its end begins with one of these: words, numbers, and comments to the end of a line. */
const JOINS = /[\w\u0080-\uffff-]/;

/** A quoted name that is being written ends where one writes, not at the next quote. */
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
