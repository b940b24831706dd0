import type { Field } from "../query/fields.ts";
import { plotColumns } from "./column.ts";
import { checkPlotOptions, type PlotOptions } from "./options.ts";
import { computePlot, drawPlot, type Plot } from "./plot.ts";
import { rowSource } from "./row_source.ts";

/** Draws the rows of a result; see `Result.plot`. */
export async function plotRows(
  rows: readonly unknown[],
  fields: readonly Field[],
  options: PlotOptions,
): Promise<Plot> {
  checkPlotOptions(options);
  const source = rowSource(rows as Record<string, unknown>[], plotColumns(fields));
  return await drawPlot(await computePlot(source, options), options);
}
