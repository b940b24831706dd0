import { type ParserSource, parserSource, type TypeParsers } from "../query/types.ts";
import { printableJson } from "../unseen.ts";
import type { RowFormat } from "./row_format.ts";

/** A text that is JSON already, so that no digit of it is lost. */
class Json {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What is not here is a JSON string of the server's text. */
const PARSERS: TypeParsers = {
  bool: (text) => text === "t",
  int2: exact,
  int4: exact,
  int8: exact,
  oid: exact,
  numeric: exact,
  float4: exact,
  float8: exact,
  json: inOneLine,
  jsonb: inOneLine,
  bytea: String,
  timestamp: isoTime,
  timestamptz: isoTime,
};

const TYPES: ParserSource = parserSource(PARSERS);

/**
 * JSON as the server's `row_to_json` makes it: numbers with all their digits, `NaN` and infinities as strings, arrays as
 * arrays, times in ISO 8601, and the rest as Postgres writes it.
 *
 * @param whole One array of all rows; else a line for each row.
 */
export function jsonRows(whole: boolean): RowFormat {
  let keys: string[] = [];
  let count = 0;
  const object = (row: readonly unknown[]) => {
    const text = printableJson(`{${row.map((value, index) => keys[index]! + json(value)).join(",")}}`);
    return whole ? `${count++ === 0 ? "\n" : ",\n"} ${text}` : `${text}\n`;
  };
  return {
    types: TYPES,
    begin: (fields) => {
      keys = fields.map(({ key }) => `${JSON.stringify(key)}:`);
      return whole ? "[" : "";
    },
    rows: (rows) => rows.map(object).join(""),
    end: () => whole ? `${count === 0 ? "" : "\n"}]\n` : "",
    command: () => "",
  };
}

function json(value: unknown): string {
  if (value instanceof Json) return value.text;
  return Array.isArray(value) ? `[${value.map(json).join(",")}]` : JSON.stringify(value);
}

/** `NaN` and infinities are no JSON. */
function exact(text: string): unknown {
  return /^-?\d/.test(text) ? new Json(text) : text;
}

/** `json` keeps the line ends that stood between its values. */
function inOneLine(text: string): unknown {
  return new Json(text.replace(/\s+/g, (space) => /[\r\n]/.test(space) ? " " : space));
}

/** `infinity` and years before Christ stay as they are. */
function isoTime(text: string): string {
  const [, day, time, hours = "", rest = ""] =
    /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)([+-]\d\d)?(:\d\d)?$/.exec(text) ?? [];
  if (day === undefined) return text;
  return `${day}T${time}${hours}${hours === "" ? "" : rest || ":00"}`;
}
