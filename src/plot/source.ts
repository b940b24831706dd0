import { suggestName } from "../core/closest.ts";
import { isBuiltIn, typeName } from "../core/type_names.ts";
import { cellText } from "../draw/cell.ts";
import type { Field } from "../sql/result.ts";
import type { Bins, TimeUnit } from "./bins.ts";
import { cannotPlot, shownName } from "./options.ts";

/**
 * A value of a chart: a number, a time in milliseconds since 1970, a text, or `null` for NULL and for values that can't be
 * drawn.
 */
export type PlotValue = number | string | null;

/** Stands for all texts of a column that are not kept. */
export const OTHER: unique symbol = Symbol("other");

/** A column that divides the rows into groups, and how it divides them. */
export interface Key {
  column: PlotColumn;
  /** The scale of the values, which may be `text` for a column of numbers or times. */
  scale: Scale;
  /** The bins of numbers. A value of the key is the number of a bin. */
  bins?: Bins;
  /** The unit of times. A value of the key is the start of a unit. */
  unit?: TimeUnit;
  /** The texts to keep. The others are left out, or combined as {@linkcode OTHER}. */
  keep?: { texts: readonly (string | null)[]; rest: "drop" | "combine" };
}

/** Rows with equal keys. */
export interface Group {
  keys: (PlotValue | typeof OTHER)[];
  /** The value of the measure. */
  value: number | null;
  /** The number of rows. */
  rows: number;
}

/** The groups with the greatest values, and the number of all groups. */
export interface Groups {
  groups: Group[];
  total: number;
}

/** The range of the values of a column. */
interface Extent {
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
  /** The number of rows that have no number. */
  empty: number;
}

/** Computes the data of a chart, in the database or from rows in memory. */
export interface PlotSource {
  readonly columns: readonly PlotColumn[];
  extent(column: PlotColumn): Promise<Extent>;
  /** The groups with the greatest values, up to a limit. */
  groups(keys: readonly Key[], measure: Measure, limit: number): Promise<Groups>;
  /** The boxes with the most rows, up to a limit. */
  boxes(keys: readonly Key[], column: PlotColumn, limit: number): Promise<{ boxes: Box[]; total: number }>;
  /** All rows, or an even sample if there are more than the limit. */
  points(columns: readonly PlotColumn[], limit: number): Promise<Points>;
}

/** The points, and the number of all rows. */
export interface Points {
  rows: PlotValue[][];
  total: number;
}

/** A row, by the names of its columns. */
export type QueryRow = Record<string, unknown>;

/** The queries of {@linkcode readPoints}. */
interface PointQueries<Row> {
  /** Reads the first rows. */
  first: (limit: number) => Promise<readonly Row[]>;
  count: () => Promise<number>;
  /** Reads an even sample of the rows. */
  sample: (total: number) => Promise<readonly Row[]>;
  values: (row: Row) => PlotValue[];
}

/** Reads all rows, or a sample if there are more than the limit. The rows are counted only then. */
export async function readPoints<Row>(limit: number, queries: PointQueries<Row>): Promise<Points> {
  const { first, count, sample, values } = queries;
  const rows = await first(limit + 1);
  if (rows.length <= limit) return { rows: rows.map(values), total: rows.length };
  const total = await count();
  return { rows: (await sample(total)).map(values), total };
}

/**
 * The value of a key with texts to keep.
 *
 * @param position What the database gives: the position of the text, from 1, or NULL for another text.
 */
export function keptText(position: unknown, texts: readonly (string | null)[]): PlotValue | typeof OTHER {
  return position === null ? OTHER : texts[Number(position) - 1] ?? null;
}

/** A row's index times this number, modulo 2^32, decides whether the row is in the sample. The sample is even and repeatable. */
export const SPREAD = 2_654_435_761;

const [FIRST, LAST] = [Date.parse("0001-01-02T00:00Z"), Date.parse("9999-12-30T00:00Z")];

/** A time in milliseconds since 1970; `null` for a time that no chart can show. A time without a zone is taken as UTC. */
export function timeValue(value: unknown): number | null {
  const time = value instanceof Date ? value.getTime() : typeof value === "string" ? Date.parse(isoText(value)) : NaN;
  return time >= FIRST && time <= LAST ? time : null;
}

function isoText(text: string): string {
  if (/^\d{4}-\d\d-\d\d$/.test(text)) return text; // JavaScript takes it as UTC
  if (!/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?$/.test(text)) return "";
  return `${text.replace(" ", "T")}Z`;
}

/** Larger numbers have no position on an axis, because the distance between two of them may be infinite. */
export const MAX_NUMBER = 1e300;
/** Numbers nearer to 0 count as 0, because the ticks of an axis would not differ. */
export const MIN_NUMBER = 1e-300;

/** A number; `null` for a value that has no position on an axis. */
export function numberValue(value: unknown): number | null {
  if (value === null || value === undefined || value === "" || typeof value === "object") return null;
  const number = Number(value);
  if (!(Math.abs(number) <= MAX_NUMBER)) return null;
  return Math.abs(number) < MIN_NUMBER ? 0 : number;
}

/** Texts are distinguished by this many characters. */
export const MAX_TEXT_LENGTH = 500;

/** A value of a row on a scale. */
export function plotValue(value: unknown, { type, scale }: Pick<PlotColumn, "type" | "scale">): PlotValue {
  if (scale === "number") return numberValue(value);
  return scale === "time" ? timeValue(value) : cellText(value, type, MAX_TEXT_LENGTH)?.text ?? null;
}

/** The scale on which the values of a column are laid out. */
export type Scale = "number" | "time" | "text";

/** A column that can be drawn. */
export interface PlotColumn {
  /** The key in a row, by which the options name the column. */
  name: string;
  /** The position among the columns, from 1. */
  position: number;
  /** The Postgres type. */
  type: string;
  /** Whether the type is built in. A type that a database defines can have the name of a built-in one. */
  builtIn: boolean;
  scale: Scale;
}

const NUMBERS = new Set(["int2", "int4", "int8", "float4", "float8", "numeric"]);
const TIMES = new Set(["date", "timestamp", "timestamptz"]);

/** The columns of a result. A column without numbers or times has categories. */
export function plotColumns(fields: readonly Field[]): PlotColumn[] {
  return fields.map(({ key: name, type: reported, oid }, index) => {
    const builtIn = isBuiltIn(oid);
    const type = builtIn ? typeName(oid) : reported; // a SQL warehouse has other names for the same types
    const scale = !builtIn ? "text" : NUMBERS.has(type) ? "number" : TIMES.has(type) ? "time" : "text";
    return { name, position: index + 1, type, builtIn, scale };
  });
}

/** Whether all values are whole numbers. */
export function isWhole({ type }: PlotColumn): boolean {
  return type.startsWith("int");
}

/** The functions that compute a number from rows. */
type Aggregate = "count" | "sum" | "avg" | "min" | "max" | "median" | "stddev";

/** A number that is computed for each group of rows. */
export interface Measure {
  aggregate: Aggregate;
  /** The column of the values; missing if the rows are counted. */
  column?: PlotColumn;
  /** The title. */
  name: string;
}

/** What a channel shows: a column, or a computed number. */
export type Channel = PlotColumn | Measure;

/** What the channels of a chart show. */
export type Channels = { [Name in ChannelName]?: Channel };

/** A means by which a chart shows values. */
export type ChannelName = "x" | "y" | "color" | "facet";

const AGGREGATES: readonly string[] = ["count", "sum", "avg", "min", "max", "median", "stddev"];
const CALL = /^\s*([\p{L}_]\w*)\s*\(([^]*)\)\s*$/u;

/** The number of rows. */
export const ROW_COUNT: Measure = { aggregate: "count", name: "count()" };

/** Whether a channel is computed. */
export function isMeasure(channel: Channel | undefined): channel is Measure {
  return channel !== undefined && "aggregate" in channel;
}

/** A measure of a column. */
export function measureOf(aggregate: Aggregate, column: PlotColumn): Measure {
  return { aggregate, column, name: `${aggregate}(${column.name})` };
}

/** Whether the values of groups add up to the value of all rows. */
export function isAdditive({ aggregate }: Measure): boolean {
  return aggregate === "count" || aggregate === "sum";
}

/**
 * Reads the option of a channel. A column of exactly this name takes precedence over a computation.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` if it is neither a column nor a computation.
 */
export function readChannel(name: ChannelName, text: string, columns: readonly PlotColumn[]): Channel {
  const column = columns.find((column) => column.name === text);
  if (column !== undefined) return column;
  const [, functionName = "", inBrackets = ""] = CALL.exec(text) ?? [];
  if (functionName === "") throw noColumn(name, text, columns);
  const aggregate = functionName.toLowerCase() === "mean" ? "avg" : functionName.toLowerCase();
  if (!AGGREGATES.includes(aggregate)) {
    throw cannotPlot(`${name} is ${shownName(text)}; ${suggestName(aggregate, AGGREGATES, "functions")}`);
  }
  const argument = inBrackets.trim();
  if (aggregate === "count" && (argument === "" || argument === "*")) return ROW_COUNT;
  const computed = columns.find((column) => column.name === inBrackets) ??
    columns.find((column) => column.name === argument);
  if (computed === undefined) throw noColumn(name, argument, columns);
  if (aggregate !== "count" && computed.scale !== "number") {
    throw cannotPlot(
      `${name} is ${shownName(text)}, and ${
        shownName(argument)
      } is ${computed.type}, not a number; count() takes any column`,
    );
  }
  return measureOf(aggregate as Aggregate, computed);
}

function noColumn(name: ChannelName, text: string, columns: readonly PlotColumn[]): Error {
  const names = columns.map((column) => column.name);
  return cannotPlot(`${name} is ${shownName(text)}, which is not a column; ${suggestName(text, names, "columns")}`);
}
