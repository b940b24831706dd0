/** Random choices that a seed reproduces. */
export interface Random {
  /** A whole number from 0 up to, but not including, a limit. */
  below: (end: number) => number;
  /** One of several. */
  one: <T>(items: readonly T[]) => T;
}

/** The seed, which a failing run prints, so that it can be repeated. `LAKEBASE_TEST_SEED` sets it. */
export function newSeed(): number {
  return Number(Deno.env.get("LAKEBASE_TEST_SEED") ?? Math.floor(Math.random() * 2 ** 31));
}

/** Whether tests run in their long form, as in `deno task soak`. */
export const SOAKING = Deno.env.get("LAKEBASE_TEST_SOAK") === "1";

/** The size of a test: small for each day, or large for a long run. */
export function sized(daily: number, long: number): number {
  return SOAKING ? long : daily;
}

/** Mulberry32: small, and good enough for tests. */
export function randomFrom(seed: number): Random {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (end: number) => Math.floor(next() * end);
  return { below, one: (items) => items[below(items.length)]! };
}
