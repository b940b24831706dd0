import { type Cell, drawnCell, headerLines, rowLine } from "../notebook/table_text.ts";
import { textWidth } from "../notebook/text_width.ts";
import type { Field } from "../query/result.ts";
import { type RowFormat, SERVER_TEXT } from "./row_format.ts";

/** How a table is drawn. */
export interface TableRowsOptions {
  /** Whether it has its names, and its count below. */
  header: boolean;
  /** What stands for NULL. */
  null: string;
  /** Whether NULL is dimmed, as on a terminal it can be. */
  color: boolean;
}

/** The rows, and the characters in them, that its columns' widths are taken from: the rest is not waited for. */
const MEASURED_ROWS = 1000;
const MEASURED_LENGTH = 1_000_000;

/** A table as psql draws it, whole: no cell is cut. The first thousand rows set the widths; a later cell that is wider stands out. */
export function tableRows(options: TableRowsOptions): RowFormat {
  const nothing = {
    text: options.color ? `\x1b[2m${options.null}\x1b[22m` : options.null,
    width: textWidth(options.null),
  };
  let columns: readonly Field[] = [];
  let names: Cell[] = [];
  let widths: number[] | undefined;
  let held: Cell[][] = [];
  let length = 0;
  let count = 0;
  const cell = (value: unknown) => value === null ? nothing : drawnCell(String(value));
  const draw = () => {
    const first = widths === undefined;
    widths ??= names.map(({ width }, index) =>
      held.reduce((widest, row) => Math.max(widest, row[index]!.width), width)
    );
    const layout = { columns, names, widths };
    const lines = [...(first && options.header ? headerLines(layout) : []), ...held.map((row) => rowLine(row, layout))];
    held = [];
    return lines.map((line) => `${line}\n`).join("");
  };
  return {
    types: SERVER_TEXT,
    begin: (fields) => {
      columns = fields;
      names = fields.map(({ name }) => drawnCell(name));
      return "";
    },
    rows: (rows) => {
      const cells = rows.map((row) => row.map(cell));
      count += rows.length;
      held.push(...cells);
      for (const row of widths === undefined ? cells : []) {
        length += row.reduce((sum, { text }) => sum + text.length, 0);
      }
      return widths !== undefined || held.length >= MEASURED_ROWS || length >= MEASURED_LENGTH ? draw() : "";
    },
    end: () => `${draw()}${options.header ? `(${count.toLocaleString("en-US")} row${count === 1 ? "" : "s"})\n` : ""}`,
    command: (tag) => `${tag}\n`,
  };
}
