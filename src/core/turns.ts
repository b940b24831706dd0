import { setImmediate } from "node:timers";

/** How long work may hold the thread, in milliseconds. A frame of a screen takes 16. */
const HELD_MS = 12;

/**
 * Interrupts long work, so that timers, Stop and other cells get their turn of the event loop. An `await` of something that is
 * there already does not: it goes on before anything else may run.
 */
export class Turns {
  #since = performance.now();

  /** What to await before the next piece of work; `undefined` while the thread was not held for long. */
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
