// @ts-types="npm:@types/pg@^8.11.0"
import pg from "npm:pg@^8.23.0";
import { meant } from "../closest.ts";
import { LakebaseError } from "../errors.ts";
import { fieldsOf } from "../query/fields.ts";
import type { PullFormat } from "./file_format.ts";
import type { PullOptions } from "./pull_options.ts";
import type { CopyColumn, CopySource } from "./source.ts";

/** How the server writes the rows. */
export interface CopyFormat {
  /** `json` is an object for each row, on a line of its own; see {@linkcode JSON_QUOTE}. */
  format: "csv" | "text" | "binary" | "json";
  /** Whether the first line has the names. @default {false} */
  header?: boolean | undefined;
  /** What stands between two values. @default {a comma for csv, a tab for text} */
  delimiter?: string | undefined;
  /** What stands for NULL. @default {nothing for csv, \N for text} */
  nullText?: string | undefined;
}

/**
 * With `json`, a line with a line break in it has this before and behind it. Only a value of the type `json` can bring one, and
 * this character can't be in JSON.
 */
export const JSON_QUOTE = 0x01;

/** CSV leaves JSON as it is, where its quote and delimiter are characters that can't be in JSON. */
const JSON_SETTINGS = ["FORMAT csv", "DELIMITER E'\\x02'", "QUOTE E'\\x01'", "ESCAPE E'\\x01'"];

/** How the server has to write rows that become a file of a format. */
export function copyFormat(
  format: PullFormat,
  { header = true, delimiter, nullText }: Pick<PullOptions, "header" | "delimiter" | "nullText">,
): CopyFormat {
  if (format === "csv") return { format, header, delimiter, nullText };
  if (format === "tsv") return { format: "text", header, delimiter, nullText };
  return { format: format === "ndjson" ? "json" : "binary" };
}

/** The `COPY ... TO STDOUT` of a source. */
export function copyText(source: CopySource, options: CopyFormat): string {
  return `COPY ${copied(source, options.format)} TO STDOUT (${settings(options).join(", ")})`;
}

/**
 * A source with only some of its columns, or in another order.
 *
 * @param names The names; where two columns have one name, the second goes by `name_2`.
 * @throws {LakebaseError} `BAD_PARAMETER` for one that is not there.
 */
export function chooseColumns(source: CopySource, names: readonly string[] | undefined): CopySource {
  if (names === undefined) return source;
  const keys = keysOf(source.columns);
  const columns = names.map((name) => {
    const column = source.columns[keys.indexOf(name)];
    if (column === undefined) throw noColumn(name, keys);
    return { ...column, name };
  });
  return { ...source, columns };
}

/** The columns' names, each told from the others. */
function keysOf(columns: readonly CopyColumn[]): string[] {
  return fieldsOf(columns.map(({ name, oid }) => ({ name, dataTypeID: oid }))).map(({ key }) => key);
}

function copied(source: CopySource, format: CopyFormat["format"]): string {
  const { text, table, columns, width, renamed, writes } = source;
  const whole = columns.length === width && columns.every(({ place }, index) => place === index + 1);
  const casts = format === "binary" && columns.some(({ cast }) => cast);
  if (table !== undefined && format !== "json" && !casts) {
    return whole ? table : `${table} (${columns.map(({ name }) => quoted(name)).join(", ")})`;
  }
  if (whole && !casts && !renamed && format !== "json") return `(${text}\n)`;
  const names = width === 0 ? "" : `(${Array.from({ length: width }, (_, index) => `c${index + 1}`).join(", ")})`;
  // What writes can't stand after FROM, only in WITH.
  const [before, from] = writes ? [`WITH q${names} AS (\n${text}\n) `, "q"] : ["", `(\n${text}\n) AS q${names}`];
  const keys = format === "json" ? keysOf(columns) : columns.map(({ name }) => name);
  const list = columns.map((column, index) => `${value(column, casts)} AS ${quoted(keys[index]!)}`).join(", ");
  const rows = `SELECT ${list} FROM ${from}`;
  return `(${before}${format === "json" ? `SELECT pg_catalog.row_to_json(r.*) FROM (${rows}) AS r` : rows})`;
}

const INET = 869;

function value({ place, cast, oid }: CopyColumn, casts: boolean): string {
  const value = `q.c${place}`;
  if (!casts || !cast) return value;
  // The cast of an address adds the netmask that its own text leaves out.
  return oid === INET ? `pg_catalog.textin(pg_catalog.inet_out(${value}))` : `${value}::pg_catalog.text`;
}

function settings({ format, header = false, delimiter, nullText }: CopyFormat): string[] {
  if (format === "json") return JSON_SETTINGS;
  return [
    `FORMAT ${format}`,
    ...(header ? ["HEADER true"] : []),
    ...(delimiter === undefined ? [] : [`DELIMITER ${pg.escapeLiteral(delimiter).trim()}`]),
    ...(nullText === undefined ? [] : [`NULL ${pg.escapeLiteral(nullText).trim()}`]),
  ];
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function noColumn(name: string, names: readonly string[]): LakebaseError {
  const hint = meant(name, names, "columns");
  return new LakebaseError("BAD_PARAMETER", `Cannot read the rows: columns has "${name}", which is no column; ${hint}`);
}
