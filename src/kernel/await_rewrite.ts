import { type ScriptToken, ScriptTokens } from "./script_text.ts";
import { eachCode, waitCode } from "./prelude.ts";

/** Tokens that are looked at in search of the end of type arguments. */
const MAX_TYPE_TOKENS = 300;
const PREFIXES: ReadonlySet<string> = new Set(["typeof", "void", "delete", "new", "!", "~", "-", "+"]);
/** Words that begin what is no operand, or what only a parser could find the end of. */
const NO_OPERAND: ReadonlySet<string> = new Set(["as", "async", "class", "function", "yield", "using"]);

/** Words that stand beside others in types. */
const TYPE_WORDS: ReadonlySet<string> = new Set("extends infer is keyof new readonly typeof unique".split(" "));

/**
 * Has each `await` of a cell wait in a way that Stop can end: `await x` becomes `await wait(x)`, and what `for await` reads
 * is read by such waits. It finds the ends of operands without a parser, so it leaves alone whatever could be read in
 * another way. Lines stay what they were.
 *
 * @param code The cell.
 * @param cell The number by which Stop knows it.
 * @returns The cell itself where there is nothing to change.
 */
export function makeStoppable(code: string, cell: number): string {
  if (!code.includes("await")) return code;
  const tokens = readTokens(code);
  return tokens === undefined ? code : new AwaitRewriter(code, tokens).rewrite(cell);
}

class AwaitRewriter {
  readonly #code: string;
  readonly #tokens: Token[];
  /** For each `await` that was read, the index behind its operand; backwards, so that one within another is known. */
  readonly #ends = new Map<number, number>();

  constructor(code: string, tokens: Token[]) {
    this.#code = code;
    this.#tokens = tokens;
  }

  rewrite(cell: number): string {
    const portable = this.#code.includes("async"); // without it there is no function whose text has an await
    const inserts = new Map<number, string>();
    const insert = (at: number, text: string) => inserts.set(at, (inserts.get(at) ?? "") + text);
    for (let index = this.#tokens.length - 1; index >= 0; index--) {
      if (!this.#isAwait(index)) continue;
      const found = this.#iterable(index) ?? this.#operand(index);
      if (found === undefined) continue;
      insert(this.#tokens[found.from]!.start, `${(found.loop ? eachCode : waitCode)(cell, portable)}(`);
      insert(this.#tokens[found.end - 1]!.end, ")");
    }
    return insertAll(this.#code, inserts);
  }

  #isAwait(index: number): boolean {
    if (this.#text(index) !== "await") return false;
    return this.#text(index - 1) !== "." || this.#text(index - 2) === "."; // a property, but for `...await x`
  }

  /** What a `for await` reads. */
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

  /** Behind a unary expression. */
  #unaryEnd(start: number): number | undefined {
    let at = start;
    while (PREFIXES.has(this.#text(at))) at++;
    if (this.#isAwait(at)) return this.#ends.get(at);
    const token = this.#tokens[at];
    if (token === undefined || NO_OPERAND.has(token.text)) return undefined;
    if (token.kind === "symbol" && !"([{".includes(token.text)) return undefined;
    const end = this.#chainEnd(this.#after(at));
    // `await(x) {` and `await(x): Type` are methods of that name.
    const method = token.text === "(" && end === this.#after(at) && /^[{:]$/.test(this.#text(end ?? -1));
    return method && token.start === this.#tokens[at - 1]!.end ? undefined : end;
  }

  /** Behind the properties, calls and templates that follow a value. */
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

  /** Behind type arguments that a call or a template follows. */
  #typesEnd(start: number): number | undefined {
    let depth = 0;
    for (let at = start; at < this.#tokens.length && at < start + MAX_TYPE_TOKENS; at = this.#after(at)) {
      const text = this.#text(at);
      if (text === "<") depth++;
      if (text === ">" && this.#text(at - 1) !== "=") depth--;
      if (depth === 0) return /^[(`]/.test(this.#text(at + 1)) ? at + 1 : undefined;
      if (/^[;)\]}+*/%^]$/.test(text) || /^[&|]$/.test(text) && text === this.#text(at + 1)) return undefined;
      if (this.#isPlainWord(at) && this.#isPlainWord(at - 1)) return undefined; // another statement, behind its line's end
    }
    return undefined;
  }

  #isPlainWord(index: number): boolean {
    return this.#tokens[index]?.kind === "word" && !TYPE_WORDS.has(this.#text(index));
  }

  /** Whether a `<` that begins no type arguments is plainly an operator. */
  #isComparison(index: number): boolean {
    const { start, end } = this.#tokens[index]!;
    return /\s/.test(this.#code[start - 1] ?? "") && /[\s=]/.test(this.#code[end] ?? "");
  }

  /** Whether a `++` or `--` belongs to what is before it. */
  #isPostfix(index: number): boolean {
    const text = this.#text(index);
    return (text === "+" || text === "-") && this.#code[this.#tokens[index]!.end] === text && !this.#startsLine(index);
  }

  #startsLine(index: number): boolean {
    return this.#code.slice(this.#tokens[index - 1]!.end, this.#tokens[index]!.start).includes("\n");
  }

  /** Behind a token, or what it opens. */
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

/** A piece of a cell, and where what it opens ends. */
export interface Token extends ScriptToken {
  /** How it begins. */
  text: string;
  /** The index of the token that closes what this one opens; its own where it opens nothing. */
  partner: number;
}

const TEXT_LENGTH = 16;
/** Words behind which `<` begins no comparison. */
const BEFORE_A_VALUE = /^(?:await|case|default|delete|do|else|in|of|return|typeof|void|yield)$/;
/** From behind a slash: another one on its line, and an `await` between them. */
const AWAIT_IN_REGEX = /[^\n/]*\bawait\b[^\n]*\//y;

/**
 * The tokens of a cell but for space and comments.
 *
 * @returns `undefined` where they could be misread: what is open is not closed, there is JSX, whose text is no code, or a
 * slash that may begin a regular expression with an `await` in it.
 */
export function readTokens(code: string): Token[] | undefined {
  const tokens: Token[] = [];
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

function looksLikeJsx(code: string, text: string, start: number, last: Token | undefined): boolean {
  const adjoins = last?.end === start;
  if (adjoins && (last.text === "<" && text[0] === "/" || last.text === "/" && text === ">")) return true;
  return text === "<" && wantsValue(code, last);
}

function wantsValue(code: string, last: Token | undefined): boolean {
  if (last === undefined) return true;
  if (last.kind === "word") return BEFORE_A_VALUE.test(last.text);
  if (last.kind === "template") return code.endsWith("${", last.end);
  return last.kind === "symbol" && !")]}".includes(last.text);
}

function mayHideAwait(code: string, text: string, end: number, last: Token | undefined): boolean {
  if (text !== "/" || !/^[)}]$/.test(last?.text ?? "")) return false;
  AWAIT_IN_REGEX.lastIndex = end;
  return AWAIT_IN_REGEX.test(code);
}
