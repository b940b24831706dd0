/** How fast waiting grows. */
export interface BackoffOptions {
  /** Milliseconds before the first retry. @default {200} */
  first?: number;
  /** Milliseconds between two tries at most. @default {5000} */
  most?: number;
  /** A number from 0 to 1; half of the wait is jitter, so that many callers do not come back at once. */
  random?: number;
}

/**
 * How long to wait before trying again.
 *
 * @param attempt 0 after the first failure.
 * @param options How fast the wait grows.
 * @returns Milliseconds: doubling from `first` to `most`, between half and all of that.
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
 * @param signal Ends the wait at once; the promise then rejects with its reason.
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
