import { joinBytes } from "../../core/bytes.ts";
import { arrayText } from "../../sql/parameter.ts";
import { badFile, type LoadBytes } from "./bytes.ts";
import type { Incoming } from "./incoming.ts";
import { listType, type NewType, typeOfText, typeOfWord } from "./infer.ts";
import { jsonLines } from "./json.ts";
import type { SourceOptions } from "./options.ts";
import { type LoadRow, openRowsOf, type RowGroup } from "./rows.ts";
import type { LoadColumn } from "./table.ts";

/** The most bytes of a line. A longer line most likely holds all rows as one array. */
const MOST_LINE_BYTES = 402_653_184;

/** The most levels of a value. A level costs a parser a hundred times the memory of its bracket; Postgres has a limit too. */
const MOST_NESTED = 1000;

const LINE_FEED = 10;

/** Opens a file with one JSON object per line. */
export async function openNdjson(bytes: LoadBytes, options: SourceOptions): Promise<Incoming> {
  return await openLines(new Lines(bytes.name, "line"), bytes, bytes.chunks, options);
}

/** Opens a file with an array of JSON objects, or with consecutive objects. */
export async function openJson(bytes: LoadBytes, options: SourceOptions): Promise<Incoming> {
  return await openLines(new Lines(bytes.name, "object"), bytes, jsonLines(bytes.chunks, bytes.name), options);
}

async function openLines(
  lines: Lines,
  bytes: LoadBytes,
  chunks: AsyncIterable<Uint8Array>,
  options: SourceOptions,
): Promise<Incoming> {
  return await openRowsOf(lines.rows(chunks), {
    file: bytes.name,
    size: bytes.size,
    place: (row) => `${lines.unit} ${lines.lineOf(row).toLocaleString("en-US")}`,
    text: (value, column) => rawText(value as string | undefined, column),
    type: (value) => typeOfRaw(value as string | undefined),
    close: async () => await bytes[Symbol.asyncDispose](),
  }, options);
}

/** Parses the rows of a file, and knows their lines. */
class Lines {
  /** What errors call a line: `object` for a JSON file, whose objects have been split into lines. */
  readonly unit: "line" | "object";
  readonly #name: string;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  /** The number of rows before each empty line. */
  readonly #empty: number[] = [];
  #rows = 0;

  constructor(name: string, unit: "line" | "object") {
    this.#name = name;
    this.unit = unit;
  }

  /** The line of a row. */
  lineOf(row: number): number {
    return row + this.#empty.filter((before) => before < row).length;
  }

  /** The rows, each with the JSON text of its values by name. */
  async *rows(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<RowGroup, void, void> {
    for await (const block of wholeLines(chunks, () => this.#next(), this.#name)) {
      yield [...this.#rowsOf(this.#decode(block))];
    }
  }

  *#rowsOf(text: string): Generator<LoadRow, void, void> {
    for (const line of text.split("\n")) {
      if (line.trim() === "") {
        this.#empty.push(this.#rows);
        continue;
      }
      yield this.#parse(line);
      this.#rows++;
    }
  }

  #next(): number {
    return this.#rows + this.#empty.length + 1;
  }

  #parse(line: string): LoadRow {
    let value: unknown;
    if (line.length > MOST_NESTED && !isShallow(line)) throw this.#bad(`is nested more than ${MOST_NESTED} deep`);
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw this.#bad(`is not JSON: ${(cause as Error).message}`, cause);
    }
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return jsonMembers(line);
    throw this.#bad(`is not a JSON object; a line of NDJSON is one: {"id": 1, "name": "Harlem"}`);
  }

  #decode(block: Uint8Array): string {
    try {
      return this.#decoder.decode(block);
    } catch {
      let start = 0;
      for (let line = this.#next();; line++) {
        const end = block.indexOf(LINE_FEED, start);
        const part = block.subarray(start, end === -1 ? undefined : end);
        if (end === -1 || !isUtf8(part)) throw badFile(`Cannot load ${this.#name}: ${this.unit} ${line} is not UTF-8`);
        start = end + 1;
      }
    }
  }

  #bad(state: string, cause?: unknown) {
    return badFile(`Cannot load ${this.#name}: ${this.unit} ${this.#next()} ${state}`, cause);
  }
}

/** Joins chunks into blocks of whole lines, without the line feed at the end of a block. */
async function* wholeLines(
  chunks: AsyncIterable<Uint8Array>,
  line: () => number,
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  let begun: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(LINE_FEED);
    if (end !== -1) {
      yield joinBytes([...begun, chunk.subarray(0, end)]);
      begun = [];
      length = 0;
    }
    const rest = chunk.subarray(end + 1);
    if (rest.length > 0) begun.push(rest);
    length += rest.length;
    if (length > MOST_LINE_BYTES) {
      throw badFile(`Cannot load ${name}: line ${line()} is too long; NDJSON has one row per line`);
    }
  }
  if (begun.length > 0) yield joinBytes(begun);
}

/**
 * Whether the nesting is within the limit. Brackets inside strings do not count. A pattern for strings would overflow
 * its stack on a long string, and would read a text with many escaped quotes repeatedly.
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
    if (depth > MOST_NESTED) return false;
  }
  return true;
}

function rawText(raw: string | undefined, column: LoadColumn): string | null {
  if (raw === undefined || raw === "null") return null;
  if (column.form === "json") return raw;
  if (raw.startsWith('"')) return stringOf(raw);
  if (column.form === "hstore" && raw.startsWith("{")) return hstoreText(raw);
  if (!raw.startsWith("[")) return raw;
  if (column.form === "vector") return jsonElements(raw).map(plainText).join(" ");
  return column.form === "array" ? listText(raw) : raw;
}

/** The value of a JSON string; the text of any other value unchanged. */
function plainText(raw: string): string {
  return raw.startsWith('"') ? stringOf(raw) : raw;
}

/** An object as the text of an `hstore`: the server writes `hstore` as a JSON object, but does not read it as one. */
function hstoreText(raw: string): string {
  const quoted = (text: string) => `"${text.replace(/["\\]/g, "\\$&")}"`;
  return Object.entries(jsonMembers(raw)).map(([key, value]) => {
    return `${quoted(key)}=>${value === "null" ? "NULL" : quoted(plainText(value))}`;
  }).join(",");
}

function listText(raw: string): string {
  const nested = (text: string): unknown => text.startsWith("[") ? jsonElements(text).map(nested) : text;
  return arrayText(jsonElements(raw).map(nested), (element) => {
    const text = element as string;
    return text === "null" ? null : plainText(text);
  });
}

function typeOfRaw(raw: string | undefined): NewType | undefined {
  if (raw === undefined || raw === "null") return undefined;
  if (raw.startsWith('"')) return typeOfWord(stringOf(raw));
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
    members[stringOf(text.slice(at, endOfName))] = text.slice(start, end);
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
export function stringOf(text: string): string {
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
