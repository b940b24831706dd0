import { drawnValue } from "./cell.ts";
import type { Bundle } from "./notebook.ts";
import { footerText, renderCommand, renderTable, type TableNotice, type TableOptions } from "./table.ts";

/** The default number of rows that a result draws. */
export const SHOWN_ROWS = 20;

/** With the text form of at most 100 kB, an output stays below a megabyte, which frontends and files handle well. */
const MAX_HTML_BYTES = 890_000;

/** The origin of a result, as far as a person must know it. */
export interface ResultOrigin {
  /** The connection; `undefined` if only one was open. */
  readonly place?: string | undefined;
  /** The transaction that was open afterwards. */
  readonly transaction?: "open" | "failed" | undefined;
}

/** An origin as the end of a line, such as `, on app at db.example.com:5432, in a transaction`. It may be empty. */
export function originText({ place, transaction }: ResultOrigin): string {
  const on = place === undefined ? "" : `, on ${place}`;
  if (transaction === undefined) return on;
  return `${on}, ${transaction === "open" ? "in a transaction" : "in a failed transaction: ROLLBACK"}`;
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
 * @param expanded Whether each value has a line, as with psql's `\x`.
 */
export function drawResult(result: Drawable, limit: number = SHOWN_ROWS, expanded = false): Bundle {
  const { fields, tag, rowCount, more, elapsed, notices } = result;
  const on = originText(result);
  if (fields.length === 0 && result.length === 0) {
    return { ...renderCommand({ tag: `${tag === "" ? "An empty query" : tag}${on}`, elapsed, notices }) };
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
      footer: `${footer}${on}`,
      notices,
      maxBytes: MAX_HTML_BYTES,
    }),
  };
}

/** A line of the drawing for each value, with the row's number, the column and the value. */
function expandedRows(rows: readonly unknown[], fields: Drawable["fields"]): Pick<TableOptions, "columns" | "rows"> {
  return {
    columns: [{ name: "row", type: "int8" }, { name: "column", type: "text" }, { name: "value", type: "text" }],
    rows: rows.flatMap((row, index) => fields.map(({ key }) => [index + 1, key, drawnValue(row, key)])),
  };
}
