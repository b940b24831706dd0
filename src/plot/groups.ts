import { niceBins, unitFor } from "./bins.ts";
import type { Design, DesignKey } from "./design.ts";
import {
  type Group,
  type Groups,
  isAdditive,
  isWhole,
  type Key,
  type Measure,
  OTHER,
  type PlotSource,
  ROW_COUNT,
} from "./source.ts";

/** The maximum number of groups that a chart can show and a page can hold. */
export const MAX_GROUPS = 5000;

/** The maximum number of texts that a chart shows. */
export const MAX_TEXTS = { base: 50, color: 10, facet: 12 } as const;
/** The maximum number of different numbers with a bar for each. More numbers get bins. */
const MAX_BARS = 50;
const BINS = { few: 30, many: 200 } as const;
/** The maximum number of units of time. */
const UNITS = { histogram: 60, heatmap: 50, bar: 150, line: 1000 } as const;

/** The result of {@linkcode groupsOf}. */
export interface Grouped {
  keys: readonly Key[];
  groups: Group[];
  notes: string[];
  /** The number of rows in all groups, including those that were left out; `undefined` if it is not known. */
  from: number | undefined;
}

/** Groups of a query's rows, few enough to be drawn: many numbers and times are put into bins, and of many texts the greatest are kept. */
export async function groupsOf(source: PlotSource, design: Design): Promise<Grouped> {
  const { keys: parts, value } = design;
  const { measure } = value!;
  const notes: string[] = [];
  const keys: Key[] = [];
  for (const part of parts) keys.push(await keyOf(source, design, part));
  const binned = await binNumbers(source, design, keys, await source.groups(keys, measure, MAX_GROUPS), notes);
  const limited = await limitTexts(source, design, binned.keys, binned.found, notes);
  const { groups, total } = limited.found;
  if (total > groups.length && !limited.chosen) {
    notes.push(`the ${groups.length.toLocaleString("en-US")} greatest of ${total.toLocaleString("en-US")} groups`);
  }
  const isComplete = binned.found.total <= binned.found.groups.length;
  return {
    keys: limited.keys,
    groups,
    notes,
    from: isComplete ? binned.found.groups.reduce((sum, { rows }) => sum + rows, 0) : undefined,
  };
}

/** The key of a column, as far as the column's type and range decide it. */
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
  if (line && rows <= MAX_GROUPS) return { column, scale: "time" };
  const series = keys.length > 1 ? 4 : 1;
  const maxUnits = line ? UNITS.line / series : UNITS[mark as keyof typeof UNITS];
  return { column, scale: "time", unit: unitFor(min, max, maxUnits, column.type === "date" ? "day" : undefined) };
}

/** Puts numbers along an axis into bins if there are many of them. */
async function binNumbers(source: PlotSource, { mark, value }: Design, keys: Key[], found: Groups, notes: string[]) {
  const at = keys.findIndex(({ scale, bins }) => scale === "number" && bins === undefined);
  if (at === -1) return { keys, found };
  const different = new Set(found.groups.map((group) => group.keys[at])).size;
  const maxNumbers = mark === "bar" ? MAX_BARS : keys.length > 1 ? MAX_GROUPS / 20 : MAX_GROUPS;
  if (different <= maxNumbers && found.total <= found.groups.length) return { keys, found };
  const { column } = keys[at]!;
  const { min, max } = await source.extent(column);
  if (min === null || max === null) return { keys, found };
  const bins = niceBins(min, max, mark === "bar" ? BINS.few : BINS.many, isWhole(column));
  const binned = keys.with(at, { column, scale: "number", bins });
  notes.push(`${column.name} in ${bins.length - 1} bins`);
  return { keys: binned, found: await source.groups(binned, value!.measure, MAX_GROUPS) };
}

/** Keeps the greatest or the most frequent of many texts. */
async function limitTexts(source: PlotSource, design: Design, keys: readonly Key[], found: Groups, notes: string[]) {
  const { measure } = design.value!;
  const chosen: (Key | undefined)[] = [];
  for (const [index, key] of keys.entries()) {
    const { channel } = design.keys[index]!;
    const limit = channel === "color" || channel === "facet"
      ? MAX_TEXTS[channel]
      : MAX_TEXTS.base / (keys.length > 2 ? 2 : 1);
    const rank = keys.length === 1 || isAdditive(measure) ? measure : ROW_COUNT;
    const texts = key.scale === "text" ? await rankTexts(source, key, index, rank, found, limit) : undefined;
    if (texts === undefined || texts.total <= limit) continue;
    const rest = channel === "color" ? "combine" : "drop";
    chosen[index] = { ...key, keep: { texts: texts.kept, rest } };
    const which = rank === ROW_COUNT ? "most frequent" : "greatest";
    const others = rest === "combine" ? `, the others as "other"` : texts.others;
    notes.push(`${key.column.name}: the ${limit} ${which} of ${texts.total.toLocaleString("en-US")}${others}`);
  }
  if (!chosen.some((key) => key !== undefined)) return { keys, found, chosen: false };
  if (keys.length === 1) {
    const kept = new Set<unknown>(chosen[0]!.keep!.texts);
    return {
      keys,
      found: { groups: found.groups.filter((group) => kept.has(group.keys[0])), total: kept.size },
      chosen: true,
    };
  }
  const fewer = keys.map((key, index) => chosen[index] ?? key);
  return { keys: fewer, found: await source.groups(fewer, measure, MAX_GROUPS), chosen: false };
}

interface Ranked {
  kept: (string | null)[];
  total: number;
  /** The note on the other texts. */
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
  const complete = found.total <= found.groups.length;
  const { groups, total } = complete || single ? byText(found, at, rank) : await source.groups([key], rank, limit);
  const rest = groups.slice(limit).reduce((sum, { value }) => sum + (value ?? 0), 0);
  const sumNote = complete && isAdditive(rank) && Number.isFinite(rest)
    ? `, the others add up to ${Number(rest.toPrecision(6)).toLocaleString("en-US")}`
    : "";
  return { kept: groups.slice(0, limit).map(({ keys }) => keys[0] as string | null), total, others: sumNote };
}

/** Sums groups that have several keys by one of the keys. */
function byText({ groups, total }: Groups, at: number, rank: Measure): Groups {
  if (groups[0]?.keys.length === 1) return { groups, total };
  const totals = new Map<Group["keys"][number], Group>();
  for (const { keys, value, rows } of groups) {
    const key = keys[at]!;
    const sum = totals.get(key) ?? { keys: [key], value: 0, rows: 0 };
    totals.set(key, { ...sum, value: sum.value! + (rank === ROW_COUNT ? rows : value ?? 0), rows: sum.rows + rows });
  }
  const sorted = [...totals.values()].filter(({ keys }) => keys[0] !== OTHER).sort((a, b) => b.value! - a.value!);
  return { groups: sorted, total: sorted.length };
}
