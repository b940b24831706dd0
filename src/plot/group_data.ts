import { binEdges } from "./bins.ts";
import type { Axis, ChartData } from "./data.ts";
import { isoTime } from "./data.ts";
import type { Design } from "./design.ts";
import type { Grouped } from "./groups.ts";
import { Labels } from "./labels.ts";
import { type ChannelName, isAdditive } from "./measure.ts";
import { type Group, type Key, OTHER } from "./source.ts";
import { countText } from "../amount_text.ts";
import { coarsest, nextUnit, type TimeUnit } from "./time_unit.ts";

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
    if (rows > 0) notes.push(leftOut(rows, column.name));
  }
  const empty = groups.filter((group) => group.value === null && !hasGap(group, keys)).length;
  if (empty > 0) notes.push(`${empty.toLocaleString("en-US")} without a value of ${name} left out`);
  return notes;
}

/** What is said of rows that have no place on an axis. */
export function leftOut(rows: number, name: string): string {
  return `${countText(rows, "row")} without a usable ${name} left out`;
}

interface Part {
  channel: ChannelName;
  axis: Axis;
  /** What times were rounded to. */
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

/** Categories: bars by their value, other axes by their name, colors by how much there is of them, the rest last. */
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

/** Numbers in a text by their value; NULL last. */
export function byName(a: Group["keys"][number], b: Group["keys"][number]): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  return String(a).localeCompare(String(b), "en", { numeric: true });
}
