/**
 * Formats a size as `pg_size_pretty` does.
 *
 * @param bytes The size in bytes.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(sizeText(8192), "8192 bytes");
 * assert.equal(sizeText(5_000_000), "4883 kB");
 * ```
 */
export function sizeText(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
  let size = bytes;
  while (size >= 10 * 1024 && units.length > 1) {
    size /= 1024;
    units.shift();
  }
  return `${Math.round(size)} ${units[0]}`;
}

/** Made once, because making a format takes as long as drawing a row. */
let grouped: Intl.NumberFormat | undefined;

/** Formats a number with a comma between each three digits, such as `12,345`. */
export function groupedNumber(number: number | bigint): string {
  return (grouped ??= new Intl.NumberFormat("en-US")).format(number);
}

/**
 * Formats a count with its noun.
 *
 * @param number The count.
 * @param noun The noun in the singular.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(countText(1234, "row"), "1,234 rows");
 * assert.equal(countText(1, "row"), "1 row");
 * ```
 */
export function countText(number: number, noun: string): string {
  return `${groupedNumber(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** The type of a value for an error: `a number`, `an object`, `null`. */
export function typeText(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  const type = Array.isArray(value) ? "array" : typeof value;
  return `${/^[ao]/.test(type) ? "an" : "a"} ${type}`;
}

/** Adds a full stop to a text that does not end a sentence. */
export function sentence(text: string): string {
  return /[.?!]$/.test(text) ? text : `${text}.`;
}

/** Formats a time to the minute, such as `2026-01-31 12:34 UTC`. */
export function utcText(time: Date): string {
  return `${time.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** A path without the slashes at its end. The pattern `/\/+$/` would take quadratic time on a long path. */
export function withoutEndSlashes(path: string): string {
  let end = path.length;
  while (path[end - 1] === "/") end--;
  return path.slice(0, end);
}

const ASCII = /^[\x20-\x7e]*$/;
// Latin, Greek, Cyrillic, kana, Han and Hangul syllables: each character is a grapheme unless one outside of these ranges
// follows. Most text consists of them, and so avoids the segmenter, which is a hundred times slower.
const WIDE_SIMPLE = "\\u3041-\\u3096\\u30a1-\\u30fa\\u30fc-\\u30fe\\u4e00-\\u9fff\\uac00-\\ud7a3";
const SIMPLE = new RegExp(
  `^[\\x20-\\x7e\\xa1-\\xac\\xae-\\u02ff\\u0391-\\u03ff\\u0400-\\u0482\\u2026\\u21b5\\u21e5${WIDE_SIMPLE}]*$`,
);
const SIMPLE_WIDE = new RegExp(`[${WIDE_SIMPLE}]`, "g");
const EMOJI = /\p{Emoji_Presentation}|^\p{Emoji}\uFE0F/u;
const ZERO_WIDTH = /[\p{M}\p{Cf}\p{Cc}\u1160-\u11ff\ud7b0-\ud7fb]/u;
// East_Asian_Width W and F as ranges: \p{} in JavaScript does not have this property.
const WIDE = new RegExp(
  "[\\u1100-\\u115f\\u2329\\u232a\\u2e80-\\u303e\\u3041-\\u3247\\u3250-\\ua4cf\\ua960-\\ua97f\\uac00-\\ud7a3" +
    "\\uf900-\\ufaff\\ufe10-\\ufe19\\ufe30-\\ufe6f\\uff01-\\uff60\\uffe0-\\uffe6" +
    "\\u{16fe0}-\\u{18dff}\\u{1aff0}-\\u{1b2ff}\\u{1f200}-\\u{1f265}\\u{20000}-\\u{3fffd}]",
  "u",
);
// Made when it is first needed: ICU takes 14 ms for it, a tenth of the import of the module.
let segmenter: Intl.Segmenter | undefined;

function graphemesOf(text: string): Intl.Segments {
  return (segmenter ??= new Intl.Segmenter("en", { granularity: "grapheme" })).segment(text);
}

/**
 * The columns that a text takes in a fixed-width font: 2 for wide East Asian characters and emoji (a flag or a joined family is
 * one emoji), 0 for combining marks, 1 for others.
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
  for (const { segment } of graphemesOf(text)) {
    width += graphemeWidth(segment);
  }
  return width;
}

/**
 * Cuts a text to at most `width` columns. It ends in `…` if it was cut, or if `more` says that the text goes on.
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
  for (const { segment, index } of graphemesOf(text)) {
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

/**
 * A part of a regular expression that matches invisible characters: line ends, C0 and C1 controls, and format characters that
 * hide or reorder text. Joiners (U+200C, U+200D) are not among them: emoji and Indic scripts need them.
 */
export const INVISIBLE: string = "\\r\\n|[\\0-\\x1f\\x7f-\\x9f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e" +
  "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]";

/** The visible replacement of an invisible character: `↵`, `⇥`, or its number as `<U+001B>`. */
export function markInvisible(character: string): string {
  const code = character.charCodeAt(0);
  if (character === "\r\n" || code === 0x0a || code === 0x2028 || code === 0x2029) return "↵";
  if (code === 0x09) return "⇥";
  return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
}

const ALL_INVISIBLE = new RegExp(INVISIBLE, "g");

/**
 * Makes a text of several lines safe for a terminal or a notebook: line ends and tabs stay, other invisible characters are made
 * visible. Terminals execute some of them as commands, including C1 controls such as U+009B.
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
    ALL_INVISIBLE,
    (found) => found === "\n" || found === "\t" ? found : found === "\r\n" ? "\n" : markInvisible(found),
  );
}

/**
 * The number of characters in an object's strings from which the JSON may be too long for a string: an escape has six
 * characters.
 */
const MANY_CHARACTERS = 80_000_000;

/**
 * Gives the JSON of a value as `JSON.stringify` does. In Deno 2.9, the second time that the JSON would be longer than a
 * string, the fast path of `JSON.stringify` ends the process instead of throwing; a replacer function avoids that path.
 *
 * @throws {RangeError} If the JSON would be longer than a string.
 */
export function jsonOf(value: unknown): string | undefined {
  return hasManyCharacters(value) ? JSON.stringify(value, (_key, item) => item) : JSON.stringify(value);
}

function hasManyCharacters(value: unknown): boolean {
  let size = 0;
  const open = [value];
  for (let visited = 0; open.length > 0 && visited < 10_000; visited++) { // the rest of a large object is many short strings
    const next = open.pop();
    if (typeof next === "string") size += next.length;
    else if (Array.isArray(next)) open.push(...next.slice(0, 1000));
    else if (typeof next === "object" && next !== null && !ArrayBuffer.isView(next)) {
      open.push(...Object.values(next).slice(0, 1000));
    }
  }
  return size > MANY_CHARACTERS;
}

/** Escapes the invisible characters in JSON. The value stays the same, and a terminal executes nothing. */
export function printableJson(json: string): string {
  return json.replace(
    ALL_INVISIBLE,
    // JSON has escaped the control characters already: what is left below " " is its own white space.
    (found) => found <= " " ? found : `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A field of another program's JSON as text. `String()` fails for an object that has a field `toString`. */
export function jsonText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "";
}
