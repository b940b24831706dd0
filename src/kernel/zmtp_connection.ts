import { joinBytes } from "../core/bytes.ts";
import { ZmtpReader } from "./message_reader.ts";
import {
  greeting,
  GREETING_BYTES,
  greetingError,
  type Message,
  pong,
  readCommand,
  readProperties,
  ready,
  type SocketType,
} from "./zmtp.ts";

/** The maximum bytes of one read. */
const CHUNK_BYTES = 1 << 18;
/** Small messages are written together up to this many bytes. */
const BATCH_BYTES = 1 << 16;

/** A ZMTP connection after its handshake. It writes messages in the order in which they are sent. */
export class ZmtpConnection implements Disposable {
  /** The peer's identity, which is the same on all channels of a frontend; empty when the peer gives none. */
  identity = "";
  /** The time at which the peer last accepted bytes, on the clock of `performance.now()`. */
  progress = performance.now();
  readonly #conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(CHUNK_BYTES);
  /** Bytes that were read but not used yet. */
  #readAhead: Uint8Array<ArrayBuffer> = new Uint8Array(0);
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
   * Performs the handshake.
   *
   * @param identity The identity of this end, for a DEALER.
   * @throws {Error} When the peer does not speak ZMTP or closes the connection.
   */
  static async open(
    conn: Deno.TcpConn,
    socket: SocketType,
    identity?: Uint8Array<ArrayBuffer>,
  ): Promise<ZmtpConnection> {
    const connection = new ZmtpConnection(conn);
    try {
      connection.send(greeting());
      const problem = greetingError(await connection.#readExactly(GREETING_BYTES));
      if (problem !== undefined) throw new Error(`Cannot talk to a peer: ${problem}`);
      connection.send(ready(socket, identity));
      const first = await connection.#readFirst();
      const command = first.command ? readCommand(first.frames[0]!) : undefined;
      const properties = command?.name === "READY" ? readProperties(command.data) : undefined;
      if (properties === undefined) throw new Error("Cannot talk to a peer: its READY command is malformed");
      connection.identity = (properties.get("identity") ?? new Uint8Array()).toHex();
      return connection;
    } catch (error) {
      connection[Symbol.dispose]();
      throw error;
    }
  }

  /** The number of bytes that wait to be written. */
  get queued(): number {
    return this.#queued;
  }

  /**
   * Sends a complete message.
   *
   * @param delay Milliseconds to wait for further messages, so that they are written together.
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

  /** Waits until at most `bytes` bytes wait to be written, or the connection is closed. */
  async room(bytes: number): Promise<void> {
    while (this.#queued > bytes && !this.#closed) await new Promise<void>((resolve) => this.#onRoom.push(resolve));
  }

  /** The bytes that arrive, in chunks; ends when the connection is closed. */
  async *chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    for (;;) {
      const chunk = await this.#read();
      if (chunk === undefined) return;
      yield chunk;
    }
  }

  /**
   * The messages that arrive; PING is answered. Ends when the connection is closed, also in the middle of a message.
   *
   * @param maxBytes The maximum bytes of a message.
   * @throws {Error} When the bytes are not ZMTP.
   */
  async *messages(maxBytes?: number): AsyncGenerator<Message, void, void> {
    const reader = new ZmtpReader(maxBytes);
    for await (const chunk of this.chunks()) {
      let { rest, message } = reader.feed(chunk);
      for (; message !== undefined; { rest, message } = reader.feed(rest)) {
        const answer = pong(message);
        if (answer === undefined) yield message;
        else this.send(answer);
      }
    }
  }

  /** Closes the connection; unsent messages are dropped. */
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
    queueMicrotask(() => this.#write()); // messages sent in the same turn are written together
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
      this[Symbol.dispose](); // the peer has closed the connection
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
    return count > 1 ? joinBytes(this.#queue.splice(0, count)) : this.#queue.shift()!;
  }

  #notify(): void {
    for (const resolve of this.#onRoom.splice(0)) resolve();
  }

  async #read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (this.#readAhead.length > 0) {
      const bytes = this.#readAhead;
      this.#readAhead = new Uint8Array(0);
      return bytes;
    }
    try {
      const count = await this.#conn.read(this.#buffer);
      return count === null ? undefined : this.#buffer.slice(0, count);
    } catch {
      return undefined; // either side has closed the connection
    }
  }

  async #readExactly(length: number): Promise<Uint8Array<ArrayBuffer>> {
    let bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
    while (bytes.length < length) {
      const chunk = await this.#read();
      if (chunk === undefined) throw new Error("Cannot talk to a peer: it closed the connection");
      bytes = joinBytes([bytes, chunk]);
    }
    this.#readAhead = bytes.slice(length);
    return bytes.slice(0, length);
  }

  async #readFirst(): Promise<Message> {
    const reader = new ZmtpReader();
    for await (const chunk of this.chunks()) {
      const { rest, message } = reader.feed(chunk);
      if (message === undefined) continue;
      this.#readAhead = rest.slice();
      return message;
    }
    throw new Error("Cannot talk to a peer: it closed the connection");
  }
}
