import { setImmediate } from "node:timers";
import type { IncomingCopy } from "./incoming.ts";
import type { Meter } from "./progress.ts";

/** How long a load may keep the event loop to itself. */
const BREATH_MS = 10;

/** Bytes on their way, counted; what their source throws is kept as it is. */
export class CountedBytes {
  /** How many. */
  sent = 0;
  /** What their source threw. */
  failure: { error: unknown } | undefined;
  readonly #copy: IncomingCopy;
  readonly #meter: Meter;
  #rows = 0;
  #breathed = performance.now();

  /** Made with the copy that they are for, and who is told. */
  constructor(copy: IncomingCopy, meter: Meter) {
    this.#copy = copy;
    this.#meter = meter;
  }

  /** The bytes; once. */
  async *bytes(): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const chunk of this.#copy.bytes) {
        yield chunk;
        this.#count(chunk.length);
        await this.#breathe();
      }
    } catch (error) {
      this.failure = { error };
      throw error;
    }
  }

  /**
   * A socket that takes everything at once, and a source that waits for nothing, would never let a timer, a signal or the
   * server's answer have its turn.
   */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#breathed < BREATH_MS) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#breathed = performance.now();
  }

  #count(bytes: number): void {
    const rows = this.#copy.rows?.() ?? 0;
    this.sent += bytes;
    this.#meter.add(rows - this.#rows, bytes);
    this.#rows = rows;
  }
}
