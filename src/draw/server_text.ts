import { cellText, ServerText } from "./cell.ts";

/** A column whose text from the server may say more than its parsed value. */
export interface TextColumn {
  /** Its index in a row's texts. */
  index: number;
  /** Its Postgres type. */
  type: string;
  /** Turns the text into the value. */
  parse: (text: string) => unknown;
}

/** The columns of a result that are drawn from the server's texts, by their key in a row. */
export type TextColumns = ReadonlyMap<string, TextColumn>;

interface RowTexts {
  columns: TextColumns;
  texts: readonly (string | null)[];
}

/** By row object, so that rows keep their texts however a program sorts, filters or copies the array. */
const textsOfRow = new WeakMap<object, RowTexts>();

/** A longer text would take too long to parse again. */
const LONGEST = 1_000_000;
/** More characters of a value than any cell shows. */
const MOST_SHOWN = 10_000;

/** Keeps the texts that the values of a row were parsed from. */
export function keepTexts(row: object, columns: TextColumns, texts: RowTexts["texts"]): void {
  textsOfRow.set(row, { columns, texts });
}

/**
 * What to draw for a value of a row: the server's text, because a parsed value can lose digits, or the value itself if a
 * program has changed it since.
 */
export function drawnValue(row: unknown, key: string): unknown {
  const value = (row as Record<string, unknown>)[key];
  const kept = textsOfRow.get(row as object);
  const column = kept?.columns.get(key);
  if (column === undefined) return value;
  const text = kept!.texts[column.index];
  if (typeof text !== "string" || text.length > LONGEST) return value;
  const parsed = column.parse(text);
  if (!drawnAlike(parsed, value, column.type)) return value;
  return value instanceof Date ? dateWithAllDigits(value, text) : new ServerText(text);
}

function drawnAlike(one: unknown, other: unknown, type: string): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== "object" || typeof other !== "object") return false;
  return cellText(one, type, MOST_SHOWN)?.text === cellText(other, type, MOST_SHOWN)?.text;
}

/** Times are drawn in UTC, with the microseconds that a `Date` has no room for. */
function dateWithAllDigits(date: Date, text: string): unknown {
  const fraction = /:\d\d(\.\d{4,6})(?!\d)/.exec(text)?.[1];
  if (fraction === undefined) return date;
  return new ServerText(date.toISOString().replace("T", " ").replace(/\.\d+Z$/, `${fraction}Z`));
}
