import { joinBytes } from "../../core/bytes.ts";
import { quoteElement } from "../../core/sql_text.ts";
import { arrayText } from "../../sql/parameter.ts";
import { badFile, BYTE_ORDER_MARK, type LoadBytes } from "./bytes.ts";
import type { Incoming } from "./incoming.ts";
import { listType, type NewType, typeOfText, typeOfWord } from "./infer.ts";
import type { SourceOptions } from "./options.ts";
import { type LoadRow, openRows, type RowBatch } from "./rows.ts";
import type { LoadColumn } from "./table.ts";

/** The most bytes of a line. A longer line most likely holds all rows as one array. */
const MAX_LINE_BYTES = 402_653_184;

/** The most levels of nesting in a value. A parser needs a hundred times the memory of a bracket for each level. */
const MAX_LEVELS = 1000;

const LINE_FEED = 10;
const RETURN = 13;
const TAB = 9;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Opens a file with one JSON object per line. */
export async function openNdjson(bytes: LoadBytes, options: SourceOptions): Promise<Incoming> {
  return await openLines(new LineParser(bytes.name, "line"), bytes, bytes.chunks, options);
}

/** Opens a file with an array of JSON objects, or with consecutive objects. */
export async function openJson(bytes: LoadBytes, options: SourceOptions): Promise<Incoming> {
  return await openLines(new LineParser(bytes.name, "object"), bytes, jsonLines(bytes.chunks, bytes.name), options);
}

async function openLines(
  parser: LineParser,
  bytes: LoadBytes,
  chunks: AsyncIterable<Uint8Array>,
  options: SourceOptions,
): Promise<Incoming> {
  return await openRows(parser.rows(chunks), {
    file: bytes.name,
    size: bytes.size,
    place: (row) => `${parser.unit} ${parser.lineNumber(row).toLocaleString("en-US")}`,
    text: (value, column) => textOfRaw(value as string | undefined, column),
    type: (value) => typeOfRaw(value as string | undefined),
    close: async () => await bytes[Symbol.asyncDispose](),
  }, options);
}

/** Parses each line of a file as a row, and remembers the line of each row. */
class LineParser {
  /** What errors call a line: `object` for a JSON file, whose objects have been split into lines. */
  readonly unit: "line" | "object";
  readonly #name: string;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  /** The number of rows before each blank line. */
  readonly #rowsBeforeBlank: number[] = [];
  #rows = 0;

  constructor(name: string, unit: "line" | "object") {
    this.#name = name;
    this.unit = unit;
  }

  /** The line of a row; both count from 1. */
  lineNumber(row: number): number {
    return row + this.#rowsBeforeBlank.filter((before) => before < row).length;
  }

  /** The rows, each with the JSON text of its values by name. */
  async *rows(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<RowBatch, void, void> {
    for await (const block of wholeLines(chunks, () => this.#nextLine(), this.#name)) {
      yield [...this.#rowsOf(this.#decode(block))];
    }
  }

  *#rowsOf(text: string): Generator<LoadRow, void, void> {
    for (const line of text.split("\n")) {
      if (line.trim() === "") {
        this.#rowsBeforeBlank.push(this.#rows);
        continue;
      }
      yield this.#parse(line);
      this.#rows++;
    }
  }

  #nextLine(): number {
    return this.#rows + this.#rowsBeforeBlank.length + 1;
  }

  #parse(line: string): LoadRow {
    let value: unknown;
    if (line.length > MAX_LEVELS && !isShallow(line)) throw this.#fault(`is nested more than ${MAX_LEVELS} deep`);
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw this.#fault(`is not JSON: ${(cause as Error).message}`, cause);
    }
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return jsonMembers(line);
    throw this.#fault(`is not a JSON object; a line of NDJSON is one: {"id": 1, "name": "Harlem"}`);
  }

  #decode(block: Uint8Array): string {
    try {
      return this.#decoder.decode(block);
    } catch {
      let start = 0;
      for (let line = this.#nextLine();; line++) {
        const end = block.indexOf(LINE_FEED, start);
        const bytes = block.subarray(start, end === -1 ? undefined : end);
        if (end === -1 || !isUtf8(bytes)) throw badFile(`Cannot load ${this.#name}: ${this.unit} ${line} is not UTF-8`);
        start = end + 1;
      }
    }
  }

  #fault(state: string, cause?: unknown) {
    return badFile(`Cannot load ${this.#name}: ${this.unit} ${this.#nextLine()} ${state}`, cause);
  }
}

/** Joins chunks into blocks of whole lines. A block does not include the line feed at its end. */
async function* wholeLines(
  chunks: AsyncIterable<Uint8Array>,
  nextLine: () => number,
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  let incomplete: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(LINE_FEED);
    if (end !== -1) {
      yield joinBytes([...incomplete, chunk.subarray(0, end)]);
      incomplete = [];
      length = 0;
    }
    const rest = chunk.subarray(end + 1);
    if (rest.length > 0) incomplete.push(rest);
    length += rest.length;
    if (length > MAX_LINE_BYTES) {
      throw badFile(`Cannot load ${name}: line ${nextLine()} is too long; NDJSON has one row per line`);
    }
  }
  if (incomplete.length > 0) yield joinBytes(incomplete);
}

/**
 * Whether the nesting is within the limit. Brackets inside strings do not count. A regular expression for strings would
 * overflow its stack on a long string, and would read a text with many escaped quotes repeatedly.
 */
function isShallow(line: string): boolean {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < line.length; at++) {
    const char = line[at];
    if (char === '"') quoted = !quoted;
    else if (quoted) at += char === "\\" ? 1 : 0;
    else if (char === "[" || char === "{") depth++;
    else if (char === "]" || char === "}") depth--;
    if (depth > MAX_LEVELS) return false;
  }
  return true;
}

/** What the reader expects next. */
type JsonState =
  /** Before the first value, where an array may begin. */
  | "start"
  /** Where a value may begin. */
  | "value"
  /** After a comma of an array, where a value must begin. */
  | "next"
  /** Inside a value. */
  | "inside"
  /** After a value of an array, where a comma or the array's end follows. */
  | "after"
  /** After the array, where nothing may follow. */
  | "end";

/**
 * Rewrites a JSON file, which is an array of objects or consecutive objects, as NDJSON with one object per line. Only its state
 * stays in memory. The reader of NDJSON checks that each line is valid JSON.
 *
 * @throws {LakebaseError} `BAD_FILE` for a file that is cut off, that continues after its array, or whose brackets, commas or
 * strings are wrong.
 */
async function* jsonLines(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  const splitter = new JsonSplitter(name);
  for await (const chunk of chunks) yield splitter.push(chunk);
  splitter.finish();
}

class JsonSplitter {
  readonly #name: string;
  #state: JsonState = "start";
  #isArray = false;
  #depth = 0;
  #quoted = false;
  #escaped = false;
  #line = 1;

  constructor(name: string) {
    this.#name = name;
  }

  push(chunk: Uint8Array): Uint8Array {
    // Each value has at least one byte, and gets one line feed.
    const out = new Uint8Array(chunk.length * 2);
    let to = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (byte === LINE_FEED) this.#line++;
      if (this.#state !== "inside") {
        if (!this.#begins(byte)) continue;
        this.#state = "inside";
      }
      if (this.#ends(byte)) {
        out[to++] = LINE_FEED;
        continue;
      }
      // In JSON, a line end is white space between the parts of a value, and invalid inside a string.
      if (!this.#quoted && (byte === LINE_FEED || byte === RETURN)) out[to++] = SPACE;
      else if (this.#quoted && byte === LINE_FEED) {
        throw this.#fault("has a line end inside a string, which JSON does not allow");
      } else out[to++] = byte;
      if (this.#closes(byte)) out[to++] = LINE_FEED;
    }
    return out.subarray(0, to);
  }

  finish(): void {
    const isComplete = this.#isArray ? this.#state === "end" : this.#depth === 0 && !this.#quoted;
    if (!isComplete) {
      throw badFile(`Cannot load ${this.#name}: it ends in the middle, at line ${this.#line}; it is cut off`);
    }
  }

  /** Takes a byte between values, and returns whether a value begins with it. */
  #begins(byte: number): boolean {
    if (byte === SPACE || byte === LINE_FEED || byte === RETURN || byte === TAB) return false;
    if (this.#state === "start" && BYTE_ORDER_MARK.includes(byte)) return false;
    if (this.#state === "start" && byte === OPEN_ARRAY) {
      this.#isArray = true;
      this.#state = "value";
      return false;
    }
    if (this.#state === "end") throw this.#fault("continues after the end of the array");
    const afterComma = this.#state === "next";
    if (this.#isArray && byte === CLOSE_ARRAY) {
      if (afterComma) throw this.#fault("has a comma after the last object");
      this.#state = "end";
      return false;
    }
    if (this.#state === "after") {
      if (byte !== COMMA) throw this.#fault("has no comma between two objects");
      this.#state = "next";
      return false;
    }
    if (this.#isArray && byte === COMMA) throw this.#fault("has a comma where an object must begin");
    return true;
  }

  /** Whether a byte of an array ends a number or a word, which have no closing bracket. */
  #ends(byte: number): boolean {
    if (this.#depth > 0 || this.#quoted || !this.#isArray) return false;
    if (byte !== COMMA && byte !== CLOSE_ARRAY) return false;
    this.#state = byte === COMMA ? "next" : "end";
    return true;
  }

  /** Takes a byte of a value, and returns whether it is the last one. */
  #closes(byte: number): boolean {
    if (this.#quoted) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) this.#quoted = false;
      return false;
    }
    if (byte === QUOTE) this.#quoted = true;
    else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) this.#depth++;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      if (this.#depth === 0) throw this.#fault("has a bracket that closes nothing");
      if (--this.#depth > 0) return false;
      this.#state = this.#isArray ? "after" : "value";
      return true;
    }
    return false;
  }

  #fault(state: string) {
    return badFile(`Cannot load ${this.#name}: line ${this.#line} ${state}`);
  }
}

function textOfRaw(raw: string | undefined, column: LoadColumn): string | null {
  if (raw === undefined || raw === "null") return null;
  if (column.form === "json") return raw;
  if (raw.startsWith('"')) return stringValue(raw);
  if (column.form === "hstore" && raw.startsWith("{")) return hstoreText(raw);
  if (!raw.startsWith("[")) return raw;
  if (column.form === "vector") return jsonElements(raw).map(plainText).join(" ");
  return column.form === "array" ? arrayTextOfRaw(raw) : raw;
}

/** The value of a JSON string; any other JSON text unchanged. */
function plainText(raw: string): string {
  return raw.startsWith('"') ? stringValue(raw) : raw;
}

/** The text of an `hstore`. The server writes an `hstore` as a JSON object, but can't read it from one. */
function hstoreText(raw: string): string {
  return Object.entries(jsonMembers(raw)).map(([key, value]) => {
    return `${quoteElement(key)}=>${value === "null" ? "NULL" : quoteElement(plainText(value))}`;
  }).join(",");
}

function arrayTextOfRaw(raw: string): string {
  const nested = (text: string): unknown => text.startsWith("[") ? jsonElements(text).map(nested) : text;
  return arrayText(jsonElements(raw).map(nested), (element) => {
    const text = element as string;
    return text === "null" ? null : plainText(text);
  });
}

function typeOfRaw(raw: string | undefined): NewType | undefined {
  if (raw === undefined || raw === "null") return undefined;
  if (raw.startsWith('"')) return typeOfWord(stringValue(raw));
  if (raw.startsWith("[")) return listType(jsonElements(raw).map(typeOfRaw));
  return raw.startsWith("{") ? "jsonb" : typeOfText(raw);
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/**
 * The members of a JSON object, each as its original text, so that a number keeps all of its digits.
 *
 * @param text An object that `JSON.parse` accepts.
 * @returns The texts by name; for a repeated name, the last one.
 */
export function jsonMembers(text: string): Record<string, string> {
  const members: Record<string, string> = Object.create(null);
  let at = skipSpace(text, text.indexOf("{") + 1);
  while (text[at] === '"') {
    const endOfName = endOfString(text, at);
    const start = skipSpace(text, skipSpace(text, endOfName) + 1); // skips the colon
    const end = endOfValue(text, start);
    members[stringValue(text.slice(at, endOfName))] = text.slice(start, end);
    at = skipSpace(text, skipSpace(text, end) + 1);
  }
  return members;
}

/**
 * The elements of a JSON array, each as its original text; see {@linkcode jsonMembers}.
 *
 * @param text An array that `JSON.parse` accepts.
 */
export function jsonElements(text: string): string[] {
  const elements: string[] = [];
  let at = skipSpace(text, text.indexOf("[") + 1);
  while (at < text.length && text[at] !== "]") {
    const end = endOfValue(text, at);
    elements.push(text.slice(at, end));
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return elements;
}

/** The value of a JSON string. */
export function stringValue(text: string): string {
  return text.includes("\\") ? JSON.parse(text) : text.slice(1, -1);
}

function endOfValue(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return endOfString(text, start);
  if (first !== "{" && first !== "[") return endOfWord(text, start);
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const char = text[at];
    if (char === '"') at = endOfString(text, at) - 1;
    else if (char === "{" || char === "[") depth++;
    else if ((char === "}" || char === "]") && --depth === 0) return at + 1;
  }
  return text.length;
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length;) {
    const quote = text.indexOf('"', at);
    let before = quote;
    while (text[before - 1] === "\\") before--;
    if ((quote - before) % 2 === 0) return quote + 1;
    at = quote + 1;
  }
  return text.length;
}

function endOfWord(text: string, start: number): number {
  let at = start;
  while (at < text.length && !isEnd(text.charCodeAt(at))) at++;
  return at;
}

/** Whether a character is a comma, a closing bracket or white space. */
function isEnd(code: number): boolean {
  return code === 44 || code === 93 || code === 125 || code <= 32;
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (at < text.length && text.charCodeAt(at) <= 32) at++;
  return at;
}
