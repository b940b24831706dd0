import { escapeHtml } from "./escape.ts";
import type { Bundle } from "./notebook.ts";

/**
 * Draws a few facts as a small table, such as those of a connection.
 *
 * @param title The first line.
 * @param facts Names and values.
 * @returns The same as HTML and as text.
 */
export function renderCard(title: string, facts: readonly (readonly [name: string, value: string])[]): Bundle {
  const width = Math.max(...facts.map(([name]) => name.length));
  const rows = facts.map(([name, value]) =>
    `<tr><th scope="row" style="text-align:left;font-weight:normal;opacity:.7">${escapeHtml(name)}</th>` +
    `<td style="text-align:left">${escapeHtml(value)}</td></tr>`
  );
  return {
    "text/html": `<table><caption style="text-align:left;font-weight:bold;padding:.25em 0">${escapeHtml(title)}` +
      `</caption><tbody>${rows.join("")}</tbody></table>`,
    "text/plain": [title, ...facts.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`)].join("\n"),
  };
}
