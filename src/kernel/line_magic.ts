import { lineAt, UsageError } from "./failure.ts";
import { type Magic, readMagic } from "./magic_body.ts";
import { ScriptFunctions } from "./script_functions.ts";
import { type ScriptToken, ScriptTokens } from "./script_text.ts";
import { STATEMENTS } from "./sql_words.ts";

const MAGIC = /%sql(?![\p{L}\p{N}_$])/iuy;
const OTHER = /%%?([A-Za-z]\w*)/y;
const LOOKS_LIKE_SQL = new RegExp(
  `^[ \\t]+(?:--[a-z]|\\\\[a-z?]|[\\p{L}_$][\\w$.]*[ \\t]*<<|(?:[\\p{L}_$][\\w$.]*[ \\t]+)?(?:${
    [...STATEMENTS].join("|")
  })\\b)`,
  "iu",
);

/** A line magic within code. */
export interface LineMagic extends Magic {
  /** Whether the rewritten code needs a `;`, because the line's end ended the statement. */
  ends: boolean;
}

/**
 * Finds `%sql` within TypeScript. It is a magic where JavaScript expects a value, so that `%` can't be an operator: at the
 * start of a statement, or after `=`, `await`, `(` and so on. After a value it is a magic only at the start of a line, and
 * only if SQL follows. In strings, templates and comments it is never a magic.
 *
 * @param source The cell.
 * @throws {UsageError} For a magic that can't be used there, and for unknown magics.
 */
export function lineMagics(source: string): LineMagic[] {
  const found: LineMagic[] = [];
  const tokens = new ScriptTokens(source);
  const functions = new ScriptFunctions(source);
  let lineStart = true;
  let last: LineMagic | undefined;
  for (const token of tokens) {
    if (token.kind === "space" || token.kind === "comment") {
      if (!token.closed && !isMisread(source, token.start)) throw unclosedComment(source, token.start);
      lineStart ||= source.slice(token.start, token.end).includes("\n");
      continue;
    }
    const character = source[token.start];
    const magic = token.kind === "symbol" && character === "%" ? magicAt(source, token, tokens, lineStart) : undefined;
    const piece = magic === undefined ? token : { ...token, kind: "word" as const, end: magic.end };
    functions.take(piece, lineStart && !tokens.wantsValue);
    lineStart = false;
    if (token.kind === "template" && !token.closed) tokens.skipTemplate(token);
    if (magic === undefined) {
      if (character !== ";") last = undefined;
      continue;
    }
    if (functions.notAsync !== undefined) throw notAsync(source, token.start, functions.notAsync);
    found.push(magic);
    tokens.skipTo(magic.end);
    last = magic.use === "show" && tokens.brackets.length === 0 ? magic : undefined;
  }
  if (last !== undefined) last.use = "draw";
  return found;
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
    if (lineStart) refuseOthers(source, start, wantsValue);
    return undefined;
  }
  const end = MAGIC.lastIndex;
  const afterValue = (lineStart || before === ")" || before === "}") &&
    LOOKS_LIKE_SQL.test(source.slice(end, end + 200));
  if (!wantsValue && !afterValue) return undefined;
  const inner = tokens.brackets.at(-1);
  const inBlock = inner === undefined || inner === "{";
  const statement = inBlock &&
    (wantsValue ? before === ")" || lineStart && /^(|;|\{|else|do)$/.test(before) : true);
  const magic = readMagic(source, "%sql", { start, end, use: statement ? "show" : "value" });
  const atLineEnd = magic.end >= source.length || source[magic.end] === "\n";
  return { ...magic, ends: atLineEnd && inBlock && before !== ":" && before !== "," };
}

function notAsync(source: string, start: number, head: string): UsageError {
  return new UsageError(
    `Cannot run the cell: %sql on line ${lineAt(source, start)} is in a function that is not async; ` +
      `write async ${head} …`,
  );
}

function refuseOthers(source: string, start: number, wantsValue: boolean): void {
  OTHER.lastIndex = start;
  const found = OTHER.exec(source);
  const cell = source.startsWith("%%", start);
  if (found === null || !(cell || wantsValue)) return;
  const name = found[0];
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

/** The error for a comment that is not closed. Deno would silently ignore the rest of the cell. */
export function unclosedComment(source: string, start: number): UsageError {
  return new UsageError(`Cannot run the cell: the comment on line ${lineAt(source, start)} is not closed`);
}

/** The error for an unknown magic. */
export function unknownMagic(name: string): UsageError {
  return new UsageError(
    name.toLowerCase() === "%lsmagic"
      ? "Cannot run the cell: %lsmagic must be alone in its cell"
      : `Cannot run the cell: there is no magic ${name}; the magics are %%sql, %sql and %lsmagic`,
  );
}
