/** Where ranges of numbers begin and, the last, end; at least two numbers. The end itself counts to the last. */
export type Bins = readonly number[];

/**
 * Bins of equal width that begin and end at round numbers.
 *
 * @param min The least value.
 * @param max The greatest value.
 * @param most Bins at most, about.
 * @param whole Whether there are whole numbers only: none is then the end of one bin and the beginning of the next.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(niceBins(3, 97, 5, false), [0, 20, 40, 60, 80, 100]);
 * assert.deepEqual(niceBins(1, 3, 30, true), [1, 2, 3, 4]);
 * ```
 */
export function niceBins(min: number, max: number, most: number, whole: boolean): Bins {
  const raw = max / most - min / most; // the difference itself may be infinite
  const power = 10 ** Math.floor(Math.log10(raw));
  const nice = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= raw) ?? raw;
  const step = whole ? Math.max(1, nice) : nice;
  const low = Math.floor(min / step) * step;
  const end = Math.ceil(max / step) * step;
  const edges = edgesOf(low, whole && end <= max ? end + step : end, step, 2 * most);
  if (edges !== undefined && edges[0]! <= min && edges.at(-1)! >= max) return edges;
  if (min < max) return [...Array.from({ length: most }, (_, index) => min + index * raw), max];
  const half = Math.max(0.5, Math.abs(min) / 100);
  return [Math.max(min - half, -Number.MAX_VALUE), Math.min(min + half, Number.MAX_VALUE)];
}

/** `undefined` where the numbers are too large, too small or too near to each other for round ends. */
function edgesOf(low: number, high: number, step: number, most: number): number[] | undefined {
  const count = Math.round(high / step - low / step);
  if (!(count >= 1 && count <= most) || !Number.isFinite(low) || !Number.isFinite(high)) return undefined;
  // Without the last digits, which are those of binary fractions: 0.3 is to be an end, not 0.30000000000000004.
  const edges = Array.from({ length: count + 1 }, (_, index) => Number((low + index * step).toPrecision(12)));
  return edges.every((edge, index) => index === 0 || edge > edges[index - 1]!) ? edges : undefined;
}

/** The bin of a number, from 1: as Postgres's `width_bucket` has it for the edges between bins. */
export function binOf(bins: Bins, value: number): number {
  let [low, high] = [1, bins.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value >= bins[middle]!) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where a bin begins and ends. */
export function binEdges(bins: Bins, bin: number): [start: number, end: number] {
  return [bins[bin - 1]!, bins[bin]!];
}
