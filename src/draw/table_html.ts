/**
 * A result as HTML: one table that scrolls under its header.
 *
 * @module
 */

import { byteLength } from "../core/bytes.ts";
import { groupedNumber } from "../core/text.ts";
import { type CellText, cellText, cutText, isNumeric, isPicture } from "./cell.ts";
import { escapeHtml, escapeMarked } from "./escape.ts";
import type { TableColumn, TableNotice, TableOptions } from "./table.ts";

const MAX_BYTES = 1_000_000;
const MAX_CELL = 200;
const MAX_LINE = 1_000;
/** The most characters of a cell that a click opens. */
const MAX_OPENED = 2_000;
/** In a notebook, a table of more rows has its own scroll bar. */
const MAX_UNSCROLLED_ROWS = 30;

/** The rows of a result and its footer, in at most `maxBytes`. */
export function htmlTable(options: TableOptions): string {
  const { columns, rows, footer = "", maxBytes = MAX_BYTES } = options;
  const notices = noticesHtml(options.notices ?? [], maxBytes / 8);
  if (columns.length === 0) {
    return firstWithin(maxBytes, [frame(footHtml([footer]) + notices), frame(footHtml([footer]))]);
  }
  const [start, middle, end] = tableHtml(options.caption ?? "", rows.length > MAX_UNSCROLLED_ROWS);
  const longest = footHtml([footer, cutNote(rows.length, columns.length, columns.length, maxBytes)]);
  const room = maxBytes - byteLength(frame(start + middle + end + longest + notices));
  const { heads, body } = fitRows(
    options,
    room,
    new CellDrawer(Math.max(1, options.maxCell || MAX_CELL), maxBytes / 4),
  );
  if (heads.length === 0) return tooLarge(footer, notices, maxBytes);
  const note = cutNote(
    body.length < rows.length ? body.length : undefined,
    heads.length < columns.length ? heads.length : undefined,
    columns.length,
    maxBytes,
  );
  return frame(start + heads.join("") + middle + body.join("") + end + footHtml([footer, note]) + notices);
}

/** A line and the server's notices. */
export function htmlCommand(line: string, notices: readonly TableNotice[]): string {
  return frame(`<div class="lb-command">${escapeMarked(cutLine(line))}</div>${noticesHtml(notices, MAX_BYTES / 8)}`);
}

function frame(content: string): string {
  return `<div class="${RESULT_CLASS}"><style>${CSS}</style>${content}</div>`;
}

/** The HTML before the header cells, between them and the rows, and after the rows. */
function tableHtml(caption: string, long: boolean): readonly [start: string, middle: string, end: string] {
  const line = cutLine(caption);
  const label = escapeHtml(line || "Query result");
  return [
    `<div class="lb-scroll${
      long ? " lb-long" : ""
    }" role="region" aria-label="${label}" tabindex="0" style="overflow:auto">` +
    `<table style="margin:0">${line && `<caption>${escapeMarked(line)}</caption>`}<thead><tr>`,
    "</tr></thead><tbody>",
    "</tbody></table></div>",
  ];
}

/** The columns that fit into `room` bytes with the first row, and then the rows that fit. */
function fitRows(
  { columns, rows }: TableOptions,
  room: number,
  drawer: CellDrawer,
): { heads: string[]; body: string[] } {
  const heads: string[] = [];
  const first: string[] = [];
  const firstRow = rows[0];
  let left = room - (firstRow ? byteLength(rowHtml([])) : 0);
  for (const [index, column] of columns.entries()) {
    const head = headHtml(column);
    const cell = firstRow ? drawer.draw(firstRow[index], column.type) : "";
    left -= byteLength(head + cell);
    if (!(left >= 0)) break;
    heads.push(head);
    first.push(cell);
  }
  const body = firstRow ? [rowHtml(first)] : [];
  const shown = columns.slice(0, heads.length);
  for (const row of left >= 0 ? rows.slice(1) : []) {
    const html = rowHtml(shown.map(({ type }, index) => drawer.draw(row[index], type)));
    left -= byteLength(html);
    if (!(left >= 0)) break;
    body.push(html);
  }
  return { heads, body };
}

function rowHtml(cells: readonly string[]): string {
  return `<tr>${cells.join("")}</tr>`;
}

function headHtml({ name, type }: TableColumn): string {
  const label = type.startsWith("_") ? `${type.slice(1)}[]` : type;
  return `<th scope="col"${align(type)}>${escapeMarked(cutLine(name))}<br><small>${
    escapeMarked(cutLine(label))
  }</small></th>`;
}

// Each cell has a style, because JupyterLab aligns all cells to the right, and untrusted notebooks lose the style sheet.
function align(type: string): string {
  return ` style="${isNumeric(type) ? "text-align:right" : "text-align:left;white-space:pre-wrap"}"`;
}

/** Draws cells. A click opens a cell that was cut, unless the bytes for opened cells are used up. */
class CellDrawer {
  readonly #maxCell: number;
  #openedBytes: number;

  constructor(maxCell: number, openedBytes: number) {
    this.#maxCell = maxCell;
    this.#openedBytes = openedBytes;
  }

  draw(value: unknown, type: string): string {
    if (isPicture(value)) return `<td${align(type)}>${value.html}</td>`;
    const cell = cellText(value, type, Math.max(MAX_OPENED, this.#maxCell));
    return `<td${align(type)}>${cell === null ? '<em class="lb-null">NULL</em>' : this.#content(cell)}</td>`;
  }

  #content(cell: CellText): string {
    const head = cutText(cell.text, this.#maxCell);
    if (!head.cut && !cell.cut) return escapeMarked(cell.text);
    const start = escapeMarked(head.text);
    if (!head.cut) return `${start}<b>…</b>`;
    const opened = `<div class="lb-full">${escapeMarked(cell.text, { lines: true })}${remainderHtml(cell)}</div>`;
    const bytes = byteLength(opened);
    if (bytes > this.#openedBytes) return `${start}<b>…</b>`;
    this.#openedBytes -= bytes;
    return `<details><summary>${start}<b>… more</b></summary>${opened}</details>`;
  }
}

function remainderHtml({ text, cut, length }: CellText): string {
  if (!cut) return "";
  const remainder = length === undefined ? "" : ` ${groupedNumber(length - text.length)} more characters`;
  return `<b>…${remainder}</b>`;
}

function footHtml(parts: readonly string[]): string {
  const text = parts.filter((part) => part !== "").map(cutLine).join("; ");
  return text === "" ? "" : `<div class="lb-foot">${escapeMarked(text)}</div>`;
}

function cutNote(rows: number | undefined, columns: number | undefined, allColumns: number, maxBytes: number): string {
  const kept: string[] = [];
  if (rows !== undefined) kept.push(rows === 1 ? "the first row" : `the first ${groupedNumber(rows)} rows`);
  if (columns !== undefined) {
    kept.push(`${groupedNumber(columns)} of ${groupedNumber(allColumns)} columns`);
  }
  return kept.length === 0 ? "" : `cut to ${kept.join(" and ")} to stay within ${limitText(maxBytes)}`;
}

function tooLarge(footer: string, notices: string, maxBytes: number): string {
  const foot = footHtml([footer, `too large to show within ${limitText(maxBytes)}`]);
  return firstWithin(maxBytes, [frame(foot + notices), frame(foot), foot]);
}

function noticesHtml(notices: readonly TableNotice[], maxBytes: number): string {
  let html = "";
  let left = maxBytes;
  for (const [index, notice] of notices.entries()) {
    const next = noticeHtml(notice);
    left -= byteLength(next);
    if (left < 0) {
      return `${html}${footHtml([`${groupedNumber(notices.length - index)} more from the server`])}`;
    }
    html += next;
  }
  return html;
}

function noticeHtml({ severity, message, detail, hint }: TableNotice): string {
  const lines = [`<strong>${escapeHtml(cutLine(severity))}</strong> ${noticeLine(message)}`];
  if (detail) lines.push(`<span>Detail: ${noticeLine(detail)}</span>`);
  if (hint) lines.push(`<span>Hint: ${noticeLine(hint)}</span>`);
  const kind = severity === "WARNING" ? "lb-notice lb-warning" : "lb-notice";
  return `<div class="${kind}">${lines.join("<br>")}</div>`;
}

function noticeLine(text: string): string {
  return escapeMarked(cutLine(text), { lines: true });
}

function cutLine(text: string): string {
  const line = cutText(text, MAX_LINE);
  return line.cut ? `${line.text}…` : text;
}

function firstWithin(maxBytes: number, candidates: readonly string[]): string {
  return candidates.find((html) => byteLength(html) <= maxBytes) ?? "";
}

function limitText(bytes: number): string {
  if (bytes < 1_000) return `${bytes} bytes`;
  return bytes < 1_000_000
    ? `${Number((bytes / 1_000).toPrecision(3))} kB`
    : `${Number((bytes / 1e6).toPrecision(3))} MB`;
}

/** The class of the outermost element. Every rule of the style sheet is under it. */
const RESULT_CLASS = "lakebase";

// Repeated three times, because JupyterLab's own table rules have the specificity of two classes.
const SCOPE = `.${RESULT_CLASS}`.repeat(3);

// Each color comes from the page: from JupyterLab and nbconvert, else from VS Code, else from the browser. Text and background
// are from the same kind of page, so they always contrast.
const RULES: readonly (readonly [selector: string, declarations: string])[] = [
  [
    "",
    "--lb-fg:var(--jp-content-font-color1,var(--vscode-editor-foreground,CanvasText));" +
    "--lb-bg:var(--jp-layout-color0,var(--vscode-editor-background,Canvas));" +
    "--lb-soft:color-mix(in srgb,var(--lb-fg) 64%,var(--lb-bg));" +
    "--lb-line:color-mix(in srgb,var(--lb-fg) 13%,var(--lb-bg));" +
    "--lb-focus:var(--jp-brand-color1,var(--vscode-focusBorder,Highlight));" +
    "font:13px/1.45 var(--jp-ui-font-family,var(--vscode-font-family,system-ui,sans-serif));color:var(--lb-fg)",
  ],
  [
    " .lb-scroll",
    "width:fit-content;max-width:100%;box-sizing:border-box;border:1px solid var(--lb-line);border-radius:4px;" +
    "background:var(--lb-bg)",
  ],
  [" .lb-scroll:focus-visible", "outline:2px solid var(--lb-focus);outline-offset:1px"],
  [
    " table",
    "table-layout:auto;border-collapse:separate;border-spacing:0;border:0;margin:0;width:max-content;font:inherit;" +
    "color:inherit;font-variant-numeric:tabular-nums",
  ],
  [" caption", "caption-side:top;text-align:left;padding:6px 12px;font-weight:600;color:inherit"],
  [" :is(thead,tr)", "background:none;border:0"],
  [
    " :is(th,td)",
    "max-width:64ch;padding:3px 12px;border:0;border-bottom:1px solid var(--lb-line);vertical-align:top;" +
    "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.45",
  ],
  [
    " th",
    "position:sticky;top:0;z-index:1;padding:5px 12px;font-weight:600;line-height:1.25;" +
    "background:color-mix(in srgb,var(--lb-fg) 4%,var(--lb-bg));" +
    "border-bottom-color:color-mix(in srgb,var(--lb-fg) 26%,var(--lb-bg))",
  ],
  [" th small", "font-size:11px;font-weight:400;color:var(--lb-soft)"],
  // A version or a query plan can use the whole width.
  [" td:only-child", "max-width:128ch"],
  [" tbody tr:hover td", "background:color-mix(in srgb,var(--lb-fg) 5%,var(--lb-bg))"],
  [" tbody tr:last-child td", "border-bottom:0"],
  [" em", "font-style:italic;color:var(--lb-soft)"],
  [" i", "font-style:normal;color:var(--lb-soft)"],
  [" b", "font-weight:400;color:var(--lb-soft)"],
  [" summary", "cursor:pointer;list-style:none"],
  [" summary::-webkit-details-marker", "display:none"],
  [" summary:hover b", "text-decoration:underline"],
  [" [open]>summary", "font-size:0"],
  [" [open]>summary::after", "content:'Show less';font-size:11px;color:var(--lb-soft)"],
  [" .lb-full", "max-height:18em;overflow:auto"],
  [" .lb-command", "padding:2px 1px"],
  [" .lb-foot", "padding:5px 1px 2px;font-size:12px;color:var(--lb-soft)"],
  [
    " .lb-notice",
    "margin:4px 0;padding:1px 10px;border-left:3px solid var(--lb-line);font-size:12px;white-space:pre-wrap;" +
    "overflow-wrap:anywhere",
  ],
  [" .lb-warning", "border-color:var(--jp-warn-color1,var(--vscode-editorWarning-foreground,#c98500))"],
];

/** The pages of JupyterLab, Notebook and VS Code. An exported page shows all rows. */
const LIVE = ":is(.jp-LabShell,[data-notebook],.vscode-light,.vscode-dark,.vscode-high-contrast)";

/** The style sheet, without its `<style>` element. */
const CSS: string = RULES.map(([selector, declarations]) => `${SCOPE}${selector}{${declarations}}`).join("") +
  // Dark scroll bars for a dark page that does not set its own color scheme.
  `:is([data-jp-theme-light="false"],.vscode-dark,.vscode-high-contrast:not(.vscode-high-contrast-light)) ${SCOPE}` +
  `{color-scheme:dark}` +
  `${LIVE} ${SCOPE} .lb-long{max-height:480px}@media print{${SCOPE} .lb-scroll{max-height:none!important}}`;
