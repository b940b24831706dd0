import type { Buffer } from "node:buffer";
import type net from "node:net";
import { holdReading, resumeReading } from "../net/hold.ts";
import { parserSource } from "../query/types.ts";
import { Exchange } from "../query/wire.ts";
import { CopyEnd } from "./copy_end.ts";
import { type CopyItem, CopyMessages, END_OF_COPY } from "./copy_messages.ts";

/** Bytes that may wait for who reads them; above, the server has to wait. */
const MOST_WAITING = 1_048_576;

/**
 * How long rows wait for more of them. The server sends some 8 kB at a time; to handle each by itself would take several times
 * as long as all that is done with its rows.
 */
const GATHER_MS = 5;

const TYPES = parserSource();

type Listener = (bytes: Buffer) => void;

/** The exchange of COPYs. While the rows come, what the socket brings goes past the driver's parser. */
export class CopyOut extends Exchange {
  readonly #texts: Iterator<string, unknown>;
  /** The COPYs whose rows nobody has taken yet; the last one's come now. */
  readonly #copies: CopyMessages[] = [];
  /** Reads the end of a COPY that another one follows. */
  #end: CopyEnd | undefined;
  /** Whether a COPY was sent behind the one whose rows come. */
  #ahead = false;
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

  /** Made of the statements. */
  constructor(texts: Iterable<string>) {
    super({ types: TYPES });
    this.#texts = texts[Symbol.iterator]();
    this.#begin();
  }

  /** Whether the server has ended it. */
  get over(): boolean {
    return this.#over;
  }

  /** The next rows; `undefined` after the last, or when it has failed. */
  async next(): Promise<CopyItem | undefined> {
    for (;;) {
      const [first, following] = this.#copies as [CopyMessages, CopyMessages?];
      const ended = this.#over || first.ended;
      const chunk = first.take(this.#due || ended);
      this.#due = false;
      if (this.#held && this.#waiting < MOST_WAITING) this.#release();
      if (chunk !== undefined) return chunk;
      if (following !== undefined) {
        this.#copies.shift();
        return END_OF_COPY;
      }
      if (ended && this.#end === undefined) return undefined;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** Nothing more comes. */
  end(): void {
    this.#over = true;
    this.#end = undefined;
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

  protected override send(): void {
    this.#parsers = this.#socket.listeners("data") as Listener[];
    this.#socket.removeAllListeners("data");
    this.#socket.on("data", this.#onData);
    this.#attached = true;
    this.#send();
    this.#ahead = this.#send();
  }

  /** Sends the next statement, where there is one. */
  #send(): boolean {
    const { done, value } = this.#texts.next();
    if (!done) this.wire.query(value as string);
    return !done;
  }

  get #socket(): net.Socket {
    return this.wire.stream as net.Socket;
  }

  get #current(): CopyMessages {
    return this.#copies.at(-1)!;
  }

  get #waiting(): number {
    return this.#copies.reduce((sum, { waiting }) => sum + waiting, 0);
  }

  #begin(): void {
    const rest = (bytes: Buffer) => {
      if (this.#ahead) this.#end = new CopyEnd();
      this.#finishCopy(bytes);
    };
    this.#copies.push(new CopyMessages({ beside: (message) => this.#pass(message), rest }));
  }

  /** Takes what follows the last row of a COPY. */
  #finishCopy(bytes: Buffer): void {
    const outcome = this.#end === undefined ? { rest: bytes } : this.#end.push(bytes);
    if (outcome === undefined) return;
    this.#end = undefined;
    if ("next" in outcome) {
      this.#begin();
      this.#ahead = !this.#discarding && this.#send();
      return this.#current.push(outcome.next);
    }
    this.detach();
    this.#pass(outcome.rest);
  }

  #take(bytes: Buffer): void {
    try {
      if (this.#end === undefined) this.#current.push(bytes);
      else this.#finishCopy(bytes);
    } catch (error) {
      this.#socket.destroy(error as Error); // what it says can't be made sense of any more
      return;
    }
    if (this.#discarding) {
      this.#copies.forEach((copy) => {
        while (copy.take() !== undefined);
      });
    } else if (this.#attached && !this.#held && this.#waiting >= MOST_WAITING) this.#hold();
    if (this.#copies[0]!.full || this.#copies[0]!.ended) this.#call();
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
