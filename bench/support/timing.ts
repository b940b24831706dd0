/** The median of some measurements. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The milliseconds that something takes. */
export async function timed(work: () => PromiseLike<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** One method to do a job. If it returns a number, that counts as its milliseconds; otherwise the clock counts. */
export type Method = () => Promise<unknown>;

/**
 * The median milliseconds of several methods to do the same job. They take turns, in an order that changes, so that
 * none benefits from a warm or idle machine.
 */
export async function medianTimes<Name extends string>(
  methods: Record<Name, Method>,
  times = 5,
): Promise<Record<Name, number>> {
  const names = Object.keys(methods) as Name[];
  const durations = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, number[]>;
  for (const name of names) await methods[name]();
  for (let n = 0; n < times; n++) {
    for (const name of n % 2 === 0 ? names : names.toReversed()) {
      collectGarbage();
      const started = performance.now();
      const result = await methods[name]();
      const elapsed = performance.now() - started;
      durations[name].push(typeof result === "number" ? result : elapsed);
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(durations[name])])) as Record<Name, number>;
}

/** Collects garbage, if V8 runs with `--expose-gc`. */
export function collectGarbage(): void {
  (globalThis as { gc?: () => void }).gc?.();
}
