import { countText } from "../core/text.ts";
import { type Bundle, DISPLAY, holdIdle } from "../draw/notebook.ts";
import { boxData, type ChartData, groupData, pointData } from "./chart_data.ts";
import { type Design, designOf, shortText } from "./design.ts";
import { drawSvg } from "./draw_svg.ts";
import { groupsOf } from "./groups.ts";
import type { ChannelName } from "./measure.ts";
import { cannotPlot, type PlotOptions } from "./options.ts";
import type { PlotSource } from "./source.ts";
import { type Spec, vegaSpec } from "./vega_spec.ts";

/** What JupyterLab, VS Code and others draw themselves, with tooltips. */
const VEGA_LITE = "application/vnd.vegalite.v5+json";

/** Bytes of a chart in all of its forms, which stay below the megabyte that frontends take well. */
const MOST_BYTES = 960_000;

/**
 * A chart, as Vega-Lite, as a picture, and in words. It draws itself in a cell.
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
export class Plot {
  /** The chart as a Vega-Lite 5 specification, with its data. */
  readonly spec: Record<string, unknown>;
  /** The drawn data: objects with the keys `x`, `y`, `color` and `facet`. */
  readonly data: readonly Record<string, string | number>[];
  /** The chart as a picture. */
  readonly svg: string;
  /** What the chart shows, from how many rows, and what was left out. */
  readonly summary: string;

  /** Made by `plot()`. */
  constructor(spec: Spec, data: readonly Record<string, string | number>[], svg: string, summary: string) {
    this.spec = spec;
    this.data = data;
    this.svg = svg;
    this.summary = summary;
  }

  /** How a notebook draws it. */
  [DISPLAY](): Bundle {
    const { spec, svg, summary } = this;
    // A MIME type of JSON goes as the object itself.
    const interactive = { [VEGA_LITE]: spec } as unknown as Bundle;
    return holdIdle({ ...interactive, "image/svg+xml": svg, "text/plain": summary });
  }

  /** How `console.log` prints it. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.summary;
  }
}

/** What is drawn, and its data. */
export interface Drawn {
  design: Design;
  data: ChartData;
}

/**
 * Computes the data of a chart.
 *
 * @param source Computes the data.
 * @param options The checked options of the caller.
 * @throws {LakebaseError} `BAD_PARAMETER`, or what the query fails with.
 */
export async function computePlot(source: PlotSource, options: PlotOptions): Promise<Drawn> {
  const design = designOf(source.columns, options);
  return { design, data: await dataOf(source, design) };
}

/**
 * Draws computed data.
 *
 * @param drawn The computed data.
 * @param options The checked options of the caller.
 * @param more Further lines below the title, and what ends the drawing.
 */
export async function drawPlot(
  { design, data }: Drawn,
  options: PlotOptions,
  { notes = [], signal }: { notes?: readonly string[]; signal?: AbortSignal | undefined },
): Promise<Plot> {
  for (let drawn = data;;) {
    const lines = [shortText(options.title ?? titleOf(drawn, design)), ...notesOf(drawn), ...notes] as const;
    const spec = vegaSpec(design, drawn, options, lines, true);
    const svg = await drawSvg(vegaSpec(design, drawn, options, lines, false), signal);
    const bytes = byteLength(JSON.stringify(spec)) + byteLength(svg);
    if (bytes <= MOST_BYTES) return new Plot(spec, drawn.rows, svg, summaryOf(design, drawn, lines));
    drawn = thinner(design, drawn, MOST_BYTES / bytes);
  }
}

async function dataOf(source: PlotSource, design: Design): Promise<ChartData> {
  if (design.value === undefined) return await pointData(source, design);
  if (design.mark === "box") return await boxData(source, design);
  return groupData(design, await groupsOf(source, design));
}

/** A sample of points is still a valid chart; other charts need all of their parts. */
function thinner(design: Design, data: ChartData, part: number): ChartData {
  const kept = Math.floor(data.rows.length * part * 0.9);
  if (design.value !== undefined || kept < 1) {
    throw cannotPlot(
      `the chart would be larger than ${MOST_BYTES / 1000} kB; take fewer colors, a coarser x, or a smaller spec`,
    );
  }
  const rows = Array.from({ length: kept }, (_, index) => data.rows[Math.floor((index * data.rows.length) / kept)]!);
  const of = data.from ?? data.rows.length;
  const sample = `a sample of ${kept.toLocaleString("en-US")} of ${of.toLocaleString("en-US")} rows`;
  return { ...data, rows, notes: [sample, ...data.notes.filter((note) => !note.startsWith("a sample of "))] };
}

function titleOf({ axes }: ChartData, { mark, value, keys }: Design): string {
  const title = (channel: ChannelName) => axes[channel]?.title ?? "";
  if (value === undefined) return `${title("y")} by ${title("x")}${by(axes.color?.title)}`;
  const first = mark === "histogram"
    ? keys[0]!.column.name
    : mark === "box"
    ? value.measure.column!.name
    : title(value.channel);
  const names = keys.slice(mark === "histogram" ? 1 : 0).map(({ column }) => column.name);
  return names.length === 0 ? first : `${first} by ${names.join(" and ")}`;
}

function by(name: string | undefined): string {
  return name === undefined ? "" : ` and ${name}`;
}

function notesOf({ rows, from, notes }: ChartData): string[] {
  if (rows.length > 0) return [...notes];
  return [from === 0 || from === undefined ? "no rows" : "nothing to draw", ...notes];
}

const NAMES: Readonly<Record<string, string>> = { heatmap: "Heat map", box: "Box plot", histogram: "Histogram" };

function summaryOf({ mark }: Design, { rows, from }: ChartData, [title, ...notes]: readonly string[]): string {
  const name = NAMES[mark] ?? `${mark.charAt(0).toUpperCase()}${mark.slice(1)} chart`;
  const of = from === undefined ? "" : ` of ${countText(from, "row")}`;
  const parts = countText(rows.length, mark === "point" ? "point" : "value");
  return [`${name}: ${title} (${parts}${of})`, ...notes.map((note) => `  ${note}`)].join("\n");
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}
