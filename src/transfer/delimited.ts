/** How values stand in a line. */
export interface Dialect {
  /** Whether they may stand in quotes, as in CSV; else a back-slash marks what is special, as in COPY's text format. */
  quotes: boolean;
  /** What stands between them. */
  delimiter: string;
  /** What stands for NULL. */
  nullText: string;
}

/** One line's values; `null` for NULL. */
export type Record = (string | null)[];

/**
 * The records at the beginning of a text, as COPY reads them.
 *
 * @param text The text.
 * @param whole Whether nothing follows: else a record without a line end is not whole, and not given.
 */
export function* records(text: string, dialect: Dialect, whole: boolean): Generator<Record, void, void> {
  for (let at = 0; at < text.length;) {
    const end = endOfRecord(text, at, dialect);
    if (end === text.length && !whole) return;
    yield valuesOf(text.slice(at, end), dialect);
    at = end + (text.startsWith("\r\n", end) ? 2 : 1);
    if (at === text.length && text[at - 1] === "\r" && !whole) return;
  }
}

/** A line ends inside of quotes, or behind a back-slash, are the value's own. */
function endOfRecord(text: string, start: number, { quotes }: Dialect): number {
  let quoted = false;
  for (let at = start; at < text.length; at++) {
    const char = text[at]!;
    if (quotes && char === '"') quoted = !quoted;
    else if (!quotes && char === "\\") at++;
    else if (!quoted && (char === "\n" || char === "\r")) return at;
  }
  return text.length;
}

function valuesOf(line: string, { quotes, delimiter, nullText }: Dialect): Record {
  const values: Record = [];
  for (let at = 0; at <= line.length;) {
    const end = quotes ? endOfQuoted(line, at, delimiter) : endOfEscaped(line, at, delimiter);
    const raw = line.slice(at, end);
    values.push(raw === nullText ? null : quotes ? unquote(raw) : unescape(raw));
    at = end + 1;
  }
  return values;
}

function endOfQuoted(line: string, start: number, delimiter: string): number {
  let quoted = false;
  for (let at = start; at < line.length; at++) {
    if (line[at] === '"') quoted = !quoted;
    else if (!quoted && line[at] === delimiter) return at;
  }
  return line.length;
}

function endOfEscaped(line: string, start: number, delimiter: string): number {
  for (let at = start; at < line.length; at++) {
    if (line[at] === "\\") at++;
    else if (line[at] === delimiter) return at;
  }
  return line.length;
}

/** Quotes may begin and end anywhere in a value; two of them inside of quotes are one. */
function unquote(raw: string): string {
  const parts = raw.split('"'); // every second one is inside; a pattern would need a stack as deep as the value is long
  return parts.map((part, at) => part === "" && at > 0 && at % 2 === 0 && at < parts.length - 1 ? '"' : part).join("");
}

const LETTERS: Readonly<{ [letter: string]: string }> = {
  ...{ b: "\b", f: "\f", n: "\n" },
  ...{ r: "\r", t: "\t", v: "\v" },
};

function unescape(raw: string): string {
  return raw.replace(/\\(?:([0-7]{1,3})|x([\da-f]{1,2})|(.))/gis, (_, octal?: string, hex?: string, char = "") => {
    if (octal !== undefined) return String.fromCharCode(parseInt(octal, 8) & 0xff);
    return hex !== undefined ? String.fromCharCode(parseInt(hex, 16)) : LETTERS[char] ?? char;
  });
}
