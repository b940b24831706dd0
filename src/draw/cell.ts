/**
 * One value of a result as text.
 *
 * @module
 */

import { quoteElement } from "../core/sql_text.ts";
import { groupedNumber } from "../core/text.ts";

/** A value as text, up to a limit. */
export interface CellText {
  /** The text, or the beginning of it. */
  text: string;
  /** Whether the text is only a beginning. */
  cut: boolean;
  /** The length of the whole text in UTF-16 units, if it is known. */
  length?: number;
}

/** Longer values of bytes are cut to {@linkcode CUT_BYTES}. */
const MAX_WHOLE_BYTES = 32;
const CUT_BYTES = 16;
/** The maximum depth of a structure. */
const MAX_DEPTH = 32;
const NUMERIC: ReadonlySet<string> = new Set(
  ("int2 int4 int8 float4 float8 numeric money oid smallint integer bigint real decimal " +
    "double_precision tinyint int float double").split(" "), // the last four are types of SQL warehouses
);

/** Whether the values of a type of Postgres or of a SQL warehouse are numbers, which are aligned to the right. */
export function isNumeric(type: string): boolean {
  return NUMERIC.has(type) ||
    /[ (A-Z]/.test(type) && NUMERIC.has(type.replace(" ", "_").replace(/\([^)]*\)$/, "").toLowerCase());
}

/**
 * A value in the form that a user of Postgres expects; `null` for NULL. It never throws, and its cost depends on `limit` and
 * not on the size of the value.
 *
 * Arrays of an array type (`_int4`, `int4[]`) are drawn in Postgres's form `{1,NULL}`. All other objects, and all values of a
 * `json` or `jsonb` column, are drawn as JSON.
 *
 * @param value The value from the driver.
 * @param type The name of the column's Postgres type.
 * @param limit The maximum characters (UTF-16 units) to return.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(cellText(new Date(0), "timestamptz", 100)?.text, "1970-01-01 00:00:00Z");
 * assert.deepEqual(cellText([1, null], "_int4", 100)?.text, "{1,NULL}");
 * assert.deepEqual(cellText("abc", "text", 2), { text: "ab", cut: true, length: 3 });
 * assert.equal(cellText(null, "text", 100), null);
 * ```
 */
export function cellText(value: unknown, type: string, limit: number): CellText | null {
  if (value === null || value === undefined) return null;
  if (isPicture(value) || ServerText.is(value)) return cutText(value.text, limit);
  const json = type === "json" || type === "jsonb";
  if (typeof value === "string" && !json) return cutText(value, limit);
  try {
    if (typeof value === "object" || json) {
      return cutText(objectText(value, type, limit), limit, true);
    }
    return cutText(scalarText(value), limit);
  } catch {
    return cutText(`[${typeof value} that cannot be shown]`, limit); // a method of the value has thrown
  }
}

/**
 * The beginning of a text, of at most `limit` UTF-16 units. It does not end inside a character.
 *
 * @param text The text.
 * @param limit The maximum UTF-16 units to return.
 * @param partial Whether `text` is itself a beginning, so that the length of the whole text is not known.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(cutText("a😀", 2), { text: "a", cut: true, length: 3 });
 * ```
 */
export function cutText(text: string, limit: number, partial = false): CellText {
  if (text.length <= limit) return { text, cut: false, length: text.length };
  const end = /[\ud800-\udbff]/.test(text.charAt(limit - 1)) ? limit - 1 : limit;
  const head = { text: text.slice(0, end), cut: true };
  return partial ? head : { ...head, length: text.length };
}

function scalarText(value: unknown): string {
  if (Object.is(value, -0)) return "-0";
  if (typeof value === "function") return `[function ${String(value.name)}]`;
  return String(value);
}

function objectText(value: unknown, type: string, limit: number): string {
  if (value instanceof Date) return dateText(value);
  if (value instanceof Uint8Array) return bytesText(value);
  if (value instanceof ArrayBuffer) return bytesText(new Uint8Array(value));
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  const writer = new StructureWriter(limit);
  if (Array.isArray(value) && (type.startsWith("_") || type.endsWith("[]"))) {
    writer.array(value);
  } else writer.json(value);
  return writer.text;
}

function dateText(date: Date): string {
  if (Number.isNaN(date.getTime())) return "Invalid Date";
  return date.toISOString().replace("T", " ").replace(".000Z", "Z");
}

function bytesText(bytes: Uint8Array): string {
  if (bytes.length <= MAX_WHOLE_BYTES) return `\\x${bytes.toHex()}`;
  return `\\x${bytes.subarray(0, CUT_BYTES).toHex()}… (${groupedNumber(bytes.length)} bytes)`;
}

/** Writes a structure until the text exceeds `limit`. `JSON.stringify` would visit the whole structure. */
class StructureWriter {
  text = "";
  readonly #limit: number;
  readonly #open: unknown[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get #full(): boolean {
    return this.text.length > this.#limit;
  }

  json(value: unknown): void {
    if (typeof value === "string") {
      this.text += JSON.stringify(value.slice(0, this.#limit + 1));
    } else if (value === null || value === undefined) this.text += "null";
    else if (typeof value === "object") {
      this.#nested(value, () => this.#structure(value));
    } else if (typeof value === "symbol" || typeof value === "function") {
      this.json(scalarText(value));
    } else this.text += scalarText(value);
  }

  array(values: readonly unknown[]): void {
    this.#nested(values, () =>
      this.#list("{", "}", values, (value) => {
        if (Array.isArray(value)) this.array(value);
        else if (value === null || value === undefined) this.text += "NULL";
        else this.text += quotedElement(cellText(value, "", this.#limit + 1)?.text ?? "");
      }));
  }

  #structure(value: object): void {
    if (value instanceof Date) return this.json(dateText(value));
    if (value instanceof Uint8Array) return this.json(bytesText(value));
    if (Array.isArray(value) || value instanceof Set) {
      return this.#list("[", "]", value as Iterable<unknown>, (item) => this.json(item));
    }
    if (value instanceof Map) {
      return this.#list("{", "}", value, ([key, item]) => this.#pair(key, () => item));
    }
    const toJSON: unknown = Reflect.get(value, "toJSON");
    if (typeof toJSON === "function") return this.json(toJSON.call(value));
    this.#list("{", "}", Object.keys(value), (key) => this.#pair(key, () => Reflect.get(value, key)));
  }

  #pair(key: unknown, read: () => unknown): void {
    this.json(typeof key === "string" ? key : cellText(key, "", this.#limit)?.text ?? "null");
    this.text += ":";
    try {
      this.json(read());
    } catch {
      this.text += '"[threw]"'; // a getter or a toJSON method of the value has thrown
    }
  }

  #list<T>(open: string, close: string, items: Iterable<T>, write: (item: T) => void): void {
    let separator = open;
    for (const item of items) {
      this.text += separator;
      separator = ",";
      if (this.#full) return;
      write(item);
    }
    this.text += separator === open ? open + close : close;
  }

  #nested(value: object, write: () => void): void {
    if (this.#open.includes(value)) this.text += '"[circular]"';
    else if (this.#open.length >= MAX_DEPTH) this.text += '"…"';
    else {
      this.#open.push(value);
      try {
        write();
      } finally {
        this.#open.pop();
      }
    }
  }
}

function quotedElement(text: string): string {
  if (!/^$|[\s{},"\\]|^null$/i.test(text)) return text;
  return quoteElement(text);
}

/** The server's text of a value, which is drawn without a change. */
export class ServerText {
  /** The text. */
  readonly text: string;
  readonly #brand = true;

  /** Takes the server's text. */
  constructor(text: string) {
    this.text = text;
  }

  /** Whether a value is a `ServerText`. Unlike `instanceof`, it calls no code of the value, which could throw. */
  static is(value: unknown): value is ServerText {
    return typeof value === "object" && value !== null && #brand in value && value.#brand;
  }
}

/** A cell with a drawing. Its HTML is from this module, and contains nothing from a database. */
interface Picture {
  /** For notebooks. */
  readonly html: string;
  /** For terminals and logs. */
  readonly text: string;
}

/** The pictures that this module has made. A value from elsewhere can't be among them or pretend to be. */
const pictures = new WeakSet<object>();

/** Whether a cell is a picture. */
export function isPicture(value: unknown): value is Picture {
  return pictures.has(value as object);
}

const BLOCKS = "▁▂▃▄▅▆▇█";
const [WIDTH, HEIGHT, GAP] = [6, 18, 1];

/**
 * Counts as small bars. The greatest count has full height, and a count above 0 is always visible.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(barsPicture([8, 0, 1, 4]).text, "█ ▁▄");
 * ```
 */
export function barsPicture(counts: readonly number[]): Picture {
  const greatest = Math.max(1, ...counts);
  const text = counts.map((count) => count === 0 ? " " : BLOCKS[Math.ceil((8 * count) / greatest) - 1]).join("");
  const bars = counts.map((count, index) => {
    const height = count === 0 ? 0 : Math.max(1, Math.round((HEIGHT * count) / greatest));
    return `<rect x="${index * WIDTH}" y="${HEIGHT - height}" width="${WIDTH - GAP}" height="${height}"/>`;
  });
  const label = `counts: ${counts.map((count) => groupedNumber(count)).join("; ")}`;
  const html =
    `<svg width="${counts.length * WIDTH}" height="${HEIGHT}" role="img" aria-label="${label}" fill="currentColor" ` +
    `style="display:block;opacity:.7"><title>${label}</title>${bars.join("")}</svg>`;
  const picture = { html, text };
  pictures.add(picture);
  return picture;
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
 * The value to draw in a row. It is the server's text, because a parsed value can lose digits; or the value itself, if
 * the program has changed it.
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

/**
 * A time in UTC with its microseconds, which a `Date` does not have. It uses no regular expression, because all cells of a table
 * may be times.
 */
function dateWithAllDigits(date: Date, text: string): unknown {
  const point = text.indexOf(".", text.indexOf(":")); // not the one of a date such as 31.01.2026
  let end = point + 1;
  while (text.charCodeAt(end) >= 48 && text.charCodeAt(end) <= 57) end++;
  if (point < 0 || end - point < 5 || end - point > 7) return date; // a Date has the three digits of milliseconds
  const iso = date.toISOString(); // it ends in hh:mm:ss.sssZ
  return new ServerText(`${iso.slice(0, -14)} ${iso.slice(-13, -5)}${text.slice(point, end)}Z`);
}
