/**
 * How many columns text takes in a fixed-width font.
 *
 * @module
 */

const ASCII = /^[\x20-\x7e]*$/;
// Latin, Greek, Cyrillic, and then kana, Han and Hangul syllables, each a grapheme of its own unless something outside
// these follows: most text has no need of the segmenter, which costs a hundred times more.
const WIDE_SIMPLE = "\\u3041-\\u3096\\u30a1-\\u30fa\\u30fc-\\u30fe\\u4e00-\\u9fff\\uac00-\\ud7a3";
const SIMPLE = new RegExp(
  `^[\\x20-\\x7e\\xa1-\\xac\\xae-\\u02ff\\u0391-\\u03ff\\u0400-\\u0482\\u2026\\u21b5\\u21e5${WIDE_SIMPLE}]*$`,
);
const SIMPLE_WIDE = new RegExp(`[${WIDE_SIMPLE}]`, "g");
const EMOJI = /\p{Emoji_Presentation}|^\p{Emoji}\uFE0F/u;
const ZERO_WIDTH = /[\p{M}\p{Cf}\p{Cc}\u1160-\u11ff\ud7b0-\ud7fb]/u;
// East_Asian_Width W and F as ranges: JavaScript's \p{} does not offer the property.
const WIDE = new RegExp(
  "[\\u1100-\\u115f\\u2329\\u232a\\u2e80-\\u303e\\u3041-\\u3247\\u3250-\\ua4cf\\ua960-\\ua97f\\uac00-\\ud7a3" +
    "\\uf900-\\ufaff\\ufe10-\\ufe19\\ufe30-\\ufe6f\\uff01-\\uff60\\uffe0-\\uffe6" +
    "\\u{16fe0}-\\u{18dff}\\u{1aff0}-\\u{1b2ff}\\u{1f200}-\\u{1f265}\\u{20000}-\\u{3fffd}]",
  "u",
);
const graphemes: Intl.Segmenter = new Intl.Segmenter("en", {
  granularity: "grapheme",
});

/**
 * The columns that text takes: 2 for wide East Asian characters and emoji (a
 * flag or a joined family is one), 0 for combining marks, 1 for the rest.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(textWidth("Zoe\u0308"), 3);
 * assert.equal(textWidth("東京"), 4);
 * assert.equal(textWidth("👩‍👩‍👧"), 2);
 * ```
 */
export function textWidth(text: string): number {
  if (ASCII.test(text)) return text.length;
  if (SIMPLE.test(text)) return text.length + (text.match(SIMPLE_WIDE)?.length ?? 0);
  let width = 0;
  for (const { segment } of graphemes.segment(text)) {
    width += graphemeWidth(segment);
  }
  return width;
}

/**
 * Text cut to at most `width` columns, the last of them `…` where it was cut or
 * where `more` says that there is more of it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(fitWidth("東京都", 5), "東京…");
 * assert.equal(fitWidth("abc", 5), "abc");
 * ```
 */
export function fitWidth(text: string, width: number, more = false): string {
  if (!more && textWidth(text) <= width) return text;
  let taken = 0;
  let end = 0;
  for (const { segment, index } of graphemes.segment(text)) {
    taken += graphemeWidth(segment);
    if (taken > width - 1) break;
    end = index + segment.length;
  }
  return text.slice(0, end) + "…";
}

function graphemeWidth(grapheme: string): number {
  if (EMOJI.test(grapheme)) return grapheme.includes("\uFE0E") ? 1 : 2;
  let width = 0;
  for (const character of grapheme) {
    if (WIDE.test(character)) width += 2;
    else if (!ZERO_WIDTH.test(character)) width += 1;
  }
  return width;
}
