import { suggestName } from "../core/closest.ts";
import { cannotPlot, quoted } from "./options.ts";
import type { PlotColumn } from "./source.ts";

/** The functions that compute a number from rows. */
export type Aggregate = "count" | "sum" | "avg" | "min" | "max" | "median" | "stddev";

/** A number that is computed for each group of rows. */
export interface Measure {
  aggregate: Aggregate;
  /** The column of the values; missing if the rows are counted. */
  column?: PlotColumn;
  /** The title. */
  name: string;
}

/** The values of an axis or of the colors: a column, or a computed number. */
export type Channel = PlotColumn | Measure;

/** The channels of a chart by name. */
export type Channels = { [Name in ChannelName]?: Channel };

/** A way in which a chart shows values. */
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
 * Reads the option of a channel. A column of exactly this name takes precedence over a computation.
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
  const argument = inner.trim();
  if (aggregate === "count" && (argument === "" || argument === "*")) return COUNT;
  const found = columns.find((column) => column.name === inner) ?? columns.find((column) => column.name === argument);
  if (found === undefined) throw noColumn(name, argument, columns);
  if (aggregate !== "count" && found.scale !== "number") {
    throw cannotPlot(
      `${name} is ${quoted(text)}, and ${quoted(argument)} is ${found.type}, not a number; count() takes any column`,
    );
  }
  return measureOf(aggregate as Aggregate, found);
}

function noColumn(name: ChannelName, text: string, columns: readonly PlotColumn[]): Error {
  const names = columns.map((column) => column.name);
  return cannotPlot(`${name} is ${quoted(text)}, which is not a column; ${suggestName(text, names, "columns")}`);
}
