import type { Socket } from "node:net";
import type { Frame } from "./messages.ts";

/** How long TLS has to tell of the end of TCP by itself. */
const END_GRACE_MS = 200;

/** The bytes of a socket, pulled and pushed at the pace of both sides. Its methods never reject. */
export class Connection {
  /** Settles once the socket is gone. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #transport: Socket;
  readonly #wake: () => void;
  #waiting: PromiseWithResolvers<void> | undefined;
  #frozen: PromiseWithResolvers<void> | undefined;
  #ended = false;
  #late: ReturnType<typeof setTimeout> | undefined;

  /** `transport` is the TCP socket under `socket`, where that is TLS. */
  constructor(socket: Socket, transport: Socket = socket) {
    this.#socket = socket;
    this.#transport = transport;
    this.#wake = () => {
      // Nobody may be reading just now, and a stream only notices its end when it is read.
      if (!socket.readableLength) socket.read(0);
      this.#waiting?.resolve();
      this.#waiting = undefined;
    };
    for (const event of ["readable", "drain"]) socket.on(event, this.#wake);
    socket.once("end", () => this.#end());
    // The close that follows an error is what counts; without a listener the error would end the process.
    socket.on("error", () => {});
    if (socket !== transport) onTransportEnd(socket, () => this.#endSoon());
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    socket.once("close", () => {
      clearTimeout(this.#late);
      this.#end();
      this.freeze(false);
      resolve();
    });
  }

  /** Whether the bytes are encrypted. */
  get encrypted(): boolean {
    return this.#socket !== this.#transport;
  }

  /** Whether the other side has hung up. */
  get ended(): boolean {
    return this.#ended || this.#socket.destroyed;
  }

  /** The next bytes, exactly `size` where that is given; undefined once the other side has hung up before. */
  async read(size?: number): Promise<Uint8Array | undefined> {
    for (;;) {
      await this.#frozen?.promise;
      const chunk: Uint8Array | null = size === undefined ? this.#socket.read() : this.#socket.read(size);
      // A stream that has ended gives what is left of it, however much was asked for.
      if (chunk && (size === undefined || chunk.length === size)) return chunk;
      if (this.ended) return undefined;
      await this.#change();
    }
  }

  /** The next byte, which stays to be read; undefined where there is none. */
  async peek(): Promise<number | undefined> {
    const chunk = await this.read();
    if (chunk) this.#socket.unshift(chunk);
    return chunk?.[0];
  }

  /** Sends the bytes; resolves once there is room for more. */
  async write(bytes: Uint8Array): Promise<void> {
    await this.#frozen?.promise;
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    if (this.#socket.write(bytes)) return;
    while (this.#socket.writableNeedDrain && !this.#socket.destroyed) await this.#change();
  }

  /** Holds every byte back, or lets them go on. */
  freeze(frozen: boolean): void {
    if (!frozen) {
      this.#frozen?.resolve();
      this.#frozen = undefined;
    } else if (!this.#socket.destroyed) {
      this.#frozen ??= Promise.withResolvers<void>();
    }
  }

  /** Says a last word, where there is one, and hangs up; what the other side still sends is not read. */
  async close(last?: Frame): Promise<void> {
    this.freeze(false);
    if (this.#socket.destroyed || this.#socket.writableEnded) return await this.closed;
    if (last) this.#socket.end(last);
    else this.#socket.end();
    // A reset, which unread bytes would cause, could overtake the last word.
    this.release();
    this.#socket.resume();
    const timer = setTimeout(() => this.destroy(), 500);
    await this.closed;
    clearTimeout(timer);
  }

  /** Leaves the socket's bytes to somebody else. */
  release(): void {
    for (const event of ["readable", "drain"]) this.#socket.off(event, this.#wake);
  }

  /** Drops the connection with a TCP reset. Under TLS it only ends at once: Deno leaves that socket to TLS. */
  reset(): void {
    this.#transport.resetAndDestroy();
    if (this.#socket !== this.#transport) this.#socket.destroy();
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.#socket.destroy();
    this.#transport.destroy();
  }

  /** Once what has come is read, since nothing follows it. */
  #endSoon(): void {
    if (this.ended) return;
    this.#late = setTimeout(() => {
      if (this.ended) return;
      if (this.#socket.readableLength === 0 && this.#frozen === undefined) this.destroy();
      else this.#endSoon();
    }, END_GRACE_MS);
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }

  #change(): Promise<void> {
    this.#waiting ??= Promise.withResolvers<void>();
    return this.#waiting.promise;
  }
}

/**
 * Deno's TLS does not tell when TCP ends in the middle of a record, as it does when a client dies while it sends: it would be
 * waited for without an end. So this listens below, where the handle reads nothing but at the end.
 */
function onTransportEnd(socket: Socket, heard: () => void): void {
  const { _handle: handle } = socket as unknown as { _handle?: { _nativeTcpHandle?: { onread?: OnRead } } };
  const tcp = handle?._nativeTcpHandle;
  const onRead = tcp?.onread;
  if (tcp === undefined || onRead === undefined) return;
  tcp.onread = (bytes) => {
    onRead.call(tcp, bytes);
    if (bytes === undefined || bytes === null) heard();
  };
}

type OnRead = (bytes: unknown) => void;
