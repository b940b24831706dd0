import type { Buffer } from "node:buffer";
import type net from "node:net";
import { holdReading, resumeReading } from "../net/hold.ts";
import { exchange } from "../query/run.ts";
import type { Lease, Session } from "../query/session.ts";
import { parserSource } from "../query/types.ts";
import { Exchange, type Wire } from "../query/wire.ts";
import { type Chunk, CopyMessages } from "./copy_messages.ts";

export type { Chunk };

/** Bytes that may wait for who reads them; above, the server has to wait. */
const MOST_WAITING = 1_048_576;

/**
 * How long rows wait for more of them. The server sends some 8 kB at a time; to handle each by itself would take several times
 * as long as all that is done with its rows.
 */
const GATHER_MS = 5;

const TYPES = parserSource();

/**
 * Runs a `COPY ... TO STDOUT` and gives its rows as they come. The server sends no faster than they are taken; leaving the
 * loop early has it stop.
 *
 * @param text The statement.
 * @returns How many rows it copied.
 * @throws What the driver throws; whoever asked to stop looks at the signal.
 */
export async function* copyOut(
  session: Session,
  lease: Lease,
  text: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Chunk, number, void> {
  const leaving = new AbortController();
  const stopped = signal === undefined ? leaving.signal : AbortSignal.any([signal, leaving.signal]);
  const copy = new CopyOut(text);
  const letGo = () => copy.discard();
  stopped.addEventListener("abort", letGo, { once: true });
  if (stopped.aborted) letGo();
  const finished = exchange(session, lease, stopped, copy);
  finished.then(() => copy.end(), () => copy.end());
  try {
    for (;;) {
      const chunk = await copy.next();
      if (chunk === undefined) break;
      yield chunk;
    }
    await finished;
    stopped.throwIfAborted(); // what came after that was dropped, though the server may have ended before it was canceled
    return Number(/ (\d+)$/.exec(copy.tag)?.[1] ?? 0);
  } finally {
    if (!copy.over) leaving.abort();
    await finished.catch(() => {});
    stopped.removeEventListener("abort", letGo);
    copy.detach();
  }
}

type Listener = (bytes: Buffer) => void;

/** The exchange of a COPY. While the rows come, what the socket brings goes past the driver's parser. */
class CopyOut extends Exchange {
  readonly #text: string;
  readonly #messages: CopyMessages;
  #parsers: Listener[] = [];
  #attached = false;
  #held = false;
  #discarding = false;
  #over = false;
  #wake: (() => void) | undefined;
  /** Whether rows have waited for long enough. */
  #due = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #onData = (bytes: Buffer) => this.#take(bytes);

  constructor(text: string) {
    super({ types: TYPES });
    this.#text = text;
    this.#messages = new CopyMessages({
      beside: (message) => this.#pass(message),
      rest: (bytes) => {
        this.detach();
        this.#pass(bytes);
      },
    });
  }

  /** Whether the server has ended it. */
  get over(): boolean {
    return this.#over;
  }

  /** The next rows; `undefined` after the last, or when it has failed. */
  async next(): Promise<Chunk | undefined> {
    for (;;) {
      const ended = this.#over || this.#messages.ended;
      const chunk = this.#messages.take(this.#due || ended);
      this.#due = false;
      if (this.#held && this.#messages.waiting < MOST_WAITING) this.#release();
      if (chunk !== undefined || ended) return chunk;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** Nothing more comes. */
  end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#call();
  }

  /** Lets what still comes go by, so that the server's end of it can arrive. */
  discard(): void {
    this.#discarding = true;
    if (this.#held) this.#release();
  }

  /** Gives the socket back to the driver's parser. */
  detach(): void {
    if (!this.#attached) return;
    this.#attached = false;
    this.#socket.removeListener("data", this.#onData);
    for (const parser of this.#parsers) this.#socket.on("data", parser);
    if (this.#held) this.#release();
  }

  protected override send(wire: Wire): void {
    this.#parsers = this.#socket.listeners("data") as Listener[];
    this.#socket.removeAllListeners("data");
    this.#socket.on("data", this.#onData);
    this.#attached = true;
    wire.query(this.#text);
  }

  get #socket(): net.Socket {
    return this.wire.stream as net.Socket;
  }

  #take(bytes: Buffer): void {
    try {
      this.#messages.push(bytes);
    } catch (error) {
      this.#socket.destroy(error as Error); // what it says can't be made sense of any more
      return;
    }
    if (this.#discarding) { while (this.#messages.take() !== undefined); }
    else if (this.#attached && !this.#held && this.#messages.waiting >= MOST_WAITING) this.#hold();
    if (this.#messages.full || this.#messages.ended) this.#call();
    else this.#timer ??= setTimeout(() => this.#fall(), GATHER_MS);
  }

  #fall(): void {
    this.#timer = undefined;
    this.#due = true;
    this.#call();
  }

  #hold(): void {
    this.#held = true;
    holdReading(this.#socket);
  }

  #release(): void {
    this.#held = false;
    resumeReading(this.#socket);
  }

  #pass(bytes: Buffer): void {
    for (const parser of this.#parsers) parser(bytes);
  }

  #call(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
