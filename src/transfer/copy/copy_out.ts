import { Buffer } from "node:buffer";
import type net from "node:net";
import { holdReading, resumeReading, takeData, type TakenData } from "../../net/pg_internals.ts";
import { Exchange } from "../../sql/exchange.ts";
import { exchange } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import { DEFAULT_TYPES } from "../../sql/types.ts";
import { type Chunk, type CopyItem, CopyMessages, END_OF_COPY } from "./messages.ts";

/**
 * Runs a `COPY ... TO STDOUT` and yields its rows as they arrive. The server sends them as fast as they are taken. Leaving the
 * loop early cancels the COPY.
 *
 * @param text The statement.
 * @returns The number of rows.
 * @throws The error of the driver. After a stop the caller must check the signal.
 */
export async function* copyOut(
  session: Session,
  lease: Lease,
  text: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Chunk, number, void> {
  const copy = new CopyOut([text]);
  for await (const chunk of run(session, lease, copy, signal)) if (chunk !== END_OF_COPY) yield chunk;
  return Number(/ (\d+)$/.exec(copy.tag)?.[1] ?? 0);
}

/**
 * Like {@linkcode copyOut}, for several statements. Each statement is sent when the one before it begins, so that the
 * server does not wait a round trip between them. They must be in one transaction, in which no statement runs after a
 * failure.
 *
 * @param texts The statements. Each is read when it can be sent.
 */
export function copyOutSeries(
  session: Session,
  lease: Lease,
  texts: Iterable<string>,
  signal: AbortSignal | undefined,
): AsyncGenerator<CopyItem, void, void> {
  return run(session, lease, new CopyOut(texts), signal);
}

async function* run(
  session: Session,
  lease: Lease,
  copy: CopyOut,
  signal: AbortSignal | undefined,
): AsyncGenerator<CopyItem, void, void> {
  const leaving = new AbortController();
  const stopped = signal === undefined ? leaving.signal : AbortSignal.any([signal, leaving.signal]);
  const discard = () => copy.discard();
  stopped.addEventListener("abort", discard, { once: true });
  if (stopped.aborted) discard();
  const finished = exchange(session, lease, stopped, copy);
  finished.then(() => copy.end(), () => copy.end());
  try {
    for (;;) {
      const chunk = await copy.next();
      if (chunk === undefined) break;
      yield chunk;
    }
    await finished;
    stopped.throwIfAborted(); // the rows after a stop were dropped, even if the COPY had ended before the cancellation
    yield END_OF_COPY;
  } finally {
    if (!copy.over) leaving.abort();
    await finished.catch(() => {}); // the loop above has thrown the error, or its reader has left
    stopped.removeEventListener("abort", discard);
    copy.detach();
  }
}

/** The most bytes that wait to be taken; the server has to wait then. */
const MAX_WAITING_BYTES = 1_048_576;

/**
 * How long rows wait for more rows, in milliseconds. The server sends about 8 kB at a time, and handling each piece
 * separately would take several times as long as the other work on its rows.
 */
const CHUNK_DELAY_MS = 5;

/** The exchange of COPYs. While the rows arrive, the bytes of the socket bypass the driver's parser. */
class CopyOut extends Exchange {
  readonly #texts: Iterator<string, unknown>;
  /** The COPYs with rows that wait to be taken. The rows of the last one are arriving. */
  readonly #copies: CopyMessages[] = [];
  /** Reads the end of a COPY that is followed by another one. */
  #end: CopyEnd | undefined;
  /** Whether the next COPY was sent already. */
  #ahead = false;
  #data: TakenData | undefined;
  /** Whether the rows are kept, are dropped because nobody takes them, or have all arrived. */
  #state: "copying" | "discarding" | "over" = "copying";
  /** Who uses the socket: the driver's parser; or this exchange, which either reads from it or makes the server wait. */
  #socketState: "parser" | "reading" | "held" = "parser";
  #wake: (() => void) | undefined;
  /** Whether rows have waited long enough to be taken in a chunk that is not full. */
  #due = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Makes the exchange for some statements. */
  constructor(texts: Iterable<string>) {
    super({ types: DEFAULT_TYPES });
    this.#texts = texts[Symbol.iterator]();
    this.#begin();
  }

  /** Whether the server has ended the last COPY. */
  get over(): boolean {
    return this.#state === "over";
  }

  /** The next rows; `undefined` after the last ones, or after a failure. */
  async next(): Promise<CopyItem | undefined> {
    for (;;) {
      const [first, following] = this.#copies as [CopyMessages, CopyMessages?];
      const ended = this.over || first.ended;
      const chunk = first.take(this.#due || ended);
      this.#due = false;
      if (this.#waiting < MAX_WAITING_BYTES) this.#release();
      if (chunk !== undefined) return chunk;
      if (following !== undefined) {
        this.#copies.shift();
        return END_OF_COPY;
      }
      if (ended && this.#end === undefined) return undefined;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** Ends the exchange: no more bytes arrive. */
  end(): void {
    this.#state = "over";
    this.#end = undefined;
    clearTimeout(this.#timer);
    this.#call();
  }

  /** Drops the rows that still arrive, so that the end of the COPY can arrive. */
  discard(): void {
    if (this.#state === "copying") this.#state = "discarding";
    this.#release();
  }

  /** Gives the socket back to the driver's parser. */
  detach(): void {
    if (this.#socketState === "parser") return;
    this.#data?.giveBack();
    this.#release();
    this.#socketState = "parser";
  }

  protected override send(): void {
    this.#data = takeData(this.#socket, (bytes) => this.#take(bytes));
    this.#socketState = "reading";
    this.#send();
    this.#ahead = this.#send();
  }

  /** Sends the next statement, if there is one. */
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

  /** Reads the bytes after the last row of a COPY. */
  #finishCopy(bytes: Buffer): void {
    const outcome = this.#end === undefined ? { rest: bytes } : this.#end.push(bytes);
    if (outcome === undefined) return;
    this.#end = undefined;
    if ("next" in outcome) {
      this.#begin();
      this.#ahead = this.#state === "copying" && this.#send();
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
      this.#socket.destroy(error as Error); // the bytes that follow can no longer be understood
      return;
    }
    if (this.#state === "discarding") {
      this.#copies.forEach((copy) => {
        while (copy.take() !== undefined);
      });
    } else if (this.#waiting >= MAX_WAITING_BYTES) this.#hold();
    if (this.#copies[0]!.full || this.#copies[0]!.ended) this.#call();
    else this.#timer ??= setTimeout(() => this.#takePartial(), CHUNK_DELAY_MS);
  }

  #takePartial(): void {
    this.#timer = undefined;
    this.#due = true;
    this.#call();
  }

  #hold(): void {
    if (this.#socketState !== "reading") return;
    this.#socketState = "held";
    holdReading(this.#socket);
  }

  #release(): void {
    if (this.#socketState !== "held") return;
    this.#socketState = "reading";
    resumeReading(this.#socket);
  }

  #pass(bytes: Buffer): void {
    this.#data?.pass(bytes);
  }

  #call(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

/** The outcome of a COPY after which another one was sent. */
export type CopyOutcome =
  /** It has ended, and these are the first bytes of the answer to the next one. */
  | { next: Buffer }
  /** It has failed, and so has the next one: the error, and the bytes from the last `ReadyForQuery` on. */
  | { rest: Buffer };

/** PostgreSQL's protocol, section "Message Formats". */
const HEADER = 5;
const [ERROR, READY, SEVERITY] = ["E", "Z", "V"].map((letter) => letter.charCodeAt(0));

/**
 * Reads the messages between the rows of two COPYs that were sent one after the other. If the first COPY fails, its
 * transaction is aborted, and the second COPY fails only for that reason. The second error is dropped, because `pg`
 * knows about one query and expects one end.
 */
export class CopyEnd {
  #bytes: Buffer = Buffer.alloc(0);
  #error: Buffer | undefined;
  #readies = 0;

  /**
   * Reads bytes. The first ones begin with the message after the last row.
   *
   * @returns The outcome, once it is known.
   */
  push(bytes: Buffer): CopyOutcome | undefined {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
    for (;;) {
      const message = this.#message();
      if (message === undefined) return undefined;
      if (message[0] === READY && (this.#error === undefined || ++this.#readies === 2)) break;
      if (message[0] === ERROR) {
        if (!isOrdinary(message)) return { rest: this.#bytes }; // nothing follows, because the server ends the connection
        this.#error ??= Buffer.from(message);
      }
      this.#bytes = this.#bytes.subarray(message.length);
    }
    if (this.#error !== undefined) return { rest: Buffer.concat([this.#error, this.#bytes]) };
    return { next: this.#bytes.subarray(HEADER + 1) };
  }

  /** The first message, if it is complete. */
  #message(): Buffer | undefined {
    if (this.#bytes.length < HEADER) return undefined;
    const length = this.#bytes.readInt32BE(1) + 1;
    return this.#bytes.length < length ? undefined : this.#bytes.subarray(0, length);
  }
}

/** Whether the connection continues after the error, as it does after an `ERROR`, but not after a `FATAL`. */
function isOrdinary(error: Buffer): boolean {
  for (let at = HEADER; error[at] !== undefined && error[at] !== 0;) {
    const end = error.indexOf(0, at);
    if (error[at] === SEVERITY) return error.toString("latin1", at + 1, end) === "ERROR";
    at = end + 1;
  }
  return false;
}
