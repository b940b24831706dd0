/**
 * Line ends, C0 and C1 controls, and the format characters that hide or reorder what surrounds them, as a part of a regular
 * expression. Joiners (U+200C, U+200D) stay: emoji and Indic scripts need them.
 */
export const UNSEEN: string = "\\r\\n|[\\0-\\x1f\\x7f-\\x9f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e" +
  "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]";

/** What stands for a character that can't be seen: `↵`, `⇥`, or its number as `<U+001B>`. */
export function markUnseen(found: string): string {
  const code = found.charCodeAt(0);
  if (found === "\r\n" || code === 0x0a || code === 0x2028 || code === 0x2029) return "↵";
  if (code === 0x09) return "⇥";
  return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
}

const ALL = new RegExp(UNSEEN, "g");

/**
 * A text of several lines as a terminal and a notebook may have it: line ends and tabs stay, every other character that
 * can't be seen is written out. A terminal takes some of them for commands, C1 controls such as U+009B too.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(printable("a\n\tb\x1b]52;c;eA==\x07"), "a\n\tb<U+001B>]52;c;eA==<U+0007>");
 * ```
 */
export function printable(text: string): string {
  return text.toWellFormed().replace(
    ALL,
    (found) => found === "\n" || found === "\t" ? found : found === "\r\n" ? "\n" : markUnseen(found),
  );
}

/** JSON in which each character that can't be seen is an escape: the same value, which no terminal obeys. */
export function printableJson(json: string): string {
  return json.replace(
    ALL,
    (found) => found <= " " ? found : `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`, // none below " " is in a text
  );
}
