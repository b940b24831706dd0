import { columnsOf, readOnly, sourceOf } from "../catalog/source.ts";
import { originText } from "../draw/result.ts";
import type { Fragment } from "../sql/fragment.ts";
import type { Field } from "../sql/result.ts";
import type { FindSession } from "../sql/run.ts";
import { originOf } from "../sql/session.ts";
import { type StopOptions, stoppable } from "../sql/stop.ts";
import { checkPlotOptions, type PlotOptions } from "./options.ts";
import { computePlot, drawPlot, type Plot } from "./plot.ts";
import { rowSource } from "./row_source.ts";
import { plotColumns } from "./source.ts";
import { sqlSource } from "./sql_source.ts";
import { type AskWarehouse, columnsInWarehouse, warehouseSource } from "./warehouse_source.ts";

/**
 * Draws the rows of a query. The database computes the data of the chart. See `Query.plot`. The statements see one state of
 * the database and can't change it.
 */
export async function plotQuery(
  find: FindSession,
  query: Fragment,
  options: PlotOptions,
  stops: StopOptions,
): Promise<Plot> {
  checkPlotOptions(options);
  using stop = stoppable(stops);
  const source = await sourceOf(find, query, stop);
  const fields = await columnsOf(find, source, stop);
  const compute = (tx: FindSession) => computePlot(sqlSource(tx, source, plotColumns(fields), stop.signal), options);
  const session = await find();
  const data = await readOnly(session, stop, compute);
  const origin = originText(originOf(session)).replace(/^, /, "");
  return await drawPlot(data, options, { notes: origin === "" ? [] : [origin], signal: stop.signal });
}

/**
 * Draws the rows of a query of a SQL warehouse, which computes the data of the chart.
 *
 * @param place The name of the warehouse for the last line of the chart.
 */
export async function plotInWarehouse(
  ask: AskWarehouse,
  query: Fragment,
  options: PlotOptions,
  place: string,
): Promise<Plot> {
  checkPlotOptions(options);
  const columns = plotColumns(await columnsInWarehouse(ask, query));
  return await drawPlot(await computePlot(warehouseSource(ask, query, columns), options), options, {
    notes: [`on ${place}`],
  });
}

/** Draws the rows of a result. See `Result.plot`. */
export async function plotRows(
  rows: readonly unknown[],
  fields: readonly Field[],
  options: PlotOptions,
): Promise<Plot> {
  checkPlotOptions(options);
  const source = rowSource(rows as Record<string, unknown>[], plotColumns(fields));
  using stop = stoppable();
  return await drawPlot(await computePlot(source, options), options, { signal: stop.signal });
}
