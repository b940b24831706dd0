import type { FrontendRequest } from "./cells.ts";
import type { Envelope, Signer } from "./message.ts";
import type { ZmtpConnection } from "./zmtp_connection.ts";
import { readSubscription } from "./zmtp.ts";

/** The maximum number of pending requests. The oldest are dropped, because some get no reply, such as `comm_msg`. */
const MAX_PENDING = 10_000;

/** The requests that wait for a reply, so that each reply goes to the frontend that asked. */
export class PendingRequests {
  readonly #requests = new Map<string, FrontendRequest>();

  /** Adds a request that is forwarded to the child. */
  add(request: FrontendRequest): void {
    const id = request.envelope.header.msg_id;
    if (id === undefined) return;
    this.#requests.set(id, request);
    if (this.#requests.size > MAX_PENDING) this.#requests.delete(this.#requests.keys().next().value!);
  }

  /** Removes and returns the request that a reply answers. */
  take(reply: Envelope): FrontendRequest | undefined {
    const id = reply.parent.msg_id ?? "";
    const request = this.#requests.get(id);
    this.#requests.delete(id);
    return request;
  }
}

/** The time to wait for a new frontend's stdin connection. */
const STDIN_CONNECT_MS = 100;
/** The maximum bytes of an answer to a prompt. */
const MAX_ANSWER_BYTES = 1 << 24;

/** The stdin channel: forwards the child's `prompt()` to the frontend whose cell runs, and the answer back. */
export class Prompts {
  readonly #frontends = new Set<ZmtpConnection>();
  readonly #signer: Signer;
  readonly #answer: (message: Uint8Array) => void;
  /** The frontends that were asked and may answer. */
  #asked: Set<ZmtpConnection> | undefined;

  /** @param answer Sends a message on the child's stdin channel. */
  constructor(signer: Signer, answer: (message: Uint8Array) => void) {
    this.#signer = signer;
    this.#answer = answer;
  }

  /** Serves one frontend until its connection is closed. */
  async serve(connection: ZmtpConnection): Promise<void> {
    this.#frontends.add(connection);
    try {
      for await (const { raw, command } of connection.messages(MAX_ANSWER_BYTES)) {
        if (command) continue;
        this.#asked = undefined;
        this.#answer(raw);
      }
    } finally {
      this.#frontends.delete(connection);
      this.#asked?.delete(connection);
      if (this.#asked?.size === 0) this.cancel();
    }
  }

  /** Forwards a prompt to the frontend with that identity, or to all when it is unknown. */
  async ask(prompt: Uint8Array, identity: string): Promise<void> {
    if (this.#frontends.size === 0) await new Promise((resolve) => setTimeout(resolve, STDIN_CONNECT_MS));
    const matching = [...this.#frontends].filter((connection) => identity !== "" && connection.identity === identity);
    this.#asked = new Set(matching.length > 0 ? matching : this.#frontends);
    for (const connection of this.#asked) connection.send(prompt);
    if (this.#asked.size === 0) this.cancel();
  }

  /** Answers a prompt so that `prompt()` returns `null`. The child's thread blocks until then. */
  cancel(): void {
    if (this.#asked === undefined) return;
    this.#asked = undefined;
    this.#answer(this.#signer.make("input_reply", { value: null }));
  }
}

/** While more than this many bytes wait for a subscriber, the child's output is not read. */
const MAX_QUEUED_BYTES = 64 << 20;
/** A subscriber that accepts nothing for this time is disconnected. */
const STALLED_MS = 5000;

/** The first frame of each message, with which subscriptions are compared. */
const TOPIC = new TextEncoder().encode("<IDS|MSG>");

/** The maximum bytes of a subscription. */
const MAX_SUBSCRIPTION_BYTES = 1 << 20;

/** The iopub channel: sends the kernel's output to all subscribers. */
export class Publisher {
  readonly #subscribers = new Map<ZmtpConnection, { topics: Uint8Array[] }>();
  readonly #warn: (text: string) => void;

  /** @param warn Reports a subscriber that was disconnected. */
  constructor(warn: (text: string) => void) {
    this.#warn = warn;
  }

  /** Serves one frontend until its connection is closed. */
  async serve(connection: ZmtpConnection): Promise<void> {
    const subscriber = { topics: [] as Uint8Array[] };
    this.#subscribers.set(connection, subscriber);
    try {
      for await (const message of connection.messages(MAX_SUBSCRIPTION_BYTES)) {
        const subscription = readSubscription(message);
        if (subscription === undefined) continue;
        const others = subscriber.topics.filter((topic) => topic.toHex() !== subscription.topic.toHex());
        subscriber.topics = subscription.on ? [...others, subscription.topic.slice()] : others;
      }
    } finally {
      this.#subscribers.delete(connection);
    }
  }

  /** Sends a message to all subscribers, after at most `delay` milliseconds. */
  publish(message: Uint8Array, delay = 0): void {
    for (const [connection, { topics }] of this.#subscribers) {
      if (topics.some(matchesTopic)) connection.send(message, delay);
    }
  }

  /** Waits for slow subscribers. */
  async waitForRoom(): Promise<void> {
    for (const connection of this.#subscribers.keys()) {
      if (connection.queued > MAX_QUEUED_BYTES) await this.#waitForSubscriber(connection);
    }
  }

  /** Waits until everything is sent, or `ms` have passed. */
  async flush(ms: number): Promise<void> {
    const all = Promise.all([...this.#subscribers.keys()].map((connection) => connection.room(0)));
    await Promise.race([all, new Promise((resolve) => setTimeout(resolve, ms))]);
  }

  /** Waits until half of the limit is free. Disconnects a subscriber that accepts nothing. */
  async #waitForSubscriber(connection: ZmtpConnection): Promise<void> {
    const timer = setInterval(() => {
      if (performance.now() - connection.progress < STALLED_MS) return;
      this.#warn("closed the connection of a frontend that accepts no more output");
      connection[Symbol.dispose]();
    }, STALLED_MS / 10);
    try {
      await connection.room(MAX_QUEUED_BYTES / 2);
    } finally {
      clearInterval(timer);
    }
  }
}

/** Whether a subscription matches. The Deno kernel sends no topics, so its messages begin with the delimiter. */
function matchesTopic(topic: Uint8Array): boolean {
  return topic.length <= TOPIC.length && topic.every((byte, index) => byte === TOPIC[index]);
}

/** The maximum number of cells in the history. */
const MAX_CELLS = 1000;
/** The maximum characters of all cells together. */
const MAX_CHARACTERS = 16 << 20;
/** The number of this kernel's only session. In requests, 0 means the current session, which is the same one. */
const SESSION = 1;

interface HistoryEntry {
  /** The cell's execution count. */
  line: number;
  source: string;
}

/** The cells that ran, as the person wrote them. */
export class CellHistory {
  readonly #entries: HistoryEntry[] = [];
  #characters = 0;

  /** Adds a cell. */
  add(line: number, source: string): void {
    this.#entries.push({ line, source });
    this.#characters += source.length;
    while (this.#entries.length > MAX_CELLS || this.#characters > MAX_CHARACTERS) {
      this.#characters -= this.#entries.shift()!.source.length;
    }
  }

  /**
   * Answers a `history_request` as IPython does, but without outputs, because outputs are not kept.
   *
   * @param request The content of the request.
   */
  reply(request: Record<string, unknown>): Record<string, unknown> {
    const history = this.#select(request).map(({ line, source }) => {
      return [SESSION, line, request["output"] === true ? [source, null] : source];
    });
    return { status: "ok", history };
  }

  #select(request: Record<string, unknown>): HistoryEntry[] {
    const { hist_access_type: type, session, pattern, n, unique } = request;
    if (type === "range") return session === 0 || session === SESSION ? this.#range(request) : [];
    const glob = type === "search" && typeof pattern === "string" ? pattern : "*";
    const matching = this.#entries.filter(({ source }) => matchesGlob(source, glob));
    const entries = unique === true ? lastOfEach(matching) : matching;
    return typeof n === "number" ? entries.slice(Math.max(0, entries.length - n)) : entries;
  }

  /** The cells from line `start` to the one before line `stop`. Negative numbers count from the end. */
  #range({ start, stop }: Record<string, unknown>): HistoryEntry[] {
    const end = (this.#entries.at(-1)?.line ?? 0) + 1;
    const line = (value: unknown, otherwise: number) => {
      if (typeof value !== "number") return otherwise;
      return value < 0 ? value + end : value;
    };
    const from = line(start, 0);
    const to = line(stop, end);
    return this.#entries.filter(({ line }) => line >= from && line < to);
  }
}

/** The last of each group of equal cells. */
function lastOfEach(entries: readonly HistoryEntry[]): HistoryEntry[] {
  const last = new Map(entries.map((entry) => [entry.source, entry]));
  return entries.filter((entry) => last.get(entry.source) === entry);
}

/** Whether a glob with `*` and `?` matches the whole text. The time is at most proportional to the product of their lengths. */
function matchesGlob(text: string, glob: string): boolean {
  let at = 0;
  let star = -1;
  let from = 0;
  let next = 0;
  while (at < text.length) {
    if (glob[next] === "*") [star, from] = [next++, at];
    else if (next < glob.length && (glob[next] === "?" || glob[next] === text[at])) [next, at] = [next + 1, at + 1];
    else if (star >= 0) [next, at] = [star + 1, ++from];
    else return false;
  }
  return /^\**$/.test(glob.slice(next));
}
