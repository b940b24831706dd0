import { cellText, ServerText } from "./cell.ts";
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

/** A column whose text from the server may have more digits than its parsed value. */
export interface TextColumn {
  /** The index in a row's texts. */
  index: number;
  /** The Postgres type. */
  type: string;
  /** Turns the text into the value. */
  parse: (text: string) => unknown;
}

/** The columns of a result that are drawn from the server's texts, by the key in a row. */
type TextColumns = ReadonlyMap<string, TextColumn>;

interface RowTexts {
  columns: TextColumns;
  texts: readonly (string | null)[];
}

/** The texts by row object, so that rows keep them however a program sorts, filters or copies the array. */
const textsOfRow = new WeakMap<object, RowTexts>();

/** A longer JSON text is compared by its beginning, because parsing it again takes too much time. */
const MAX_PARSED_JSON = 1_000_000;
/** A longer text is not parsed again: its value is drawn. */
const MAX_PARSED = 16_000_000;
/** A number of characters that is greater than the limit of any cell. */
const MAX_SHOWN = 10_000;

/** Keeps the texts from which the values of a row were parsed. */
export function keepTexts(row: object, columns: TextColumns, texts: RowTexts["texts"]): void {
  textsOfRow.set(row, { columns, texts });
}

/**
 * The value to draw in a row: the server's text, because a parsed value can lose digits, or the value itself if the program has
 * changed it.
 */
export function drawnValue(row: unknown, key: string): unknown {
  const value = (row as Record<string, unknown>)[key];
  const kept = textsOfRow.get(row as object);
  const column = kept?.columns.get(key);
  if (column === undefined) return value;
  const text = kept!.texts[column.index];
  if (typeof text !== "string") return value;
  if (column.type.startsWith("json") && text.length > MAX_PARSED_JSON) {
    return beginsAlike(text, value, column.type) ? new ServerText(text) : value;
  }
  if (text.length > MAX_PARSED) return value;
  const parsed = column.parse(text);
  if (!drawnAlike(parsed, value, column.type)) return value;
  return value instanceof Date ? dateWithAllDigits(value, text) : new ServerText(text);
}

function drawnAlike(one: unknown, other: unknown, type: string): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== "object" || typeof other !== "object") return false;
  if (one instanceof Date && other instanceof Date) return one.getTime() === other.getTime();
  return cellText(one, type, MAX_SHOWN)?.text === cellText(other, type, MAX_SHOWN)?.text;
}

/** Whether a value and a long JSON text have the same beginning, as far as a cell can show it. */
function beginsAlike(text: string, value: unknown, type: string): boolean {
  const shown = cellText(value, type, MAX_SHOWN)?.text ?? "";
  const beginning = compactJson(text.slice(0, 3 * MAX_SHOWN));
  const length = Math.min(shown.length, beginning.length) - 12; // half a surrogate pair at the end would be escaped
  return length > MAX_SHOWN / 2 && shown.slice(0, length) === beginning.slice(0, length);
}

const JSON_TOKEN = /\s*(?:("(?:[^"\\]|\\.)*")|(-?\d[\d.eE+-]*)|(true|false|null|[{}[\],:]))/y;

const JSON_STRING_HEAD = /^"(?:[^"\\]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*/;

/** Writes the beginning of a JSON text in the form in which a cell writes a parsed value. */
function compactJson(head: string): string {
  let out = "";
  let end = 0;
  JSON_TOKEN.lastIndex = 0;
  for (let found = JSON_TOKEN.exec(head); found !== null; found = JSON_TOKEN.exec(head)) {
    const [, quoted, number, other] = found;
    end = JSON_TOKEN.lastIndex;
    if (number !== undefined) out += Object.is(Number(number), -0) ? "-0" : String(Number(number));
    else out += other ?? JSON.stringify(JSON.parse(quoted!));
  }
  const cut = head.slice(end).trimStart(); // a string whose end is not in the head
  if (!cut.startsWith('"')) return out;
  const whole = JSON_STRING_HEAD.exec(cut)![0];
  return out + JSON.stringify(JSON.parse(`${whole}"`)).slice(0, -1);
}

/** A time in UTC with its microseconds, which a `Date` does not have. */
function dateWithAllDigits(date: Date, text: string): unknown {
  const fraction = /:\d\d(\.\d{4,6})(?!\d)/.exec(text)?.[1];
  if (fraction === undefined) return date;
  return new ServerText(date.toISOString().replace("T", " ").replace(/\.\d+Z$/, `${fraction}Z`));
}
