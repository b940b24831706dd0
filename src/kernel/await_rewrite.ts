import { type ScriptToken, ScriptTokens } from "./script_text.ts";
import { awaitCode, forAwaitCode } from "./prelude.ts";

/** The number of tokens to search for the end of type arguments. */
const MAX_TYPE_TOKENS = 300;
const PREFIXES: ReadonlySet<string> = new Set(["typeof", "void", "delete", "new", "!", "~", "-", "+"]);
/** Words that do not begin an operand, or that begin one whose end only a parser can find. */
const NO_OPERAND: ReadonlySet<string> = new Set(["as", "async", "class", "function", "yield", "using"]);

/** Words that can stand next to another word in a type. */
const TYPE_WORDS: ReadonlySet<string> = new Set("extends infer is keyof new readonly typeof unique".split(" "));

/**
 * Lets Stop end each `await` of a cell: `await x` becomes `await wait(x)`, and the iterable of a `for await` is wrapped as
 * well. No parser finds the end of an operand, so ambiguous code stays unchanged. Line numbers do not change.
 *
 * @param code The cell.
 * @param cell The number by which Stop identifies the cell.
 * @returns The changed code, or the same code when there is nothing to change.
 */
export function makeStoppable(code: string, cell: number): string {
  if (!code.includes("await")) return code;
  const tokens = readTokens(code);
  return tokens === undefined ? code : new AwaitRewriter(code, tokens).rewrite(cell);
}

class AwaitRewriter {
  readonly #code: string;
  readonly #tokens: IndexedToken[];
  /** For each `await`, the index after its operand. The last `await` comes first, because it may be in an operand of another. */
  readonly #ends = new Map<number, number>();

  constructor(code: string, tokens: IndexedToken[]) {
    this.#code = code;
    this.#tokens = tokens;
  }

  rewrite(cell: number): string {
    const portable = this.#code.includes("async"); // without `async`, no function of the cell contains an await
    const inserts = new Map<number, string>();
    const insert = (at: number, text: string) => inserts.set(at, (inserts.get(at) ?? "") + text);
    for (let index = this.#tokens.length - 1; index >= 0; index--) {
      if (!this.#isAwait(index)) continue;
      const awaited = this.#iterable(index) ?? this.#operand(index);
      if (awaited === undefined) continue;
      insert(this.#tokens[awaited.from]!.start, `${(awaited.loop ? forAwaitCode : awaitCode)(cell, portable)}(`);
      insert(this.#tokens[awaited.end - 1]!.end, ")");
    }
    return insertAll(this.#code, inserts);
  }

  #isAwait(index: number): boolean {
    if (this.#text(index) !== "await") return false;
    return this.#text(index - 1) !== "." || this.#text(index - 2) === "."; // `a.await` is a property, but `...await x` is not
  }

  /** The iterable of a `for await`. */
  #iterable(index: number): { from: number; end: number; loop: true } | undefined {
    if (this.#text(index - 1) !== "for" || this.#text(index + 1) !== "(") return undefined;
    const end = this.#tokens[index + 1]!.partner;
    for (let at = index + 3; at < end - 1; at = this.#after(at)) {
      if (this.#text(at) !== "of" || /^(?:const|let|var|using|await)$/.test(this.#text(at - 1))) continue;
      return { from: at + 1, end, loop: true };
    }
    return undefined;
  }

  #operand(index: number): { from: number; end: number; loop: false } | undefined {
    if (this.#text(index - 1) === "for") return undefined;
    const end = this.#unaryEnd(index + 1);
    if (end === undefined) return undefined;
    this.#ends.set(index, end);
    return { from: index + 1, end, loop: false };
  }

  /** The index after a unary expression. */
  #unaryEnd(start: number): number | undefined {
    let at = start;
    while (PREFIXES.has(this.#text(at))) at++;
    if (this.#isAwait(at)) return this.#ends.get(at);
    const token = this.#tokens[at];
    if (token === undefined || NO_OPERAND.has(token.text)) return undefined;
    if (token.kind === "symbol" && !"([{".includes(token.text)) return undefined;
    const end = this.#chainEnd(this.#after(at));
    // `await(x) {` and `await(x): Type` are methods named await.
    const method = token.text === "(" && end === this.#after(at) && /^[{:]$/.test(this.#text(end ?? -1));
    return method && token.start === this.#tokens[at - 1]!.end ? undefined : end;
  }

  /** The index after the properties, calls and templates that follow a value. */
  #chainEnd(start: number): number | undefined {
    let at = start;
    for (;;) {
      const token = this.#tokens[at];
      const next = this.#tokens[at + 1];
      if (token === undefined) return at === this.#tokens.length ? at : undefined;
      const adjoins = next !== undefined && next.start === token.end;
      if (token.kind === "template" && token.text[0] === "`" || "([".includes(token.text)) at = this.#after(at);
      else if (token.text === ".") at += 2;
      else if (token.text === "?" && next?.text === "." && adjoins) {
        at += /^[([]$/.test(this.#text(at + 2)) ? 2 : 3;
      } else if (token.text === "!" && !(adjoins && next.text === "=") && !this.#startsLine(at)) at++;
      else if (token.text === "<") {
        const types = this.#typesEnd(at);
        if (types === undefined) return this.#isComparison(at) ? at : undefined;
        at = types;
      } else return this.#isPostfix(at) ? undefined : at;
    }
  }

  /** The index after type arguments, if a call or a template follows them. */
  #typesEnd(start: number): number | undefined {
    let depth = 0;
    for (let at = start; at < this.#tokens.length && at < start + MAX_TYPE_TOKENS; at = this.#after(at)) {
      const text = this.#text(at);
      if (text === "<") depth++;
      if (text === ">" && this.#text(at - 1) !== "=") depth--;
      if (depth === 0) return /^[(`]/.test(this.#text(at + 1)) ? at + 1 : undefined;
      if (/^[;)\]}+*/%^]$/.test(text) || /^[&|]$/.test(text) && text === this.#text(at + 1)) return undefined;
      if (this.#isPlainWord(at) && this.#isPlainWord(at - 1)) return undefined; // the next statement has begun on a new line
    }
    return undefined;
  }

  #isPlainWord(index: number): boolean {
    return this.#tokens[index]?.kind === "word" && !TYPE_WORDS.has(this.#text(index));
  }

  /** Whether a `<` that does not begin type arguments is clearly an operator. */
  #isComparison(index: number): boolean {
    const { start, end } = this.#tokens[index]!;
    return /\s/.test(this.#code[start - 1] ?? "") && /[\s=]/.test(this.#code[end] ?? "");
  }

  /** Whether `++` or `--` at this index is a postfix operator. */
  #isPostfix(index: number): boolean {
    const text = this.#text(index);
    return (text === "+" || text === "-") && this.#code[this.#tokens[index]!.end] === text && !this.#startsLine(index);
  }

  #startsLine(index: number): boolean {
    return this.#code.slice(this.#tokens[index - 1]!.end, this.#tokens[index]!.start).includes("\n");
  }

  /** The index after a token, or after the bracket pair that it opens. */
  #after(index: number): number {
    return this.#tokens[index]!.partner + 1;
  }

  #text(index: number): string {
    return this.#tokens[index]?.text ?? "";
  }
}

function insertAll(code: string, inserts: ReadonlyMap<number, string>): string {
  const parts: string[] = [];
  let from = 0;
  for (const [at, text] of [...inserts].sort(([one], [other]) => one - other)) {
    parts.push(code.slice(from, at), text);
    from = at;
  }
  return parts.join("") + code.slice(from);
}

/** A token of a cell. */
interface IndexedToken extends ScriptToken {
  /** The first characters of the token. */
  text: string;
  /** The index of the token that closes the bracket that this one opens; its own index when it opens none. */
  partner: number;
}

const TEXT_LENGTH = 16;
/** Words after which `<` can't be a comparison. */
const BEFORE_A_VALUE = /^(?:await|case|default|delete|do|else|in|of|return|typeof|void|yield)$/;
/** Matches after a slash: an `await`, and then another slash on the same line. */
const AWAIT_IN_REGEX = /[^\n/]*\bawait\b[^\n]*\//y;

/**
 * The tokens of a cell, without space and comments.
 *
 * @returns `undefined` when the code could be misread: brackets or quotes are unbalanced, there is JSX, whose text is not
 * code, or a slash may begin a regular expression that contains `await`.
 */
function readTokens(code: string): IndexedToken[] | undefined {
  const tokens: IndexedToken[] = [];
  const open: number[] = [];
  const reader = new ScriptTokens(code);
  for (const token of reader) {
    const { kind, start, end, closed } = token;
    if (!closed || !reader.matched) return undefined;
    if (kind === "space" || kind === "comment") continue;
    const text = code.slice(start, Math.min(end, start + TEXT_LENGTH));
    if (looksLikeJsx(code, text, start, tokens.at(-1)) || mayHideAwait(code, text, end, tokens.at(-1))) {
      return undefined;
    }
    const index = tokens.length;
    const depth = reader.brackets.length;
    if (depth < open.length) tokens[open.pop()!]!.partner = index;
    else if (depth > open.length) open.push(index);
    tokens.push({ ...token, text, partner: index });
  }
  return open.length === 0 ? tokens : undefined;
}

function looksLikeJsx(code: string, text: string, start: number, last: IndexedToken | undefined): boolean {
  const adjoins = last?.end === start;
  if (adjoins && (last.text === "<" && text[0] === "/" || last.text === "/" && text === ">")) return true;
  return text === "<" && expectsValue(code, last);
}

function expectsValue(code: string, last: IndexedToken | undefined): boolean {
  if (last === undefined) return true;
  if (last.kind === "word") return BEFORE_A_VALUE.test(last.text);
  if (last.kind === "template") return code.endsWith("${", last.end);
  return last.kind === "symbol" && !")]}".includes(last.text);
}

function mayHideAwait(code: string, text: string, end: number, last: IndexedToken | undefined): boolean {
  if (text !== "/" || !/^[)}]$/.test(last?.text ?? "")) return false;
  AWAIT_IN_REGEX.lastIndex = end;
  return AWAIT_IN_REGEX.test(code);
}
