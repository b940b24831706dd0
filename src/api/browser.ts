import { byteLength } from "../core/bytes.ts";
import { cellText, drawnValue, isNumeric } from "../draw/cell.ts";
import { visible } from "../draw/escape.ts";
import { type Bundle, DISPLAY, holdIdle } from "../draw/notebook.ts";
import { drawnColumns, drawResult, elapsedText, originText, renderTable } from "../draw/table.ts";
import type { Result } from "./result.ts";

/** The number of rows that are fetched. */
export const BROWSED_ROWS = 1000;

/**
 * The first rows of a query, as a table to page, sort and search in.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const browser = await db.sql`SELECT n FROM generate_series(1, 5000) AS n`.browse();
 * assert.equal(browser.rows.length, 1000);
 * ```
 */
export class Browser {
  /** The rows. */
  readonly rows: Result<unknown>;

  /** Made by `browse()`. */
  constructor(rows: Result<unknown>) {
    this.rows = rows;
  }

  /** The output in a notebook. */
  [DISPLAY](): Bundle {
    const { rows } = this;
    if (rows.fields.length === 0) return holdIdle(drawResult(rows));
    const more = rows.more || rows.length > BROWSED_ROWS;
    const { fields, elapsed } = rows;
    const shown = rows.slice(0, BROWSED_ROWS);
    return holdIdle(renderBrowse({ fields, rows: shown, more, elapsed, origin: originText(rows) }));
  }

  /** The text that `console.log` prints. */
  [Symbol.for("Deno.customInspect")](): string {
    return drawResult(this.rows)["text/plain"]!;
  }
}

/** The number of rows on a page. */
const PAGE_ROWS = 20;
/** The maximum characters of a cell. */
const MAX_CELL = 200;
/** The text form adds at most 100 kB, so the output stays below a megabyte. */
const MAX_TABLE_BYTES = 200_000;
const MAX_DATA_BYTES = 600_000;

const STYLE =
  ".lb-browse .lb-bar{display:flex;flex-wrap:wrap;gap:6px;align-items:center;padding:2px 1px 6px;color:var(--lb-soft)}" +
  ".lb-browse :is(button,input){font:inherit;color:inherit;background:none;border:1px solid var(--lb-line);border-radius:4px}" +
  ".lb-browse :is(button,input):focus-visible{outline:2px solid var(--lb-focus);outline-offset:1px}" +
  ".lb-browse input{padding:2px 6px;color:var(--lb-fg);min-width:20em}" +
  ".lb-browse .lb-bar button{padding:1px 9px;cursor:pointer;color:var(--lb-fg)}" +
  ".lb-browse button:disabled{opacity:.4;cursor:default}" +
  ".lb-browse th button{border:0;padding:0;text-align:inherit;cursor:pointer;line-height:inherit}" +
  ".lb-browse th button:hover{text-decoration:underline}" +
  ".lb-browse th button span{color:var(--lb-soft);font-weight:400}.lb-browse th[aria-sort] button span{color:inherit}" +
  ".lb-browse .lb-part{flex-basis:100%;border-left:3px solid var(--jp-warn-color1,var(--vscode-editorWarning-foreground,#c98500));padding-left:8px}";

/** The rows to browse. */
interface Browsed {
  /** The columns in order. */
  fields: readonly { name: string; key: string; type: string }[];
  /** The rows that were fetched. */
  rows: readonly unknown[];
  /** Whether there are more rows. */
  more: boolean;
  /** The milliseconds that fetching the rows took. */
  elapsed: number;
  /** The origin of the rows, as the end of a line. */
  origin?: string;
}

/**
 * A table whose own script pages, sorts and searches. If scripts do not run, its first page is visible as a plain table.
 *
 * @param browsed The rows.
 */
export function renderBrowse({ fields, rows, more, elapsed, origin = "" }: Browsed): Bundle {
  const cells = rows.map((row) => fields.map(({ key }) => drawnValue(row, key)));
  const data = fitting(fields, cells);
  const held = `${heldText(data.length, rows.length, more)}, ${elapsedText(elapsed)}${origin}`;
  const first = rows.length > PAGE_ROWS ? `rows 1 to ${PAGE_ROWS} of ${held}` : held;
  const table = renderTable({
    columns: drawnColumns(fields),
    rows: cells.slice(0, PAGE_ROWS),
    footer: first,
    maxBytes: MAX_TABLE_BYTES,
  });
  const id = crypto.randomUUID();
  const columns = drawnColumns(fields).map(({ name, type }) => [visible(name), type, isNumeric(type)]);
  const part = more || data.length < rows.length;
  const json = JSON.stringify({ id, columns, rows: data, size: PAGE_ROWS, held, part }).replaceAll("<", "\\u003c");
  const script = `<script>(() => { "use strict"; const data = ${json};${BROWSE_SCRIPT}})()</script>`;
  return {
    "text/html": `<div class="lb-browse" data-lb-browse="${id}">${
      table["text/html"]
    }<style>${STYLE}</style>${script}</div>`,
    "text/plain": table["text/plain"],
  };
}

/** The rows that fit, with each value as one line of text. */
function fitting(fields: Browsed["fields"], rows: readonly (readonly unknown[])[]): (string | null)[][] {
  const fit: (string | null)[][] = [];
  let left = MAX_DATA_BYTES - byteLength(JSON.stringify(fields));
  for (const row of rows) {
    const texts = row.map((value, index) => {
      const cell = cellText(value, fields[index]!.type, MAX_CELL);
      return cell === null ? null : `${visible(cell.text)}${cell.cut ? "…" : ""}`;
    });
    left -= byteLength(JSON.stringify(texts).replaceAll("<", "\\u003c")) + 1;
    if (left < 0) break;
    fit.push(texts);
  }
  return fit;
}

function heldText(held: number, fetched: number, more: boolean): string {
  const count = held.toLocaleString("en-US");
  const cut = held < fetched ? ", cut to stay within 1 MB" : "";
  if (more || held < fetched) {
    return `${held === 1 ? "the first row" : `the first ${count} rows`} (there are more)${cut}`;
  }
  return held === 1 ? "1 row" : `${count} rows`;
}

/**
 * The script that pages, sorts and searches. It is plain JavaScript, uses only the data in the output, and never inserts text
 * as HTML.
 *
 * It finds the table by its id, because VS Code has no `document.currentScript`, and a page may show an output twice. It turns
 * JupyterLab's shortcuts off, which would take Enter and letters from the buttons.
 */
const BROWSE_SCRIPT: string = String.raw`
for (const root of document.querySelectorAll('[data-lb-browse="' + data.id + '"]')) {
  if (root.dataset.lbReady) continue;
  root.dataset.lbReady = "yes";
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  start(root);
}
function start(root) {
  const frame = root.querySelector(".lakebase"), table = root.querySelector("table");
  let page = 0, column = -1, down = false, rows = data.rows;
  const make = (name, text, into) => {
    const element = document.createElement(name);
    element.textContent = text;
    return into.appendChild(element);
  };
  const bar = make("div", "", frame);
  bar.className = "lb-bar";
  frame.insertBefore(bar, root.querySelector(".lb-scroll"));
  const search = make("input", "", bar);
  search.type = "search";
  const held = "the first " + data.rows.length.toLocaleString("en-US") + " rows";
  search.placeholder = data.part ? "Search in " + held : "Search";
  search.setAttribute("aria-label", data.part ? "Search in " + held : "Search in these rows");
  const step = (text, label, to) => {
    const button = make("button", text, bar);
    button.type = "button";
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => { page = to(page); draw(); });
    return button;
  };
  const first = step("\u00ab", "First page", () => 0), previous = step("\u2039", "Previous page", (at) => at - 1);
  const next = step("\u203a", "Next page", (at) => at + 1), last = step("\u00bb", "Last page", () => Infinity);
  const position = make("span", "", bar);
  position.setAttribute("role", "status");
  if (data.part) make("span", "There are more rows: searching and sorting cover only " + held, bar).className = "lb-part";
  const foot = root.querySelector(".lb-foot");
  if (foot) foot.textContent = data.held;
  table.textContent = "";
  const head = make("tr", "", make("thead", "", table)), body = make("tbody", "", table);
  const heads = data.columns.map(([name, type, numeric], index) => {
    const th = make("th", "", head);
    th.scope = "col";
    th.style.textAlign = numeric ? "right" : "left";
    const button = make("button", name, th);
    button.type = "button";
    button.title = data.part ? "Sort " + held + " by this column" : "Sort by this column";
    make("span", "", button).setAttribute("aria-hidden", "true");
    make("br", "", button);
    make("small", type, button);
    button.addEventListener("click", () => {
      [column, down] = column !== index ? [index, false] : down ? [-1, false] : [index, true];
      page = 0;
      arrange();
    });
    return th;
  });
  const collator = new Intl.Collator(undefined, { numeric: true });
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (!data.columns[column][2]) return down ? collator.compare(b, a) : collator.compare(a, b);
    const [x, y] = [Number(a), Number(b)], order = isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) : x < y ? -1 : x > y ? 1 : 0;
    return down ? -order : order;
  };
  const arrange = () => {
    const wanted = search.value.toLowerCase();
    rows = data.rows.filter((row) => row.some((cell) => (cell ?? "NULL").toLowerCase().includes(wanted)));
    if (column >= 0) rows.sort((a, b) => compare(a[column], b[column]));
    heads.forEach((th, index) => {
      if (index === column) th.setAttribute("aria-sort", down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
      th.querySelector("span").textContent = index !== column ? " \u21c5" : down ? " \u25be" : " \u25b4";
    });
    draw();
  };
  const count = (number) => number.toLocaleString("en-US");
  const draw = () => {
    const pages = Math.max(1, Math.ceil(rows.length / data.size));
    page = Math.max(0, Math.min(pages - 1, page));
    const at = page * data.size, shown = rows.slice(at, at + data.size);
    body.textContent = "";
    for (const row of shown) {
      const tr = make("tr", "", body);
      row.forEach((cell, index) => {
        const td = make("td", "", tr);
        td.style.cssText = data.columns[index][2] ? "text-align:right" : "text-align:left;white-space:pre-wrap";
        if (cell === null) make("em", "NULL", td).className = "lb-null";
        else td.textContent = cell;
      });
    }
    first.disabled = previous.disabled = page === 0;
    last.disabled = next.disabled = page === pages - 1;
    const matching = rows.length === data.rows.length ? "" : " that match";
    position.textContent = rows.length === 0 ? "no rows" + matching
      : "rows " + count(at + 1) + " to " + count(at + shown.length) + " of " + count(rows.length) + matching;
  };
  search.addEventListener("input", () => { page = 0; arrange(); });
  arrange();
}`;
