import { setTimeout as sleep } from "node:timers/promises";

const LIMIT_MS = 60_000;
const INTERVAL_MS = 50;

/**
 * Waits for a state that no event announces, such as the end of a statement on the server.
 *
 * @param what The state, for the error if it does not come within a minute.
 * @param holds Whether the state has come.
 */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`after ${LIMIT_MS / 1000} s, still not: ${what}`);
    await sleep(INTERVAL_MS);
  }
}

/** Lets all code continue that waits only for promises, and for no timer and no socket. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/**
 * Runs work, in which each time limit of this many seconds passes as soon as it begins. So a test of a limit takes no
 * time, and can give everything else a generous limit.
 *
 * @param seconds The limit, which nothing else may have.
 * @param work The work that reaches the limit.
 */
export async function withLimitPassed<Value>(seconds: number, work: () => PromiseLike<Value>): Promise<Value> {
  const { setTimeout } = globalThis;
  const passed = (fire: () => void, ms?: number) => setTimeout(fire, ms === seconds * 1000 ? 0 : ms);
  globalThis.setTimeout = Object.assign(passed, setTimeout);
  try {
    return await work();
  } finally {
    globalThis.setTimeout = setTimeout;
  }
}

/**
 * Holds back each time limit of this many seconds that begins from now on. It passes when the test says so, not when a slow
 * machine has taken that long.
 *
 * @param seconds The limit, which nothing else may have.
 * @returns `pass()` lets the limits that are held back pass.
 */
export function heldLimit(seconds: number): Disposable & { pass: () => void } {
  const { setTimeout, clearTimeout } = globalThis;
  const limits = new Map<unknown, () => void>();
  const hold = (fire: () => void, ms?: number) => {
    if (ms !== seconds * 1000) return setTimeout(fire, ms);
    const timer = setTimeout(() => {}, LIMIT_MS);
    limits.set(timer, fire);
    return timer;
  };
  const clear = (timer: Parameters<typeof clearTimeout>[0]) => {
    limits.delete(timer);
    clearTimeout(timer);
  };
  Object.assign(globalThis, { setTimeout: Object.assign(hold, setTimeout), clearTimeout: clear });
  return {
    pass: () => {
      for (const [timer, fire] of [...limits]) {
        clear(timer as Parameters<typeof clearTimeout>[0]);
        fire();
      }
    },
    [Symbol.dispose]: () => {
      for (const timer of limits.keys()) clearTimeout(timer as Parameters<typeof clearTimeout>[0]);
      Object.assign(globalThis, { setTimeout, clearTimeout });
    },
  };
}

/**
 * Waits for work that must end without help. Without a time limit, a failing test would wait forever.
 *
 * @param what The end, for the error if it does not come within a minute.
 * @param work The work that must end.
 */
export async function inTime<Value>(what: string, work: PromiseLike<Value>): Promise<Value> {
  const late = Promise.withResolvers<never>();
  const error = new Error(`after ${LIMIT_MS / 1000} s, still not: ${what}`);
  const timer = setTimeout(() => late.reject(error), LIMIT_MS);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
