import type { Bundle } from "./notebook.ts";
import { drawnValue } from "./server_text.ts";
import { footerText, renderCommand, renderTable, type TableNotice, type TableOptions } from "./table.ts";

/** The default number of rows that a result draws. */
export const SHOWN_ROWS = 20;

/** With the text form of at most 100 kB, an output stays below a megabyte, which frontends and files handle well. */
const MOST_HTML_BYTES = 890_000;

/** Where something that is drawn was computed, as far as a person has to know it. */
export interface ResultOrigin {
  /** The connection; `undefined` if only one was open. */
  readonly place?: string | undefined;
  /** The transaction that was open afterwards. */
  readonly transaction?: "open" | "failed" | undefined;
}

/** An origin as the end of a line: `, on app at db.example.com:5432, in a transaction`; empty if there is nothing to say. */
export function originText({ place, transaction }: ResultOrigin): string {
  const on = place === undefined ? "" : `, on ${place}`;
  if (transaction === undefined) return on;
  return `${on}, ${transaction === "open" ? "in a transaction" : "in a failed transaction: ROLLBACK"}`;
}

/** What a drawing of a result needs of it. */
export interface Drawable extends ReadonlyArray<unknown>, ResultOrigin {
  /** The columns, each with its key in a row. */
  readonly fields: readonly { readonly name: string; readonly key: string; readonly type: string }[];
  /** The command as the server reports it, such as `INSERT 0 3`. */
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

/** The columns as they are drawn: the second of two with one name under its key in a row, such as `id_2`. */
export function drawnColumns(fields: Drawable["fields"]): { name: string; type: string }[] {
  return fields.map(({ key, type }) => ({ name: key, type }));
}

/**
 * A result as a notebook shows it.
 *
 * @param result The result.
 * @param limit Rows to show.
 * @param expanded Whether each value is drawn on a line of its own, as psql's `\x` does.
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
      maxBytes: MOST_HTML_BYTES,
    }),
  };
}

/** A row of the drawing for each value: the row's number, the column and the value. */
function expandedRows(rows: readonly unknown[], fields: Drawable["fields"]): Pick<TableOptions, "columns" | "rows"> {
  return {
    columns: [{ name: "row", type: "int8" }, { name: "column", type: "text" }, { name: "value", type: "text" }],
    rows: rows.flatMap((row, index) => fields.map(({ key }) => [index + 1, key, drawnValue(row, key)])),
  };
}
