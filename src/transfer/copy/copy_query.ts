// @ts-types="npm:@types/pg@8.23.1"
import pg from "npm:pg@8.23.1";
import { suggestName } from "../../core/closest.ts";
import { LakebaseError, optionName } from "../../core/errors.ts";
import { quoteName } from "../../core/sql_text.ts";
import { outputSql } from "../../catalog/source.ts";
import { keysOf } from "../../sql/result.ts";
import { BUILT_IN, isBuiltIn } from "../../core/type_names.ts";
import type { CopyColumn, CopySource } from "./source.ts";

/** The format in which the server writes the rows. */
export interface CopyFormat {
  /** `json` is the text format with each column in its {@linkcode JsonForm}. */
  format: "csv" | "text" | "binary" | "json";
  /** Whether the first line has the names of the columns. @default {false} */
  header?: boolean | undefined;
  /** The character between two values. @default {a comma for csv, a tab for text} */
  delimiter?: string | undefined;
  /** The text that stands for NULL. @default {nothing for csv, \N for text} */
  nullText?: string | undefined;
  /**
   * The numbers of the columns that name partitions. Their values come first in each row, as one JSON array in hexadecimal
   * digits, which no format quotes. The rows are sorted by them.
   */
  partitions?: readonly number[] | undefined;
}

/** The `COPY ... TO STDOUT` statement for a source. */
export function copyStatement(source: CopySource, options: CopyFormat): string {
  return `COPY ${relationOrQuery(source, options)} TO STDOUT (${copyOptions(options).join(", ")})`;
}

/**
 * A source with only some of its columns, or with its columns in another order.
 *
 * @param names The names of the columns. If two columns have one name, the second is called `name_2`.
 * @throws {LakebaseError} `BAD_PARAMETER` for a column that does not exist.
 */
export function chooseColumns(source: CopySource, names: readonly string[] | undefined): CopySource {
  if (names === undefined) return source;
  const keys = keysOf(source.columns.map(({ name }) => name));
  const columns = names.map((name) => {
    const column = source.columns[keys.indexOf(name)];
    if (column === undefined) throw unknownColumn(name, keys);
    return { ...column, name };
  });
  return { ...source, columns };
}

function relationOrQuery(source: CopySource, { format, partitions = [] }: CopyFormat): string {
  const { text, table, columns, width, renamed, writes } = source;
  const whole = columns.length === width && columns.every(({ place }, index) => place === index + 1);
  const values = columns.map((column) => selectedValue(column, format));
  const rewritten = partitions.length > 0 || values.some((text, index) => text !== columnReference(columns[index]!));
  if (table !== undefined && !rewritten) {
    return whole ? table : `${table} (${columns.map(({ name }) => quoteName(name)).join(", ")})`;
  }
  if (whole && !renamed && !rewritten) return `(${text}\n)`;
  const names = width === 0 ? "" : `(${Array.from({ length: width }, (_, index) => `c${index + 1}`).join(", ")})`;
  // A statement that writes is allowed in WITH, but not in FROM.
  const [before, from] = writes ? [`WITH q${names} AS (\n${text}\n) `, "q"] : ["", `(\n${text}\n) AS q${names}`];
  const list = columns.map(({ name }, index) => `${values[index]} AS ${quoteName(name)}`).join(", ");
  if (partitions.length === 0) return `(${before}SELECT ${list} FROM ${from})`;
  return `(${before}SELECT ${partitionText(partitions)} AS partition, ${list} FROM ${from} ORDER BY 1)`;
}

function partitionText(places: readonly number[]): string {
  const values = places.map((place) => `q.c${place}::pg_catalog.text`).join(", ");
  const json = `pg_catalog.json_build_array(${values})::pg_catalog.text`;
  return `pg_catalog.encode(pg_catalog.convert_to(${json}, 'UTF8'), 'hex') COLLATE pg_catalog."C"`;
}

const INET = 869;

function columnReference({ place }: CopyColumn): string {
  return `q.c${place}`;
}

function selectedValue(column: CopyColumn, format: CopyFormat["format"]): string {
  const { cast, oid } = column;
  const reference = columnReference(column);
  if (format === "json") return jsonForm(oid) === "json" ? `pg_catalog.to_json(${reference})` : reference;
  if (format !== "binary" || !cast) return reference;
  // A cast to text adds a netmask, which the output of an address leaves out.
  if (oid === INET) return `pg_catalog.textin(pg_catalog.inet_out(${reference}))`;
  return isBuiltIn(oid) ? `${reference}::pg_catalog.text` : outputSql(reference);
}

/**
 * The form in which the server writes a value that becomes JSON: the value's text if the client can easily turn it into JSON,
 * otherwise JSON.
 */
export type JsonForm = "number" | "boolean" | "text" | "json";

const JSON_FORMS: ReadonlyMap<number, JsonForm> = new Map([
  ...["int2", "int4", "int8", "float4", "float8", "numeric"].map((name) => [BUILT_IN[name]![0], "number"] as const),
  ...["text", "varchar", "bpchar", "name", "uuid"].map((name) => [BUILT_IN[name]![0], "text"] as const),
  [BUILT_IN["bool"]![0], "boolean"],
]);

/** The form of the values of a type. */
export function jsonForm(oid: number): JsonForm {
  return JSON_FORMS.get(oid) ?? "json";
}

function copyOptions({ format, header = false, delimiter, nullText }: CopyFormat): string[] {
  return [
    `FORMAT ${format === "json" ? "text" : format}`,
    ...(header ? ["HEADER true"] : []),
    ...(delimiter === undefined ? [] : [`DELIMITER ${pg.escapeLiteral(delimiter).trim()}`]),
    ...(nullText === undefined ? [] : [`NULL ${pg.escapeLiteral(nullText).trim()}`]),
  ];
}

function unknownColumn(name: string, names: readonly string[]): LakebaseError {
  const hint = suggestName(name, names, "columns");
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot read the rows: ${optionName("columns")} has "${name}", which is not a column; ${hint}`,
  );
}
