import type { ScriptToken } from "./script_text.ts";

/** A function whose end has not been read yet. */
interface OpenFunction {
  /** The number of open brackets at which the function ends. */
  depth: number;
  /** Whether it is an arrow function whose body is an expression. */
  expression: boolean;
  isAsync: boolean;
  /** Where its head, which is everything before the body, begins and ends. */
  start: number;
  end: number;
}

/** Words before a bracket and a block that do not make a function. */
const BLOCKS: ReadonlySet<string> = new Set(["if", "while", "for", "await", "switch", "catch", "with"]);
/** Words that continue an expression at the start of a line. */
const CONTINUES_EXPRESSION: ReadonlySet<string> = new Set(["in", "instanceof", "as", "satisfies"]);
/** The maximum tokens of a result type. */
const MAX_TYPE_TOKENS = 60;
/** The maximum characters of a head in an error. */
const MAX_HEAD_LENGTH = 60;

/** Finds the function around a position of TypeScript. It works without a parser, as `ScriptTokens` does. */
export class ScriptFunctions {
  readonly #text: string;
  readonly #pieces: ScriptToken[] = [];
  readonly #open: OpenFunction[] = [];
  /** The indexes of open brackets. */
  readonly #brackets: number[] = [];
  /** The index of the opening bracket for each closing bracket. */
  readonly #openings = new Map<number, number>();

  constructor(text: string) {
    this.#text = text;
  }

  /** The head of the innermost function if that is not async; otherwise `undefined`. */
  get notAsync(): string | undefined {
    const inner = this.#open.at(-1);
    if (inner === undefined || inner.isAsync) return undefined;
    const head = this.#text.slice(inner.start, inner.end).replace(/\s+/g, " ").trim();
    return head.length > MAX_HEAD_LENGTH ? `${head.slice(0, MAX_HEAD_LENGTH)}…` : head;
  }

  /**
   * Reads the next token that is neither space nor comment.
   *
   * @param token The token.
   * @param fresh Whether it is the first on its line after a value, so that a word begins a new statement.
   */
  take(token: ScriptToken, fresh: boolean): void {
    const index = this.#pieces.push(token) - 1;
    const word = this.#at(index);
    if (fresh && token.kind === "word" && !CONTINUES_EXPRESSION.has(word)) this.#endExpressions();
    if (token.kind === "template") {
      if (word.startsWith("}")) this.#close(index);
      if (word.endsWith("${")) this.#brackets.push(index);
    }
    if (token.kind !== "symbol") return;
    if (word === "{") this.#brace(index);
    if ("([{".includes(word)) this.#brackets.push(index);
    else if (")]}".includes(word)) this.#close(index);
    else if (word === "," || word === ";") this.#endExpressions();
    else if (this.#isArrow(index)) this.#arrow(index);
  }

  #at(index: number): string {
    const piece = this.#pieces[index];
    return piece === undefined ? "" : this.#text.slice(piece.start, piece.end);
  }

  #close(index: number): void {
    const opening = this.#brackets.pop();
    if (opening !== undefined) this.#openings.set(index, opening);
    const depth = this.#brackets.length;
    while (this.#open.length > 0 && this.#open.at(-1)!.depth > depth) this.#open.pop();
  }

  #endExpressions(): void {
    const isOver = (open: OpenFunction | undefined) => open?.expression && open.depth === this.#brackets.length;
    while (isOver(this.#open.at(-1))) this.#open.pop();
  }

  #isArrow(index: number): boolean {
    const [before, piece] = [this.#pieces[index - 1], this.#pieces[index]];
    return this.#at(index) === ">" && this.#at(index - 1) === "=" && before?.end === piece?.start;
  }

  #arrow(index: number): void {
    const last = index - 2;
    const parameters = this.#at(last) === ")" ? last : this.#beforeType(last);
    let start = parameters === undefined ? last : this.#opening(parameters);
    start = this.#beforeGenerics(start - 1) + 1;
    const isAsync = this.#at(start - 1) === "async";
    this.#begin({ depth: this.#brackets.length, expression: true, isAsync }, start, index);
  }

  /** Reads a brace, which may begin a function's body. */
  #brace(index: number): void {
    const depth = this.#brackets.length + 1;
    if (this.#isArrow(index - 1)) return void Object.assign(this.#open.at(-1)!, { depth, expression: false });
    const last = index - 1;
    const parameters = this.#at(last) === ")" ? last : this.#beforeType(last);
    if (parameters === undefined) return;
    const name = this.#beforeGenerics(this.#opening(parameters) - 1);
    const start = this.#functionStart(name, parameters, index);
    if (start === undefined) return;
    this.#begin({ depth, expression: false, isAsync: this.#at(start - 1) === "async" }, start, last);
  }

  /** The start of the head of a function or method, without `async`; `name` is the index before the parameters. */
  #functionStart(name: number, parameters: number, brace: number): number | undefined {
    for (const at of [name, name - 1, name - 2]) {
      if (this.#at(at) === "function") return at;
      if (at !== name && this.#at(at) !== "*") break;
    }
    if (BLOCKS.has(this.#at(name))) return undefined;
    const isName = /^[^\W\d]|^["'#$\]]/.test(this.#at(name)) || this.#pieces[name]?.kind === "word";
    // A call followed by a block on the next line is not a method.
    const between = this.#text.slice(this.#pieces[parameters]!.end, this.#pieces[brace]!.start);
    if (!isName || between.includes("\n")) return undefined;
    const first = this.#at(name) === "]" ? this.#opening(name) : name;
    return this.#at(first - 1) === "*" ? first - 1 : first;
  }

  #begin(open: Omit<OpenFunction, "start" | "end">, start: number, last: number): void {
    this.#open.push({ ...open, start: this.#pieces[start]?.start ?? 0, end: this.#pieces[last]!.end });
  }

  #opening(index: number): number {
    return this.#openings.get(index) ?? index;
  }

  /** The index before `<T>`. */
  #beforeGenerics(index: number): number {
    let depth = 0;
    for (let at = index; at >= 0 && index - at < MAX_TYPE_TOKENS; at--) {
      if (this.#at(at) === ">") depth++;
      if (this.#at(at) === "<") depth--;
      if (depth === 0) return at === index ? at : at - 1;
    }
    return index;
  }

  /** The index of `)` in `(...): Type`, where `last` is the end of the type; `undefined` for anything else. */
  #beforeType(last: number): number | undefined {
    for (let at = last; at > 0 && last - at < MAX_TYPE_TOKENS; at = this.#opening(at) - 1) {
      const piece = this.#pieces[at]!;
      const text = this.#at(at);
      if (text === ":") {
        const before = this.#at(this.#opening(at - 1) - 1);
        return at < last && this.#at(at - 1) === ")" && before !== "case" ? at - 1 : undefined;
      }
      if (piece.kind !== "word" && piece.kind !== "string" && !/^[.<>|&\])},]$/.test(text)) return undefined;
    }
    return undefined;
  }
}
