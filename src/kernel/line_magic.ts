import { lineAt, UsageError } from "./failure.ts";
import { type Magic, readMagic } from "./magic_body.ts";
import { STATEMENTS } from "./magic_header.ts";
import { type ScriptToken, ScriptTokens } from "./script_text.ts";

const MAGIC = /%sql(?![\p{L}\p{N}_$])/iuy;
/** Any magic. */
const ANY_MAGIC = /%%?([A-Za-z]\w*)/y;
const LOOKS_LIKE_SQL = new RegExp(
  `^[ \\t]+(?:--[a-z]|\\\\[a-z?]|[\\p{L}_$][\\w$.]*[ \\t]*<<|(?:[\\p{L}_$][\\w$.]*[ \\t]+)?(?:${
    [...STATEMENTS].join("|")
  })\\b)`,
  "iu",
);

/** A line magic within code. */
export interface LineMagic extends Magic {
  /** Whether the rewritten code needs a `;`, because the end of the line ends the statement. */
  endsStatement: boolean;
}

/**
 * Finds `%sql` within TypeScript. It is a magic where JavaScript expects a value and `%` can't be an operator: at the start
 * of a statement, or after `=`, `await`, `(` and so on. After a value it is a magic only at the start of a line and only if
 * SQL follows. In strings, templates and comments it is never a magic.
 *
 * @param source The cell.
 * @throws {UsageError} For a magic that can't be used at its position, and for unknown magics.
 */
export function lineMagics(source: string): LineMagic[] {
  const magics: LineMagic[] = [];
  const tokens = new ScriptTokens(source);
  const functions = new ScriptFunctions(source);
  let lineStart = true;
  /** The magic that is the cell's last statement so far. */
  let lastStatement: LineMagic | undefined;
  for (const token of tokens) {
    if (token.kind === "space" || token.kind === "comment") {
      if (!token.closed && !isMisread(source, token.start)) throw unclosedComment(source, token.start);
      lineStart ||= source.slice(token.start, token.end).includes("\n");
      continue;
    }
    const character = source[token.start];
    const magic = token.kind === "symbol" && character === "%" ? magicAt(source, token, tokens, lineStart) : undefined;
    const operand = magic === undefined ? token : { ...token, kind: "word" as const, end: magic.end };
    functions.take(operand, lineStart && !tokens.wantsValue);
    lineStart = false;
    if (token.kind === "template" && !token.closed) tokens.skipTemplate(token);
    if (magic === undefined) {
      if (character !== ";") lastStatement = undefined;
      continue;
    }
    const { syncHead } = functions;
    if (syncHead !== undefined) throw notAsyncError(source, token.start, syncHead);
    magics.push(magic);
    tokens.skipTo(magic.end);
    lastStatement = magic.use === "show" && tokens.brackets.length === 0 ? magic : undefined;
  }
  if (lastStatement !== undefined) lastStatement.use = "draw";
  return magics;
}

/**
 * The ranges of possible `%sql` magics in a cell that is being written, from after the name to the end of the line.
 *
 * @param source The cell.
 */
export function lineMagicSpans(source: string): { start: number; end: number }[] {
  const spans: { start: number; end: number }[] = [];
  const tokens = new ScriptTokens(source);
  for (const token of tokens) {
    const { kind, start } = token;
    if (kind === "template" && !token.closed) tokens.skipTemplate(token);
    MAGIC.lastIndex = start;
    if (kind !== "symbol" || source[start] !== "%" || !MAGIC.test(source)) continue;
    const atLineStart = /(?:^|\n)[ \t]*$/.test(source.slice(Math.max(0, start - 200), start));
    if (!tokens.wantsValue && !atLineStart) continue;
    const lineEnd = source.indexOf("\n", start);
    const end = lineEnd === -1 ? source.length : lineEnd;
    spans.push({ start: MAGIC.lastIndex, end });
    tokens.skipTo(end);
  }
  return spans;
}

function magicAt(
  source: string,
  { start }: ScriptToken,
  tokens: ScriptTokens,
  lineStart: boolean,
): LineMagic | undefined {
  MAGIC.lastIndex = start;
  const before = tokens.last === undefined ? "" : source.slice(tokens.last.start, tokens.last.end);
  const { wantsValue } = tokens;
  if (!MAGIC.test(source)) {
    if (lineStart) refuseOtherMagic(source, start, wantsValue);
    return undefined;
  }
  const end = MAGIC.lastIndex;
  const afterValue = (lineStart || before === ")" || before === "}") &&
    LOOKS_LIKE_SQL.test(source.slice(end, end + 200));
  if (!wantsValue && !afterValue) return undefined;
  const inner = tokens.brackets.at(-1);
  const inBlock = inner === undefined || inner === "{";
  const isStatement = inBlock &&
    (wantsValue ? before === ")" || lineStart && /^(|;|\{|else|do)$/.test(before) : true);
  const magic = readMagic(source, "%sql", { start, end, use: isStatement ? "show" : "value" });
  const atLineEnd = magic.end >= source.length || source[magic.end] === "\n";
  return { ...magic, endsStatement: atLineEnd && inBlock && before !== ":" && before !== "," };
}

function notAsyncError(source: string, start: number, head: string): UsageError {
  return new UsageError(
    `Cannot run the cell: %sql on line ${lineAt(source, start)} is in a function that is not async; ` +
      `write async ${head} …`,
  );
}

function refuseOtherMagic(source: string, start: number, wantsValue: boolean): void {
  ANY_MAGIC.lastIndex = start;
  const magic = ANY_MAGIC.exec(source);
  const isCellMagic = source.startsWith("%%", start);
  if (magic === null || !(isCellMagic || wantsValue)) return;
  const name = magic[0];
  if (name.toLowerCase() === "%%sql") {
    throw new UsageError(
      `Cannot run the cell: %%sql on line ${
        lineAt(source, start)
      } comes after code; it must be the first line of its cell. ` +
        "Within code, write %sql SELECT ...",
    );
  }
  throw unknownMagic(name);
}

/** Whether an apparent comment may be JSX text or part of a regular expression. */
function isMisread(source: string, start: number): boolean {
  return source[start - 1] === "\\" || /<\/|\/>/.test(source);
}

/** The error of a comment that is not closed. Deno would silently ignore the rest of the cell. */
export function unclosedComment(source: string, start: number): UsageError {
  return new UsageError(`Cannot run the cell: the comment on line ${lineAt(source, start)} is not closed`);
}

/** The error of an unknown magic. */
export function unknownMagic(name: string): UsageError {
  return new UsageError(
    name.toLowerCase() === "%lsmagic"
      ? "Cannot run the cell: %lsmagic must be alone in its cell"
      : `Cannot run the cell: there is no magic ${name}; the magics are %%sql, %sql and %lsmagic`,
  );
}

/** A function whose end has not been read yet. */
interface OpenFunction {
  /** The number of open brackets at which the function ends. */
  depth: number;
  /** Whether it is an arrow function whose body is an expression. */
  expression: boolean;
  isAsync: boolean;
  /** The position of its head, which is everything before the body. */
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

/** Finds the function around a position of TypeScript. Like `ScriptTokens`, it works without a parser. */
class ScriptFunctions {
  readonly #text: string;
  readonly #tokens: ScriptToken[] = [];
  readonly #open: OpenFunction[] = [];
  /** The indexes of open brackets. */
  readonly #brackets: number[] = [];
  /** The index of the opening bracket for each closing bracket. */
  readonly #openings = new Map<number, number>();

  constructor(text: string) {
    this.#text = text;
  }

  /** The head of the innermost function if that function is not async; otherwise `undefined`. */
  get syncHead(): string | undefined {
    const inner = this.#open.at(-1);
    if (inner === undefined || inner.isAsync) return undefined;
    const head = this.#text.slice(inner.start, inner.end).replace(/\s+/g, " ").trim();
    return head.length > MAX_HEAD_LENGTH ? `${head.slice(0, MAX_HEAD_LENGTH)}…` : head;
  }

  /**
   * Reads the next token that is neither space nor comment.
   *
   * @param token The token.
   * @param afterLineEnd Whether it is the first token on its line after a value, so that a word begins a new statement.
   */
  take(token: ScriptToken, afterLineEnd: boolean): void {
    const index = this.#tokens.push(token) - 1;
    const word = this.#at(index);
    if (afterLineEnd && token.kind === "word" && !CONTINUES_EXPRESSION.has(word)) this.#endExpressions();
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
    const token = this.#tokens[index];
    return token === undefined ? "" : this.#text.slice(token.start, token.end);
  }

  #close(index: number): void {
    const opening = this.#brackets.pop();
    if (opening !== undefined) this.#openings.set(index, opening);
    const depth = this.#brackets.length;
    while (this.#open.length > 0 && this.#open.at(-1)!.depth > depth) this.#open.pop();
  }

  #endExpressions(): void {
    const ends = (open: OpenFunction | undefined) => open?.expression && open.depth === this.#brackets.length;
    while (ends(this.#open.at(-1))) this.#open.pop();
  }

  #isArrow(index: number): boolean {
    const [before, token] = [this.#tokens[index - 1], this.#tokens[index]];
    return this.#at(index) === ">" && this.#at(index - 1) === "=" && before?.end === token?.start;
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
    const isName = /^[^\W\d]|^["'#$\]]/.test(this.#at(name)) || this.#tokens[name]?.kind === "word";
    // A call followed by a block on the next line is not a method.
    const between = this.#text.slice(this.#tokens[parameters]!.end, this.#tokens[brace]!.start);
    if (!isName || between.includes("\n")) return undefined;
    const first = this.#at(name) === "]" ? this.#opening(name) : name;
    return this.#at(first - 1) === "*" ? first - 1 : first;
  }

  #begin(open: Omit<OpenFunction, "start" | "end">, start: number, last: number): void {
    this.#open.push({ ...open, start: this.#tokens[start]?.start ?? 0, end: this.#tokens[last]!.end });
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
      const { kind } = this.#tokens[at]!;
      const text = this.#at(at);
      if (text === ":") {
        const before = this.#at(this.#opening(at - 1) - 1);
        return at < last && this.#at(at - 1) === ")" && before !== "case" ? at - 1 : undefined;
      }
      if (kind !== "word" && kind !== "string" && !/^[.<>|&\])},]$/.test(text)) return undefined;
    }
    return undefined;
  }
}
