/** What matters of a statement's text: where a parameter stands, and where a statement ends. */
export interface SqlToken {
  /** Index of its first character. */
  start: number;
  /** Index behind its last. */
  end: number;
  /** Such as `$1`, or `;`. */
  text: string;
}

const LETTER = "A-Za-z_\\u0080-\\uffff";

const TOKEN = new RegExp(
  [
    "(?<found>\\$\\d+|;)",
    `(?<dollar>\\$(?:[${LETTER}][${LETTER}\\d]*)?\\$)`,
    "(?<comment>\\/\\*)",
    "--[^\\r\\n]*",
    "(?<escapes>[eE]')",
    "(?<quote>')",
    '"[^"]*"',
    `[${LETTER}][${LETTER}\\d$]*`,
    "[\\s\\S]",
  ].join("|"),
  "y",
);

/** SQL goes on with a string after a new line. */
const GOES_ON = /(?:[ \t\f\v]|--[^\r\n]*)*[\r\n](?:\s|--[^\r\n]*[\r\n])*'/y;
const PLAIN = /[^']*(?:''[^']*)*'/y;
const ESCAPED = /[^'\\]*(?:(?:\\[\s\S]|'')[^'\\]*)*'/y;

/**
 * The parameters and semicolons of a statement that are neither in quotes nor in a comment.
 *
 * @param text SQL that the server has parsed without an error.
 * @param conforming Whether `standard_conforming_strings` is on: whether a back-slash in plain quotes is one.
 */
export function sqlTokens(text: string, conforming: boolean): SqlToken[] {
  const found: SqlToken[] = [];
  for (let at = 0; at < text.length;) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text)!;
    const end = TOKEN.lastIndex;
    const groups = match.groups!;
    if (groups["found"] !== undefined) found.push({ start: at, end, text: match[0] });
    if (groups["dollar"] !== undefined) at = after(text, match[0], end);
    else if (groups["comment"] !== undefined) at = commentEnd(text, end);
    else if (groups["escapes"] !== undefined) at = stringEnd(text, end, ESCAPED);
    else if (groups["quote"] !== undefined) at = stringEnd(text, end, conforming ? PLAIN : ESCAPED);
    else at = end;
  }
  return found;
}

/** The first word of a statement, in small letters; empty where there is none. */
export function firstWord(text: string): string {
  let at = 0;
  for (;;) {
    at += /^[\s(;]*(?:--[^\r\n]*)?/.exec(text.slice(at))![0].length;
    if (!text.startsWith("/*", at)) {
      if (/^[\s(;]|^--/.test(text.slice(at, at + 2))) continue;
      return /^\w*/.exec(text.slice(at))![0].toLowerCase();
    }
    at = commentEnd(text, at + 2);
  }
}

function stringEnd(text: string, start: number, rest: RegExp): number {
  for (let at = start;;) {
    rest.lastIndex = at;
    if (!rest.test(text)) return text.length;
    at = GOES_ON.lastIndex = rest.lastIndex;
    if (!GOES_ON.test(text)) return at;
    at = GOES_ON.lastIndex;
  }
}

/** Comments nest. */
function commentEnd(text: string, start: number): number {
  const edge = /\/\*|\*\//g;
  edge.lastIndex = start;
  for (let depth = 1; depth > 0;) {
    const match = edge.exec(text);
    if (match === null) return text.length;
    depth += match[0] === "/*" ? 1 : -1;
  }
  return edge.lastIndex;
}

function after(text: string, what: string, start: number): number {
  const index = text.indexOf(what, start);
  return index === -1 ? text.length : index + what.length;
}
