import { Buffer } from "node:buffer";
import type net from "node:net";
import { Exchange, type Wire } from "../../sql/exchange.ts";
import { runExchange } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import { DEFAULT_TYPES } from "../../sql/types.ts";

/** The most bytes of a `CopyData` message: the server keeps each message in memory as a whole. */
const MESSAGE_BYTES = 262_144;

/**
 * Runs a `COPY ... FROM STDIN` with the bytes of a source. Reads the source only as fast as the server takes the bytes,
 * and no further once the server has refused them.
 *
 * @param text The statement.
 * @param source Bytes in the statement's format, in chunks of any size.
 * @returns The number of rows that the server took.
 * @throws The error of the source, in which case the server keeps none of the rows; or the error of the driver.
 */
export async function copyIn(
  session: Session,
  lease: Lease,
  text: string,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<{ rows: number }> {
  const copy = new CopyIn(text);
  const stop = () => {
    // The server looks for a request to cancel only between messages. Nobody could tell whether the request has ended the
    // COPY or is still on its way, so the connection is closed.
    lease.broken ??= new Error("stopped while copying in");
    copy.fail("stopped");
  };
  signal?.addEventListener("abort", stop, { once: true });
  const finished = runExchange(session, lease, signal, copy);
  finished.then(() => copy.end(), () => copy.end());
  if (signal?.aborted) stop();
  try {
    const failure = await feed(copy, source);
    await finished.catch((error) => {
      throw failure === undefined ? error : failure.error;
    });
    return { rows: Number(/ (\d+)$/.exec(copy.tag)?.[1] ?? 0) };
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** Sends the bytes of the source; returns the error that the source threw, if any. */
async function feed(
  copy: CopyIn,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<{ error: unknown } | undefined> {
  const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  try {
    await copy.ready;
    while (!copy.isFinished) {
      const next = await copy.unlessEnded(iterator.next());
      if (next === undefined || copy.isFinished) break;
      if (next.done) {
        copy.finishSending();
        return undefined;
      }
      await copy.write(next.value);
    }
  } catch (error) {
    copy.fail("its source failed");
    return { error };
  }
  // Not awaited, because a source that does not respond must not hold up the server's answer.
  Promise.resolve(iterator.return?.()).catch(() => {}); // all rows are sent
  return undefined;
}

/** The exchange of a COPY into a table. */
class CopyIn extends Exchange {
  readonly #text: string;
  readonly #ready = Promise.withResolvers<void>();
  #onEnd = () => {};
  #state: "asking" | "sending" | "sent" | "ended" = "asking";

  constructor(text: string) {
    super({ types: DEFAULT_TYPES });
    this.#text = text;
  }

  /** Resolves when the server waits for bytes, or has ended the COPY. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /**
   * The result of some work; `undefined` if the server ends the COPY first. Only one call may wait at a time.
   *
   * `Promise.race` with a promise that lives as long as the COPY would keep every chunk in memory for that long.
   */
  unlessEnded<T>(work: T | Promise<T>): Promise<T | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<T | undefined>();
    this.#onEnd = () => resolve(undefined);
    Promise.resolve(work).then(resolve, reject);
    if (this.isFinished) this.#onEnd();
    return promise;
  }

  /** Whether nothing more can be sent. */
  get isFinished(): boolean {
    return this.#state === "sent" || this.#state === "ended";
  }

  /** Sends bytes, and waits until the socket has passed them on. After that, the caller may reuse their memory. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length && !this.isFinished; at += MESSAGE_BYTES) {
      await this.unlessEnded(this.#send(bytes.subarray(at, at + MESSAGE_BYTES)));
    }
  }

  /** Tells the server that all bytes were sent. */
  finishSending(): void {
    if (this.isFinished) return;
    this.#state = "sent";
    this.#socket.write(Buffer.from([0x63, 0, 0, 0, 4])); // CopyDone
  }

  /** Makes the server discard the rows. */
  fail(reason: string): void {
    const sending = this.#state === "sending";
    if (!this.isFinished) this.#state = "sent";
    if (sending) this.wire.sendCopyFail(reason);
    this.#onEnd();
  }

  /** Notes that the server has ended the COPY. */
  end(): void {
    this.#state = "ended";
    this.#ready.resolve();
    this.#onEnd();
  }

  protected override send(wire: Wire): void {
    wire.query(this.#text);
  }

  override handleCopyInResponse(): void {
    if (this.#state === "asking") this.#state = "sending";
    else this.wire.sendCopyFail("stopped");
    this.#ready.resolve();
  }

  override handleError(error: unknown, wire?: Wire): void {
    super.handleError(error, wire);
    this.end();
  }

  get #socket(): net.Socket {
    return this.wire.stream as net.Socket;
  }

  #send(bytes: Uint8Array): Promise<void> {
    const header = Buffer.allocUnsafe(5);
    header[0] = 0x64;
    header.writeInt32BE(bytes.length + 4, 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.cork();
    this.#socket.write(header);
    this.#socket.write(bytes, () => resolve()); // also after a failure, which ends the exchange
    this.#socket.uncork();
    return promise;
  }
}
