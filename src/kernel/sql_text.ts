import { expressionEnd } from "./script_text.ts";

/** What a piece of SQL is. */
export type SqlKind =
  /** A keyword, or a name without quotes. */
  | "word"
  /** A name in double quotes. */
  | "name"
  /** A text in single or dollar quotes. */
  | "string"
  | "number"
  | "comment"
  | "space"
  /** `${expression}`, from `$` to `}`. */
  | "value"
  /** `\${`, which stands for `${`. */
  | "escape"
  /** One character of anything else. */
  | "symbol";

/** A piece of SQL; pieces follow each other without a gap. */
export interface SqlToken {
  kind: SqlKind;
  start: number;
  end: number;
  /** Whether what has to be closed was. */
  closed: boolean;
}

const SPACE = /[ \t\r\n\f\v]+/y;
/** As PostgreSQL has it, everything that is not ASCII may be part of a name. */
const WORD = /[A-Za-z_\u0080-\u{10ffff}][\w$\u0080-\u{10ffff}]*/uy;
const NUMBER = /(?:0[xob][\da-f_]+|(?:\d[\d_]*)?\.?\d[\d_]*(?:e[+-]?\d+)?)/iy;
const DOLLAR_QUOTE = /\$(?:[A-Za-z_\u0080-\u{10ffff}][\w\u0080-\u{10ffff}]*)?\$/uy;

/**
 * Reads SQL piece by piece, as PostgreSQL does, and `${expressions}` in it. It takes time in proportion to the text, and any
 * text: what is not closed goes to the end.
 *
 * @param text The text.
 * @param start Where to begin; it must not be within a piece.
 */
export function* sqlTokens(text: string, start = 0): Generator<SqlToken, void, void> {
  for (let at = start; at < text.length;) {
    const token = tokenAt(text, at);
    yield token;
    at = token.end;
  }
}

function tokenAt(text: string, start: number): SqlToken {
  const token = (kind: SqlKind, end: number | undefined): SqlToken => ({
    ...{ kind, start, end: end ?? text.length, closed: end !== undefined },
  });
  const character = text[start]!;
  const space = match(SPACE, text, start);
  if (space !== undefined) return token("space", space);
  if (character === "'") return token("string", quoteEnd(text, start, "'"));
  if (character === '"') return token("name", quoteEnd(text, start, '"'));
  if (text.startsWith("--", start)) return token("comment", lineEnd(text, start));
  if (text.startsWith("/*", start)) return token("comment", commentEnd(text, start));
  if (text.startsWith("${", start)) return token("value", expressionEnd(text, start + 2));
  if (text.startsWith("\\${", start)) return token("escape", start + 3);
  const tag = character === "$" ? match(DOLLAR_QUOTE, text, start) : undefined;
  if (tag !== undefined) return token("string", after(text, text.slice(start, tag), tag));
  const word = match(WORD, text, start);
  if (word !== undefined) return wordAt(text, token("word", word));
  const number = match(NUMBER, text, start);
  return number === undefined ? token("symbol", start + characterLength(text, start)) : token("number", number);
}

/** A word, unless it is the prefix of a text: `e'\n'`, `u&"name"`. */
function wordAt(text: string, word: SqlToken): SqlToken {
  const { start } = word;
  // A name may have dollars in it, but these two characters are always a value's.
  const end = text[word.end] === "{" && text[word.end - 1] === "$" ? word.end - 1 : word.end;
  const prefix = text.slice(start, Math.min(end, start + 2)).toLowerCase();
  if (end - start === 1 && prefix === "u" && text[end] === "&" && /['"]/.test(text[end + 1] ?? "")) {
    const quote = text[end + 1]!;
    const closing = quoteEnd(text, end + 1, quote);
    return {
      ...word,
      kind: quote === '"' ? "name" : "string",
      end: closing ?? text.length,
      closed: closing !== undefined,
    };
  }
  if (end - start === 1 && text[end] === "'" && "ebxn".includes(prefix)) {
    const closing = prefix === "e" ? escapedEnd(text, end) : quoteEnd(text, end, "'");
    return { ...word, kind: "string", end: closing ?? text.length, closed: closing !== undefined };
  }
  return { ...word, end };
}

function match(pattern: RegExp, text: string, at: number): number | undefined {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}

function quoteEnd(text: string, start: number, quote: string): number | undefined {
  for (let at = text.indexOf(quote, start + 1); at !== -1; at = text.indexOf(quote, at + 2)) {
    if (text[at + 1] !== quote) return at + 1;
  }
  return undefined;
}

/** The end of `'...'` in which a back-slash escapes. */
function escapedEnd(text: string, start: number): number | undefined {
  const stop = /\\[\s\S]|''|'/g;
  stop.lastIndex = start + 1;
  for (let found = stop.exec(text); found !== null; found = stop.exec(text)) {
    if (found[0] === "'") return stop.lastIndex;
  }
  return undefined;
}

function lineEnd(text: string, start: number): number {
  const end = text.indexOf("\n", start);
  return end === -1 ? text.length : end;
}

/** Comments nest. */
function commentEnd(text: string, start: number): number | undefined {
  const bracket = /\/\*|\*\//g;
  bracket.lastIndex = start + 2;
  let depth = 1;
  for (let found = bracket.exec(text); found !== null; found = bracket.exec(text)) {
    depth += found[0] === "/*" ? 1 : -1;
    if (depth === 0) return bracket.lastIndex;
  }
  return undefined;
}

function after(text: string, wanted: string, from: number): number | undefined {
  const found = text.indexOf(wanted, from);
  return found === -1 ? undefined : found + wanted.length;
}

function characterLength(text: string, at: number): number {
  return text.codePointAt(at)! > 0xffff ? 2 : 1;
}
