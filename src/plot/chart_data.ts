import { countText } from "../core/text.ts";
import { binEdges, coarsest, nextUnit, type TimeUnit, unitFor } from "./bins.ts";
import { type Design, type DesignKey, Labels } from "./design.ts";
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

/** The values that an axis, the colors or the facets show. */
export interface Axis {
  title: string;
  type: "quantitative" | "temporal" | "nominal" | "ordinal";
  /** Whether a value is a range from `x` to `x2`. */
  ranged?: boolean;
  /** The texts or numbers, in order. */
  order?: (string | number)[];
  /** Whether the values can be stacked, because they add up. */
  additive?: boolean;
}

/** The computed data of a chart: rows with the names of the channels as keys. */
export interface ChartData {
  rows: Record<string, string | number>[];
  axes: { [Name in ChannelName]?: Axis };
  /** Notes on values that were left out, cut or combined. */
  notes: string[];
  /** The number of rows from which the data were computed, if it is known. */
  from: number | undefined;
}

/** The form in which a chart takes times. */
function isoTime(time: number): string {
  return new Date(time).toISOString().replace(".000Z", "Z");
}

type Cells = Record<string, string | number>;

/** Groups as the rows of a chart. */
export function groupData(design: Design, { keys, groups, notes, from }: Grouped): ChartData {
  const { channel, measure, plain } = design.value!;
  const drawn = groups.filter((group) => group.value !== null && !hasGap(group, keys));
  const single = drawn.every(({ rows }) => rows <= 1);
  const title = plain && single ? measure.column!.name : measure.name;
  const parts = keys.map((key, index) => partOf(design, key, design.keys[index]!.channel, index, drawn));
  const axes: ChartData["axes"] = {
    [channel]: { title, type: "quantitative", additive: isAdditive(measure) || single && plain },
  };
  for (const { channel, axis } of parts) axes[channel] = axis;
  const rows = drawn.map((group) => ({
    ...Object.assign({}, ...parts.map(({ cells }, index) => cells(group.keys[index]!))) as Cells,
    [channel]: group.value!,
  }));
  const units = parts.flatMap(({ unit }, index) =>
    unit === undefined ? [] : [`${keys[index]!.column.name} by ${unit}`]
  );
  return { rows, axes, notes: [...units, ...notes, ...gapNotes(groups, keys, measure.name)], from };
}

function hasGap(group: Group, keys: readonly Key[]): boolean {
  return keys.some(({ scale }, index) => scale !== "text" && group.keys[index] === null);
}

function gapNotes(groups: readonly Group[], keys: readonly Key[], name: string): string[] {
  const notes: string[] = [];
  for (const [index, { column, scale }] of keys.entries()) {
    const rows = groups.filter((group) => scale !== "text" && group.keys[index] === null).reduce(
      (sum, { rows }) => sum + rows,
      0,
    );
    if (rows > 0) notes.push(leftOutNote(rows, column.name));
  }
  const empty = groups.filter((group) => group.value === null && !hasGap(group, keys)).length;
  if (empty > 0) notes.push(`${empty.toLocaleString("en-US")} without a value of ${name} left out`);
  return notes;
}

/** The note on rows that have no position on an axis. */
function leftOutNote(rows: number, name: string): string {
  return `${countText(rows, "row")} without a usable ${name} left out`;
}

interface Part {
  channel: ChannelName;
  axis: Axis;
  /** The unit to which times were rounded. */
  unit?: TimeUnit | undefined;
  cells: (value: Group["keys"][number]) => Cells;
}

function partOf(design: Design, key: Key, channel: ChannelName, at: number, groups: readonly Group[]): Part {
  const { column, scale, bins, unit } = key;
  const title = column.type === "timestamptz" && scale === "time" ? `${column.name} (UTC)` : column.name;
  if (scale === "text") return textPart(design, key, channel, at, groups);
  const ranged = bins !== undefined || unit !== undefined;
  const line = design.mark === "line" || design.mark === "area" || design.mark === "point";
  if (scale === "time") {
    const shown = unit && coarsest(unit, groups.map((group) => group.keys[at] as number));
    const axis: Axis = { title, type: "temporal", ranged: ranged && !line };
    return {
      channel,
      axis,
      unit: shown,
      cells: (value) => timeCells(channel, value as number, line ? undefined : shown),
    };
  }
  if (bins !== undefined) {
    const cells = (value: Group["keys"][number]): Cells => {
      const [start, next] = binEdges(bins, value as number);
      return line ? { [channel]: start / 2 + next / 2 } : { [channel]: start, [`${channel}2`]: next };
    };
    return { channel, axis: { title, type: "quantitative", ranged: !line }, cells };
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

function timeCells(channel: ChannelName, time: number, unit: TimeUnit | undefined): Cells {
  if (unit === undefined) return { [channel]: isoTime(time) };
  return { [channel]: isoTime(time), [`${channel}2`]: isoTime(nextUnit(unit, time)) };
}

/** Categories in order: bars and colors by value, other axes by name. Combined values come last. */
function textPart(design: Design, { column }: Key, channel: ChannelName, at: number, groups: readonly Group[]): Part {
  const labels = new Labels();
  const totals = new Map<Group["keys"][number], number>();
  for (const { keys, value } of groups) totals.set(keys[at]!, (totals.get(keys[at]!) ?? 0) + value!);
  const byValue = design.mark === "bar" || channel === "color";
  const sorted = [...totals].sort(([a, x], [b, y]) =>
    Number(a === OTHER) - Number(b === OTHER) || (byValue ? y - x : byName(a, b))
  );
  const order = sorted.map(([value]) => labels.of(value));
  return {
    channel,
    axis: { title: column.name, type: "nominal", order },
    cells: (value) => ({ [channel]: labels.of(value) }),
  };
}

/** Compares texts, with numbers in them by value, and NULL last. */
function byName(a: Group["keys"][number], b: Group["keys"][number]): number {
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
  for (const { channel, column } of design.keys) {
    const { min, max } = channel !== "facet" && column.scale === "time"
      ? await source.extent(column)
      : { min: null, max: null };
    const time = min !== null && max !== null;
    keys.push(time ? { column, scale: "time", unit: unitFor(min, max, 30, "day") } : { column, scale: "text" });
  }
  const { boxes, total } = await source.boxes(keys, measure.column!, MAX_BOXES);
  const notes = total > boxes.length
    ? [`the ${boxes.length} with the most rows of ${total.toLocaleString("en-US")}`]
    : [];
  const empty = boxes.reduce((sum, { empty }) => sum + empty, 0);
  if (empty > 0) notes.push(leftOutNote(empty, measure.column!.name));
  notes.push("whiskers: the least and the greatest value");
  const drawn = boxes.filter(({ marks }) => marks !== null);
  const parts = design.keys.map(({ channel, column }, index) => ({
    channel,
    column,
    ...boxTexts(drawn, index, keys[index]!),
  }));
  const axes: ChartData["axes"] = { [channel]: { title: measure.column!.name, type: "quantitative" } };
  for (const { channel, column, order } of parts) axes[channel] = { title: column.name, type: "nominal", order };
  const rows = drawn.map(({ marks, rows, empty }, at) => ({
    ...Object.fromEntries(parts.map(({ channel, texts }) => [channel, texts[at]!])),
    ...Object.fromEntries(BOX_MARKS.map((name, index) => [name, marks![index]!])),
    rows: rows - empty,
  }));
  const from = total > boxes.length ? undefined : boxes.reduce((sum, { rows }) => sum + rows, 0);
  return { rows, axes, notes, from };
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
  return { texts: values.map(text), order: [...new Set(values)].sort(byName).map(text) };
}

/** Rows as points, or a sample of them if there are many. */
export async function pointData(source: PlotSource, { keys }: Design): Promise<ChartData> {
  const { rows, total } = await source.points(keys.map(({ column }) => column), MAX_GROUPS);
  const notes = total > rows.length
    ? [`a sample of ${rows.length.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} rows`]
    : [];
  const complete = rows.filter((row) => !keys.some((key, index) => needsPosition(key) && row[index] === null));
  for (const [index, key] of keys.entries()) {
    const gaps = rows.filter((row) => needsPosition(key) && row[index] === null).length;
    if (gaps > 0) notes.push(leftOutNote(gaps, key.column.name));
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
  const facet = keys.some(({ channel }) => channel === "facet");
  return { rows: facet ? drawn.filter((row) => "facet" in row) : drawn, axes, notes, from: total };
}

/** Whether a value needs a position on an axis or on a scale of colors. Only a category may be NULL. */
function needsPosition({ channel, column }: DesignKey): boolean {
  return channel === "x" || channel === "y" || (channel === "color" && column.scale === "number");
}

/** The most frequent texts. Other texts are combined, or `undefined` if they are left out. */
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
  const order = [...kept].sort(byName).map((value) => labels.of(value));
  const texts = values.map((value) => kept.has(value) ? labels.of(value) : combines ? labels.of(OTHER) : undefined);
  return { texts, order: combines && counts.size > limit ? [...order, labels.of(OTHER)] : order };
}
