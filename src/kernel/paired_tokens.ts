import { type ScriptToken, ScriptTokens } from "./script_text.ts";

/** A piece of a cell, and where what it opens ends. */
export interface Token extends ScriptToken {
  /** How it begins. */
  text: string;
  /** The index of the token that closes what this one opens; its own where it opens nothing. */
  partner: number;
}

const BEGINNING = 16;
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
    const text = code.slice(start, Math.min(end, start + BEGINNING));
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
