import { type Axis, BOX_MARKS, type ChartData, shortText } from "./chart_data.ts";
import type { Design } from "./design.ts";
import { isObject, type PlotOptions } from "./options.ts";
import type { ChannelName } from "./source.ts";

/** A part of a Vega-Lite specification, or the whole. */
export type Spec = Record<string, unknown>;

/** JupyterLab 4 draws with Vega-Lite 5.6, and VS Code with a newer version 5. The charts use only what both support. */
const SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json";

/**
 * The colors of a chart on a light or dark page. They replace the gray background, bright lines and black whiskers of the
 * themes of JupyterLab and VS Code, which also give the colors of the text.
 */
const ON_PAGE: Spec = {
  background: "transparent",
  config: {
    view: { stroke: "#80808060" },
    axis: { gridColor: "#80808038", domainColor: "#80808090", tickColor: "#80808090" },
    rule: { color: "#808080" },
  },
};

/** The maximum number of values that have descriptions for screen readers. A chart with more values has one description. */
const MAX_DESCRIBED_VALUES = 100;

const MARKS: Readonly<Record<string, Spec>> = {
  bar: { type: "bar" },
  line: { type: "line", point: false },
  area: { type: "area" },
  point: { type: "point", filled: true, opacity: 0.6, size: 25 },
  histogram: { type: "bar" },
  heatmap: { type: "rect" },
};

/**
 * Writes a chart as Vega-Lite. Its fields have the names of the channels. The name of a column is only a title: as the name of
 * a field, Vega-Lite could take it for a path into an object.
 *
 * @param design The design of the chart.
 * @param data The computed data.
 * @param options The options of the caller.
 * @param lines The title, and the lines below it.
 * @param onPage Whether the chart is drawn on a page. Otherwise it is a picture, black on white.
 */
export function vegaSpec(
  design: Design,
  data: ChartData,
  options: PlotOptions,
  lines: readonly [string, ...string[]],
  onPage: boolean,
): Spec {
  const [title, ...notes] = lines;
  const { width = naturalWidth(design, data), height = 280, spec = {} } = options;
  const size = sizeOf(data, width, height);
  const chart = {
    $schema: SCHEMA,
    ...(onPage ? ON_PAGE : {}),
    description: lines.join("; "),
    title: { text: title, ...(notes.length === 0 ? {} : { subtitle: notes }), anchor: "start" },
    data: { values: data.rows },
    ...size,
    ...(design.mark === "box"
      ? boxLayers(design, data, size.width)
      : { mark: markOf(design, data), encoding: encodingOf(design, data, size.width) }),
  };
  return mergeSpec(chart, spec);
}

function sizeOf({ axes }: ChartData, width: number, height: number): { width: number; height: number } {
  return axes.facet === undefined
    ? { width, height }
    : { width: Math.max(1, width / 2.5), height: Math.max(1, height / 2) };
}

function naturalWidth({ mark }: Design, { axes }: ChartData): number {
  const bars = mark === "bar" || mark === "box" || mark === "heatmap" ? axes.x?.order?.length ?? 0 : 0;
  return Math.max(480, 14 * bars);
}

function markOf({ mark, value }: Design, data: ChartData): Spec {
  // Points make a line of a single value visible.
  const points = mark === "line" && data.rows.length < 40 ? { point: true } : {};
  // Without `orient`, Vega-Lite takes a bar from `x` to `x2` for a horizontal one.
  const orient = MARKS[mark]?.["type"] === "bar" ? { orient: value?.channel === "x" ? "horizontal" : "vertical" } : {};
  return { ...MARKS[mark], ...points, ...orient, tooltip: true, aria: data.rows.length <= MAX_DESCRIBED_VALUES };
}

function encodingOf(design: Design, { axes }: ChartData, width: number): Spec {
  const encoding: Record<string, Spec> = {};
  for (const [channel, axis] of Object.entries(axes) as [ChannelName, Axis][]) {
    encoding[channel] = {
      ...channelOf(design, channel, axis, axes.color !== undefined),
      ...horizontalLabels(channel, axis, width),
    };
    if (axis.ranged) encoding[`${channel}2`] = { field: `${channel}2` };
  }
  const value = design.value?.channel;
  const base = value === "x" ? "y" : "x";
  const isSideBySide = design.mark === "bar" && value !== undefined && !axes[value]?.additive;
  if (isSideBySide && axes.color !== undefined && axes[base]?.order !== undefined) {
    encoding[`${base}Offset`] = { field: "color", sort: axes.color.order! };
  }
  return encoding;
}

/** Draws the labels of `x` horizontally if they fit. */
function horizontalLabels(channel: ChannelName, { order }: Axis, width: number): Spec {
  if (channel !== "x" || order === undefined) return {};
  const longest = Math.max(0, ...order.map((label) => String(label).length));
  return order.length * (7 * longest + 10) <= width ? { axis: { labelAngle: 0 } } : {};
}

/** The encoding of a channel. The colors of values that add up are stacked. */
function channelOf({ mark, value }: Design, channel: ChannelName, axis: Axis, colored: boolean): Spec {
  const { title, type, order } = axis;
  const stacks = value?.channel === channel && (mark === "bar" || mark === "area" || mark === "histogram");
  const mayOmitZero = type === "quantitative" && (mark === "point" || channel !== value?.channel);
  return {
    field: channel,
    type,
    ...(channel === "facet" ? { columns: 3 } : {}),
    title: titleText(title),
    ...(order === undefined ? {} : { sort: order }),
    ...(axis.ranged ? { bin: "binned" } : {}),
    ...(type === "temporal"
      ? { scale: { type: "utc" } }
      : mayOmitZero && channel !== "color"
      ? { scale: { zero: false } }
      : {}),
    ...(stacks ? { stack: colored && axis.additive ? "zero" : null } : {}),
  };
}

/** A box plot from five numbers, as layers. Vega-Lite's own box plot would need the rows. */
function boxLayers(design: Design, { axes }: ChartData, width: number): Spec {
  const value = design.value!.channel as "x" | "y";
  const base = value === "y" ? "x" : "y";
  const encoding: Record<string, Spec> = {};
  for (const [channel, axis] of Object.entries(axes) as [ChannelName, Axis][]) {
    if (channel !== value) {
      encoding[channel] = { ...channelOf(design, channel, axis, false), ...horizontalLabels(channel, axis, width) };
    }
  }
  if (axes.color !== undefined && axes[base] !== undefined) {
    encoding[`${base}Offset`] = { field: "color", sort: axes.color.order! };
  }
  const valueEncoding = (field: string, to?: string): Spec => ({
    [value]: { field, type: "quantitative", title: titleText(axes[value]!.title), scale: { zero: false } },
    ...(to === undefined ? {} : { [`${value}2`]: { field: to } }),
  });
  const tooltip = [
    ...Object.keys(encoding).filter((channel) => !channel.endsWith("Offset")).map((channel) => ({
      field: channel,
      type: "nominal",
      title: titleText(axes[channel as ChannelName]!.title),
    })),
    ...[...BOX_MARKS, "rows"].map((field) => ({ field, type: "quantitative" })),
  ];
  const medianMark = {
    type: "tick",
    aria: false,
    color: "white",
    thickness: 2,
    orient: value === "y" ? "horizontal" : "vertical",
  };
  const layer = [
    { mark: { type: "rule", aria: false }, encoding: { ...valueEncoding("min", "max"), tooltip } },
    { mark: { type: "bar", aria: false, size: 14 }, encoding: { ...valueEncoding("q1", "q3"), tooltip } },
    { mark: { ...medianMark, size: 14 }, encoding: { ...valueEncoding("median"), color: { value: "white" }, tooltip } },
  ];
  return { encoding, layer };
}

/** Merges a specification into another recursively. Lists and other values are replaced. */
function mergeSpec(base: Spec, changes: Spec): Spec {
  const names = new Set([...Object.keys(base), ...Object.keys(changes)]);
  return Object.fromEntries([...names].map((name) => {
    const [value, change] = [ownValue(base, name), ownValue(changes, name)];
    if (change === undefined) return [name, value];
    return [name, isObject(value) && isObject(change) ? mergeSpec(value, change) : change];
  }));
}

function ownValue(spec: Spec, name: string): unknown {
  return Object.hasOwn(spec, name) ? spec[name] : undefined;
}

/**
 * A column's name as the title of an axis, which is also a key of tooltips and of descriptions. Vega-Lite writes the key into
 * an expression without escaping backslashes, so quotes and backslashes become characters that look similar. Frontends give
 * keys such as `image` and `title` a meaning, so every name ends with a zero-width space.
 */
function titleText(name: string): string {
  return `${shortText(name).replaceAll('"', "\u201d").replaceAll("\\", "\u2216")}\u200b`;
}
