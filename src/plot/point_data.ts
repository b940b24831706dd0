import { type ChartData, isoTime } from "./data.ts";
import type { Design, DesignKey } from "./design.ts";
import { byName, leftOut } from "./group_data.ts";
import { MOST, MOST_TEXTS } from "./groups.ts";
import { Labels } from "./labels.ts";
import { OTHER, type PlotSource, type PlotValue } from "./source.ts";

/** Rows as points, each as it is; of many rows a part. */
export async function pointData(source: PlotSource, { keys }: Design): Promise<ChartData> {
  const { rows, of } = await source.points(keys.map(({ column }) => column), MOST);
  const notes = of > rows.length
    ? [`a sample of ${rows.length.toLocaleString("en-US")} of ${of.toLocaleString("en-US")} rows`]
    : [];
  const whole = rows.filter((row) => !keys.some((key, index) => isPlace(key) && row[index] === null));
  for (const [index, key] of keys.entries()) {
    const gaps = rows.filter((row) => isPlace(key) && row[index] === null).length;
    if (gaps > 0) notes.push(leftOut(gaps, key.column.name));
  }
  const axes: ChartData["axes"] = {};
  const columns = keys.map((key, index) => {
    const { channel, column } = key;
    const title = column.type === "timestamptz" && isPlace(key) ? `${column.name} (UTC)` : column.name;
    if (isPlace(key)) {
      axes[channel] = { title, type: column.scale === "time" ? "temporal" : "quantitative" };
      return whole.map((row) => column.scale === "time" ? isoTime(row[index] as number) : row[index] as number);
    }
    const { texts, order } = textsOf(key, whole.map((row) => row[index]!), notes);
    axes[channel] = { title, type: "nominal", order };
    return texts;
  });
  const drawn = whole.map((_, at) =>
    Object.fromEntries(
      keys.flatMap(({ channel }, index) => columns[index]![at] === undefined ? [] : [[channel, columns[index]![at]!]]),
    )
  );
  const facet = keys.some(({ channel }) => channel === "facet");
  return { rows: facet ? drawn.filter((row) => "facet" in row) : drawn, axes, notes, from: of };
}

/** Whether a value has a place on an axis, or on a scale of colors; a category may be NULL. */
function isPlace({ channel, column }: DesignKey): boolean {
  return channel === "x" || channel === "y" || (channel === "color" && column.scale === "number");
}

/** The most frequent texts; the rest is put together, or `undefined` where it is left out. */
function textsOf({ channel, column }: DesignKey, values: readonly PlotValue[], notes: string[]) {
  const counts = new Map<PlotValue, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const limit = MOST_TEXTS[channel as "color" | "facet"];
  const kept = new Set([...counts].sort(([, a], [, b]) => b - a).slice(0, limit).map(([value]) => value));
  const fold = channel === "color";
  if (counts.size > limit) {
    const others = fold ? `, the others as "other"` : "";
    notes.push(`${column.name}: the ${limit} most frequent of ${counts.size.toLocaleString("en-US")}${others}`);
  }
  const labels = new Labels();
  const order = [...kept].sort(byName).map((value) => labels.of(value));
  const texts = values.map((value) => kept.has(value) ? labels.of(value) : fold ? labels.of(OTHER) : undefined);
  return { texts, order: fold && counts.size > limit ? [...order, labels.of(OTHER)] : order };
}
