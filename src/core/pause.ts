import { setImmediate } from "node:timers";

/** How the wait between attempts grows. */
interface BackoffOptions {
  /** Milliseconds before the first retry. @default {200} */
  first?: number;
  /** The longest wait in milliseconds. @default {5000} */
  most?: number;
  /** A number from 0 to 1 for the jitter, which spreads out the retries of many callers. It is up to half of the wait. */
  random?: number;
}

/**
 * How long to wait before a retry.
 *
 * @param attempt The number of the attempt that failed, from 0.
 * @param options How fast the wait grows.
 * @returns Milliseconds, from half of a value to the whole value, which doubles with each attempt from `first` to
 * `most`.
 */
export function backoff(attempt: number, options: BackoffOptions = {}): number {
  const { first = 200, most = 5000, random = Math.random() } = options;
  const full = Math.min(most, first * 2 ** Math.min(attempt, 30));
  return full / 2 + full / 2 * random;
}

/**
 * Waits.
 *
 * @param ms Milliseconds.
 * @param signal Ends the wait; the promise then rejects with the reason of the signal.
 */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** How long work may hold the thread, in milliseconds. A frame of a screen takes 16. */
const HELD_MS = 12;

/**
 * Interrupts long work, so that timers, Stop and other cells get their turn of the event loop. An `await` of a value
 * that is already there gives them no turn.
 */
export class LoopTurns {
  #since = performance.now();

  /** A promise to await before the next piece of work; `undefined` if the thread was not held for long. */
  next(): Promise<void> | undefined {
    return performance.now() - this.#since < HELD_MS ? undefined : this.#give();
  }

  async #give(): Promise<void> {
    await giveTurn();
    this.#since = performance.now();
  }
}

/** Resolves in another turn of the event loop. */
export function giveTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
