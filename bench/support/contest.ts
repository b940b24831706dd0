import { median } from "../median.ts";

/** One way to do a job. If it returns a number, that counts as its milliseconds; otherwise the clock counts. */
export type Contender = () => Promise<number | void>;

/**
 * The median milliseconds of several ways to do the same job. They take turns, in an order that rotates as well, so
 * that none benefits from a warm or idle machine.
 */
export async function contest<Name extends string>(
  contenders: Record<Name, Contender>,
  times = 5,
): Promise<Record<Name, number>> {
  const names = Object.keys(contenders) as Name[];
  const took = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, number[]>;
  for (const name of names) await contenders[name]();
  for (let n = 0; n < times; n++) {
    for (const name of n % 2 === 0 ? names : names.toReversed()) {
      collect();
      const started = performance.now();
      const measured = await contenders[name]();
      took[name].push(measured ?? performance.now() - started);
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(took[name])])) as Record<Name, number>;
}

function collect(): void {
  (globalThis as { gc?: () => void }).gc?.();
}
