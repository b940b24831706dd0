import type { ChartData } from "./data.ts";
import { isoTime } from "./data.ts";
import type { Design } from "./design.ts";
import { byName, leftOut } from "./group_data.ts";
import { Labels } from "./labels.ts";
import type { Box, Key, PlotSource } from "./source.ts";
import { unitFor } from "./time_unit.ts";

/** Boxes at most. */
const MOST_BOXES = 60;

/** The names of what a box shows, from bottom to top. */
export const BOX_MARKS = ["min", "q1", "median", "q3", "max"] as const;

/** Quartiles of groups of rows, as boxes with whiskers from the least to the greatest value. */
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
  const { boxes, of } = await source.boxes(keys, measure.column!, MOST_BOXES);
  const notes = of > boxes.length ? [`the ${boxes.length} with the most rows of ${of.toLocaleString("en-US")}`] : [];
  const empty = boxes.reduce((sum, { empty }) => sum + empty, 0);
  if (empty > 0) notes.push(leftOut(empty, measure.column!.name));
  notes.push("whiskers: the least and the greatest value");
  const drawn = boxes.filter(({ marks }) => marks !== null);
  const parts = design.keys.map(({ channel, column }, index) => ({
    channel,
    column,
    ...textsOf(drawn, index, keys[index]!),
  }));
  const axes: ChartData["axes"] = { [channel]: { title: measure.column!.name, type: "quantitative" } };
  for (const { channel, column, order } of parts) axes[channel] = { title: column.name, type: "nominal", order };
  const rows = drawn.map(({ marks, rows, empty }, at) => ({
    ...Object.fromEntries(parts.map(({ channel, texts }) => [channel, texts[at]!])),
    ...Object.fromEntries(BOX_MARKS.map((name, index) => [name, marks![index]!])),
    rows: rows - empty,
  }));
  const from = of > boxes.length ? undefined : boxes.reduce((sum, { rows }) => sum + rows, 0);
  return { rows, axes, notes, from };
}

function textsOf(boxes: readonly Box[], at: number, { scale, unit }: Key): { texts: string[]; order: string[] } {
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
