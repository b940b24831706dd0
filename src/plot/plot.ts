import { Worker as LimitedWorker } from "node:worker_threads";
import { columnsOf, readOnly, sourceOf } from "../catalog/source.ts";
import { byteLength } from "../core/bytes.ts";
import { workerUrl } from "../core/lazy_import.ts";
import type { LakebaseError } from "../core/errors.ts";
import { countText } from "../core/text.ts";
import { giveTurn } from "../core/pause.ts";
import { type Bundle, DRAW, inNotebook, SelfDrawn } from "../draw/notebook.ts";
import { originText, type ResultOrigin } from "../draw/table.ts";
import type { Fragment } from "../sql/fragment.ts";
import type { Field } from "../sql/result.ts";
import type { FindSession } from "../sql/run.ts";
import { originOf } from "../sql/session.ts";
import { type StopOptions, stoppable, until } from "../sql/stop.ts";
import { boxData, type ChartData, groupData, pointData, shortText } from "./chart_data.ts";
import { type Design, designOf } from "./design.ts";
import { groupsOf } from "./groups.ts";
import { cannotPlot, checkPlotOptions, type PlotOptions } from "./options.ts";
import { rowSource } from "./row_source.ts";
import { type ChannelName, plotColumns, type PlotSource } from "./source.ts";
import { sqlSource } from "./sql_source.ts";
import type { DrawnSvg } from "./svg_worker.ts";
import { type Spec, vegaSpec } from "./vega_spec.ts";
import { columnsInWarehouse, type QueryWarehouse, warehouseSource } from "./warehouse_source.ts";

/** The MIME type that JupyterLab, VS Code and other frontends draw as a chart with tooltips. */
const VEGA_LITE = "application/vnd.vegalite.v5+json";

/** The maximum bytes of a chart in all its forms. Frontends handle outputs of up to a megabyte well. */
const MAX_BYTES = 960_000;

/**
 * A chart as Vega-Lite, as a picture, and in words. It draws itself in a cell.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const rows = await db.sql`SELECT n, n * n AS square FROM generate_series(1, 3) AS n`;
 * const chart = await rows.plot({ x: "n", y: "square", mark: "line" });
 * assert.equal(chart.data.length, 3);
 * assert.match(chart.svg, /^<svg/); // for a file, or a page
 * assert.match(chart.summary, /^Line chart: /);
 * ```
 */
export class Plot extends SelfDrawn {
  /** The chart as a Vega-Lite 5 specification, with its data. */
  readonly spec: Record<string, unknown>;
  /** The drawn data: objects with the keys `x`, `y`, `color` and `facet`. */
  readonly data: readonly Record<string, string | number>[];
  /** The chart as a picture. */
  readonly svg: string;
  /** The content of the chart in words: its title, the number of rows, and the values that were left out. */
  readonly summary: string;

  /** `plot()` makes charts. */
  constructor(spec: Spec, data: readonly Record<string, string | number>[], svg: string, summary: string) {
    super();
    this.spec = spec;
    this.data = data;
    this.svg = svg;
    this.summary = summary;
  }

  /** @internal */
  override [DRAW](): Bundle {
    const { spec, svg, summary } = this;
    // A MIME type of JSON has the object itself as its value.
    const interactive = { [VEGA_LITE]: spec } as unknown as Bundle;
    return { ...interactive, "image/svg+xml": svg, "text/plain": summary };
  }
}

/**
 * Draws the rows of a query. See `Query.plot`. The database computes the data of the chart, with statements that see one state
 * of the database and can't change it.
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
  const computed = await readOnly(session, stop, compute);
  return await drawPlot(computed, options, { notes: originNotes(originOf(session)), signal: stop.signal });
}

/**
 * Draws the rows of a query in a SQL warehouse, which computes the data of the chart.
 *
 * @param place The name of the warehouse, for the last line of the chart.
 */
export async function plotInWarehouse(
  queryWarehouse: QueryWarehouse,
  query: Fragment,
  options: PlotOptions,
  place: string,
): Promise<Plot> {
  checkPlotOptions(options);
  const columns = plotColumns(await columnsInWarehouse(queryWarehouse, query));
  const computed = await computePlot(warehouseSource(queryWarehouse, query, columns), options);
  return await drawPlot(computed, options, { notes: [`on ${place}`] });
}

/** Draws the rows of a result. See `Result.plot`. */
export async function plotRows(
  rows: readonly unknown[],
  fields: readonly Field[],
  options: PlotOptions,
  origin: ResultOrigin = {},
): Promise<Plot> {
  checkPlotOptions(options);
  const source = rowSource(rows as Record<string, unknown>[], plotColumns(fields));
  using stop = stoppable();
  const computed = await computePlot(source, options);
  return await drawPlot(computed, options, { notes: originNotes(origin), signal: stop.signal });
}

/** The notes that name the origin of a chart. */
function originNotes(origin: ResultOrigin): string[] {
  const text = originText(origin).replace(/^, /, "");
  return text === "" ? [] : [text];
}

/** The design of a chart and its computed data. */
interface ComputedPlot {
  design: Design;
  data: ChartData;
}

/**
 * Computes the data of a chart.
 *
 * @param options The options, which are checked.
 * @throws {LakebaseError} `BAD_PARAMETER`, or the error of the query.
 */
async function computePlot(source: PlotSource, options: PlotOptions): Promise<ComputedPlot> {
  const design = designOf(source.columns, options);
  if (design.value === undefined) return { design, data: await pointData(source, design) };
  if (design.mark === "box") return { design, data: await boxData(source, design) };
  return { design, data: groupData(design, await groupsOf(source, design)) };
}

/**
 * Draws computed data. If the chart of points would be too large, it draws fewer points.
 *
 * @param options The options, which are checked.
 * @param more The last lines below the title, and a signal that ends the drawing.
 */
async function drawPlot(
  { design, data }: ComputedPlot,
  options: PlotOptions,
  { notes = [], signal }: { notes?: readonly string[]; signal?: AbortSignal | undefined },
): Promise<Plot> {
  const limited = options.spec !== undefined || !inNotebook();
  for (let drawn = data;;) {
    const lines = [shortText(options.title ?? titleOf(drawn, design)), ...dataNotes(drawn), ...notes] as const;
    const spec = vegaSpec(design, drawn, options, lines, true);
    const svg = await drawSvg(vegaSpec(design, drawn, options, lines, false), limited, signal);
    const bytes = byteLength(JSON.stringify(spec)) + byteLength(svg);
    if (bytes <= MAX_BYTES) return new Plot(spec, drawn.rows, svg, summaryOf(design, drawn, lines));
    drawn = sampleData(design, drawn, MAX_BYTES / bytes);
  }
}

/** Keeps a fraction of a chart's points. Other charts can't be made smaller, because they need all values. */
function sampleData(design: Design, data: ChartData, fraction: number): ChartData {
  const kept = Math.floor(data.rows.length * fraction * 0.9);
  if (design.value !== undefined || kept < 1) {
    throw cannotPlot(
      `the chart would be larger than ${MAX_BYTES / 1000} kB; take fewer colors, a coarser x, or a smaller spec`,
    );
  }
  const rows = Array.from({ length: kept }, (_, index) => data.rows[Math.floor((index * data.rows.length) / kept)]!);
  const total = data.rowCount ?? data.rows.length;
  const sample = `a sample of ${kept.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} rows`;
  return { ...data, rows, notes: [sample, ...data.notes.filter((note) => !note.startsWith("a sample of "))] };
}

function titleOf({ axes }: ChartData, { mark, value, keys }: Design): string {
  const title = (channel: ChannelName) => axes[channel]?.title ?? "";
  if (value === undefined) {
    return `${title("y")} by ${title("x")}${axes.color === undefined ? "" : ` and ${axes.color.title}`}`;
  }
  const first = mark === "histogram"
    ? keys[0]!.column.name
    : mark === "box"
    ? value.measure.column!.name
    : title(value.channel);
  const names = keys.slice(mark === "histogram" ? 1 : 0).map(({ column }) => column.name);
  return names.length === 0 ? first : `${first} by ${names.join(" and ")}`;
}

function dataNotes({ rows, rowCount, notes }: ChartData): readonly string[] {
  if (rows.length > 0) return notes;
  return [rowCount === 0 || rowCount === undefined ? "no rows" : "nothing to draw", ...notes];
}

/** The names of charts in summaries, for marks whose charts are not called `Line chart` and the like. */
const CHART_NAMES: Readonly<Record<string, string>> = { heatmap: "Heat map", box: "Box plot", histogram: "Histogram" };

function summaryOf({ mark }: Design, { rows, rowCount }: ChartData, [title, ...notes]: readonly string[]): string {
  const name = CHART_NAMES[mark] ?? `${mark.charAt(0).toUpperCase()}${mark.slice(1)} chart`;
  const ofRows = rowCount === undefined ? "" : ` of ${countText(rowCount, "row")}`;
  const values = countText(rows.length, mark === "point" ? "point" : "value");
  return [`${name}: ${title} (${values}${ofRows})`, ...notes.map((note) => `  ${note}`)].join("\n");
}

/** Workers that have loaded Vega and wait for the next chart. */
const idleDrawers: Partial<Record<"plain" | "limited", Drawer>> = {};

/**
 * Draws a Vega-Lite chart as SVG, in a worker: loading Vega and drawing would block the program for hundreds of milliseconds.
 * Making a worker blocks the program too; a web worker blocks it for a third as long as a Node worker.
 *
 * @param limited Whether to draw in a Node worker. It has a memory limit, because a specification that a person wrote could
 * use any amount of memory, and it does not keep the program running.
 * @param signal Ends the drawing.
 * @throws {LakebaseError} `BAD_PARAMETER` if the specification is not Vega-Lite or refers to a file or an address.
 * @throws The signal's reason.
 */
export async function drawSvg(spec: Spec, limited: boolean, signal?: AbortSignal): Promise<string> {
  const text = JSON.stringify(spec);
  const kind = limited ? "limited" : "plain";
  if (idleDrawers[kind] === undefined) await giveTurn();
  const drawer = idleDrawers[kind] ?? (limited ? new LimitedDrawer() : new PlainDrawer());
  delete idleDrawers[kind];
  let answer: DrawnSvg;
  try {
    answer = await until(drawer.draw(text), signal);
  } catch (error) {
    await drawer.end();
    throw error;
  }
  if (idleDrawers[kind] === undefined) {
    drawer.release();
    idleDrawers[kind] = drawer;
  } else await drawer.end();
  if ("svg" in answer) return answer.svg;
  throw cannotPlot(`the Vega-Lite specification can't be drawn (${answer.failure})`);
}

/** A worker that draws one chart at a time. */
interface Drawer {
  draw(spec: string): Promise<DrawnSvg>;
  /** Makes the worker ready for the next chart. */
  release(): void;
  end(): Promise<unknown>;
}

const WORKER = import.meta.resolve("./svg_worker.ts");

function drawingEnded(reason: string): LakebaseError {
  return cannotPlot(`the drawing of the Vega-Lite specification has ended (${reason})`);
}

/** The limit of a worker's heap in megabytes. */
const HEAP_MB = 512;

class LimitedDrawer implements Drawer {
  readonly #worker = new LimitedWorker(workerUrl(WORKER), { resourceLimits: { maxOldGenerationSizeMb: HEAP_MB } });

  draw(spec: string): Promise<DrawnSvg> {
    const { promise, resolve, reject } = Promise.withResolvers<DrawnSvg>();
    this.#worker.ref();
    this.#worker.on("message", resolve);
    this.#worker.on("error", ({ message }: Error) => reject(drawingEnded(message)));
    this.#worker.on("exit", () => reject(drawingEnded("it used too much memory")));
    this.#worker.postMessage(spec);
    return promise;
  }

  release(): void {
    this.#worker.removeAllListeners();
    this.#worker.unref();
  }

  end(): Promise<unknown> {
    return this.#worker.terminate();
  }
}

class PlainDrawer implements Drawer {
  readonly #worker = new Worker(WORKER, { type: "module" });

  draw(spec: string): Promise<DrawnSvg> {
    const { promise, resolve, reject } = Promise.withResolvers<DrawnSvg>();
    this.#worker.onmessage = ({ data }: MessageEvent<DrawnSvg>) => resolve(data);
    this.#worker.onerror = (event) => {
      event.preventDefault(); // or it would end the program
      reject(drawingEnded(event.message));
    };
    this.#worker.postMessage(spec);
    return promise;
  }

  release(): void {}

  end(): Promise<void> {
    this.#worker.terminate();
    return Promise.resolve();
  }
}
