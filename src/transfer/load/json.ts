import { badFile } from "./bytes.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const LINE_FEED = 10;
const RETURN = 13;
const SPACE = 0x20;
const TAB = 9;
const BYTE_ORDER_MARK: readonly number[] = [0xef, 0xbb, 0xbf];
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** The reader's place in the file. */
type Place =
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
 * Turns a JSON file, an array of objects or consecutive objects, into NDJSON with one object per line. It copies bytes and
 * keeps only its place, so memory is constant. The reader of NDJSON checks that each line is valid JSON.
 *
 * @throws {LakebaseError} `BAD_FILE` for a file that is cut off, that continues after its array, or whose brackets, commas or
 * strings are wrong.
 */
export async function* jsonLines(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  const lines = new JsonLines(name);
  for await (const chunk of chunks) yield lines.push(chunk);
  lines.finish();
}

class JsonLines {
  readonly #name: string;
  #place: Place = "start";
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
      if (this.#place !== "inside") {
        if (!this.#begins(byte)) continue;
        this.#place = "inside";
      }
      if (this.#ends(byte)) {
        out[to++] = LINE_FEED;
        continue;
      }
      // In JSON, a line end is white space between the parts of a value, and invalid inside a string.
      if (!this.#quoted && (byte === LINE_FEED || byte === RETURN)) out[to++] = SPACE;
      else if (this.#quoted && byte === LINE_FEED) {
        throw this.#bad("has a line end inside a string, which JSON does not allow");
      } else out[to++] = byte;
      if (this.#closes(byte)) out[to++] = LINE_FEED;
    }
    return out.subarray(0, to);
  }

  finish(): void {
    const whole = this.#isArray ? this.#place === "end" : this.#depth === 0 && !this.#quoted;
    if (!whole) throw badFile(`Cannot load ${this.#name}: it ends in the middle, at line ${this.#line}; it is cut off`);
  }

  /** Takes a byte between values, and returns whether a value begins with it. */
  #begins(byte: number): boolean {
    if (byte === SPACE || byte === LINE_FEED || byte === RETURN || byte === TAB) return false;
    if (this.#place === "start" && BYTE_ORDER_MARK.includes(byte)) return false;
    if (this.#place === "start" && byte === OPEN_ARRAY) {
      this.#isArray = true;
      this.#place = "value";
      return false;
    }
    if (this.#place === "end") throw this.#bad("goes on behind the end of the array");
    const behindComma = this.#place === "next";
    if (this.#isArray && byte === CLOSE_ARRAY) {
      if (behindComma) throw this.#bad("has a comma behind the last object");
      this.#place = "end";
      return false;
    }
    if (this.#place === "after") {
      if (byte !== COMMA) throw this.#bad("has no comma between two objects");
      this.#place = "next";
      return false;
    }
    if (this.#isArray && byte === COMMA) throw this.#bad("has a comma where an object must begin");
    return true;
  }

  /** Whether a byte ends a number or a word, which has no closing bracket. */
  #ends(byte: number): boolean {
    if (this.#depth > 0 || this.#quoted || !this.#isArray) return false;
    if (byte !== COMMA && byte !== CLOSE_ARRAY) return false;
    this.#place = byte === COMMA ? "next" : "end";
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
      if (this.#depth === 0) throw this.#bad("has a bracket that closes nothing");
      if (--this.#depth > 0) return false;
      this.#place = this.#isArray ? "after" : "value";
      return true;
    }
    return false;
  }

  #bad(state: string) {
    return badFile(`Cannot load ${this.#name}: line ${this.#line} ${state}`);
  }
}
