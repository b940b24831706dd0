import { niceBins, unitFor } from "./bins.ts";
import { type Design, type DesignKey, drawsAtPositions } from "./design.ts";
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

/** The maximum number of groups or points that a chart shows. */
export const MAX_GROUPS = 5000;

/** The maximum number of texts that a chart shows. */
export const MAX_TEXTS = { base: 50, color: 10, facet: 12 } as const;
/** The maximum number of distinct numbers that get a bar each. More numbers are put into bins. */
const MAX_BARS = 50;
/** The approximate maximum number of bins. */
const BINS = { few: 30, many: 200 } as const;
/** The approximate maximum number of units of time. */
const UNITS = { histogram: 60, heatmap: 50, bar: 150, line: 1000 } as const;

/** The result of {@linkcode groupsOf}. */
export interface Grouped {
  keys: readonly Key[];
  groups: Group[];
  /** Notes on values that were put together or left out. */
  notes: string[];
  /** The number of rows in all groups, including those that were left out; `undefined` if it is not known. */
  rowCount: number | undefined;
}

/**
 * Groups a query's rows into few enough groups for a chart: many numbers are put into bins, many times are rounded to a unit,
 * and if there are many texts, only the greatest are kept.
 */
export async function groupsOf(source: PlotSource, design: Design): Promise<Grouped> {
  const { measure } = design.value!;
  const notes: string[] = [];
  const keys: Key[] = [];
  for (const key of design.keys) keys.push(await keyOf(source, design, key));
  const binned = await binNumbers(source, design, keys, await source.groups(keys, measure, MAX_GROUPS), notes);
  const limited = await limitTexts(source, design, binned.keys, binned.result, notes);
  const { groups, total } = limited.result;
  if (total > groups.length) {
    notes.push(`the ${groups.length.toLocaleString("en-US")} greatest of ${total.toLocaleString("en-US")} groups`);
  }
  const isComplete = binned.result.total <= binned.result.groups.length;
  return {
    keys: limited.keys,
    groups,
    notes,
    rowCount: isComplete ? binned.result.groups.reduce((sum, { rows }) => sum + rows, 0) : undefined,
  };
}

/** Chooses the key of a column by the column's type and range. */
async function keyOf(source: PlotSource, { mark, keys }: Design, { channel, column }: DesignKey): Promise<Key> {
  if (channel === "color" || channel === "facet" || column.scale === "text") return { column, scale: "text" };
  const binned = mark === "histogram" || mark === "heatmap";
  if (!binned && column.scale === "number") return { column, scale: "number" };
  const { rows, min, max } = await source.extent(column);
  if (min === null || max === null) return { column, scale: column.scale };
  if (column.scale === "number") {
    return { column, scale: "number", bins: niceBins(min, max, BINS.few, isWhole(column)) };
  }
  const atPosition = drawsAtPositions(mark);
  if (atPosition && rows <= MAX_GROUPS) return { column, scale: "time" };
  const lines = keys.length > 1 ? 4 : 1;
  const maxUnits = atPosition ? UNITS.line / lines : UNITS[mark as keyof typeof UNITS];
  return { column, scale: "time", unit: unitFor(min, max, maxUnits, column.type === "date" ? "day" : undefined) };
}

/** Puts the numbers of an axis into bins if there are many. */
async function binNumbers(source: PlotSource, { mark, value }: Design, keys: Key[], result: Groups, notes: string[]) {
  const at = keys.findIndex(({ scale, bins }) => scale === "number" && bins === undefined);
  if (at === -1) return { keys, result };
  const distinct = new Set(result.groups.map((group) => group.keys[at])).size;
  const maxNumbers = mark === "bar" ? MAX_BARS : keys.length > 1 ? MAX_GROUPS / 20 : MAX_GROUPS;
  if (distinct <= maxNumbers && result.total <= result.groups.length) return { keys, result };
  const { column } = keys[at]!;
  const { min, max } = await source.extent(column);
  if (min === null || max === null) return { keys, result };
  const bins = niceBins(min, max, mark === "bar" ? BINS.few : BINS.many, isWhole(column));
  const binned = keys.with(at, { column, scale: "number", bins });
  notes.push(`${column.name} in ${bins.length - 1} bins`);
  return { keys: binned, result: await source.groups(binned, value!.measure, MAX_GROUPS) };
}

/** Keeps the greatest or the most frequent of many texts. */
async function limitTexts(source: PlotSource, design: Design, keys: readonly Key[], result: Groups, notes: string[]) {
  const { measure } = design.value!;
  const limitedKeys = [...keys];
  for (const [index, key] of keys.entries()) {
    if (key.scale !== "text") continue;
    const { channel } = design.keys[index]!;
    const limit = channel === "color" || channel === "facet"
      ? MAX_TEXTS[channel]
      : MAX_TEXTS.base / (keys.length > 2 ? 2 : 1);
    const rankedBy = keys.length === 1 || isAdditive(measure) ? measure : ROW_COUNT;
    const { kept, total, othersNote } = await rankTexts(source, key, index, rankedBy, result, limit);
    if (total <= limit) continue;
    const rest = channel === "color" ? "combine" : "drop";
    limitedKeys[index] = { ...key, keep: { texts: kept, rest } };
    const which = rankedBy === ROW_COUNT ? "most frequent" : "greatest";
    const note = rest === "combine" ? `, the others as "other"` : othersNote;
    notes.push(`${key.column.name}: the ${limit} ${which} of ${total.toLocaleString("en-US")}${note}`);
  }
  if (limitedKeys.every(({ keep }) => keep === undefined)) return { keys, result };
  if (keys.length === 1) {
    const kept = new Set<unknown>(limitedKeys[0]!.keep!.texts);
    const groups = result.groups.filter((group) => kept.has(group.keys[0]));
    return { keys, result: { groups, total: groups.length } };
  }
  return { keys: limitedKeys, result: await source.groups(limitedKeys, measure, MAX_GROUPS) };
}

/** The texts of a key, in the order of their rank. */
interface RankedTexts {
  /** The first texts, up to the limit. */
  kept: (string | null)[];
  /** The number of all texts. */
  total: number;
  /** The note on the texts after the limit; `""` if there is nothing to say. */
  othersNote: string;
}

async function rankTexts(
  source: PlotSource,
  key: Key,
  at: number,
  rankedBy: Measure,
  result: Groups,
  limit: number,
): Promise<RankedTexts> {
  const isOnlyKey = result.groups[0]?.keys.length === 1;
  const isComplete = result.total <= result.groups.length;
  const { groups, total } = isComplete || isOnlyKey
    ? sumByText(result, at, rankedBy)
    : await source.groups([key], rankedBy, limit);
  const othersSum = groups.slice(limit).reduce((sum, { value }) => sum + (value ?? 0), 0);
  const othersNote = isComplete && isAdditive(rankedBy) && Number.isFinite(othersSum)
    ? `, the others add up to ${Number(othersSum.toPrecision(6)).toLocaleString("en-US")}`
    : "";
  return { kept: groups.slice(0, limit).map(({ keys }) => keys[0] as string | null), total, othersNote };
}

/** Sums groups of several keys by one of the keys. */
function sumByText({ groups, total }: Groups, at: number, rankedBy: Measure): Groups {
  if (groups[0]?.keys.length === 1) return { groups, total };
  const totals = new Map<Group["keys"][number], Group>();
  for (const { keys, value, rows } of groups) {
    const key = keys[at]!;
    const sum = totals.get(key) ?? { keys: [key], value: 0, rows: 0 };
    totals.set(key, {
      ...sum,
      value: sum.value! + (rankedBy === ROW_COUNT ? rows : value ?? 0),
      rows: sum.rows + rows,
    });
  }
  const sorted = [...totals.values()].filter(({ keys }) => keys[0] !== OTHER).sort((a, b) => b.value! - a.value!);
  return { groups: sorted, total: sorted.length };
}
