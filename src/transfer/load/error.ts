import { LakebaseError, optionText } from "../../core/errors.ts";
import { visible } from "../../draw/escape.ts";
import { withoutFrames } from "../../sql/failure.ts";
import type { LoadColumn, LoadTable } from "./table.ts";

/** The context of a failed COPY. */
export interface LoadFailure {
  /** The table. */
  table: LoadTable;
  /** The columns that were sent. */
  columns: readonly LoadColumn[];
  /** The name of the source that a line of the COPY came from, and the place in it. */
  locate(line: number): { name: string; place: string };
  /** Where the type of a new column came from; `undefined` if the caller chose it or the table existed. */
  typeFrom(column: string): "sample" | "file" | undefined;
}

/** The place in the COPY that the server reported. */
interface Place {
  line: number;
  column?: string | undefined;
  value?: string | undefined;
}

interface ServerError extends Error {
  code?: string;
  severity?: string;
  detail?: string;
  hint?: string;
  where?: string;
}

/** The most characters of a value or a line that an error shows. */
const MOST_SHOWN = 200;

/**
 * Turns the server's error about a row into an error that says where the row is in the source.
 *
 * @returns `undefined` for an error that is not about a row.
 */
export function loadError(error: unknown, failure: LoadFailure): LakebaseError | undefined {
  if (error instanceof LakebaseError || !(error instanceof Error)) return undefined;
  const { code: sqlstate, severity, message, detail, hint, where = "" } = error as ServerError;
  const place = severity === "ERROR" ? placeOf(where, failure) : undefined;
  if (place === undefined || sqlstate === undefined) return undefined;
  const { table } = failure;
  const { line, column, value } = place;
  const { name, place: from } = failure.locate(line);
  const at = [from, ...(column === undefined ? [] : [`column ${visible(column)}`])].join(", ");
  const hints = [hint, ...tips(sqlstate, message, place, failure)].filter((text) => text !== undefined && text !== "");
  const lines = [
    `Cannot load ${name} into ${table.quoted}: ${at}: ${visible(message)} (SQLSTATE ${sqlstate})`,
    ...(value === undefined || message.includes(value)
      ? []
      : [`${column === undefined ? "LINE" : "VALUE"}: ${shown(value)}`]),
    ...(detail ? [`DETAIL: ${visible(detail)}`] : []),
    ...hints.map((text) => `HINT: ${visible(text!)}`),
    "Nothing was loaded.",
  ];
  return new LakebaseError("QUERY_FAILED", lines.join("\n"), { cause: withoutFrames(error), sqlstate });
}

/** Parses `COPY trips, line 3, column fare: "abc"`. Names and values may contain the same punctuation and words. */
function placeOf(where: string, { table, columns }: LoadFailure): Place | undefined {
  const start = `COPY ${table.name}, line `;
  const at = where.startsWith(start) ? 0 : where.indexOf(`\n${start}`) + 1;
  if (at === 0 && !where.startsWith(start)) return undefined;
  const rest = where.slice(at + start.length);
  const line = parseInt(rest);
  const after = rest.slice(String(line).length);
  const column = columns
    .map(({ name }) => name)
    .filter((name) => isFollowed(after, `, column ${name}`))
    .sort((a, b) => b.length - a.length)[0];
  const said = after.slice(column === undefined ? 0 : `, column ${column}`.length);
  const value = said.startsWith(': "') ? said.slice(3).replace(/"$/, "") : undefined;
  return Number.isNaN(line) ? undefined : { line, column, value };
}

/** In binary, no value follows the name of the column. */
function isFollowed(text: string, start: string): boolean {
  return text.startsWith(start) && (text.length === start.length || /[:\n]/.test(text[start.length]!));
}

/** Hints for errors with a known remedy. */
function tips(
  sqlstate: string,
  message: string,
  { column, value }: Place,
  { typeFrom, columns }: LoadFailure,
): string[] {
  if (/unquoted carriage return|unquoted newline/.test(message)) {
    return [`the lines of one file must all end alike; ${optionText({ skipBlankLines: true })} reads any line ends`];
  }
  if (sqlstate === "22021") return [`say which encoding the file is in: ${optionText({ encoding: "windows-1252" })}`];
  if (/^missing data for column/.test(message) && value?.trim() === "") {
    return [`the line is blank; ${optionText({ skipBlankLines: true })} leaves such lines out`];
  }
  if (column === undefined || !sqlstate.startsWith("22")) return [];
  const type = columns.find(({ name }) => name === column)?.type;
  if (/malformed record literal/.test(message)) {
    return [`Postgres can't read the type ${type} from JSON; load CSV, TSV, Arrow or Parquet, or its text`];
  }
  const from = typeFrom(column);
  if (from === undefined) return [];
  const types = optionText({ types: { [column]: "text" } });
  const found = from === "sample" ? "was found by looking at the first rows" : "is the file's own";
  return [`the column's type ${found}; use ${types}, or create the table yourself`];
}

function shown(text: string): string {
  return visible(text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text);
}
