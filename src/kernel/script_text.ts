/** The kind of a token of TypeScript. */
type ScriptKind =
  | "word"
  | "number"
  | "string"
  /** A template's text, up to its end or the next `${`. */
  | "template"
  | "regex"
  | "comment"
  | "space"
  /** Any other character. */
  | "symbol";

/** A token of TypeScript. There are no gaps between tokens. */
export interface ScriptToken {
  kind: ScriptKind;
  start: number;
  end: number;
  /** Whether it is closed, if it is a string, template or comment. */
  closed: boolean;
}

const SPACE = /\s+/y;
const WORD = /[\p{L}_$#][\p{L}\p{M}\p{N}_$\u200c\u200d]{0,1000}/uy;
/** Reads a long word in parts, because one pattern for all of it would overflow the stack. */
const WORD_PART = /[\p{L}\p{M}\p{N}_$\u200c\u200d]{1,1000}/uy;
const NUMBER = /\.?\d[\w.]*/y;
const OPENING = "([{";
const CLOSING = ")]}";

/** Words after which a value comes, so that `/` begins a regular expression. */
const BEFORE_A_VALUE: ReadonlySet<string> = new Set(
  "await case delete do else in instanceof new of return throw typeof void yield".split(" "),
);

/** Words that begin the head of a statement, such as `if (...)`. */
const HEADS = /(?:^|[^\p{L}\p{N}_$.])(?:if|while|with|for|for\s+await)$/u;
/** The number of characters to search for one of these words. */
const HEAD_LENGTH = 40;

/**
 * Splits TypeScript into tokens, to tell code from strings and comments. The token before a `/` tells whether it is a
 * division. Any text is accepted, in linear time.
 */
export class ScriptTokens implements Iterable<ScriptToken> {
  /** The last token that is neither space nor comment. */
  last: ScriptToken | undefined;
  /** The open brackets, innermost last. "`" is a template's `${`, and `if(` is the head of a statement. */
  readonly brackets: string[] = [];
  /** Whether a value must come next, so that an operator is not possible. */
  wantsValue = true;
  /** Whether every closing bracket had an opening one. */
  matched = true;
  readonly #text: string;
  #at: number;
  /** No regular expression begins before this position. It avoids a search for each slash of a long line. */
  #noRegexBefore = 0;
  #hasTemplates = true;
  /** Whether the last token came after a value. */
  #afterValue = false;
  /** Whether the last closed bracket pair was the head of a statement. */
  #headClosed = false;

  /** @param start A position that is not within a token. */
  constructor(text: string, start = 0) {
    this.#text = text;
    this.#at = start;
  }

  /** Continues at a position, as if a value were before it. */
  skipTo(end: number): void {
    this.last = { kind: "word", start: end, end, closed: true };
    this.wantsValue = false;
    this.#at = end;
  }

  /** Continues after the line of an unclosed template, which must be a backtick in JSX text. */
  skipTemplate({ start }: ScriptToken): void {
    this.#hasTemplates = false; // a later template would not be closed either
    this.skipTo(lineEnd(this.#text, start));
  }

  *[Symbol.iterator](): Generator<ScriptToken, void, void> {
    while (this.#at < this.#text.length) {
      const token = this.#next(this.#at);
      this.#at = token.end;
      yield token;
      // The reader may have called `skipTo()`.
      if (this.#at === token.end && token.kind !== "space" && token.kind !== "comment") this.#take(token);
    }
  }

  #take(token: ScriptToken): void {
    const wantedValue = this.wantsValue;
    const { last } = this;
    this.wantsValue = this.#expectsValueAfter(token, last?.end === token.start ? last : undefined, wantedValue);
    this.#afterValue = !wantedValue;
    this.last = token;
  }

  /** Whether a value must follow a token; `joined` is the token directly before it. */
  #expectsValueAfter(
    { kind, start, end }: ScriptToken,
    joined: ScriptToken | undefined,
    wantedValue: boolean,
  ): boolean {
    const text = this.#text;
    const before = joined === undefined ? "" : text[joined.start]!;
    if (kind === "word") {
      const isProperty = before === "." && !text.startsWith("..", joined!.start - 2);
      return !isProperty && BEFORE_A_VALUE.has(text.slice(start, Math.min(end, start + 12)));
    }
    if (kind === "template") return text.endsWith("${", end);
    if (kind !== "symbol") return false;
    const character = text[start]!;
    if (character === ")") return this.#headClosed;
    if (CLOSING.includes(character)) return false;
    // `i++` and `i!` are values, `a + +` and `!` are not.
    if (character === "+" || character === "-") return !(before === character && wantedValue && this.#afterValue);
    return character !== "!" || joined === undefined || wantedValue;
  }

  #next(start: number): ScriptToken {
    const text = this.#text;
    const token = (kind: ScriptKind, end: number | undefined): ScriptToken => ({
      kind,
      start,
      end: end ?? text.length,
      closed: end !== undefined,
    });
    const character = text[start]!;
    if (character === "}" && this.brackets.at(-1) === "`") return token("template", this.#templateEnd(start));
    if (character === "`" && this.#hasTemplates) return token("template", this.#templateEnd(start));
    if (character === '"' || character === "'") return token("string", stringEnd(text, start));
    if (text.startsWith("//", start)) return token("comment", lineEnd(text, start));
    if (text.startsWith("/*", start)) {
      const end = text.indexOf("*/", start + 2);
      return token("comment", end === -1 ? undefined : end + 2);
    }
    const regex = character === "/" && this.wantsValue ? this.#regexEnd(start) : undefined;
    if (regex !== undefined) return token("regex", regex);
    for (const [kind, pattern] of [["space", SPACE], ["word", WORD], ["number", NUMBER]] as const) {
      pattern.lastIndex = start;
      if (pattern.test(text)) {
        return token(kind, kind === "word" ? wordEnd(text, pattern.lastIndex) : pattern.lastIndex);
      }
    }
    this.#bracket(character);
    return token("symbol", start + 1);
  }

  /** The end of a regular expression, if it is closed on its line. */
  #regexEnd(start: number): number | undefined {
    if (start < this.#noRegexBefore) return undefined;
    const text = this.#text;
    const stop = /\\[^\n]|[[\]/\n]/g;
    stop.lastIndex = start + 1;
    let inClass = false;
    for (let match = stop.exec(text); match !== null && match[0] !== "\n"; match = stop.exec(text)) {
      if (match[0] === "[") inClass = true;
      else if (match[0] === "]") inClass = false;
      else if (match[0] === "/" && !inClass) return stop.lastIndex;
    }
    this.#noRegexBefore = lineEnd(text, start);
    return undefined;
  }

  #bracket(character: string): void {
    if (OPENING.includes(character)) this.brackets.push(character === "(" && this.#isHead() ? "if(" : character);
    const pair = CLOSING.indexOf(character);
    if (pair === -1) return;
    const open = this.brackets.at(-1);
    this.#headClosed = open === "if(";
    if (open?.at(-1) === OPENING[pair]) this.brackets.pop();
    else this.matched = false;
  }

  #isHead(): boolean {
    const { last } = this;
    return last?.kind === "word" && HEADS.test(this.#text.slice(Math.max(0, last.end - HEAD_LENGTH), last.end));
  }

  #templateEnd(start: number): number | undefined {
    if (this.#text[start] === "}") this.brackets.pop();
    const stop = /\\[\s\S]|`|\$\{/g;
    stop.lastIndex = start + 1;
    for (let match = stop.exec(this.#text); match !== null; match = stop.exec(this.#text)) {
      if (match[0] === "${") this.brackets.push("`");
      if (match[0] === "${" || match[0] === "`") return stop.lastIndex;
    }
    return undefined;
  }
}

/**
 * The end of an expression in braces.
 *
 * @param text The text.
 * @param start The position after the opening brace.
 * @returns The position after the closing brace; `undefined` when there is none, or brackets do not match.
 */
export function expressionEnd(text: string, start: number): number | undefined {
  const tokens = new ScriptTokens(text, start);
  tokens.brackets.push("{");
  for (const { end } of tokens) {
    if (!tokens.matched) return undefined;
    if (tokens.brackets.length === 0) return end;
  }
  return undefined;
}

function wordEnd(text: string, start: number): number {
  let end = start;
  for (WORD_PART.lastIndex = end; WORD_PART.test(text); end = WORD_PART.lastIndex);
  return end;
}

function stringEnd(text: string, start: number): number | undefined {
  const stop = /\\[\s\S]|["'\n]/g;
  stop.lastIndex = start + 1;
  for (let match = stop.exec(text); match !== null; match = stop.exec(text)) {
    if (match[0] === text[start]) return stop.lastIndex;
    if (match[0] === "\n") return match.index; // not closed; a string can't continue on the next line
  }
  return undefined;
}

function lineEnd(text: string, start: number): number {
  const end = text.indexOf("\n", start);
  return end === -1 ? text.length : end;
}
