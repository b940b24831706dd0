import { cutText } from "../notebook/cell.ts";
import { visible } from "../notebook/escape.ts";
import { OTHER, type PlotValue } from "./source.ts";

/** Characters of a category that are drawn. */
const LONGEST = 80;

/** Each value as a text of its own, so that no two categories become one. */
export class Labels {
  readonly #texts = new Map<PlotValue | typeof OTHER, string>();
  readonly #taken = new Set<string>();

  of(value: PlotValue | typeof OTHER): string {
    const known = this.#texts.get(value);
    if (known !== undefined) return known;
    const text = value === OTHER ? "other" : value === null ? "NULL" : shortText(String(value));
    let label = text;
    for (let n = 2; this.#taken.has(label); n++) label = `${text} (${n})`;
    this.#taken.add(label);
    this.#texts.set(value, label);
    return label;
  }
}

/** A text on one line, not too long for a chart. */
export function shortText(text: string): string {
  const { text: head, cut } = cutText(text, LONGEST);
  return visible(cut ? `${head}…` : head);
}

/**
 * A column's name as the title of an axis, which is also a key of tooltips and of descriptions. Vega-Lite writes that key
 * into an expression of its own and escapes no backslash there, so quotes and backslashes become characters that look like
 * them. Frontends give keys such as `image` and `title` a meaning: a zero-width space at the end keeps every name from being
 * one of them.
 */
export function keyText(name: string): string {
  return `${shortText(name).replaceAll('"', "\u201d").replaceAll("\\", "\u2216")}\u200b`;
}
