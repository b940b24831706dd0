import { countText } from "../core/text.ts";
import { cutText } from "../draw/cell.ts";
import { visible } from "../draw/escape.ts";
import { binEdges, coarsestUnit, nextUnit, type TimeUnit, unitFor } from "./bins.ts";
import { type Design, type DesignKey, drawsAtPositions } from "./design.ts";
import { type Grouped, MAX_GROUPS, MAX_TEXTS } from "./groups.ts";
import {
  type Box,
  type ChannelName,
  type Group,
  isAdditive,
  type Key,
  OTHER,
  type PlotSource,
  type PlotValue,
} from "./source.ts";

/** The values of a row by the names of the channels. */
type AxisCells = Record<string, string | number>;

/** What an axis, the colors or the facets show. */
export interface Axis {
  title: string;
  type: "quantitative" | "temporal" | "nominal" | "ordinal";
  /** Whether a value is a range, such as from `x` to `x2`. */
  ranged?: boolean;
  /** The texts or numbers, in order. */
  order?: (string | number)[];
  /** Whether the values can be stacked, because they add up. */
  additive?: boolean;
}

/** The computed data of a chart. */
export interface ChartData {
  /** Rows with the names of the channels as keys. */
  rows: AxisCells[];
  axes: { [Name in ChannelName]?: Axis };
  /** Notes on values that were left out, cut or combined. */
  notes: string[];
  /** The number of rows from which the data were computed; `undefined` if it is not known. */
  rowCount: number | undefined;
}

/** A time in the form that a chart takes. */
function isoTime(time: number): string {
  return new Date(time).toISOString().replace(".000Z", "Z");
}

/** The data of a chart of groups. */
export function groupData(design: Design, { keys, groups, notes, rowCount }: Grouped): ChartData {
  const { channel, measure, plain } = design.value!;
  const drawn = groups.filter((group) => group.value !== null && hasPosition(group, keys));
  const single = drawn.every(({ rows }) => rows <= 1);
  const title = plain && single ? measure.column!.name : measure.name;
  const keyAxes = keys.map((key, index) => keyAxis(design, key, design.keys[index]!.channel, index, drawn));
  const axes: ChartData["axes"] = {
    [channel]: { title, type: "quantitative", additive: isAdditive(measure) || single && plain },
  };
  for (const { channel, axis } of keyAxes) axes[channel] = axis;
  const rows = drawn.map((group) => ({
    ...Object.assign({}, ...keyAxes.map(({ cells }, index) => cells(group.keys[index]!))) as AxisCells,
    [channel]: group.value!,
  }));
  const units = keyAxes.flatMap(({ unit }, index) =>
    unit === undefined ? [] : [`${keys[index]!.column.name} by ${unit}`]
  );
  return { rows, axes, notes: [...units, ...notes, ...leftOutNotes(groups, keys, measure.name)], rowCount };
}

/** Whether each key of a group has a position on its axis. A text always has one, even NULL. */
function hasPosition(group: Group, keys: readonly Key[]): boolean {
  return keys.every(({ scale }, index) => scale === "text" || group.keys[index] !== null);
}

function leftOutNotes(groups: readonly Group[], keys: readonly Key[], name: string): string[] {
  const notes: string[] = [];
  for (const [index, { column, scale }] of keys.entries()) {
    if (scale === "text") continue;
    const leftOut = groups.filter((group) => group.keys[index] === null);
    const rows = leftOut.reduce((sum, { rows }) => sum + rows, 0);
    if (rows > 0) notes.push(leftOutNote(rows, column.name));
  }
  const empty = groups.filter((group) => group.value === null && hasPosition(group, keys)).length;
  if (empty > 0) notes.push(`${empty.toLocaleString("en-US")} without a value of ${name} left out`);
  return notes;
}

/** The note on rows that have no position on an axis. */
function leftOutNote(rows: number, name: string): string {
  return `${countText(rows, "row")} without a usable ${name} left out`;
}

/** The axis of a key. */
interface KeyAxis {
  channel: ChannelName;
  axis: Axis;
  /** The unit to which times were rounded. */
  unit?: TimeUnit | undefined;
  /** The cells of a row for a value of the key. */
  cells: (value: Group["keys"][number]) => AxisCells;
}

/** Lays out a key. @param at The index of the key in the groups. */
function keyAxis(design: Design, key: Key, channel: ChannelName, at: number, groups: readonly Group[]): KeyAxis {
  const { column, scale, bins, unit } = key;
  const title = column.type === "timestamptz" && scale === "time" ? `${column.name} (UTC)` : column.name;
  if (scale === "text") return textAxis(design, key, channel, at, groups);
  const atPosition = drawsAtPositions(design.mark);
  if (scale === "time") {
    const drawnUnit = unit && coarsestUnit(unit, groups.map((group) => group.keys[at] as number));
    return {
      channel,
      axis: { title, type: "temporal", ranged: unit !== undefined && !atPosition },
      unit: drawnUnit,
      cells: (value) => timeCells(channel, value as number, atPosition ? undefined : drawnUnit),
    };
  }
  if (bins !== undefined) {
    const cells = (value: Group["keys"][number]): AxisCells => {
      const [start, end] = binEdges(bins, value as number);
      return atPosition ? { [channel]: start / 2 + end / 2 } : { [channel]: start, [`${channel}2`]: end };
    };
    return { channel, axis: { title, type: "quantitative", ranged: !atPosition }, cells };
  }
  const axis: Axis = design.mark === "bar"
    ? {
      title,
      type: "ordinal",
      order: [...new Set(groups.map((group) => group.keys[at] as number))].sort((a, b) => a - b),
    }
    : { title, type: "quantitative" };
  return { channel, axis, cells: (value) => ({ [channel]: value as number }) };
}

function timeCells(channel: ChannelName, time: number, unit: TimeUnit | undefined): AxisCells {
  if (unit === undefined) return { [channel]: isoTime(time) };
  return { [channel]: isoTime(time), [`${channel}2`]: isoTime(nextUnit(unit, time)) };
}

/** Lays out categories: bars and colors in the order of their values, others by name. Combined values come last. */
function textAxis(
  design: Design,
  { column }: Key,
  channel: ChannelName,
  at: number,
  groups: readonly Group[],
): KeyAxis {
  const labels = new Labels();
  const totals = new Map<Group["keys"][number], number>();
  for (const { keys, value } of groups) totals.set(keys[at]!, (totals.get(keys[at]!) ?? 0) + value!);
  const byValue = design.mark === "bar" || channel === "color";
  const sorted = [...totals].sort(([a, x], [b, y]) =>
    Number(a === OTHER) - Number(b === OTHER) || (byValue ? y - x : compareByName(a, b))
  );
  const order = sorted.map(([value]) => labels.of(value));
  return {
    channel,
    axis: { title: column.name, type: "nominal", order },
    cells: (value) => ({ [channel]: labels.of(value) }),
  };
}

/** Compares texts, with the numbers in them by value. NULL comes last. */
function compareByName(a: Group["keys"][number], b: Group["keys"][number]): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

/** The maximum number of boxes. */
const MAX_BOXES = 60;

/** The names of the five numbers of a box, from bottom to top. */
export const BOX_MARKS = ["min", "q1", "median", "q3", "max"] as const;

/** The quartiles of groups of rows, as boxes with whiskers from the least to the greatest value. */
export async function boxData(source: PlotSource, design: Design): Promise<ChartData> {
  const { channel, measure } = design.value!;
  const keys: Key[] = [];
  for (const key of design.keys) keys.push(await boxKey(source, key));
  const { boxes, total } = await source.boxes(keys, measure.column!, MAX_BOXES);
  const notes = total > boxes.length
    ? [`the ${boxes.length} with the most rows of ${total.toLocaleString("en-US")}`]
    : [];
  const empty = boxes.reduce((sum, { empty }) => sum + empty, 0);
  if (empty > 0) notes.push(leftOutNote(empty, measure.column!.name));
  notes.push("whiskers: the least and the greatest value");
  const drawn = boxes.filter(({ marks }) => marks !== null);
  const keyAxes = design.keys.map(({ channel, column }, index) => ({
    channel,
    column,
    ...boxTexts(drawn, index, keys[index]!),
  }));
  const axes: ChartData["axes"] = { [channel]: { title: measure.column!.name, type: "quantitative" } };
  for (const { channel, column, order } of keyAxes) axes[channel] = { title: column.name, type: "nominal", order };
  const rows = drawn.map(({ marks, rows, empty }, at) => ({
    ...Object.fromEntries(keyAxes.map(({ channel, texts }) => [channel, texts[at]!])),
    ...Object.fromEntries(BOX_MARKS.map((name, index) => [name, marks![index]!])),
    rows: rows - empty,
  }));
  const rowCount = total > boxes.length ? undefined : boxes.reduce((sum, { rows }) => sum + rows, 0);
  return { rows, axes, notes, rowCount };
}

/** Times become units of a day or more, and other values texts. */
async function boxKey(source: PlotSource, { channel, column }: DesignKey): Promise<Key> {
  if (channel === "facet" || column.scale !== "time") return { column, scale: "text" };
  const { min, max } = await source.extent(column);
  if (min === null || max === null) return { column, scale: "text" };
  return { column, scale: "time", unit: unitFor(min, max, 30, "day") };
}

function boxTexts(boxes: readonly Box[], at: number, { scale, unit }: Key): { texts: string[]; order: string[] } {
  const labels = new Labels();
  const values = boxes.map(({ keys }) => keys[at] as string | number | null);
  const text = (value: string | number | null) =>
    labels.of(
      scale === "time" && typeof value === "number"
        ? isoTime(value).slice(0, unit === undefined ? undefined : 10)
        : value,
    );
  return { texts: values.map(text), order: [...new Set(values)].sort(compareByName).map(text) };
}

/** Rows as points, or a sample of them if there are many. */
export async function pointData(source: PlotSource, { keys }: Design): Promise<ChartData> {
  const { rows, total } = await source.points(keys.map(({ column }) => column), MAX_GROUPS);
  const notes = total > rows.length
    ? [`a sample of ${rows.length.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} rows`]
    : [];
  const complete = rows.filter((row) => keys.every((key, index) => !needsPosition(key) || row[index] !== null));
  for (const [index, key] of keys.entries()) {
    const leftOut = rows.filter((row) => needsPosition(key) && row[index] === null).length;
    if (leftOut > 0) notes.push(leftOutNote(leftOut, key.column.name));
  }
  const axes: ChartData["axes"] = {};
  const columns = keys.map((key, index) => {
    const { channel, column } = key;
    const title = column.type === "timestamptz" && needsPosition(key) ? `${column.name} (UTC)` : column.name;
    if (needsPosition(key)) {
      axes[channel] = { title, type: column.scale === "time" ? "temporal" : "quantitative" };
      return complete.map((row) => column.scale === "time" ? isoTime(row[index] as number) : row[index] as number);
    }
    const { texts, order } = pointTexts(key, complete.map((row) => row[index]!), notes);
    axes[channel] = { title, type: "nominal", order };
    return texts;
  });
  const drawn = complete.map((_, at) =>
    Object.fromEntries(
      keys.flatMap(({ channel }, index) => columns[index]![at] === undefined ? [] : [[channel, columns[index]![at]!]]),
    )
  );
  const hasFacets = keys.some(({ channel }) => channel === "facet");
  return { rows: hasFacets ? drawn.filter((row) => "facet" in row) : drawn, axes, notes, rowCount: total };
}

/** Whether a value needs a position on an axis or on a scale of colors. Only a category may be NULL. */
function needsPosition({ channel, column }: DesignKey): boolean {
  return channel === "x" || channel === "y" || (channel === "color" && column.scale === "number");
}

/**
 * The texts of points. Only the most frequent ones are kept. The others are combined, or `undefined` for facets, which leave
 * them out.
 */
function pointTexts({ channel, column }: DesignKey, values: readonly PlotValue[], notes: string[]) {
  const counts = new Map<PlotValue, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const limit = MAX_TEXTS[channel as "color" | "facet"];
  const kept = new Set([...counts].sort(([, a], [, b]) => b - a).slice(0, limit).map(([value]) => value));
  const combines = channel === "color";
  if (counts.size > limit) {
    const others = combines ? `, the others as "other"` : "";
    notes.push(`${column.name}: the ${limit} most frequent of ${counts.size.toLocaleString("en-US")}${others}`);
  }
  const labels = new Labels();
  const order = [...kept].sort(compareByName).map((value) => labels.of(value));
  const texts = values.map((value) => kept.has(value) ? labels.of(value) : combines ? labels.of(OTHER) : undefined);
  return { texts, order: combines && counts.size > limit ? [...order, labels.of(OTHER)] : order };
}

/** The maximum characters of a category in the drawing. */
const MAX_LABEL_LENGTH = 80;

/** A different text for each value, so that no two categories become one. */
class Labels {
  readonly #texts = new Map<PlotValue | typeof OTHER, string>();
  readonly #used = new Set<string>();

  of(value: PlotValue | typeof OTHER): string {
    const earlier = this.#texts.get(value);
    if (earlier !== undefined) return earlier;
    const text = value === OTHER ? "other" : value === null ? "NULL" : shortText(String(value));
    let label = text;
    for (let n = 2; this.#used.has(label); n++) label = `${text} (${n})`;
    this.#used.add(label);
    this.#texts.set(value, label);
    return label;
  }
}

/** A text on one line, cut to fit a chart. */
export function shortText(text: string): string {
  const { text: head, cut } = cutText(text, MAX_LABEL_LENGTH);
  return visible(cut ? `${head}…` : head);
}
