import type { FrontendRequest } from "./cells.ts";
import type { Envelope, Signer } from "./message.ts";
import type { ZmtpConnection } from "./zmtp_connection.ts";
import { readSubscription } from "./zmtp.ts";

/** Requests that never get a reply, such as `comm_msg`, are forgotten when so many are newer. */
const MAX_PENDING = 10_000;

/** Who asked what, for the replies on a channel to find their way back. */
export class PendingRequests {
  readonly #asked = new Map<string, FrontendRequest>();

  /** Notes a request that is passed on. */
  add(request: FrontendRequest): void {
    const id = request.envelope.header.msg_id;
    if (id === undefined) return;
    this.#asked.set(id, request);
    if (this.#asked.size > MAX_PENDING) this.#asked.delete(this.#asked.keys().next().value!);
  }

  /** The request that a reply answers. */
  take(reply: Envelope): FrontendRequest | undefined {
    const id = reply.parent.msg_id ?? "";
    const request = this.#asked.get(id);
    this.#asked.delete(id);
    return request;
  }
}

/** How long a frontend that has just come may take to connect its stdin. */
const STDIN_CONNECT_MS = 100;
/** Bytes of an answer to a prompt. */
const MAX_ANSWER_BYTES = 1 << 24;

/** The stdin channel: the child's `prompt()` goes to the frontend whose cell runs, and its answer back. */
export class Prompts {
  readonly #frontends = new Set<ZmtpConnection>();
  readonly #signer: Signer;
  readonly #answer: (message: Uint8Array) => void;
  /** Those that have been asked and may answer. */
  #asked: Set<ZmtpConnection> | undefined;

  /** @param answer Sends to the child. */
  constructor(signer: Signer, answer: (message: Uint8Array) => void) {
    this.#signer = signer;
    this.#answer = answer;
  }

  /** Serves one frontend until it hangs up. */
  async serve(wire: ZmtpConnection): Promise<void> {
    this.#frontends.add(wire);
    try {
      for await (const { raw, command } of wire.messages(MAX_ANSWER_BYTES)) {
        if (command) continue;
        this.#asked = undefined;
        this.#answer(raw);
      }
    } finally {
      this.#frontends.delete(wire);
      this.#asked?.delete(wire);
      if (this.#asked?.size === 0) this.cancel();
    }
  }

  /** Passes a prompt on to the frontend of that identity, or to all where it isn't known. */
  async ask(prompt: Uint8Array, identity: string): Promise<void> {
    if (this.#frontends.size === 0) await new Promise((resolve) => setTimeout(resolve, STDIN_CONNECT_MS));
    const own = [...this.#frontends].filter((wire) => identity !== "" && wire.identity === identity);
    this.#asked = new Set(own.length > 0 ? own : this.#frontends);
    for (const wire of this.#asked) wire.send(prompt);
    if (this.#asked.size === 0) this.cancel();
  }

  /** Answers a prompt with nothing: `prompt()` then returns `null`. The child waits for it with its thread. */
  cancel(): void {
    if (this.#asked === undefined) return;
    this.#asked = undefined;
    this.#answer(this.#signer.make("input_reply", { value: null }));
  }
}

/** Bytes that may wait for one subscriber before the kernel's output is no longer read. */
const MAX_QUEUED_BYTES = 64 << 20;
/** A subscriber that takes nothing for so long is not waited for. */
const STALLED_MS = 5000;

const TOPIC = new TextEncoder().encode("<IDS|MSG>");

/** Bytes of a topic that a frontend subscribes to. */
const MAX_SUBSCRIPTION_BYTES = 1 << 20;

/** The frontends that listen to a kernel's output. */
export class Publisher {
  readonly #subscribers = new Map<ZmtpConnection, { topics: Uint8Array[] }>();
  readonly #warn: (text: string) => void;

  /** @param warn Told of a subscriber that is given up. */
  constructor(warn: (text: string) => void) {
    this.#warn = warn;
  }

  /** Serves one frontend until it hangs up. */
  async serve(wire: ZmtpConnection): Promise<void> {
    const subscriber = { topics: [] as Uint8Array[] };
    this.#subscribers.set(wire, subscriber);
    try {
      for await (const message of wire.messages(MAX_SUBSCRIPTION_BYTES)) {
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
  async waitForRoom(): Promise<void> {
    for (const wire of this.#subscribers.keys()) if (wire.queued > MAX_QUEUED_BYTES) await this.#wait(wire);
  }

  /** Waits until everything is on its way, or `ms` are over. */
  async flush(ms: number): Promise<void> {
    const all = Promise.all([...this.#subscribers.keys()].map((wire) => wire.room(0)));
    await Promise.race([all, new Promise((resolve) => setTimeout(resolve, ms))]);
  }

  async #wait(wire: ZmtpConnection): Promise<void> {
    const timer = setInterval(() => {
      if (performance.now() - wire.progress < STALLED_MS) return;
      this.#warn("a frontend takes no more output; hung up on it");
      wire[Symbol.dispose]();
    }, STALLED_MS / 10);
    try {
      await wire.room(MAX_QUEUED_BYTES / 2);
    } finally {
      clearInterval(timer);
    }
  }
}

/** The Deno kernel sends no topics: its messages begin with the delimiter. */
function matches(topic: Uint8Array): boolean {
  return topic.length <= TOPIC.length && topic.every((byte, index) => byte === TOPIC[index]);
}
