import { cellText } from "../draw/cell.ts";
import type { Field } from "../sql/result.ts";
import { isBuiltIn, typeName } from "../core/type_names.ts";
import type { Bins, TimeUnit } from "./bins.ts";
import type { Measure } from "./measure.ts";

/** What a value of a chart is: numbers and, since 1970 in milliseconds, times; texts; NULL, and what no chart can show. */
export type PlotValue = number | string | null;

/** The remaining texts of a column, combined. */
export const OTHER: unique symbol = Symbol("other");

/** What divides rows into groups. */
export interface Key {
  column: PlotColumn;
  /** As what its values are taken; a number may be one of a few, and a text to a chart. */
  scale: Scale;
  /** Numbers become the number of their bin. */
  bins?: Bins;
  /** Times become the beginning of their unit. */
  unit?: TimeUnit;
  /** The texts to keep; the others are left out, or combined as {@linkcode OTHER}. */
  keep?: { texts: readonly (string | null)[]; rest: "drop" | "fold" };
}

/** Rows with equal keys. */
export interface Group {
  keys: (PlotValue | typeof OTHER)[];
  /** The measure. */
  value: number | null;
  /** The number of rows. */
  rows: number;
}

/** The groups with the greatest values, and how many there are. */
export interface Groups {
  groups: Group[];
  of: number;
}

/** The range of the values of a column. */
export interface Extent {
  rows: number;
  min: number | null;
  max: number | null;
}

/** The numbers of a box. */
export interface Box {
  keys: Group["keys"];
  /** Minimum, quartiles and maximum; `null` if there is no number. */
  marks: number[] | null;
  rows: number;
  /** Rows that have no number. */
  empty: number;
}

/** Computes the data of a chart: in the database, or from rows in memory. */
export interface PlotSource {
  readonly columns: readonly PlotColumn[];
  extent(column: PlotColumn): Promise<Extent>;
  /** The greatest groups, up to a limit. */
  groups(keys: readonly Key[], measure: Measure, most: number): Promise<Groups>;
  /** The boxes with the most rows, up to a limit. */
  boxes(keys: readonly Key[], column: PlotColumn, most: number): Promise<{ boxes: Box[]; of: number }>;
  /** All rows, or an even sample of more rows. */
  points(columns: readonly PlotColumn[], most: number): Promise<{ rows: PlotValue[][]; of: number }>;
}

/** A row's number times this, modulo 2^32, chooses the same even sample each time. */
export const SPREAD = 2_654_435_761;

const [FIRST, LAST] = [Date.parse("0001-01-02T00:00Z"), Date.parse("9999-12-30T00:00Z")];

/** A point in time in milliseconds since 1970, what has no time zone as if in UTC; `null` for what no chart has a form of. */
export function timeValue(value: unknown): number | null {
  const time = value instanceof Date ? value.getTime() : typeof value === "string" ? Date.parse(isoText(value)) : NaN;
  return time >= FIRST && time <= LAST ? time : null;
}

function isoText(text: string): string {
  if (/^\d{4}-\d\d-\d\d$/.test(text)) return text; // which JavaScript takes to be in UTC
  if (!/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?$/.test(text)) return "";
  return `${text.replace(" ", "T")}Z`;
}

/** Beyond this no number has a place on an axis: the distance of two would have no form. */
export const LARGEST = 1e300;
/** What is nearer to 0 than this is 0: no two ticks would be apart. */
export const SMALLEST = 1e-300;

/** A number; `null` for what has no place on an axis. */
export function numberValue(value: unknown): number | null {
  if (value === null || value === undefined || value === "" || typeof value === "object") return null;
  const number = Number(value);
  if (!(Math.abs(number) <= LARGEST)) return null;
  return Math.abs(number) < SMALLEST ? 0 : number;
}

/** The characters by which texts are distinguished. */
export const LONGEST = 500;

/** A value of a row as a chart of this scale has it. */
export function plotValue(value: unknown, { type, scale }: Pick<PlotColumn, "type" | "scale">): PlotValue {
  if (scale === "number") return numberValue(value);
  return scale === "time" ? timeValue(value) : cellText(value, type, LONGEST)?.text ?? null;
}

/** How a column's values are laid out. */
export type Scale = "number" | "time" | "text";

/** A column that can be drawn. */
export interface PlotColumn {
  /** Its key in a row, by which it is called. */
  name: string;
  /** Its place, from 1. */
  position: number;
  /** Its Postgres type. */
  type: string;
  /** Whether every Postgres has the type; another of the same name may be anything. */
  builtIn: boolean;
  scale: Scale;
}

const NUMBERS = new Set(["int2", "int4", "int8", "float4", "float8", "numeric"]);
const TIMES = new Set(["date", "timestamp", "timestamptz"]);

/** The columns of a result; what is neither a number nor a point in time is a category. */
export function plotColumns(fields: readonly Field[]): PlotColumn[] {
  return fields.map(({ key: name, type: own, oid }, index) => {
    const builtIn = isBuiltIn(oid);
    const type = builtIn ? typeName(oid) : own; // a SQL warehouse has other names for the same types
    const scale = !builtIn ? "text" : NUMBERS.has(type) ? "number" : TIMES.has(type) ? "time" : "text";
    return { name, position: index + 1, type, builtIn, scale };
  });
}

/** Whether all values are whole numbers. */
export function isWhole({ type }: PlotColumn): boolean {
  return type.startsWith("int");
}
