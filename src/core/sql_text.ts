/** The kind of a token. */
export type SqlKind =
  /** A keyword, or a name without quotes. */
  | "word"
  /** A quoted identifier. */
  | "name"
  /** A string in single quotes or dollar quotes. */
  | "string"
  | "number"
  /** A parameter such as `$1`. */
  | "parameter"
  | "comment"
  | "space"
  /** `${expression}`, from `$` to `}`; only with the option `valueEnd`. */
  | "value"
  /** `\${`, which stands for `${`; only with the option `valueEnd`. */
  | "escape"
  /** Any other single character, or `..`. */
  | "symbol";

/** A token of SQL. Tokens follow each other without gaps. */
export interface SqlToken {
  kind: SqlKind;
  start: number;
  end: number;
  /** Whether a quote or a comment is closed. */
  closed: boolean;
}

const SPACE = /[ \t\r\n\f\v]+/y;
/**
 * As in PostgreSQL, any character that is not ASCII may be part of a name. The pattern has no flag `u`, because with it a very
 * long word overflows the stack.
 */
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y;
const DIGITS = "\\d(?:_?\\d)*";
/** A point before another point belongs to `..`, as in `FOR i IN 1..10` of PL/pgSQL. */
const NUMBER = new RegExp(
  `0x(?:_?[\\da-f])+|0o(?:_?[0-7])+|0b(?:_?[01])+|` +
    `(?:${DIGITS}(?:\\.(?!\\.)(?:${DIGITS})?)?|\\.${DIGITS})(?:e[+-]?${DIGITS})?`,
  "iy",
);
const NOT_LINE_END = /[^\r\n]*/y;
const DOLLAR_QUOTE = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y;
const PARAMETER = /\$\d+/y;

/** How SQL is tokenized. */
interface SqlReading {
  /** The index to begin at, which must not be inside of a token. @default {0} */
  start?: number;
  /**
   * Finds the end of a `${value}`, given the index where its expression begins. Without this function `${` has no
   * special meaning.
   */
  valueEnd?: (text: string, start: number) => number | undefined;
  /** Whether a backslash escapes in all strings, as with `standard_conforming_strings = off`. @default {false} */
  escapes?: boolean;
}

/** The rule for the end of a string in single quotes. */
type StringRule =
  /** At a quote; two quotes stand for one. */
  | "plain"
  /** The same, except that a backslash escapes the next character. */
  | "escaped"
  /** At the first quote, as in `b'01'` and `x'1f'`. */
  | "bits";

/**
 * Splits SQL into tokens, as PostgreSQL does, in linear time. Any text is accepted: an unclosed token extends to the end.
 *
 * @param text The text.
 * @param reading How it is tokenized.
 */
export function* sqlTokens(text: string, reading: SqlReading = {}): Generator<SqlToken, void, void> {
  const { start = 0, valueEnd, escapes = false } = reading;
  const defaultRule = escapes ? "escaped" : "plain";
  /** The rule of the last string. A string that follows after a line break continues it and so has the same rule. */
  let last: { end: number; rule: StringRule } | undefined;
  for (let at = start; at < text.length;) {
    const continues = last !== undefined && text[at] === "'" && /[\r\n]/.test(text.slice(last.end, at));
    const rule = continues ? last!.rule : defaultRule;
    const token = tokenAt(text, at, rule, valueEnd);
    yield token;
    at = token.end;
    if (token.kind === "string") last = { end: at, rule: continues ? rule : ruleOf(text[token.start]!, defaultRule) };
    else if (token.kind !== "space" && !text.startsWith("--", token.start)) last = undefined;
  }
}

/** The rule of a string, by its first character: a quote or a prefix. */
function ruleOf(first: string, defaultRule: StringRule): StringRule {
  if (/e/i.test(first)) return "escaped";
  return /[bx]/i.test(first) ? "bits" : defaultRule;
}

/** Tracks what keeps a semicolon from ending a statement, as in psql: parentheses, and the body of an SQL function. */
export class Nesting {
  readonly #first: string[] = [];
  #parentheses = 0;
  #blocks = 0;

  /** Whether a semicolon ends the statement here. */
  get top(): boolean {
    return this.#parentheses <= 0 && this.#blocks === 0;
  }

  /** Takes the next token of the statement. */
  take(kind: SqlKind, text: string): void {
    if (kind === "word") this.#word(text.toLowerCase());
    else if (kind === "symbol" && text === "(") this.#parentheses++;
    else if (kind === "symbol" && text === ")") this.#parentheses--;
  }

  #word(word: string): void {
    if (this.#first.length < 4) this.#first.push(word);
    if (this.#parentheses > 0 || !/^create (or replace )?(function|procedure)\b/.test(this.#first.join(" "))) return;
    if (word === "begin" || word === "case" && this.#blocks > 0) this.#blocks++;
    else if (word === "end" && this.#blocks > 0) this.#blocks--;
  }
}

/** The first word of a statement in lower case; empty if there is none. */
export function firstWord(text: string): string {
  for (const { kind, start, end } of sqlTokens(text)) {
    if (kind === "space" || kind === "comment" || text[start] === "(" || text[start] === ";") continue;
    return kind === "word" ? text.slice(start, end).toLowerCase() : "";
  }
  return "";
}

const PASSWORD = /\bpassword\s+(?:e\s*)?'/gi;

/**
 * Masks the password in `ALTER ROLE ... PASSWORD '...'`. The length stays the same, so that a caret still points at the same
 * character.
 */
export function maskPasswords(text: string): string {
  const kept: string[] = [];
  let from = 0;
  for (;;) {
    PASSWORD.lastIndex = from;
    const found = PASSWORD.exec(text);
    if (found === null) return kept.join("") + text.slice(from);
    const start = found.index + found[0].length;
    let end = start; // of the password, in which two quotes stand for one
    for (end = text.indexOf("'", end); end !== -1 && text[end + 1] === "'";) end = text.indexOf("'", end + 2);
    if (end === -1) end = text.length;
    kept.push(text.slice(from, start), "*".repeat(end - start));
    from = end;
  }
}

/** The beginning of a statement on one line, without passwords, so that a person recognizes the statement. */
export function statementLine(text: string, most: number = 80): string {
  const line = maskPasswords(text.slice(0, 10_000)).replace(/[\p{C}\s]+/gu, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

function tokenAt(text: string, start: number, rule: StringRule, valueEnd: SqlReading["valueEnd"]): SqlToken {
  // Decides by the first character: a text may have millions of tokens, and matching patterns in turn costs more than
  // making the token.
  const code = text.charCodeAt(start);
  if (isWordStart(code)) return wordFrom(text, start, valueEnd);
  switch (text[start]) {
    case " ":
    case "\t":
    case "\r":
    case "\n":
    case "\f":
    case "\v":
      return token("space", start, match(SPACE, text, start), text);
    case "'":
      return token("string", start, stringEnd(text, start, rule), text);
    case '"':
      return token("name", start, quoteEnd(text, start, '"'), text);
    case "-":
      return text[start + 1] === "-" ? token("comment", start, lineEnd(text, start), text) : symbol(start);
    case "/":
      return text[start + 1] === "*" ? token("comment", start, commentEnd(text, start), text) : symbol(start);
    case "\\":
      return valueEnd !== undefined && text.startsWith("${", start + 1)
        ? token("escape", start, start + 3, text)
        : symbol(start);
    case "$":
      return dollarFrom(text, start, valueEnd);
    case ".":
      if (text[start + 1] === ".") return symbol(start, 2);
  }
  const number = code === POINT || isDigit(code) ? match(NUMBER, text, start) : undefined;
  return number === undefined ? symbol(start) : token("number", start, number, text);
}

/** Makes a token from `start` to `end`. Without an end the token is unclosed and extends to the end of the text. */
function token(kind: SqlKind, start: number, end: number | undefined, text: string): SqlToken {
  return { kind, start, end: end ?? text.length, closed: end !== undefined };
}

function symbol(start: number, length: number = 1): SqlToken {
  return { kind: "symbol", start, end: start + length, closed: true };
}

const POINT = 0x2e;

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** Whether {@linkcode WORD} matches from this character. */
function isWordStart(code: number): boolean {
  return code >= 0x61 && code <= 0x7a || code >= 0x41 && code <= 0x5a || code === 0x5f || code >= 0x80;
}

function dollarFrom(text: string, start: number, valueEnd: SqlReading["valueEnd"]): SqlToken {
  if (valueEnd !== undefined && text[start + 1] === "{") return token("value", start, valueEnd(text, start + 2), text);
  const tag = match(DOLLAR_QUOTE, text, start);
  if (tag !== undefined) return token("string", start, endOf(text, text.slice(start, tag), tag), text);
  const parameter = match(PARAMETER, text, start);
  return parameter === undefined ? symbol(start) : token("parameter", start, parameter, text);
}

function wordFrom(text: string, start: number, valueEnd: SqlReading["valueEnd"]): SqlToken {
  const end = match(WORD, text, start)!;
  // A name may contain "$", but "${" always begins a value.
  const cut = valueEnd !== undefined && text[end - 1] === "$" && text[end] === "{";
  return prefixedFrom(text, token("word", start, cut ? end - 1 : end, text));
}

/** A word, unless it is the prefix of a string or an identifier: `e'\n'`, `u&"name"`. In `n'text'` it is a keyword. */
function prefixedFrom(text: string, word: SqlToken): SqlToken {
  const { start, end } = word;
  if (end - start !== 1) return word;
  const prefix = text[start]!.toLowerCase();
  if (prefix === "u" && text[end] === "&" && /['"]/.test(text[end + 1] ?? "")) {
    const quote = text[end + 1]!;
    return token(quote === '"' ? "name" : "string", start, quoteEnd(text, end + 1, quote), text);
  }
  if (text[end] !== "'" || !"ebx".includes(prefix)) return word;
  return token("string", start, stringEnd(text, end, ruleOf(prefix, "plain")), text);
}

function match(pattern: RegExp, text: string, at: number): number | undefined {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}

function stringEnd(text: string, quote: number, rule: StringRule): number | undefined {
  if (rule === "bits") return endOf(text, "'", quote + 1);
  return rule === "escaped" ? escapedEnd(text, quote) : quoteEnd(text, quote, "'");
}

function quoteEnd(text: string, start: number, quote: string): number | undefined {
  for (let at = text.indexOf(quote, start + 1); at !== -1; at = text.indexOf(quote, at + 2)) {
    if (text[at + 1] !== quote) return at + 1;
  }
  return undefined;
}

/** The end of a string in which a backslash escapes. */
function escapedEnd(text: string, start: number): number | undefined {
  const stop = /\\[\s\S]|''|'/g;
  stop.lastIndex = start + 1;
  for (let found = stop.exec(text); found !== null; found = stop.exec(text)) {
    if (found[0] === "'") return stop.lastIndex;
  }
  return undefined;
}

function lineEnd(text: string, start: number): number {
  return match(NOT_LINE_END, text, start)!;
}

/** The end of a block comment. Block comments nest. */
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

function endOf(text: string, mark: string, from: number): number | undefined {
  const start = text.indexOf(mark, from);
  return start === -1 ? undefined : start + mark.length;
}

/** The index in UTF-16 units of a character that is counted in code points; `NaN` outside of the text. */
export function utf16Index(text: string, characters: number): number {
  let index = 0;
  for (let count = 0; count < characters; count++) {
    if (index >= text.length) return NaN;
    index += text.codePointAt(index)! > 0xffff ? 2 : 1;
  }
  return index;
}

/** A name, quoted for SQL. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The name that a quoted name of SQL stands for. @param inside The text between the quotes. */
export function unquoteName(inside: string): string {
  return inside.replaceAll('""', '"');
}

/** A name in the backticks of a SQL warehouse. */
export function quoteInBackticks(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}

/** An element of an array, or a key or value of an `hstore`, in quotes. */
export function quoteElement(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

/** A statement without the spaces and semicolons at its end. (A regular expression would take quadratic time.) */
export function withoutEnd(text: string): string {
  let end = text.length;
  while (end > 0 && /[\s;]/.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}
