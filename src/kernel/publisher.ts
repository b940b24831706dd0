import { readSubscription } from "./zmtp.ts";
import type { Wire } from "./wire.ts";

/** Bytes that may wait for one subscriber before the kernel's output is no longer read. */
const ROOM_BYTES = 64 << 20;
/** A subscriber that takes nothing for so long is not waited for. */
const STALLED_MS = 5000;

const TOPIC = new TextEncoder().encode("<IDS|MSG>");

/** Bytes of a topic that a frontend subscribes to. */
const MOST_SUBSCRIPTION_BYTES = 1 << 20;

/** The frontends that listen to a kernel's output. */
export class Publisher {
  readonly #subscribers = new Map<Wire, { topics: Uint8Array[] }>();
  readonly #warn: (text: string) => void;

  /** @param warn Told of a subscriber that is given up. */
  constructor(warn: (text: string) => void) {
    this.#warn = warn;
  }

  /** Serves one frontend until it hangs up. */
  async serve(wire: Wire): Promise<void> {
    const subscriber = { topics: [] as Uint8Array[] };
    this.#subscribers.set(wire, subscriber);
    try {
      for await (const message of wire.messages(MOST_SUBSCRIPTION_BYTES)) {
        const subscription = readSubscription(message);
        if (subscription === undefined) continue;
        const others = subscriber.topics.filter((topic) => topic.toHex() !== subscription.topic.toHex());
        subscriber.topics = subscription.on ? [...others, subscription.topic.slice()] : others;
      }
    } finally {
      this.#subscribers.delete(wire);
    }
  }

  /** Sends a message to all that listen, in so many milliseconds at the latest. */
  publish(message: Uint8Array, delay = 0): void {
    for (const [wire, { topics }] of this.#subscribers) {
      if (topics.some(matches)) wire.send(message, delay);
    }
  }

  /** Waits for a subscriber that is slow, and gives up one that takes nothing at all. */
  async room(): Promise<void> {
    for (const wire of this.#subscribers.keys()) if (wire.queued > ROOM_BYTES) await this.#wait(wire);
  }

  /** Waits until everything is on its way, or `ms` are over. */
  async flush(ms: number): Promise<void> {
    const all = Promise.all([...this.#subscribers.keys()].map((wire) => wire.room(0)));
    await Promise.race([all, new Promise((resolve) => setTimeout(resolve, ms))]);
  }

  async #wait(wire: Wire): Promise<void> {
    const timer = setInterval(() => {
      if (performance.now() - wire.progress < STALLED_MS) return;
      this.#warn("a frontend takes no more output; hung up on it");
      wire[Symbol.dispose]();
    }, STALLED_MS / 10);
    try {
      await wire.room(ROOM_BYTES / 2);
    } finally {
      clearInterval(timer);
    }
  }
}

/** The Deno kernel sends no topics: its messages begin with the delimiter. */
function matches(topic: Uint8Array): boolean {
  return topic.length <= TOPIC.length && topic.every((byte, index) => byte === TOPIC[index]);
}
