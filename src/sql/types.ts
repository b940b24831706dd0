import { Buffer } from "node:buffer";
import { LakebaseError } from "../core/errors.ts";
import { BUILT_IN, isBuiltIn, typeName } from "../core/type_names.ts";
import type { TypeParser, TypeParsers } from "../settings/options.ts";
import { parseArray } from "./parameter.ts";

/** Parsers by type. Values of any other type stay the server's text, which is always exact. */
const PARSERS: TypeParsers = {
  bool: (text) => text === "t",
  bytea: parseBytea,
  int2: Number,
  int4: Number,
  int8: parseInt8,
  oid: Number,
  float4: Number,
  float8: Number,
  json: JSON.parse,
  jsonb: JSON.parse,
  timestamptz: parseTimestamptz,
};

/** Finds the parser of a column, in the form that `pg` expects. */
export interface ParserSource {
  /** Returns the parser for the text of a type. */
  getTypeParser(oid: number, format?: string): TypeParser;
  /** The texts that must be in the server's default style; "dates" are those that become a `Date`. @default {"none"} */
  readonly styled?: "dates" | "all" | "none";
  /** Whether arrays of the database's own types become JavaScript arrays. @default {false} */
  readonly readsArrays?: boolean;
}

/**
 * Returns the parsers of one connection.
 *
 * @param custom Parsers that replace the default ones, by type name; a type's parser also reads the elements of its arrays.
 * @param styled The texts that must be in the server's default style. By default those that become a `Date`.
 */
export function parserSource(custom: TypeParsers = {}, styled: ParserSource["styled"] = "dates"): ParserSource {
  const byName = new Map<string, TypeParser>(Object.entries({ ...PARSERS, ...custom }));
  const byOid = new Map<number, TypeParser>();
  for (const [name, [oid, arrayOid]] of Object.entries(BUILT_IN)) {
    const element = byName.get(name) ?? asText;
    byOid.set(oid, element);
    if (arrayOid > 0) byOid.set(arrayOid, byName.get(`${name}[]`) ?? arrayParser(name, element));
  }
  return { getTypeParser: (oid) => byOid.get(oid) ?? asText, styled, readsArrays: true };
}

/** The types that are drawn from their values, which lose nothing or are clearer than the server's text. */
const DRAWN_AS_VALUES = new Set(["bool", "bytea", "int2", "int4", "int8", "oid"].flatMap((name) => BUILT_IN[name]!));

/**
 * Returns the parser of a column.
 *
 * @param element The oid of the element type if the column is an array of a type that is not built in; else 0.
 */
export function columnParser(types: ParserSource, oid: number, element: number): TypeParser {
  if (element === 0 || !types.readsArrays) return types.getTypeParser(oid);
  const parse = types.getTypeParser(element);
  return (text) => parseArray(text, parse);
}

/** Tells whether a column is drawn from the server's text and not from its values. */
export function isDrawnFromText(oid: number, parse: TypeParser): boolean {
  return parse !== asText && !DRAWN_AS_VALUES.has(oid);
}

const DATE_TYPES = ["timestamptz", "timestamptz[]"];
/** The types whose text depends on a setting. A type that is not built in, such as a composite type, may hold any of them. */
const DEPEND_ON_DATESTYLE = /^(date|timestamp|timestamptz|record|(ts|tstz|date)(range|multirange))(\[\])?$/;
const DEPEND_ON_INTERVALSTYLE = /^(interval|record)(\[\])?$/;

/**
 * Returns an error if a statement has set a date or interval style that the parsers would misread: a month could be taken
 * for a day.
 *
 * @param fields The columns.
 * @param reported The settings of the session that the server reports.
 * @param types How the values of the columns are read.
 */
export function unreadableStyle(
  fields: readonly { name: string; dataTypeID: number }[],
  reported: ReadonlyMap<string, string> | undefined,
  { styled = "none" }: Pick<ParserSource, "styled">,
): LakebaseError | undefined {
  if (styled === "none") return undefined;
  const dateStyle = reported?.get("DateStyle") ?? "ISO";
  const intervalStyle = reported?.get("IntervalStyle") ?? "postgres";
  const datesAreReadable = dateStyle.startsWith("ISO");
  const intervalsAreReadable = intervalStyle === "postgres";
  if (datesAreReadable && intervalsAreReadable) return undefined;
  const dependentField = (types: RegExp) =>
    fields.find(({ dataTypeID }) => {
      const type = typeName(dataTypeID);
      return styled === "dates" ? DATE_TYPES.includes(type) : types.test(type) || !isBuiltIn(dataTypeID);
    });
  const date = datesAreReadable ? undefined : dependentField(DEPEND_ON_DATESTYLE);
  if (date !== undefined) return styleError(date.name, "DateStyle", dateStyle);
  const interval = styled === "dates" || intervalsAreReadable ? undefined : dependentField(DEPEND_ON_INTERVALSTYLE);
  return interval === undefined ? undefined : styleError(interval.name, "IntervalStyle", intervalStyle);
}

function styleError(column: string, setting: string, style: string): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot read the column "${column}": a statement has set ${setting} to "${style}"; RESET ${setting}, or select the ` +
      "value as text with to_char() or ::text",
  );
}

/** An array of boxes stays text, because only boxes have semicolons between the elements of an array. */
function arrayParser(name: string, element: TypeParser): TypeParser {
  return name === "box" ? asText : (text) => parseArray(text, element);
}

/** The parser of a type whose values stay the server's text. */
export function asText(text: string): string {
  return text;
}

function parseInt8(text: string): number | bigint {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : BigInt(text);
}

/** Reads both formats of `bytea_output`; in "escape", a backslash precedes another one or three octal digits. */
function parseBytea(text: string): Uint8Array {
  if (text.startsWith("\\x")) return new Uint8Array(Buffer.from(text.slice(2), "hex"));
  const bytes = new Uint8Array(text.length);
  let size = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== "\\") bytes[size++] = text.charCodeAt(at);
    else if (text[at + 1] === "\\") [bytes[size++], at] = [0x5c, at + 1];
    else [bytes[size++], at] = [parseInt(text.slice(at + 1, at + 4), 8), at + 3];
  }
  return bytes.slice(0, size);
}

/** Reads ISO text with a zone such as `+00`, `+05:30` or `+05:53:28`; `infinity`, BC and years past 9999 stay text. */
function parseTimestamptz(text: string): Date | string {
  return fastTimestamp(text) ?? slowTimestamp(text);
}

/** Reads the usual form, such as `2026-01-31 12:34:56.789+00`, by its character codes. */
function fastTimestamp(text: string): Date | undefined {
  const end = text.length - 3;
  if (end < 19 || text.charCodeAt(10) !== 32 || text.charCodeAt(4) !== 45 || text.charCodeAt(16) !== 58) {
    return undefined;
  }
  const sign = text.charCodeAt(end);
  if (sign !== 43 && sign !== 45 || end > 19 && text.charCodeAt(19) !== 46) return undefined;
  const year = twoDigits(text, 0) * 100 + twoDigits(text, 2);
  let ms = 0;
  let weight = 100;
  for (let at = 20; at < end && weight >= 1; at++) {
    ms += (text.charCodeAt(at) - 48) * weight;
    weight /= 10;
  }
  const time = Date.UTC(
    year,
    twoDigits(text, 5) - 1,
    twoDigits(text, 8),
    twoDigits(text, 11),
    twoDigits(text, 14),
    twoDigits(text, 17),
    ms,
  );
  const offset = twoDigits(text, end + 1) * 3_600_000;
  const value = sign === 45 ? time + offset : time - offset;
  return year >= 100 && !Number.isNaN(value) ? new Date(value) : undefined; // Date.UTC reads 99 as 1999
}

function twoDigits(text: string, at: number): number {
  return (text.charCodeAt(at) - 48) * 10 + text.charCodeAt(at + 1) - 48;
}

function slowTimestamp(text: string): Date | string {
  const parts = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,6})?)([+-]\d\d)(?::(\d\d))?(?::(\d\d))?$/.exec(text);
  if (parts === null) return text;
  const [, day, time, hours, minutes = "00", seconds = "0"] = parts;
  const ms = Date.parse(`${day}T${time}${hours}:${minutes}`);
  return new Date(hours!.startsWith("-") ? ms + Number(seconds) * 1000 : ms - Number(seconds) * 1000);
}

/** The parsers of a connection whose `connect()` got none. */
export const DEFAULT_TYPES: ParserSource = parserSource();

/** The parsers that keep every value as the server's text. */
export const SERVER_TEXTS: ParserSource = { getTypeParser: () => asText };
