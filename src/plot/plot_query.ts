import { columnsOf, readOnly } from "../explore/profile.ts";
import { sourceOf } from "../explore/source.ts";
import type { Query } from "../query/query.ts";
import type { FindSession } from "../query/run.ts";
import { type StopOptions, stoppable } from "../query/stop.ts";
import { plotColumns } from "./column.ts";
import { checkPlotOptions, type PlotOptions } from "./options.ts";
import { computePlot, drawPlot, type Plot } from "./plot.ts";
import { sqlSource } from "./sql_source.ts";

/**
 * Draws the rows of a query, with all that is computed of them computed by the database; see `Query.plot`. Its statements
 * see one state of the database and may change nothing.
 */
export async function plotQuery(
  find: FindSession,
  query: Query<unknown>,
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
  return await drawPlot(data, options);
}
