// @ts-types="npm:@types/pg@^8.11.0"
import pg from "npm:pg@^8.23.0";
import { meant } from "../../core/closest.ts";
import { LakebaseError, optionName } from "../../core/errors.ts";
import { outputSql } from "../../catalog/source.ts";
import { fieldsOf } from "../../sql/result.ts";
import { isBuiltIn } from "../../core/type_names.ts";
import type { PullFormat } from "../formats/file_format.ts";
import { bad, type PullOptions } from "../pull/options.ts";
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
  /**
   * The numbers of columns whose values stand in front of each row, as JSON in hexadecimal digits, which no format has to
   * quote. All rows with the same ones come together.
   */
  partitions?: readonly number[] | undefined;
}

/**
 * With `json`, a line with a line break in it has this before and behind it. Only a value of the type `json` can bring one, and
 * this character can't be in JSON.
 */
export const JSON_QUOTE = 0x01;

/** What stands between a row's partition and its JSON. */
export const JSON_DELIMITER = 0x02;

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
  return `COPY ${copied(source, options)} TO STDOUT (${settings(options).join(", ")})`;
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

/**
 * A source without the columns that name the folders of its partitions, and the numbers of those.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for one that is not there, or where no other is left.
 */
export function partitionColumns(
  source: CopySource,
  names: readonly string[] | undefined,
): { source: CopySource; partitions: number[] } {
  if (names === undefined) return { source, partitions: [] };
  const keys = keysOf(source.columns);
  const found = names.map((name) => {
    if (keys.includes(name)) return keys.indexOf(name);
    throw bad(`partitionBy has "${name}", which is no column; ${meant(name, keys, "columns")}`);
  });
  const columns = source.columns.filter((_, index) => !found.includes(index));
  if (columns.length === 0) throw bad("partitionBy has all columns, so there is none left for the files");
  return { source: { ...source, columns }, partitions: found.map((index) => source.columns[index]!.place) };
}

/** The columns' names, each told from the others. */
function keysOf(columns: readonly CopyColumn[]): string[] {
  return fieldsOf(columns.map(({ name, oid }) => ({ name, dataTypeID: oid }))).map(({ key }) => key);
}

function copied(source: CopySource, { format, partitions = [] }: CopyFormat): string {
  const { text, table, columns, width, renamed, writes } = source;
  const whole = columns.length === width && columns.every(({ place }, index) => place === index + 1);
  const casts = format === "binary" && columns.some(({ cast }) => cast);
  const rewritten = format === "json" || casts || partitions.length > 0;
  if (table !== undefined && !rewritten) {
    return whole ? table : `${table} (${columns.map(({ name }) => quoted(name)).join(", ")})`;
  }
  if (whole && !renamed && !rewritten) return `(${text}\n)`;
  const names = width === 0 ? "" : `(${Array.from({ length: width }, (_, index) => `c${index + 1}`).join(", ")})`;
  // What writes can't stand after FROM, only in WITH.
  const [before, from] = writes ? [`WITH q${names} AS (\n${text}\n) `, "q"] : ["", `(\n${text}\n) AS q${names}`];
  const keys = format === "json" ? keysOf(columns) : columns.map(({ name }) => name);
  const list = columns.map((column, index) => `${value(column, casts)} AS ${quoted(keys[index]!)}`).join(", ");
  if (partitions.length > 0) {
    const row = format === "json" ? `(SELECT pg_catalog.row_to_json(r.*) FROM (SELECT ${list}) AS r)` : list;
    return `(${before}SELECT ${partitionText(partitions)} AS partition, ${row} FROM ${from} ORDER BY 1)`;
  }
  const rows = `SELECT ${list} FROM ${from}`;
  return `(${before}${format === "json" ? `SELECT pg_catalog.row_to_json(r.*) FROM (${rows}) AS r` : rows})`;
}

function partitionText(places: readonly number[]): string {
  const values = places.map((place) => `q.c${place}::pg_catalog.text`).join(", ");
  const json = `pg_catalog.json_build_array(${values})::pg_catalog.text`;
  return `pg_catalog.encode(pg_catalog.convert_to(${json}, 'UTF8'), 'hex') COLLATE pg_catalog."C"`;
}

const INET = 869;

function value({ place, cast, oid }: CopyColumn, casts: boolean): string {
  const value = `q.c${place}`;
  if (!casts || !cast) return value;
  // The cast of an address adds the netmask that its own text leaves out.
  if (oid === INET) return `pg_catalog.textin(pg_catalog.inet_out(${value}))`;
  return isBuiltIn(oid) ? `${value}::pg_catalog.text` : outputSql(value);
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
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot read the rows: ${optionName("columns")} has "${name}", which is no column; ${hint}`,
  );
}
