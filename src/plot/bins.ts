/** The start of each bin, and then the end of the last bin, which includes this number. There are at least two numbers. */
export type Bins = readonly number[];

/**
 * Makes bins of equal width that begin and end at round numbers.
 *
 * @param min The least value.
 * @param max The greatest value.
 * @param maxBins The approximate maximum number of bins.
 * @param whole Whether all numbers are whole. The bins then have whole ends, and the last bin ends after `max`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(niceBins(3, 97, 5, false), [0, 20, 40, 60, 80, 100]);
 * assert.deepEqual(niceBins(1, 3, 30, true), [1, 2, 3, 4]);
 * ```
 */
export function niceBins(min: number, max: number, maxBins: number, whole: boolean): Bins {
  const raw = max / maxBins - min / maxBins; // max - min may be infinite
  const power = 10 ** Math.floor(Math.log10(raw));
  const nice = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= raw) ?? raw;
  const step = whole ? Math.max(1, nice) : nice;
  const low = Math.floor(min / step) * step;
  const end = Math.ceil(max / step) * step;
  const edges = roundEdges(low, whole && end <= max ? end + step : end, step, 2 * maxBins);
  if (edges !== undefined && edges[0]! <= min && edges.at(-1)! >= max) return edges;
  if (min < max) return [...Array.from({ length: maxBins }, (_, index) => min + index * raw), max];
  const half = Math.max(0.5, Math.abs(min) / 100);
  return [Math.max(min - half, -Number.MAX_VALUE), Math.min(min + half, Number.MAX_VALUE)];
}

/** Round edges of bins; `undefined` if the numbers are too large, too small or too close together for them. */
function roundEdges(low: number, high: number, step: number, maxBins: number): number[] | undefined {
  const count = Math.round(high / step - low / step);
  if (!(count >= 1 && count <= maxBins) || !Number.isFinite(low) || !Number.isFinite(high)) return undefined;
  // Removes the last digits, which come from binary fractions: 0.3 instead of 0.30000000000000004.
  const edges = Array.from({ length: count + 1 }, (_, index) => Number((low + index * step).toPrecision(12)));
  return edges.every((edge, index) => index === 0 || edge > edges[index - 1]!) ? edges : undefined;
}

/** The number of a value's bin, from 1, as Postgres's `width_bucket` counts. */
export function binNumber(bins: Bins, value: number): number {
  let [low, high] = [1, bins.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value >= bins[middle]!) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The start and the end of the bin with a number. */
export function binEdges(bins: Bins, bin: number): [start: number, end: number] {
  return [bins[bin - 1]!, bins[bin]!];
}

/** The units to which times are rounded down, with the names of Postgres's `date_trunc`. */
export type TimeUnit = typeof UNITS[number];

const UNITS = [
  "milliseconds",
  "second",
  "minute",
  "hour",
  "day",
  "week",
  "month",
  "quarter",
  "year",
  "decade",
] as const;

const DAY = 86_400_000;
/** The shortest length of each unit, in milliseconds. */
const LENGTHS: Readonly<Record<TimeUnit, number>> = {
  milliseconds: 1,
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: DAY,
  week: 7 * DAY,
  month: 28 * DAY,
  quarter: 90 * DAY,
  year: 365 * DAY,
  decade: 3652 * DAY,
};

/**
 * The finest unit that divides a range of time into few enough parts.
 *
 * @param start The start, in milliseconds since 1970.
 * @param end The end, in milliseconds since 1970.
 * @param maxParts The approximate maximum number of parts.
 * @param finest The finest allowed unit.
 */
export function unitFor(start: number, end: number, maxParts: number, finest: TimeUnit = "milliseconds"): TimeUnit {
  const fitting = UNITS.slice(UNITS.indexOf(finest)).find((unit) => (end - start) / LENGTHS[unit] <= maxParts);
  return start === end ? coarser("day", finest) : fitting ?? "decade";
}

function coarser(one: TimeUnit, other: TimeUnit): TimeUnit {
  return UNITS[Math.max(UNITS.indexOf(one), UNITS.indexOf(other))]!;
}

/** A time in milliseconds since 1970, rounded down in UTC. Weeks begin on Monday. */
export function truncate(unit: TimeUnit, time: number): number {
  const date = new Date(time);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  switch (unit) {
    case "week": {
      const day = Math.floor(time / DAY);
      return (day - ((day + 3) % 7 + 7) % 7) * DAY;
    }
    case "month":
      return startOfMonth(year, month);
    case "quarter":
      return startOfMonth(year, month - month % 3);
    case "year":
      return startOfMonth(year, 0);
    case "decade":
      return startOfMonth(Math.floor(year / 10) * 10, 0);
    default:
      return Math.floor(time / LENGTHS[unit]) * LENGTHS[unit];
  }
}

/** The start of the unit that follows a rounded time. */
export function nextUnit(unit: TimeUnit, time: number): number {
  return truncate(unit, time + LENGTHS[unit] * INTO_NEXT_UNIT);
}

/** Adding this many of a unit's shortest lengths to its start always gives a time in the next unit. */
const INTO_NEXT_UNIT = 4 / 3;

/** The coarsest unit that begins at each of these times, and is not finer than `unit`. */
export function coarsestUnit(unit: TimeUnit, times: readonly number[]): TimeUnit {
  if (times.length < 2) return unit;
  const candidates = UNITS.slice(UNITS.indexOf(unit));
  return candidates.findLast((candidate) => times.every((time) => truncate(candidate, time) === time)) ?? unit;
}

/** The start of a month in UTC. `Date.UTC` would add 1900 to the years 0 to 99. */
function startOfMonth(year: number, month: number): number {
  return new Date(Date.UTC(2000, month)).setUTCFullYear(year);
}
