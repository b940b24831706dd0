import { backoff, pause } from "../backoff.ts";
import type { LakebaseError } from "../errors.ts";
import { classifyFailure, connectError, type Destination } from "../net/failure.ts";

/**
 * Takes a step towards a compute that may be waking up: tries again after the failures that connecting tries again after, and
 * says the others in connecting's own words.
 *
 * @param to Where the step leads.
 * @param signal Ends the trying.
 * @param take The step.
 * @throws {LakebaseError} The last failure.
 */
export async function whileWaking<T>(to: Destination, signal: AbortSignal, take: () => Promise<T>): Promise<T> {
  const started = Date.now();
  let last: LakebaseError | undefined;
  for (let attempt = 0;; attempt++) {
    try {
      return await take();
    } catch (error) {
      if (signal.aborted) throw last ?? error;
      const failure = classifyFailure(error, to);
      last = connectError(error, failure, to, Date.now() - started);
      if (failure.kind !== "waking") throw last;
    }
    await pause(backoff(attempt, { first: 100, most: 2000 }), signal).catch(() => {
      throw last;
    });
  }
}
