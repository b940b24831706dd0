/**
 * Draws results, tables and cards as `text/html` and `text/plain`. This module is pure: it uses no kernel, no database and no
 * API of Deno.
 *
 * @module
 */

import { groupedNumber, printable } from "../core/text.ts";
import { cutText, drawnValue } from "./cell.ts";
import { escapeHtml } from "./escape.ts";
import type { Bundle } from "./notebook.ts";
import { htmlCommand, htmlTable } from "./table_html.ts";
import { textCommand, textTable } from "./table_text.ts";

/** A column to draw. */
export interface TableColumn {
  /** The name. Two columns may have the same one. */
  name: string;
  /** The name of the Postgres type, such as `int8`, `timestamptz` or `_text`. */
  type: string;
}

/** A notice of the server. */
export interface TableNotice {
  /** `NOTICE`, `WARNING`, ... */
  severity: string;
  /** The text. */
  message: string;
  /** The `DETAIL`. */
  detail?: string;
  /** The `HINT`. */
  hint?: string;
}

/** The input of {@linkcode renderTable}. */
export interface TableOptions {
  /** The columns in order. */
  columns: readonly TableColumn[];
  /** The rows, as arrays because two columns can have the same name. */
  rows: readonly (readonly unknown[])[];
  /** A line above the table. */
  caption?: string;
  /**
   * A line below the table, usually from {@linkcode footerText}. If it is empty, no line is drawn.
   *
   * @default {"3 rows"}
   */
  footer?: string;
  /** The server's notices, drawn below the footer. */
  notices?: readonly TableNotice[];
  /**
   * The number of characters (UTF-16 units) after which a cell is cut. In HTML, a click shows up to 2,000.
   *
   * @default {200}
   */
  maxCell?: number;
  /**
   * The maximum bytes of the HTML in UTF-8. To stay below it, columns and then rows are dropped from the end, and the footer
   * says so.
   *
   * @default {1_000_000}
   */
  maxBytes?: number;
}

/** The input of {@linkcode renderCommand}. */
interface CommandOptions {
  /** The server's command tag, such as `INSERT 0 3`. */
  tag: string;
  /** The milliseconds that the command took. */
  elapsed?: number;
  /** The server's notices. */
  notices?: readonly TableNotice[];
}

/** An output in both of its forms, by MIME type. */
export type HtmlAndText = {
  /** For notebooks. */
  "text/html": string;
  /** For terminals and logs; at most 100 kB. */
  "text/plain": string;
};

/** The input of {@linkcode footerText}. */
interface FooterOptions {
  /** The number of rows that are drawn. */
  shown: number;
  /** The number of all rows, if it is known. */
  total?: number | bigint;
  /** Whether there are more rows than are drawn, if the number of all rows is not known. */
  more?: boolean;
  /** The milliseconds that the query took. */
  elapsed?: number;
}

/**
 * Draws rows as a table. It never throws, whatever the values are.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const bundle = renderTable({
 *   columns: [{ name: "id", type: "int4" }, { name: "city", type: "text" }],
 *   rows: [[1, "東京"], [20, null]],
 *   footer: footerText({ shown: 2, elapsed: 12 }),
 * });
 * assert.equal(
 *   bundle["text/plain"],
 *   [" id | city", "----+------", "  1 | 東京", " 20 | NULL", "(2 rows, 12 ms)"].join("\n"),
 * );
 * ```
 */
export function renderTable(options: TableOptions): HtmlAndText {
  const { rows, footer = footerText({ shown: rows.length }) } = options;
  const drawn = { ...options, footer };
  return { "text/html": htmlTable(drawn), "text/plain": textTable(drawn) };
}

/**
 * Draws one line for a command that returns no rows.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(renderCommand({ tag: "INSERT 0 3", elapsed: 12 })["text/plain"], "INSERT 0 3, 12 ms");
 * ```
 */
export function renderCommand({ tag, elapsed, notices = [] }: CommandOptions): HtmlAndText {
  const line = withElapsed(tag, elapsed);
  return { "text/html": htmlCommand(line, notices), "text/plain": textCommand(line, notices) };
}

/**
 * A line with the number of rows that a table shows, the number of all rows, and the time that the query took.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(footerText({ shown: 20, total: 12345, elapsed: 143 }), "20 of 12,345 rows, 143 ms");
 * assert.equal(footerText({ shown: 20, more: true }), "first 20 rows, there are more");
 * assert.equal(footerText({ shown: 1, elapsed: 0.84 }), "1 row, 0.8 ms");
 * ```
 */
export function footerText({ shown, total, more = false, elapsed }: FooterOptions): string {
  return withElapsed(rowsText(shown, total, more), elapsed);
}

/**
 * A number of milliseconds as a duration in words.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(elapsedText(0.84), "0.8 ms");
 * assert.equal(elapsedText(1240), "1.24 s");
 * assert.equal(elapsedText(125_000), "2 min 5 s");
 * ```
 */
export function elapsedText(elapsed: number): string {
  if (elapsed < 9.95) return `${Number(elapsed.toFixed(1))} ms`;
  if (elapsed < 999.5) return `${Math.round(elapsed)} ms`;
  if (elapsed < 59_950) return `${Number((elapsed / 1000).toPrecision(3))} s`;
  const seconds = Math.round(elapsed / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(elapsed / 60_000);
  return `${groupedNumber(Math.floor(minutes / 60))} h ${minutes % 60} min`;
}

function rowsText(shown: number, total: number | bigint | undefined, more: boolean): string {
  const count = groupedNumber(shown);
  if (total !== undefined && total > shown) return `${count} of ${groupedNumber(total)} rows`;
  if (more) return shown === 1 ? "first row, there are more" : `first ${count} rows, there are more`;
  return shown === 1 ? "1 row" : `${count} rows`;
}

function withElapsed(text: string, elapsed: number | undefined): string {
  return elapsed === undefined || !(elapsed >= 0) ? text : `${text}, ${elapsedText(elapsed)}`;
}

/** The default number of rows that a result draws. */
export const SHOWN_ROWS = 20;

/** With the text form of at most 100 kB, an output stays below a megabyte, which frontends and files handle well. */
const MAX_HTML_BYTES = 890_000;

/** The connection and the transaction of a result, as far as a person must know them. */
export interface ResultOrigin {
  /** The connection; `undefined` if only one was open. */
  readonly place?: string | undefined;
  /** The transaction that was open afterwards. */
  readonly transaction?: "open" | "failed" | undefined;
}

/**
 * The end of a line that names an origin, such as `, on app at db.example.com:5432, in a transaction`; empty if there is
 * nothing to name.
 */
export function originText({ place, transaction }: ResultOrigin): string {
  const connection = place === undefined ? "" : `, on ${place}`;
  if (transaction === undefined) return connection;
  return `${connection}, ${transaction === "open" ? "in a transaction" : "in a failed transaction: ROLLBACK"}`;
}

/** The parts of a result that its drawing needs. */
interface Drawable extends ReadonlyArray<unknown>, ResultOrigin {
  /** The columns, each with its key in a row. */
  readonly fields: readonly { readonly name: string; readonly key: string; readonly type: string }[];
  /** The server's command tag, such as `INSERT 0 3`. */
  readonly tag: string;
  /** Rows returned or changed; `null` for commands that have no count. */
  readonly rowCount: number | null;
  /** Whether the server had more rows than were fetched. */
  readonly more: boolean;
  /** Milliseconds from sending the statement to its last row. */
  readonly elapsed: number;
  /** The server's notices and warnings. */
  readonly notices: readonly TableNotice[];
}

/** The columns of a drawing. A column's name there is its key in a row, such as `id_2` for the second of two columns `id`. */
export function drawnColumns(fields: Drawable["fields"]): { name: string; type: string }[] {
  return fields.map(({ key, type }) => ({ name: key, type }));
}

/**
 * Draws a result for a notebook.
 *
 * @param result The result.
 * @param limit The number of rows to show.
 * @param expanded Whether each value has its own line, as with psql's `\x`.
 */
export function drawResult(result: Drawable, limit: number = SHOWN_ROWS, expanded = false): Bundle {
  const { fields, tag, rowCount, more, elapsed, notices } = result;
  const origin = originText(result);
  if (fields.length === 0 && result.length === 0) {
    return { ...renderCommand({ tag: `${tag === "" ? "An empty query" : tag}${origin}`, elapsed, notices }) };
  }
  const rows = result.slice(0, limit);
  const total = more && rowCount === null ? undefined : Math.max(rowCount ?? 0, result.length);
  const footer = footerText({ shown: rows.length, ...(total === undefined ? { more: true } : { total }), elapsed });
  return {
    ...renderTable({
      ...expanded ? expandedRows(rows, fields) : {
        columns: drawnColumns(fields),
        rows: rows.map((row) => fields.map(({ key }) => drawnValue(row, key))),
      },
      footer: `${footer}${origin}`,
      notices,
      maxBytes: MAX_HTML_BYTES,
    }),
  };
}

/** A line for each value, with the row's number, the column and the value. */
function expandedRows(rows: readonly unknown[], fields: Drawable["fields"]): Pick<TableOptions, "columns" | "rows"> {
  return {
    columns: [{ name: "row", type: "int8" }, { name: "column", type: "text" }, { name: "value", type: "text" }],
    rows: rows.flatMap((row, index) => fields.map(({ key }) => [index + 1, key, drawnValue(row, key)])),
  };
}

/**
 * Draws named facts as a small table, such as those of a connection.
 *
 * @param title The first line.
 * @param facts The names and values.
 */
export function renderCard(title: string, facts: readonly Fact[]): HtmlAndText {
  const caption = `<caption style="text-align:left;font-weight:bold;padding:.25em 0">${escapeHtml(title)}</caption>`;
  return { "text/html": factsHtml(facts, caption), "text/plain": [title, ...factLines(facts, "  ")].join("\n") };
}

/** A name and its value, such as `access method` and `heap`. */
export type Fact = readonly [name: string, value: string];

/** The most characters of a value that {@linkcode renderFacts} draws. */
const MAX_FACT = 20_000;

/** Draws facts below a table, such as the definition of a view, whose lines are kept. */
export function renderFacts(facts: readonly Fact[]): HtmlAndText {
  const shown = facts.map(([name, value]): Fact => {
    const { text, cut } = cutText(value, MAX_FACT);
    return [name, cut ? `${text}…` : text];
  });
  return { "text/html": factsHtml(shown), "text/plain": factLines(shown).join("\n") };
}

function factsHtml(facts: readonly Fact[], caption = ""): string {
  const rows = facts.map(([name, value]) => {
    const [top, keep] = value.includes("\n") ? [";vertical-align:top", ";white-space:pre-wrap"] : ["", ""];
    return `<tr><th scope="row" style="text-align:left;font-weight:normal;opacity:.7${top}">${escapeHtml(name)}</th>` +
      `<td style="text-align:left${keep}">${escapeHtml(value, { lines: true })}</td></tr>`;
  });
  return `<table>${caption}<tbody>${rows.join("")}</tbody></table>`;
}

function factLines(facts: readonly Fact[], indent = ""): string[] {
  const width = Math.max(...facts.map(([name]) => name.length));
  const nextLine = `\n${" ".repeat(indent.length + width + 2)}`;
  return facts.map(([name, value]) => `${indent}${name.padEnd(width)}  ${printable(value).replaceAll("\n", nextLine)}`);
}
