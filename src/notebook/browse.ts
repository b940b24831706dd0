import { BROWSE_SCRIPT } from "./browse_script.ts";
import { cellText, isNumeric } from "./cell.ts";
import type { Bundle } from "./display.ts";
import { visible } from "./escape.ts";
import { elapsedText, renderTable } from "./table.ts";

/** Rows of a page. */
const PAGE = 20;
/** Characters of a cell. */
const MOST_CELL = 200;
/** Together with the text form, which has at most 100 kB, they stay below a megabyte. */
const MOST_TABLE_BYTES = 200_000;
const MOST_DATA_BYTES = 600_000;

const STYLE = ".lb-browse .lb-bar{display:flex;gap:6px;align-items:center;padding:2px 1px 6px;color:var(--lb-soft)}" +
  ".lb-browse :is(button,input){font:inherit;color:inherit;background:none;border:1px solid var(--lb-line);border-radius:4px}" +
  ".lb-browse :is(button,input):focus-visible{outline:2px solid var(--lb-focus);outline-offset:1px}" +
  ".lb-browse input{padding:2px 6px;color:var(--lb-fg);min-width:14em}" +
  ".lb-browse .lb-bar button{padding:1px 9px;cursor:pointer;color:var(--lb-fg)}" +
  ".lb-browse button:disabled{opacity:.4;cursor:default}" +
  ".lb-browse th button{border:0;padding:0;text-align:inherit;cursor:pointer;line-height:inherit}";

/** What is browsed. */
export interface Browsed {
  /** The columns in their order. */
  fields: readonly { name: string; key: string; type: string }[];
  /** The rows that were fetched. */
  rows: readonly unknown[];
  /** Whether there are more of them. */
  more: boolean;
  /** Milliseconds that they took. */
  elapsed: number;
}

/**
 * A table that pages, sorts and searches by itself. Its first page is a plain table, which is what is seen where no script
 * runs.
 *
 * @param browsed The rows.
 */
export function renderBrowse({ fields, rows, more, elapsed }: Browsed): Bundle {
  const cells = rows.map((row) => fields.map(({ key }) => (row as Record<string, unknown>)[key]));
  const data = fitting(fields, cells);
  const held = `${heldText(data.length, rows.length, more)}, ${elapsedText(elapsed)}`;
  const first = rows.length > PAGE ? `rows 1 to ${PAGE} of ${held}` : held;
  const table = renderTable({ columns: fields, rows: cells.slice(0, PAGE), footer: first, maxBytes: MOST_TABLE_BYTES });
  const id = crypto.randomUUID();
  const columns = fields.map(({ name, type }) => [visible(name), type, isNumeric(type)]);
  const json = JSON.stringify({ id, columns, rows: data, size: PAGE, held }).replaceAll("<", "\\u003c");
  const script = `<script>(() => { "use strict"; const data = ${json};${BROWSE_SCRIPT}})()</script>`;
  return {
    "text/html": `<div class="lb-browse" data-lb-browse="${id}">${
      table["text/html"]
    }<style>${STYLE}</style>${script}</div>`,
    "text/plain": table["text/plain"],
  };
}

/** As many rows as fit, their values as text on one line. */
function fitting(fields: Browsed["fields"], rows: readonly (readonly unknown[])[]): (string | null)[][] {
  const fit: (string | null)[][] = [];
  let left = MOST_DATA_BYTES - byteLength(JSON.stringify(fields));
  for (const row of rows) {
    const texts = row.map((value, index) => {
      const cell = cellText(value, fields[index]!.type, MOST_CELL);
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
    return held === 1 ? `the first of more rows${cut}` : `the first ${count} of more rows${cut}`;
  }
  return held === 1 ? "1 row" : `${count} rows`;
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}
