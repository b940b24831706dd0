import { suggestName } from "../core/closest.ts";
import { cannotPlot, quoted } from "./options.ts";
import type { PlotColumn } from "./source.ts";

/** The computations on rows. */
export type Aggregate = "count" | "sum" | "avg" | "min" | "max" | "median" | "stddev";

/** One number of each group of rows. */
export interface Measure {
  aggregate: Aggregate;
  /** Of which values; of the rows themselves where there is none. */
  column?: PlotColumn;
  /** Its title. */
  name: string;
}

/** What an axis or a color shows: a column, or a number that is computed. */
export type Channel = PlotColumn | Measure;

/** What a chart shows where. */
export type Channels = { [Name in ChannelName]?: Channel };

/** Where a chart shows something. */
export type ChannelName = "x" | "y" | "color" | "facet";

const AGGREGATES: readonly string[] = ["count", "sum", "avg", "min", "max", "median", "stddev"];
const CALL = /^\s*([\p{L}_]\w*)\s*\(([^]*)\)\s*$/u;

/** The number of rows. */
export const COUNT: Measure = { aggregate: "count", name: "count()" };

/** Whether a channel is computed. */
export function isMeasure(channel: Channel | undefined): channel is Measure {
  return channel !== undefined && "aggregate" in channel;
}

/** A measure of a column. */
export function measureOf(aggregate: Aggregate, column: PlotColumn): Measure {
  return { aggregate, column, name: `${aggregate}(${column.name})` };
}

/** Whether the values of parts add up to the value of the whole. */
export function isAdditive({ aggregate }: Measure): boolean {
  return aggregate === "count" || aggregate === "sum";
}

/**
 * Reads the option of a channel. A column of exactly that name wins over a computation.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` if it is neither a column nor a computation.
 */
export function readChannel(name: ChannelName, text: string, columns: readonly PlotColumn[]): Channel {
  const column = columns.find((column) => column.name === text);
  if (column !== undefined) return column;
  const [, called = "", inner = ""] = CALL.exec(text) ?? [];
  if (called === "") throw noColumn(name, text, columns);
  const aggregate = called.toLowerCase() === "mean" ? "avg" : called.toLowerCase();
  if (!AGGREGATES.includes(aggregate)) {
    throw cannotPlot(`${name} is ${quoted(text)}; ${suggestName(aggregate, AGGREGATES, "functions")}`);
  }
  const of = inner.trim();
  if (aggregate === "count" && (of === "" || of === "*")) return COUNT;
  const found = columns.find((column) => column.name === inner) ?? columns.find((column) => column.name === of);
  if (found === undefined) throw noColumn(name, of, columns);
  if (aggregate !== "count" && found.scale !== "number") {
    throw cannotPlot(
      `${name} is ${quoted(text)}, and ${quoted(of)} is ${found.type}, not a number; count() takes any column`,
    );
  }
  return measureOf(aggregate as Aggregate, found);
}

function noColumn(name: ChannelName, text: string, columns: readonly PlotColumn[]): Error {
  const names = columns.map((column) => column.name);
  return cannotPlot(`${name} is ${quoted(text)}, which is not a column; ${suggestName(text, names, "columns")}`);
}
