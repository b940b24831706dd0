import type { Buffer } from "node:buffer";
import type net from "node:net";
import { holdReading, resumeReading, takeData, type TakenData } from "../../net/pg_internals.ts";
import { Exchange } from "../../sql/exchange.ts";
import { runExchange } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import { DEFAULT_TYPES } from "../../sql/types.ts";
import { type Chunk, CopyEnd, type CopyItem, CopyMessages, END_OF_COPY } from "./messages.ts";

/**
 * Runs a `COPY ... TO STDOUT` and yields its rows as they arrive. The server sends rows only as fast as the caller takes
 * them. The COPY is canceled if the caller leaves the loop early.
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
  for await (const chunk of runCopies(session, lease, copy, signal)) if (chunk !== END_OF_COPY) yield chunk;
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
  return runCopies(session, lease, new CopyOut(texts), signal);
}

async function* runCopies(
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
  const finished = runExchange(session, lease, stopped, copy);
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
    if (!copy.hasEnded) leaving.abort();
    await finished.catch(() => {}); // the loop above has thrown the error, or its reader has left
    stopped.removeEventListener("abort", discard);
    copy.detach();
  }
}

/** The number of waiting bytes at which the server has to wait. */
const MAX_WAITING_BYTES = 1_048_576;

/**
 * The milliseconds that rows wait for more rows. The server sends about 8 kB at a time, and handling each such piece
 * separately would take several times as long as the other work on its rows.
 */
const CHUNK_DELAY_MS = 5;

/** The exchange of a series of COPYs. While rows arrive, the bytes of the socket bypass the driver's parser. */
class CopyOut extends Exchange {
  readonly #texts: Iterator<string, unknown>;
  /** The COPYs whose rows wait to be taken. The rows of the last COPY are still arriving. */
  readonly #copies: CopyMessages[] = [];
  /** Reads the end of a COPY that is followed by another one. */
  #end: CopyEnd | undefined;
  /** Whether the next COPY has already been sent. */
  #nextIsSent = false;
  #data: TakenData | undefined;
  /** Whether the rows are kept, are dropped because nobody takes them, or have all arrived. */
  #state: "copying" | "discarding" | "ended" = "copying";
  /** Who uses the socket: the driver's parser; or this exchange, which either reads from it or makes the server wait. */
  #socketState: "parser" | "reading" | "held" = "parser";
  #onRows: (() => void) | undefined;
  /** Whether rows have waited so long that a chunk is taken before it is full. */
  #takesPartial = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Makes the exchange for some statements. */
  constructor(texts: Iterable<string>) {
    super({ types: DEFAULT_TYPES });
    this.#texts = texts[Symbol.iterator]();
    this.#beginCopy();
  }

  /** Whether the server has ended the last COPY. */
  get hasEnded(): boolean {
    return this.#state === "ended";
  }

  /** The next rows; `undefined` after the last ones, or after a failure. */
  async next(): Promise<CopyItem | undefined> {
    for (;;) {
      const [first, following] = this.#copies as [CopyMessages, CopyMessages?];
      const ended = this.hasEnded || first.ended;
      const chunk = first.take(this.#takesPartial || ended);
      this.#takesPartial = false;
      if (this.#waiting < MAX_WAITING_BYTES) this.#release();
      if (chunk !== undefined) return chunk;
      if (following !== undefined) {
        this.#copies.shift();
        return END_OF_COPY;
      }
      if (ended && this.#end === undefined) return undefined;
      await new Promise<void>((resolve) => this.#onRows = resolve);
    }
  }

  /** Notes that no more bytes arrive. */
  end(): void {
    this.#state = "ended";
    this.#end = undefined;
    clearTimeout(this.#timer);
    this.#wake();
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
    this.#data = takeData(this.#socket, (bytes) => this.#receive(bytes));
    this.#socketState = "reading";
    this.#sendNext();
    this.#nextIsSent = this.#sendNext();
  }

  /** Sends the next statement, if there is one. */
  #sendNext(): boolean {
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

  #beginCopy(): void {
    const afterRows = (bytes: Buffer) => {
      if (this.#nextIsSent) this.#end = new CopyEnd();
      this.#finishCopy(bytes);
    };
    this.#copies.push(new CopyMessages({ betweenRows: (message) => this.#passOn(message), afterRows }));
  }

  /** Reads the bytes after the last row of a COPY. */
  #finishCopy(bytes: Buffer): void {
    const outcome = this.#end === undefined ? { forDriver: bytes } : this.#end.push(bytes);
    if (outcome === undefined) return;
    this.#end = undefined;
    if ("next" in outcome) {
      this.#beginCopy();
      this.#nextIsSent = this.#state === "copying" && this.#sendNext();
      return this.#current.push(outcome.next);
    }
    this.detach();
    this.#passOn(outcome.forDriver);
  }

  #receive(bytes: Buffer): void {
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
    if (this.#copies[0]!.full || this.#copies[0]!.ended) this.#wake();
    else this.#timer ??= setTimeout(() => this.#endDelay(), CHUNK_DELAY_MS);
  }

  #endDelay(): void {
    this.#timer = undefined;
    this.#takesPartial = true;
    this.#wake();
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

  #passOn(bytes: Buffer): void {
    this.#data?.pass(bytes);
  }

  #wake(): void {
    this.#onRows?.();
    this.#onRows = undefined;
  }
}
