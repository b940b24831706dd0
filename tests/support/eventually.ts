import { setTimeout as sleep } from "node:timers/promises";

const LIMIT_MS = 60_000;
const INTERVAL_MS = 50;

/**
 * Waits for a state that nothing announces, such as the end of a statement on the server.
 *
 * @param what The state, for the error when it has not come within a minute.
 * @param holds Whether the state has come.
 */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`after ${LIMIT_MS / 1000} s, still not: ${what}`);
    await sleep(INTERVAL_MS);
  }
}
