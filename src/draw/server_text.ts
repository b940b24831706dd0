import { cellText, ServerText } from "./cell.ts";

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
export type TextColumns = ReadonlyMap<string, TextColumn>;

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
