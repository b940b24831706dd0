import type { Listing } from "../api/result.ts";
import { printableJson, textWidth } from "../core/text.ts";
import { DISPLAY } from "../draw/notebook.ts";
import { type Cell, drawnCell, headerLines, rowLine } from "../draw/table_text.ts";
import type { Field } from "../sql/result.ts";
import type { TypeParsers } from "../settings/options.ts";
import { type ParserSource, parserSource, SERVER_TEXTS } from "../sql/types.ts";
import { print } from "./output.ts";

/** The names of the formats. */
export const FORMATS = ["table", "csv", "json", "ndjson"] as const;

/** Options of {@linkcode makeFormat}. */
export interface FormatOptions {
  /** The format's name. */
  format: typeof FORMATS[number];
  /** Whether `table` and `csv` have a line of column names. */
  header: boolean;
  /** The text for NULL in `table` and `csv`. */
  null?: string | undefined;
  /** The delimiter of `csv`. */
  delimiter?: string | undefined;
  /** Whether `table` may use a terminal's colors. */
  color: boolean;
}

/** The format of the rows of one statement. */
export function makeFormat(options: FormatOptions): RowFormat {
  const { format, header, delimiter = "," } = options;
  if (format === "csv") return csvRows({ header, delimiter, null: options.null ?? "" });
  if (format === "json" || format === "ndjson") return jsonRows(format === "json");
  return tableRows({ header, color: options.color, null: options.null ?? "NULL" });
}

/** Turns the rows of one statement into text, as they arrive. */
export interface RowFormat {
  /** Reads the values that the format expects. */
  readonly types: ParserSource;
  /** The text before the rows. */
  begin(fields: readonly Field[]): string;
  /** The next rows, as arrays of values in the fields' order. */
  rows(rows: readonly (readonly unknown[])[]): string;
  /** The text after the last row. */
  end(): string;
  /** The text of a command without rows. */
  command(tag: string): string;
}

/** Options of {@linkcode csvRows}. */
interface CsvOptions {
  /** Whether the first line has the column names. */
  header: boolean;
  /** One character. */
  delimiter: string;
  /** The text for NULL, which is not quoted. An equal value is quoted. */
  null: string;
}

/** CSV in the form of the server's `COPY ... (FORMAT csv)`: the server's texts, and lines that end in a line feed. */
function csvRows({ header, delimiter, null: nullText }: CsvOptions): RowFormat {
  const cell = (value: unknown) => value === null ? nullText : quote(String(value), delimiter, nullText);
  const line = (values: readonly unknown[]) => {
    const text = values.map(cell).join(delimiter);
    return `${text === "\\." ? '"\\."' : text}\n`; // alone on a line, \. would end a COPY
  };
  return {
    types: SERVER_TEXTS,
    begin: (fields) => header ? line(fields.map(({ name }) => name)) : "",
    rows: (rows) => rows.map(line).join(""),
    end: () => "",
    command: () => "",
  };
}

function quote(text: string, delimiter: string, nullText: string): string {
  const plain = text !== nullText && !text.includes(delimiter) && !/["\r\n]/.test(text);
  return plain ? text : `"${text.replaceAll('"', '""')}"`;
}

/** A text that is already JSON, so numbers keep all their digits. */
class Json {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Every other type becomes a JSON string of the server's text. */
const PARSERS: TypeParsers = {
  bool: (text) => text === "t",
  int2: exactNumber,
  int4: exactNumber,
  int8: exactNumber,
  oid: exactNumber,
  numeric: exactNumber,
  float4: exactNumber,
  float8: exactNumber,
  json: inOneLine,
  jsonb: inOneLine,
  bytea: String,
  timestamp: isoTime,
  timestamptz: isoTime,
};

const TYPES: ParserSource = parserSource(PARSERS);

/**
 * JSON in the form of the server's `row_to_json`: numbers with all their digits, `NaN` and infinities as strings, arrays as
 * arrays, times in ISO 8601, and all other types in Postgres's text.
 *
 * @param asArray Whether to write one array of all rows instead of a line for each row.
 */
function jsonRows(asArray: boolean): RowFormat {
  let keys: string[] = [];
  let count = 0;
  const object = (row: readonly unknown[]) => {
    const text = printableJson(`{${row.map((value, index) => keys[index]! + json(value)).join(",")}}`);
    return asArray ? `${count++ === 0 ? "\n" : ",\n"} ${text}` : `${text}\n`;
  };
  return {
    types: TYPES,
    begin: (fields) => {
      keys = fields.map(({ key }) => `${JSON.stringify(key)}:`);
      return asArray ? "[" : "";
    },
    rows: (rows) => rows.map(object).join(""),
    end: () => asArray ? `${count === 0 ? "" : "\n"}]\n` : "",
    command: () => "",
  };
}

function json(value: unknown): string {
  if (value instanceof Json) return value.text;
  return Array.isArray(value) ? `[${value.map(json).join(",")}]` : JSON.stringify(value);
}

/** `NaN` and infinities are not JSON, so they become strings. */
function exactNumber(text: string): unknown {
  return /^-?\d/.test(text) ? new Json(text) : text;
}

/** Removes the line ends between the values of `json`, which the server keeps. */
function inOneLine(text: string): unknown {
  return new Json(text.replace(/\s+/g, (space) => /[\r\n]/.test(space) ? " " : space));
}

/** A time in ISO 8601. `infinity` and years BC keep the server's text. */
function isoTime(text: string): string {
  const [, day, time, hours = "", rest = ""] =
    /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)([+-]\d\d)?(:\d\d)?$/.exec(text) ?? [];
  if (day === undefined) return text;
  return `${day}T${time}${hours}${hours === "" ? "" : rest || ":00"}`;
}

/** Options of {@linkcode tableRows}. */
interface TableRowsOptions {
  /** Whether the table has column names, and a row count below. */
  header: boolean;
  /** The text for NULL. */
  null: string;
  /** Whether to dim NULL, for a terminal. */
  color: boolean;
}

/** The limits of the first rows, which determine the column widths. To wait for all rows could take too long. */
const MEASURED_ROWS = 1000;
const MEASURED_LENGTH = 1_000_000;

/** A table in the form of psql. The first thousand rows determine the widths. No cell is cut: a later, wider cell overflows. */
function tableRows(options: TableRowsOptions): RowFormat {
  const nullCell = {
    text: options.color ? `\x1b[2m${options.null}\x1b[22m` : options.null,
    width: textWidth(options.null),
  };
  let columns: readonly Field[] = [];
  let names: Cell[] = [];
  let widths: number[] | undefined;
  let held: Cell[][] = [];
  let length = 0;
  let count = 0;
  const cell = (value: unknown) => value === null ? nullCell : drawnCell(String(value));
  const draw = () => {
    const isFirst = widths === undefined;
    widths ??= names.map(({ width }, index) =>
      held.reduce((widest, row) => Math.max(widest, row[index]!.width), width)
    );
    const layout = { columns, names, widths };
    const lines = [
      ...(isFirst && options.header ? headerLines(layout) : []),
      ...held.map((row) => rowLine(row, layout)),
    ];
    held = [];
    return lines.map((line) => `${line}\n`).join("");
  };
  return {
    types: SERVER_TEXTS,
    begin: (fields) => {
      columns = fields;
      names = fields.map(({ name }) => drawnCell(name));
      return "";
    },
    rows: (rows) => {
      const cells = rows.map((row) => row.map(cell));
      count += rows.length;
      held.push(...cells);
      for (const row of widths === undefined ? cells : []) {
        length += row.reduce((sum, { text }) => sum + text.length, 0);
      }
      return widths !== undefined || held.length >= MEASURED_ROWS || length >= MEASURED_LENGTH ? draw() : "";
    },
    end: () => `${draw()}${options.header ? `(${count.toLocaleString("en-US")} row${count === 1 ? "" : "s"})\n` : ""}`,
    command: (tag) => `${tag}\n`,
  };
}

/** Prints rows about the database: as a notebook draws them in text, or in a format for programs. */
export async function printListing(listing: Listing<unknown>, format: FormatOptions["format"]): Promise<void> {
  if (format === "table") return await print(Deno.stdout, `${listing[DISPLAY]()["text/plain"]}\n`);
  const rows = makeFormat({ format, header: true, color: false });
  const cells = listing.map((row) =>
    listing.fields.map(({ key, oid }) => {
      const value = (row as Record<string, unknown>)[key] ?? null;
      return value === null ? null : rows.types.getTypeParser(oid)(textOf(value));
    })
  );
  await print(Deno.stdout, rows.begin(listing.fields) + rows.rows(cells) + rows.end());
}

function textOf(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  if (typeof value !== "object") return String(value);
  return JSON.stringify(value, (_, part) => typeof part === "bigint" ? String(part) : part);
}
