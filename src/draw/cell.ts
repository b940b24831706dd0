/**
 * One value of a result as text.
 *
 * @module
 */

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

const BYTES_WHOLE = 32;
const BYTES_CUT = 16;
const DEEPEST = 32;
const NUMERIC: ReadonlySet<string> = new Set(
  ("int2 int4 int8 float4 float8 numeric money oid smallint integer bigint real decimal " +
    "double_precision tinyint int float double").split(" "), // the last four are a SQL warehouse's
);

/** Whether the values of a type of Postgres or of a SQL warehouse are numbers, which are aligned to the right. */
export function isNumeric(type: string): boolean {
  return NUMERIC.has(type) ||
    /[ (A-Z]/.test(type) && NUMERIC.has(type.replace(" ", "_").replace(/\([^)]*\)$/, "").toLowerCase());
}

/**
 * A value as a Postgres user expects to read it; `null` for NULL. It never throws,
 * and its cost depends on `limit`, not on the size of the value.
 *
 * Arrays of an array type (`_int4`, `int4[]`) are drawn as Postgres does, `{1,NULL}`; all other objects, and everything in a `json` or `jsonb` column, as JSON.
 *
 * @param value What the driver gave.
 * @param type The column's Postgres type name.
 * @param limit The most characters (UTF-16 units) to return.
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
export function cellText(
  value: unknown,
  type: string,
  limit: number,
): CellText | null {
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
    return cutText(`[${typeof value} that cannot be shown]`, limit);
  }
}

/**
 * The beginning of a text, at most `limit` characters (UTF-16 units), that does not end inside one.
 *
 * @param text The text.
 * @param limit The most characters to return.
 * @param partial Whether `text` itself is a beginning, its full length not known.
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
  // Do not cut a surrogate pair in two.
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
  const writer = new Writer(limit);
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
  if (bytes.length <= BYTES_WHOLE) return `\\x${bytes.toHex()}`;
  return `\\x${bytes.subarray(0, BYTES_CUT).toHex()}… (${groupedNumber(bytes.length)} bytes)`;
}

/** Writes a structure until the text exceeds `limit`; `JSON.stringify` would visit all of the structure. */
class Writer {
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
        else {this.text += quoteElement(
            cellText(value, "", this.#limit + 1)?.text ?? "",
          );}
      }));
  }

  #structure(value: object): void {
    if (value instanceof Date) return this.json(dateText(value));
    if (value instanceof Uint8Array) return this.json(bytesText(value));
    if (Array.isArray(value)) {
      return this.#list("[", "]", value, (item) => this.json(item));
    }
    if (value instanceof Set) {
      return this.#list("[", "]", value, (item) => this.json(item));
    }
    if (value instanceof Map) {
      return this.#list(
        "{",
        "}",
        value,
        ([key, item]) => this.#pair(key, () => item),
      );
    }
    const toJSON: unknown = Reflect.get(value, "toJSON");
    if (typeof toJSON === "function") return this.json(toJSON.call(value));
    this.#list(
      "{",
      "}",
      Object.keys(value),
      (key) => this.#pair(key, () => Reflect.get(value, key)),
    );
  }

  #pair(key: unknown, read: () => unknown): void {
    this.json(
      typeof key === "string" ? key : cellText(key, "", this.#limit)?.text ?? "null",
    );
    this.text += ":";
    try {
      this.json(read());
    } catch {
      this.text += '"[threw]"';
    }
  }

  #list<T>(
    open: string,
    close: string,
    items: Iterable<T>,
    write: (item: T) => void,
  ): void {
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
    else if (this.#open.length >= DEEPEST) this.text += '"…"';
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

function quoteElement(text: string): string {
  if (!/^$|[\s{},"\\]|^null$/i.test(text)) return text;
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

/** The text of a value as the server wrote it, which is drawn as it is. */
export class ServerText {
  /** The text. */
  readonly text: string;
  readonly #own = true;

  /** Made of the server's text. */
  constructor(text: string) {
    this.text = text;
  }

  /** Whether a value is one; unlike `instanceof` it asks nothing of a value that could answer with an error. */
  static is(value: unknown): value is ServerText {
    return typeof value === "object" && value !== null && #own in value && value.#own;
  }
}

/** A cell of a table that is drawn: its HTML is this module's own, with nothing in it that came from a database. */
export interface Picture {
  /** For notebooks. */
  readonly html: string;
  /** For terminals and logs. */
  readonly text: string;
}

/** No value that came from elsewhere is among these, and to ask for it is nothing that a value can answer. */
const pictures = new WeakSet<object>();

/** Whether a cell is a picture. */
export function isPicture(value: unknown): value is Picture {
  return pictures.has(value as object);
}

const BLOCKS = "▁▂▃▄▅▆▇█";
const [WIDTH, HEIGHT, GAP] = [6, 18, 1];

/**
 * Counts as small bars. The greatest has full height, and a count above 0 is always visible.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(barsPicture([8, 0, 1, 4]).text, "█ ▁▄");
 * ```
 */
export function barsPicture(counts: readonly number[]): Picture {
  const most = Math.max(1, ...counts);
  const text = counts.map((count) => count === 0 ? " " : BLOCKS[Math.ceil((8 * count) / most) - 1]).join("");
  const bars = counts.map((count, index) => {
    const height = count === 0 ? 0 : Math.max(1, Math.round((HEIGHT * count) / most));
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
