import { niceBins, unitFor } from "./bins.ts";
import type { Design, DesignKey } from "./design.ts";
import { COUNT, isAdditive, type Measure } from "./measure.ts";
import { type Group, type Groups, isWhole, type Key, OTHER, type PlotSource } from "./source.ts";

/** The most groups that a chart can show and a page can hold. */
export const MOST = 5000;

/** The most texts that a chart shows. */
export const MOST_TEXTS = { base: 50, color: 10, facet: 12 } as const;
/** The most different numbers that get a bar each; more numbers get bins. */
const MOST_BARS = 50;
const BINS = { few: 30, many: 200 } as const;
/** The most units of time. */
const UNITS = { histogram: 60, heatmap: 50, bar: 150, line: 1000 } as const;

/** The result of {@linkcode groupsOf}. */
export interface Grouped {
  keys: readonly Key[];
  groups: Group[];
  notes: string[];
  /** Rows in all of the groups, also those that were left out; `undefined` where that is not known. */
  from: number | undefined;
}

/** Groups of a query's rows, few enough to be drawn: numbers and times in bins where there are many, the greatest of many texts. */
export async function groupsOf(source: PlotSource, design: Design): Promise<Grouped> {
  const { keys: parts, value } = design;
  const { measure } = value!;
  const notes: string[] = [];
  const keys: Key[] = [];
  for (const part of parts) keys.push(await keyOf(source, design, part));
  const wide = await narrow(source, design, keys, await source.groups(keys, measure, MOST), notes);
  const limited = await limitTexts(source, design, wide.keys, wide.found, notes);
  const { groups, of } = limited.found;
  if (of > groups.length && !limited.chosen) {
    notes.push(`the ${groups.length.toLocaleString("en-US")} greatest of ${of.toLocaleString("en-US")} groups`);
  }
  const whole = wide.found.of <= wide.found.groups.length;
  return {
    keys: limited.keys,
    groups,
    notes,
    from: whole ? wide.found.groups.reduce((sum, { rows }) => sum + rows, 0) : undefined,
  };
}

/** How a column divides the rows, as far as its type decides it. */
async function keyOf(source: PlotSource, { mark, keys }: Design, { channel, column }: DesignKey): Promise<Key> {
  if (channel === "color" || channel === "facet" || column.scale === "text") return { column, scale: "text" };
  const binned = mark === "histogram" || mark === "heatmap";
  if (!binned && column.scale === "number") return { column, scale: "number" };
  const { rows, min, max } = await source.extent(column);
  if (min === null || max === null) return { column, scale: column.scale };
  if (column.scale === "number") {
    return { column, scale: "number", bins: niceBins(min, max, BINS.few, isWhole(column)) };
  }
  const line = mark === "line" || mark === "area" || mark === "point";
  if (line && rows <= MOST) return { column, scale: "time" };
  const series = keys.length > 1 ? 4 : 1;
  const most = line ? UNITS.line / series : UNITS[mark as keyof typeof UNITS];
  return { column, scale: "time", unit: unitFor(min, max, most, column.type === "date" ? "day" : undefined) };
}

/** Puts numbers along an axis into bins if there are many of them. */
async function narrow(source: PlotSource, { mark, value }: Design, keys: Key[], found: Groups, notes: string[]) {
  const at = keys.findIndex(({ scale, bins }) => scale === "number" && bins === undefined);
  if (at === -1) return { keys, found };
  const different = new Set(found.groups.map((group) => group.keys[at])).size;
  const most = mark === "bar" ? MOST_BARS : keys.length > 1 ? MOST / 20 : MOST;
  if (different <= most && found.of <= found.groups.length) return { keys, found };
  const { column } = keys[at]!;
  const { min, max } = await source.extent(column);
  if (min === null || max === null) return { keys, found };
  const bins = niceBins(min, max, mark === "bar" ? BINS.few : BINS.many, isWhole(column));
  const binned = keys.with(at, { column, scale: "number", bins });
  notes.push(`${column.name} in ${bins.length - 1} bins`);
  return { keys: binned, found: await source.groups(binned, value!.measure, MOST) };
}

/** Keeps the greatest or the most frequent of many texts. */
async function limitTexts(source: PlotSource, design: Design, keys: readonly Key[], found: Groups, notes: string[]) {
  const { measure } = design.value!;
  const chosen: (Key | undefined)[] = [];
  for (const [index, key] of keys.entries()) {
    const { channel } = design.keys[index]!;
    const limit = channel === "color" || channel === "facet"
      ? MOST_TEXTS[channel]
      : MOST_TEXTS.base / (keys.length > 2 ? 2 : 1);
    const rank = keys.length === 1 || isAdditive(measure) ? measure : COUNT;
    const texts = key.scale === "text" ? await rankTexts(source, key, index, rank, found, limit) : undefined;
    if (texts === undefined || texts.of <= limit) continue;
    const rest = channel === "color" ? "fold" : "drop";
    chosen[index] = { ...key, keep: { texts: texts.kept, rest } };
    const which = rank === COUNT ? "most frequent" : "greatest";
    const others = rest === "fold" ? `, the others as "other"` : texts.others;
    notes.push(`${key.column.name}: the ${limit} ${which} of ${texts.of.toLocaleString("en-US")}${others}`);
  }
  if (!chosen.some((key) => key !== undefined)) return { keys, found, chosen: false };
  if (keys.length === 1) {
    const kept = new Set<unknown>(chosen[0]!.keep!.texts);
    return {
      keys,
      found: { groups: found.groups.filter((group) => kept.has(group.keys[0])), of: kept.size },
      chosen: true,
    };
  }
  const fewer = keys.map((key, index) => chosen[index] ?? key);
  return { keys: fewer, found: await source.groups(fewer, measure, MOST), chosen: false };
}

interface Ranked {
  kept: (string | null)[];
  of: number;
  /** The note on the rest. */
  others: string;
}

async function rankTexts(
  source: PlotSource,
  key: Key,
  at: number,
  rank: Measure,
  found: Groups,
  limit: number,
): Promise<Ranked> {
  const single = found.groups[0]?.keys.length === 1;
  const complete = found.of <= found.groups.length;
  const { groups, of } = complete || single ? byText(found, at, rank) : await source.groups([key], rank, limit);
  const rest = groups.slice(limit).reduce((sum, { value }) => sum + (value ?? 0), 0);
  const adds = complete && isAdditive(rank) && Number.isFinite(rest)
    ? `, the others add up to ${Number(rest.toPrecision(6)).toLocaleString("en-US")}`
    : "";
  return { kept: groups.slice(0, limit).map(({ keys }) => keys[0] as string | null), of, others: adds };
}

/** Sums groups that have several keys by one of the keys. */
function byText({ groups, of }: Groups, at: number, rank: Measure): Groups {
  if (groups[0]?.keys.length === 1) return { groups, of };
  const totals = new Map<Group["keys"][number], Group>();
  for (const { keys, value, rows } of groups) {
    const key = keys[at]!;
    const total = totals.get(key) ?? { keys: [key], value: 0, rows: 0 };
    totals.set(key, { ...total, value: total.value! + (rank === COUNT ? rows : value ?? 0), rows: total.rows + rows });
  }
  const sorted = [...totals.values()].filter(({ keys }) => keys[0] !== OTHER).sort((a, b) => b.value! - a.value!);
  return { groups: sorted, of: sorted.length };
}
