import { cannotPlot, type PlotMark, type PlotOptions, shownName } from "./options.ts";
import {
  type Channel,
  type ChannelName,
  type Channels,
  isMeasure,
  isWhole,
  type Measure,
  measureOf,
  type PlotColumn,
  readChannel,
  ROW_COUNT,
  type Scale,
} from "./source.ts";

/** A column that divides the rows into groups, with its channel. */
export interface DesignKey {
  channel: ChannelName;
  column: PlotColumn;
}

/** What to draw of a query's rows. */
export interface Design {
  mark: PlotMark;
  /** The columns that divide the rows into groups. For points, all drawn columns. */
  keys: DesignKey[];
  /** The number that is computed for each group, and its channel. Points have none. */
  value?: {
    channel: ChannelName;
    measure: Measure;
    /** Whether the value is a column that the person named without a computation. Usually each group has one row. */
    plain: boolean;
  };
}

/** Whether a mark draws each value at one position of an axis. Other marks, such as bars, draw it across a range. */
export function drawsAtPositions(mark: PlotMark): boolean {
  return mark === "line" || mark === "area" || mark === "point";
}

/**
 * Decides what to draw.
 *
 * @param columns The columns of the rows.
 * @param options The options of the caller.
 * @throws {LakebaseError} `BAD_PARAMETER` if the options do not fit together or do not fit the columns.
 */
export function designOf(columns: readonly PlotColumn[], options: PlotOptions): Design {
  if (columns.length === 0) throw cannotPlot("there are no columns; plot() takes a query that returns rows");
  const chosen: Channels = {};
  for (const name of ["x", "y", "color", "facet"] as const) {
    const text = options[name];
    if (text !== undefined) chosen[name] = readChannel(name, text, columns);
  }
  const { mark = guessMark(columns, chosen) } = options;
  const channels = fillChannels(mark, columns, chosen);
  checkChannels(mark, channels);
  const keys = (names: readonly ChannelName[]) =>
    names.flatMap((channel) => {
      const column = channels[channel];
      return column === undefined || isMeasure(column) ? [] : [{ channel, column }];
    });
  if (mark === "heatmap") return heatmap(channels, keys(["x", "y", "facet"]));
  if (mark === "point" && !isMeasure(channels.x) && !isMeasure(channels.y)) {
    return { mark, keys: keys(["x", "y", "color", "facet"]).map((key) => checkPoint(key)) };
  }
  const value = valueOf(mark, channels);
  const others = (["x", "y", "color", "facet"] as const).filter((name) => name !== value.channel);
  return { mark, keys: keys(others), value };
}

function guessMark(columns: readonly PlotColumn[], { x, y, color, facet }: Channels): PlotMark {
  if (isMeasure(color)) return "heatmap";
  const free = columns.filter((column) => column !== color && column !== facet);
  const has = (scale: Scale) => free.some((column) => column.scale === scale);
  if (x !== undefined && y !== undefined) return guessFromBoth(x, y);
  const one = x ?? y;
  if (one !== undefined && !isMeasure(one) && one.scale !== "number") return "bar";
  if (one !== undefined && (isMeasure(one) || one === y)) {
    return has("time") ? "line" : has("text") ? "bar" : "histogram";
  }
  if (one !== undefined) return "histogram";
  const numbers = free.filter(({ scale }) => scale === "number").length;
  if (has("time")) return numbers > 0 ? "line" : "bar";
  if (has("text")) return numbers === 0 && free.length > 1 ? "heatmap" : "bar";
  return numbers > 1 ? "point" : "histogram";
}

function guessFromBoth(x: Channel, y: Channel): PlotMark {
  if (isMeasure(x) || isMeasure(y)) {
    const base = isMeasure(x) ? y : x;
    return !isMeasure(base) && base.scale === "text" ? "bar" : "line";
  }
  const scales = `${x.scale} ${y.scale}`;
  if (scales === "number number") return "point";
  if (scales === "time number") return "line";
  return scales === "text number" || scales === "number text" ? "bar" : "heatmap";
}

/** The first unused column of the first of these scales that has one, preferably a column that is not an id. */
function pickColumn(columns: readonly PlotColumn[], used: readonly (Channel | undefined)[], ...scales: Scale[]) {
  const free = columns.filter((column) => !used.includes(column));
  for (const scale of scales) {
    const fitting = free.filter((column) => column.scale === scale);
    const picked = fitting.find((column) => !(isWhole(column) && /(^|_)id$/i.test(column.name))) ?? fitting[0];
    if (picked !== undefined) return picked;
  }
}

/** Fills in the channels that the person left out. */
function fillChannels(mark: PlotMark, columns: readonly PlotColumn[], chosen: Channels): Channels {
  const { x, y } = chosen;
  const free = (...scales: Scale[]) => pickColumn(columns, Object.values(chosen), ...scales);
  const set = (channel: "x" | "y", value: Channel | undefined) =>
    value === undefined ? chosen : { ...chosen, [channel]: value };
  if (mark === "heatmap") return fillHeatmap(columns, chosen);
  if (mark === "box") {
    if (x === undefined && y === undefined) {
      const [value, base] = [free("number"), free("text")];
      return { ...set("y", value), ...(base === undefined ? {} : { x: base }) };
    }
    if (y === undefined && !isMeasure(x) && x?.scale !== "number") return set("y", free("number"));
    return chosen;
  }
  if (mark === "histogram") {
    if (y !== undefined && !isMeasure(y)) return { x: ROW_COUNT, ...chosen };
    const base = x ?? free("number", "time");
    return { y: ROW_COUNT, ...(base === undefined ? chosen : { ...chosen, x: base }) };
  }
  if (x !== undefined && y !== undefined) return chosen;
  if (mark === "point") return fillPoints(columns, chosen);
  if (x !== undefined) return set("y", isMeasure(x) ? free("text", "time", "number") : ROW_COUNT);
  const base = mark === "bar" ? free("text", "time", "number") : free("time", "number", "text");
  if (y !== undefined) return !isMeasure(y) && y.scale !== "number" ? { x: ROW_COUNT, ...chosen } : set("x", base);
  const value = pickColumn(columns, [...Object.values(chosen), base], "number") ?? ROW_COUNT;
  const texts = columns.filter(({ scale }) => scale === "text");
  const series = base?.scale === "time" && columns.length === 3 && texts.length === 1 && chosen.facet === undefined;
  return { ...(series && value !== ROW_COUNT ? { color: texts[0]! } : {}), ...set("x", base), y: value };
}

function fillPoints(columns: readonly PlotColumn[], chosen: Channels): Channels {
  const { x, y } = chosen;
  const first = x ?? pickColumn(columns, Object.values(chosen), "number", "time");
  const second = y ?? pickColumn(columns, [...Object.values(chosen), first], "number", "time");
  return { ...chosen, ...(first === undefined ? {} : { x: first }), ...(second === undefined ? {} : { y: second }) };
}

function fillHeatmap(columns: readonly PlotColumn[], chosen: Channels): Channels {
  const used = Object.values(chosen);
  const x = chosen.x ?? pickColumn(columns, used, "time", "text", "number");
  const y = chosen.y ?? pickColumn(columns, [...used, x], "text", "number", "time");
  return { color: ROW_COUNT, ...chosen, ...(x === undefined ? {} : { x }), ...(y === undefined ? {} : { y }) };
}

function checkChannels(mark: PlotMark, channels: Channels): void {
  const { x, y, color, facet } = channels;
  if (isMeasure(facet)) throw cannotPlot(`facet is ${shownName(facet.name)}; it must be a column`);
  if (mark !== "heatmap" && isMeasure(color)) {
    throw cannotPlot(
      `color is ${shownName(color.name)}; only the color of a heatmap is computed; that of a ${mark} must be a column`,
    );
  }
  if (isMeasure(x) && isMeasure(y)) throw cannotPlot("x and y are both computed; one of them must be a column");
  const missing = x === undefined && !(mark === "box" && y !== undefined)
    ? "x"
    : y === undefined && !(mark === "box" && x !== undefined)
    ? "y"
    : "";
  if (missing !== "") throw cannotPlot(`there is no column for ${missing} of a ${mark}`);
}

function heatmap({ x, y, color }: Channels, keys: DesignKey[]): Design {
  if (isMeasure(x) || isMeasure(y)) {
    throw cannotPlot("x and y of a heatmap are columns; put the computed number into color");
  }
  if (isMeasure(color)) return { mark: "heatmap", keys, value: { channel: "color", measure: color, plain: false } };
  if (color?.scale !== "number") throw notANumber("heatmap", "color", color!);
  return { mark: "heatmap", keys, value: { channel: "color", measure: measureOf("avg", color), plain: true } };
}

/** The number that is computed for each group, and the axis that shows it. */
function valueOf(mark: PlotMark, { x, y }: Channels): NonNullable<Design["value"]> {
  for (const [channel, axis] of [["y", y], ["x", x]] as const) {
    if (!isMeasure(axis)) continue;
    if (mark === "box") {
      throw cannotPlot(`${channel} is ${shownName(axis.name)}; a box draws the values of a column itself`);
    }
    const base = channel === "y" ? x : y;
    if (mark === "histogram") checkHistogram(channel === "y" ? "x" : "y", base as PlotColumn, axis);
    return { channel, measure: axis, plain: false };
  }
  if (mark === "histogram") throw cannotPlot("a histogram counts one column; leave y out, or make it count()");
  const valueOfColumn = (channel: "x" | "y", column: PlotColumn) => {
    return { channel, measure: measureOf(mark === "line" ? "avg" : "sum", column), plain: true };
  };
  const [xColumn, yColumn] = [x as PlotColumn | undefined, y as PlotColumn | undefined];
  if (yColumn?.scale === "number") return valueOfColumn("y", yColumn);
  if (xColumn?.scale === "number" && (mark === "bar" || mark === "box")) return valueOfColumn("x", xColumn);
  throw notANumber(mark, yColumn === undefined ? "x" : "y", (yColumn ?? xColumn)!);
}

function checkHistogram(channel: ChannelName, column: PlotColumn, measure: Measure): void {
  if (column.scale === "text") {
    throw cannotPlot(
      `${channel} is ${
        shownName(column.name)
      }, which is ${column.type}; a histogram needs a number or a time. mark: "bar" counts texts`,
    );
  }
  if (measure !== ROW_COUNT) {
    throw cannotPlot(`a histogram counts rows and has no ${measure.name}; mark: "bar" draws it`);
  }
}

function checkPoint(key: DesignKey): DesignKey {
  const { channel, column } = key;
  if ((channel === "x" || channel === "y") && column.scale === "text") throw notANumber("point", channel, column);
  return key;
}

function notANumber(mark: PlotMark, channel: ChannelName, { name, type }: PlotColumn): Error {
  const instead = mark === "box" || mark === "point"
    ? "a column of numbers"
    : "a number: count(), avg(column), or a column of numbers";
  return cannotPlot(`${channel} is ${shownName(name)}, which is ${type}; a ${mark} needs ${instead} there`);
}
