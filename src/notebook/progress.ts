import type { Bundle } from "./display.ts";
import { escapeHtml } from "./escape.ts";

/**
 * Something under way as a notebook shows it.
 *
 * @param line What it is and how far.
 * @param part How much of it is done, from 0 to 1; `undefined` where that is not known.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(renderProgress("Pulling trips: 10 rows", undefined)["text/plain"], "Pulling trips: 10 rows");
 * assert.match(renderProgress("a < b", 0.5)["text/html"]!, /value="0.5".*a &lt; b/);
 * ```
 */
export function renderProgress(line: string, part: number | undefined): Bundle {
  const value = part === undefined ? "" : ` value="${Number(part.toFixed(3))}"`;
  const bar = `<progress max="1"${value} aria-label="progress" style="width:14em;vertical-align:middle"></progress>`;
  return { "text/html": `<div>${bar} ${escapeHtml(line)}</div>`, "text/plain": line };
}

/** Something that is over, in the place of {@linkcode renderProgress}. */
export function renderOutcome(line: string): Bundle {
  return { "text/html": `<div>${escapeHtml(line)}</div>`, "text/plain": line };
}
