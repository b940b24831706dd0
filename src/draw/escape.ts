/**
 * Makes text from a database safe and legible, as plain text and as HTML.
 *
 * @module
 */

import { INVISIBLE, markInvisible as mark } from "../core/text.ts";

const PLAIN: RegExp = new RegExp(INVISIBLE, "g");
const MARKUP: RegExp = new RegExp(`[&<>"'\`]|${INVISIBLE}`, "g");

/** Matches any character except the most usual ones. Most texts have no such character and do not change. */
const SPECIAL = /[^ !#-%(-;=?-_a-~]/;

const ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
  "`": "&#96;",
};

/**
 * Text on one line, with every character visible: a line end is `↵` and a tab is `⇥`. A control character, or one that hides or
 * reorders its neighbors, is replaced by its number (`<U+202E>`). A lone surrogate is `\uFFFD`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(visible("a\r\nb\tc\0"), "a↵b⇥c<U+0000>");
 * assert.equal(visible("\u202Eevil"), "<U+202E>evil");
 * ```
 */
export function visible(text: string): string {
  return text.search(SPECIAL) === -1 ? text : text.toWellFormed().replace(PLAIN, mark);
}

/** Options of {@linkcode escapeHtml}. */
interface EscapeOptions {
  /**
   * Keeps line ends and tabs, for text that `white-space: pre-wrap` lays out.
   *
   * @default {false}
   */
  lines?: boolean;
}

/**
 * Text as HTML, for the content of an element or the quoted value of an attribute. Markup characters become entities, and the
 * characters that {@linkcode visible} replaces are replaced.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(escapeHtml("<b>\n"), "&lt;b&gt;↵");
 * assert.equal(escapeHtml("a\n`b`", { lines: true }), "a\n&#96;b&#96;");
 * ```
 */
export function escapeHtml(text: string, options: EscapeOptions = {}): string {
  return replaceMarkup(text, options.lines ?? false, (shown) => shown);
}

/**
 * Like {@linkcode escapeHtml}, but only for the content of an element. Each replacement is in an `<i>`, so that a `↵` for a line
 * end can look different from one in the data.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(escapeMarked("↵\n"), "↵<i>↵</i>");
 * ```
 */
export function escapeMarked(text: string, options: EscapeOptions = {}): string {
  return replaceMarkup(text, options.lines ?? false, (shown) => `<i>${shown}</i>`);
}

function replaceMarkup(text: string, lines: boolean, wrap: (shown: string) => string): string {
  if (text.search(SPECIAL) === -1) return text;
  return text.toWellFormed().replace(MARKUP, (character) => {
    const entity = ENTITIES[character];
    if (entity !== undefined) return entity;
    if (lines && (character === "\t" || mark(character) === "↵")) {
      return character === "\t" ? character : "\n";
    }
    return wrap(mark(character).replace("<", "&lt;").replace(">", "&gt;"));
  });
}
