import { LakebaseError } from "../../core/errors.ts";
import { keysOf } from "../../sql/result.ts";
import { type JsonForm, jsonForm } from "../copy/copy_query.ts";
import type { Chunk } from "../copy/messages.ts";
import type { BatchColumn } from "../columns/batch.ts";
import type { Encode } from "./file_format.ts";

/**
 * Writes one JSON object per line, with the values that `row_to_json` gives: integers and decimals keep all their digits.
 * The client builds the objects because `row_to_json` would take the server several times as long as the rest of the COPY.
 */
export const encodeNdjson: Encode = async function* (chunks, { columns }) {
  const lines = new JsonLines(columns);
  for await (const chunk of chunks) yield lines.of(chunk);
};

const TAB = 0x09;
const NEW_LINE = 0x0a;
const VERTICAL_TAB = 0x0b;
const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const DIGIT_NINE = 0x39;
const LETTER_CAPITAL_N = 0x4e;
const LETTER_N = 0x6e;
const LETTER_R = 0x72;
const LETTER_T = 0x74;
const LETTER_V = 0x76;

const NULL = codes("null");
const TRUE = codes("true");
const FALSE = codes("false");
const NO_COLUMNS = codes("{");
const END_OF_ROW = codes("}\n");
const HEX_DIGITS = codes("0123456789abcdef");

/** The most bytes that JSON adds to a value, not counting escapes: `f` becomes `false`. */
const VALUE_GROWTH = 4;
/** The most bytes that escaping adds to a byte: one byte becomes `\u0001`. */
const ESCAPE_GROWTH = 5;

/** Converts rows from COPY's text format to lines of JSON. */
class JsonLines {
  readonly #forms: readonly JsonForm[];
  /** The text before each value: `{"a":`, then `,"b":`. */
  readonly #prefixes: readonly Uint8Array[];
  readonly #rowGrowth: number;
  #input: Uint8Array = new Uint8Array();
  #read = 0;
  #output = new Uint8Array();
  #written = 0;
  /** The free bytes of the output that escapes may use. The rest of the input does not need them. */
  #spare = 0;

  constructor(columns: readonly BatchColumn[]) {
    this.#forms = columns.map(({ oid }) => jsonForm(oid));
    this.#prefixes = keysOf(columns.map(({ name }) => name)).map((key, index) =>
      codes(`${index === 0 ? "{" : ","}${JSON.stringify(key)}:`)
    );
    const prefixes = this.#prefixes.reduce((sum, { length }) => sum + length, 1);
    this.#rowGrowth = prefixes + columns.length * VALUE_GROWTH + END_OF_ROW.length;
  }

  /** Returns the lines for the rows of a chunk. */
  of({ bytes, rows }: Chunk): Uint8Array {
    this.#input = bytes;
    this.#read = 0;
    this.#spare = 1024 + (bytes.length >> 4);
    this.#output = new Uint8Array(bytes.length + rows * this.#rowGrowth + this.#spare);
    this.#written = 0;
    for (let row = 0; row < rows; row++) this.#row();
    if (this.#read !== bytes.length) throw malformed();
    return this.#output.subarray(0, this.#written);
  }

  #row(): void {
    if (this.#forms.length === 0) {
      this.#write(NO_COLUMNS);
      this.#read++; // the end of the line
    }
    for (let column = 0; column < this.#forms.length; column++) {
      this.#write(this.#prefixes[column]!);
      this.#value(this.#forms[column]!);
    }
    this.#write(END_OF_ROW);
  }

  /** Writes a value, and skips the tab or line end after it. */
  #value(form: JsonForm): void {
    const input = this.#input;
    const from = this.#read;
    if (input[from] === BACKSLASH && input[from + 1] === LETTER_CAPITAL_N) {
      this.#read = from + 3;
      this.#write(NULL);
    } else if (form === "text") this.#text();
    else if (form === "number") this.#number();
    else if (form === "boolean") {
      this.#read = from + 2;
      this.#write(input[from] === LETTER_T ? TRUE : FALSE);
    } else this.#json();
  }

  #write(bytes: Uint8Array): void {
    const output = this.#output;
    let at = this.#written;
    for (let index = 0; index < bytes.length; index++) output[at++] = bytes[index]!;
    this.#written = at;
  }

  /** Writes a number. NaN and the infinities become strings, because JSON has no such numbers. */
  #number(): void {
    const input = this.#input;
    const output = this.#output;
    let from = this.#read;
    let at = this.#written;
    const start = at;
    for (; from < input.length; from++) {
      const byte = input[from]!;
      if (byte === TAB || byte === NEW_LINE) break;
      output[at++] = byte;
    }
    this.#read = from + 1;
    if (output[at - 1]! > DIGIT_NINE) {
      output.copyWithin(start + 1, start, at);
      output[start] = QUOTE;
      output[at + 1] = QUOTE;
      at += 2;
    }
    this.#written = at;
  }

  /** Writes a string. COPY and JSON differ only in how they escape quotes, vertical tabs and some control characters. */
  #text(): void {
    const input = this.#input;
    let from = this.#read;
    let at = this.#written;
    this.#output[at++] = QUOTE;
    for (; from < input.length; from++) {
      const byte = input[from]!;
      if (byte > BACKSLASH || byte >= SPACE && byte !== QUOTE && byte !== BACKSLASH) this.#output[at++] = byte;
      else if (byte === TAB || byte === NEW_LINE) break;
      else {
        if ((this.#spare -= ESCAPE_GROWTH) < 0) this.#grow(at);
        this.#output[at++] = BACKSLASH;
        if (byte === QUOTE) this.#output[at++] = QUOTE;
        else if (byte !== BACKSLASH) at = this.#codePoint(at, byte);
        else if (input[++from] === LETTER_V) at = this.#codePoint(at, VERTICAL_TAB);
        else this.#output[at++] = input[from]!;
      }
    }
    this.#output[at++] = QUOTE;
    this.#read = from + 1;
    this.#written = at;
  }

  /** Writes the rest of an escape such as `\u000b`, after its backslash, and returns the position after it. */
  #codePoint(at: number, code: number): number {
    for (const byte of [0x75, 0x30, 0x30, HEX_DIGITS[code >> 4]!, HEX_DIGITS[code & 15]!]) this.#output[at++] = byte;
    return at;
  }

  /** Writes JSON from the server. A line break in it always separates two tokens, so a space can replace it. */
  #json(): void {
    const input = this.#input;
    const output = this.#output;
    let from = this.#read;
    let at = this.#written;
    for (; from < input.length; from++) {
      const byte = input[from]!;
      if (byte === TAB || byte === NEW_LINE) break;
      if (byte !== BACKSLASH) output[at++] = byte;
      else {
        const escaped = input[++from]!;
        output[at++] = escaped === LETTER_N || escaped === LETTER_R ? SPACE : escaped === LETTER_T ? TAB : escaped;
      }
    }
    this.#read = from + 1;
    this.#written = at;
  }

  #grow(written: number): void {
    const spare = this.#output.length;
    const output = new Uint8Array(this.#output.length + spare);
    output.set(this.#output.subarray(0, written));
    this.#output = output;
    this.#spare += spare;
  }
}

function malformed(): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    "Cannot read the copied rows: a line does not have one value for each column; they are not in the text format of COPY",
  );
}

function codes(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
