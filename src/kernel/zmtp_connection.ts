import { MessageReader } from "./message_reader.ts";
import {
  greeting,
  GREETING_BYTES,
  greetingError,
  joined,
  type Message,
  pong,
  readCommand,
  readProperties,
  ready,
  type SocketType,
} from "./zmtp.ts";

const CHUNK_BYTES = 1 << 18;
/** Small messages are written together up to this. */
const BATCH_BYTES = 1 << 16;

/** One ZMTP connection behind its handshake. It writes one message at a time, in order. */
export class ZmtpConnection implements Disposable {
  /** Who the peer says it is; a frontend is the same on every channel. Empty where it doesn't say. */
  identity = "";
  /** When it last took bytes, as `performance.now()`. */
  progress = performance.now();
  readonly #conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(CHUNK_BYTES);
  /** Read ahead of what was asked for. */
  #ahead: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #queue: Uint8Array[] = [];
  #queued = 0;
  #writing = false;
  #delayed: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  #onRoom: (() => void)[] = [];

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
    conn.setNoDelay(true);
  }

  /**
   * Shakes hands.
   *
   * @param identity Who this end says it is, for a DEALER.
   * @throws {Error} When the peer speaks something else or hangs up.
   */
  static async open(conn: Deno.TcpConn, socket: SocketType, identity?: Uint8Array): Promise<ZmtpConnection> {
    const wire = new ZmtpConnection(conn);
    try {
      wire.send(greeting());
      const fault = greetingError(await wire.#exactly(GREETING_BYTES));
      if (fault !== undefined) throw new Error(`Cannot talk to a peer: ${fault}`);
      wire.send(ready(socket, identity));
      const first = await wire.#first();
      const command = first.command ? readCommand(first.frames[0]!) : undefined;
      const properties = command?.name === "READY" ? readProperties(command.data) : undefined;
      if (properties === undefined) throw new Error("Cannot talk to a peer: its READY command is malformed");
      wire.identity = (properties.get("identity") ?? new Uint8Array()).toHex();
      return wire;
    } catch (error) {
      wire[Symbol.dispose]();
      throw error;
    }
  }

  /** Bytes that wait to be written. */
  get queued(): number {
    return this.#queued;
  }

  /** Whether nothing can be sent any more. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Sends bytes that make a whole message.
   *
   * @param delay Milliseconds that it may wait for others to go with it.
   */
  send(message: Uint8Array, delay = 0): void {
    if (this.#closed) return;
    this.#queue.push(message);
    if (this.#queued === 0) this.progress = performance.now();
    this.#queued += message.length;
    if (this.#writing) return;
    if (delay > 0) this.#delayed ??= setTimeout(() => this.#start(), delay);
    else this.#start();
  }

  /** Waits until at most so many bytes wait to be written, or none ever will be. */
  async room(bytes: number): Promise<void> {
    while (this.#queued > bytes && !this.#closed) await new Promise<void>((resolve) => this.#onRoom.push(resolve));
  }

  /** What arrives, in pieces as they come; ends when the peer hangs up. */
  async *chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    for (;;) {
      const chunk = await this.#read();
      if (chunk === undefined) return;
      yield chunk;
    }
  }

  /**
   * The messages that arrive; PING is answered. Ends when the peer hangs up, in the middle of a message too.
   *
   * @param most Bytes that one may have.
   * @throws {Error} When the bytes are no ZMTP.
   */
  async *messages(most?: number): AsyncGenerator<Message, void, void> {
    const reader = new MessageReader(most);
    for await (const chunk of this.chunks()) {
      let { rest, message } = reader.feed(chunk);
      for (; message !== undefined; { rest, message } = reader.feed(rest)) {
        const answer = pong(message);
        if (answer === undefined) yield message;
        else this.send(answer);
      }
    }
  }

  /** Hangs up; what waits to be written is dropped. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#delayed);
    this.#queue = [];
    this.#queued = 0;
    this.#conn.close();
    this.#notify();
  }

  #start(): void {
    clearTimeout(this.#delayed);
    this.#delayed = undefined;
    this.#writing = true;
    queueMicrotask(() => this.#write()); // what is sent in the same turn goes together
  }

  async #write(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        const bytes = this.#batch();
        for (let at = 0; at < bytes.length;) {
          const count = await this.#conn.write(bytes.subarray(at));
          at += count;
          this.#queued = Math.max(0, this.#queued - count);
          this.progress = performance.now();
        }
        this.#notify();
      }
    } catch {
      this[Symbol.dispose](); // the peer has hung up
    } finally {
      this.#writing = false;
    }
  }

  #batch(): Uint8Array {
    let length = 0;
    let count = 0;
    while (count < this.#queue.length && length + this.#queue[count]!.length <= BATCH_BYTES) {
      length += this.#queue[count++]!.length;
    }
    return count > 1 ? joined(this.#queue.splice(0, count)) : this.#queue.shift()!;
  }

  #notify(): void {
    for (const resolve of this.#onRoom.splice(0)) resolve();
  }

  async #read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (this.#ahead.length > 0) {
      const ahead = this.#ahead;
      this.#ahead = new Uint8Array(0);
      return ahead;
    }
    try {
      const count = await this.#conn.read(this.#buffer);
      return count === null ? undefined : this.#buffer.slice(0, count);
    } catch {
      return undefined; // hung up, by either side
    }
  }

  async #exactly(length: number): Promise<Uint8Array<ArrayBuffer>> {
    let bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
    while (bytes.length < length) {
      const chunk = await this.#read();
      if (chunk === undefined) throw new Error("Cannot talk to a peer: it hung up");
      bytes = joined([bytes, chunk]);
    }
    this.#ahead = bytes.slice(length);
    return bytes.slice(0, length);
  }

  async #first(): Promise<Message> {
    const reader = new MessageReader();
    for await (const chunk of this.chunks()) {
      const { rest, message } = reader.feed(chunk);
      if (message === undefined) continue;
      this.#ahead = rest.slice();
      return message;
    }
    throw new Error("Cannot talk to a peer: it hung up");
  }
}
