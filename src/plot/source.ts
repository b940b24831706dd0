import type { Bins } from "./bins.ts";
import type { PlotColumn, Scale } from "./column.ts";
import type { Measure } from "./measure.ts";
import type { TimeUnit } from "./time_unit.ts";

/** What a value of a chart is: numbers and, since 1970 in milliseconds, times; texts; NULL, and what no chart can show. */
export type PlotValue = number | string | null;

/** The rest of a column's texts, put together. */
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
  /** The only texts that are kept; the others are left out, or put together as {@linkcode OTHER}. */
  keep?: { texts: readonly (string | null)[]; rest: "drop" | "fold" };
}

/** Rows that agree in their keys. */
export interface Group {
  keys: (PlotValue | typeof OTHER)[];
  /** The measure. */
  value: number | null;
  /** How many rows. */
  rows: number;
}

/** The groups with the greatest values, and how many there are. */
export interface Groups {
  groups: Group[];
  of: number;
}

/** How far the values of a column reach. */
export interface Extent {
  rows: number;
  min: number | null;
  max: number | null;
}

/** What a box shows of its rows. */
export interface Box {
  keys: Group["keys"];
  /** Minimum, quartiles and maximum; `null` where there is no number. */
  marks: number[] | null;
  rows: number;
  /** Rows that have no number. */
  empty: number;
}

/** Where the data of a chart are computed: by the database, or of rows that are here. */
export interface PlotSource {
  readonly columns: readonly PlotColumn[];
  extent(column: PlotColumn): Promise<Extent>;
  /** The greatest groups, at most so many. */
  groups(keys: readonly Key[], measure: Measure, most: number): Promise<Groups>;
  /** The boxes with the most rows, at most so many. */
  boxes(keys: readonly Key[], column: PlotColumn, most: number): Promise<{ boxes: Box[]; of: number }>;
  /** Rows as they are, or of more rows a part that is spread evenly over them. */
  points(columns: readonly PlotColumn[], most: number): Promise<{ rows: PlotValue[][]; of: number }>;
}

/** What a row's number is multiplied with, modulo 2^32, to choose rows evenly and always the same. */
export const SPREAD = 2_654_435_761;
