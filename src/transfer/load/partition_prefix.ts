import { type Dialect, usualDialect } from "./dialect.ts";

const LINE_FEED = 10;
const RETURN = 13;
const BACKSLASH = 0x5c;

/** COPY's text format with its default options. */
export const COPY_TEXT: Dialect = usualDialect(false);

/**
 * The text of values to be put before a record, with the delimiter after each value.
 *
 * @param values The values; `null` for NULL.
 */
export function prefixText(values: readonly (string | null)[], dialect: Dialect): string {
  const { quotes, delimiter, nullText } = dialect;
  const written = (value: string) => quotes ? quoted(value, dialect) : escaped(value, delimiter);
  return values.map((value) => (value === null ? nullText : written(value)) + delimiter).join("");
}

function quoted(value: string, { quote, escape }: Dialect): string {
  const special = [...value].map((char) => char === quote || char === escape ? escape + char : char);
  return quote + special.join("") + quote;
}

function escaped(value: string, delimiter: string): string {
  const letters: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  return value.replace(/[\\\n\r\t]/g, (special) => letters[special] ?? "\\\\").replaceAll(
    delimiter,
    (found) => `\\${found}`,
  );
}

/** Puts the same bytes before each record. A line end within a value does not begin a record. */
export async function* prefixed(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  prefix: Uint8Array,
  dialect: Dialect,
): AsyncGenerator<Uint8Array, void, void> {
  const starts = new RecordStarts(dialect);
  for await (const chunk of chunks) yield inserted(chunk, starts.find(chunk), prefix);
}

function inserted(chunk: Uint8Array, places: readonly number[], prefix: Uint8Array): Uint8Array {
  const out = new Uint8Array(chunk.length + places.length * prefix.length);
  let from = 0;
  let at = 0;
  for (const place of places) {
    out.set(chunk.subarray(from, place), at);
    at += place - from;
    out.set(prefix, at);
    at += prefix.length;
    from = place;
  }
  out.set(chunk.subarray(from), at);
  return out;
}

/** Finds where records begin in chunks of bytes, which may be cut anywhere. */
class RecordStarts {
  readonly #quotes: boolean;
  readonly #quote: number;
  readonly #escape: number;
  #quoted = false;
  #escaped = false;
  /** What the next byte begins. After a carriage return, a line feed still belongs to the line end. */
  #next: "record" | "record or line feed" | "value" = "record";

  constructor({ quotes, quote, escape }: Dialect) {
    this.#quotes = quotes;
    this.#quote = quote.charCodeAt(0);
    this.#escape = quotes ? escape.charCodeAt(0) : BACKSLASH;
  }

  find(chunk: Uint8Array): number[] {
    const found: number[] = [];
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (this.#next === "record or line feed" && byte === LINE_FEED) {
        this.#next = "record";
        continue;
      }
      if (this.#next !== "value") {
        found.push(at);
        this.#next = "value";
      }
      if (this.#escaped) this.#escaped = false;
      else if (this.#quotes && byte === this.#quote) this.#quoted = !this.#quoted;
      else if (byte === this.#escape && (this.#quoted || !this.#quotes)) this.#escaped = true;
      else if (byte === LINE_FEED && !this.#quoted) this.#next = "record";
      else if (byte === RETURN && !this.#quoted) this.#next = "record or line feed";
    }
    return found;
  }
}
