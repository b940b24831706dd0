/**
 * A result as plain text, in the form of psql.
 *
 * @module
 */

import { byteLength } from "../core/bytes.ts";
import { countText, fitWidth, textWidth } from "../core/text.ts";
import { cellText, isNumeric } from "./cell.ts";
import { visible } from "./escape.ts";
import type { TableColumn, TableNotice, TableOptions } from "./table.ts";

const MAX_BYTES = 100_000;
const MAX_NOTICE_BYTES = 20_000;
const MAX_LINE = 2_000;
const MAX_CELL = 60;
/** The characters that a few columns share, so that a single version or query plan is not cut after 60. */
const SHARED_LINE = 240;
/** The bytes that are reserved for the note about what is not shown. */
const ENDING_BYTES = 100;
/** The narrowest column is " x |". */
const MIN_COLUMN_WIDTH = 4;

/** The columns that fit on a line, and the cells of the rows that may fit. */
interface TextLayout {
  /** The columns. */
  columns: readonly TableColumn[];
  /** The names of the columns. */
  names: readonly Cell[];
  /** The widths of the columns. */
  widths: readonly number[];
  /** The rows. */
  rows: readonly (readonly Cell[])[];
}

/** A value in its drawn form. */
export interface Cell {
  /** The text, on one line. */
  text: string;
  /** The width in columns of a terminal. */
  width: number;
}

/** {@linkcode Cell} of a text. */
export function drawnCell(text: string): Cell {
  const drawn = visible(text);
  return { text: drawn, width: textWidth(drawn) };
}

/** The rows of a result and its footer, in at most 100 kB. */
export function textTable(options: TableOptions): string {
  const layout = layOut(options);
  const head = [...(options.caption ? [oneLine(options.caption)] : []), ...headerLines(layout)];
  const notices = noticeLines(options.notices ?? []);
  const footer = oneLine(options.footer ?? "");
  const room = MAX_BYTES - byteLength([...head, footer, ...notices].join("\n")) - ENDING_BYTES;
  const body = bodyLines(layout, room);
  const ending = [footer, missingText(options, layout, body.length)].filter((text) => text !== "").join("; ");
  return [...head, ...body, ...(ending === "" ? [] : [`(${ending})`]), ...notices].join("\n");
}

/** A line and the server's notices. */
export function textCommand(line: string, notices: readonly TableNotice[]): string {
  return [oneLine(line), ...noticeLines(notices)].join("\n");
}

function layOut(options: TableOptions): TextLayout {
  const columns = options.columns.slice(0, MAX_LINE / MIN_COLUMN_WIDTH);
  const names = columns.map(({ name }) => fitCell(name.slice(0, MAX_CELL * 2), MAX_CELL, name.length > MAX_CELL * 2));
  const limit = Math.min(
    Math.max(1, options.maxCell || MAX_LINE),
    Math.max(MAX_CELL, Math.floor(SHARED_LINE / columns.length)),
  );
  const rows: Cell[][] = [];
  let room = columns.length > 0 ? MAX_BYTES : 0;
  for (const row of options.rows) {
    if (room <= 0) break;
    const cells = columns.map(({ type }, index) => drawCell(row[index], type, limit));
    room -= cells.reduce((sum, cell) => sum + cell.text.length + MIN_COLUMN_WIDTH, 0);
    rows.push(cells);
  }
  const widths: number[] = [];
  let line = 0;
  for (const [index, name] of names.entries()) {
    const width = rows.reduce((widest, cells) => Math.max(widest, cells[index]?.width ?? 0), name.width);
    line += width + MIN_COLUMN_WIDTH - 1;
    if (line > MAX_LINE) break;
    widths.push(width);
  }
  return { columns: columns.slice(0, widths.length), names: names.slice(0, widths.length), widths, rows };
}

/** The centered names and the line below them. */
export function headerLines({ columns, names, widths }: Omit<TextLayout, "rows">): string[] {
  if (columns.length === 0) return ["--"];
  const centered = names.map(({ text, width }, index) => {
    const space = (widths[index] ?? 0) - width;
    return pad(text, Math.floor(space / 2), Math.ceil(space / 2));
  });
  return [centered.join("|").trimEnd(), widths.map((width) => "-".repeat(width + 2)).join("+")];
}

function bodyLines({ columns, widths, rows }: TextLayout, room: number): string[] {
  const lines: string[] = [];
  if (columns.length === 0) return lines;
  for (const cells of rows) {
    const line = rowLine(cells, { columns, widths });
    room -= byteLength(line) + 1;
    if (room < 0) break;
    lines.push(line);
  }
  return lines;
}

/** A row on one line, with numbers aligned to the right. */
export function rowLine(cells: readonly Cell[], { columns, widths }: Pick<TextLayout, "columns" | "widths">): string {
  return columns.map(({ type }, index) => {
    const { text, width } = cells[index] ?? { text: "", width: 0 };
    const space = Math.max(0, (widths[index] ?? 0) - width);
    return isNumeric(type) ? pad(text, space, 0) : pad(text, 0, space);
  }).join("|").trimEnd();
}

function missingText({ columns, rows }: TableOptions, layout: TextLayout, drawn: number): string {
  const missing: string[] = [];
  const missingRows = columns.length === 0 ? 0 : rows.length - drawn;
  const missingColumns = columns.length - layout.columns.length;
  if (missingRows > 0) missing.push(countText(missingRows, "row"));
  if (missingColumns > 0) missing.push(countText(missingColumns, "column"));
  return missing.length === 0 ? "" : `${missing.join(" and ")} not shown`;
}

/** The server's notices, in at most 20 kB. */
export function noticeLines(notices: readonly TableNotice[]): string[] {
  const lines: string[] = [];
  let room = MAX_NOTICE_BYTES;
  for (const [index, { severity, message, detail, hint }] of notices.entries()) {
    const parts = [`${severity}:  ${message}`];
    if (detail) parts.push(`DETAIL:  ${detail}`);
    if (hint) parts.push(`HINT:  ${hint}`);
    room -= byteLength(parts.map((text) => text.slice(0, MAX_NOTICE_BYTES)).join("\n")) + 1;
    if (room < 0) return [...lines, `(${countText(notices.length - index, "more notice")})`];
    lines.push(...parts.map((text) => text.split(/\r?\n/).map(visible).join("\n")));
  }
  return lines;
}

function drawCell(value: unknown, type: string, limit: number): Cell {
  // Twice the width, so that text with zero-width marks can fill its cell.
  const cell = cellText(value, type, limit * 2);
  return cell === null ? { text: "NULL", width: 4 } : fitCell(cell.text, limit, cell.cut);
}

function fitCell(value: string, limit: number, more: boolean): Cell {
  const text = fitWidth(visible(value), limit, more);
  return { text, width: textWidth(text) };
}

function oneLine(text: string): string {
  return fitWidth(visible(text.slice(0, MAX_LINE)), MAX_LINE, text.length > MAX_LINE);
}

function pad(text: string, before: number, after: number): string {
  return ` ${" ".repeat(before)}${text}${" ".repeat(after)} `;
}
