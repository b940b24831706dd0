import type { Socket } from "node:net";
import type { Frame } from "./messages.ts";

/** Milliseconds that TLS has to report the end of TCP. */
const END_GRACE_MS = 200;

/** Reads and writes a socket with backpressure. The methods never reject. */
export class Connection {
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #transport: Socket;
  readonly #wake: () => void;
  #waiting: PromiseWithResolvers<void> | undefined;
  #frozen: PromiseWithResolvers<void> | undefined;
  #ended = false;
  #handedOver = false;
  #endTimer: ReturnType<typeof setTimeout> | undefined;

  /** `transport` is the TCP socket below `socket` if that is TLS. */
  constructor(socket: Socket, transport: Socket = socket) {
    this.#socket = socket;
    this.#transport = transport;
    this.#wake = () => {
      // A stream notices its end only when it is read, and nobody may be reading it now.
      if (!socket.readableLength) socket.read(0);
      this.#waiting?.resolve();
      this.#waiting = undefined;
    };
    for (const event of ["readable", "drain"]) socket.on(event, this.#wake);
    socket.once("end", () => this.#end());
    // The "close" that follows is handled. Without a listener, an error would end the process.
    socket.on("error", () => {});
    if (socket !== transport) onTransportEnd(socket, () => this.#endSoon());
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    socket.once("close", () => {
      clearTimeout(this.#endTimer);
      this.#end();
      this.freeze(false);
      resolve();
    });
  }

  /** Whether the bytes are encrypted. */
  get encrypted(): boolean {
    return this.#socket !== this.#transport;
  }

  /** Whether the other side has closed the connection. */
  get ended(): boolean {
    return this.#ended || this.#socket.destroyed;
  }

  /** The next bytes: exactly `size`, or as many as there are. Undefined if the connection ends first. */
  async read(size?: number): Promise<Uint8Array | undefined> {
    for (;;) {
      await this.#frozen?.promise;
      const chunk: Uint8Array | null = size === undefined ? this.#socket.read() : this.#socket.read(size);
      // A stream that has ended returns the rest, even if that is less than `size`.
      if (chunk && (size === undefined || chunk.length === size)) return chunk;
      if (this.ended) return undefined;
      await this.#nextEvent();
    }
  }

  /** The next byte, without consuming it; undefined at the end. */
  async peek(): Promise<number | undefined> {
    const chunk = await this.read();
    if (chunk) this.#socket.unshift(chunk);
    return chunk?.[0];
  }

  /** Sends the bytes; resolves when there is room for more. */
  async write(bytes: Uint8Array): Promise<void> {
    await this.#frozen?.promise;
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    if (this.#socket.write(bytes)) return;
    while (this.#socket.writableNeedDrain && !this.#socket.destroyed) await this.#nextEvent();
  }

  /** Stops or resumes all reading and writing. */
  freeze(frozen: boolean): void {
    if (!frozen) {
      this.#frozen?.resolve();
      this.#frozen = undefined;
    } else if (!this.#socket.destroyed) {
      this.#frozen ??= Promise.withResolvers<void>();
    }
  }

  /**
   * Sends a last message if one is given, and closes the connection. Later input is discarded. A client that is in the TLS
   * handshake gets no message, because it reads only TLS.
   */
  async close(last?: Frame): Promise<void> {
    this.freeze(false);
    if (this.#socket.destroyed || this.#socket.writableEnded) return await this.closed;
    if (last && !this.#handedOver) this.#socket.end(last);
    else this.#socket.end();
    // Unread bytes would cause a reset, which could overtake the last message.
    this.#stopListening();
    this.#socket.resume();
    const timer = setTimeout(() => this.destroy(), 500);
    await this.closed;
    clearTimeout(timer);
  }

  /** Leaves reading and writing the socket to TLS. */
  handOver(): void {
    this.#handedOver = true;
    this.#stopListening();
  }

  #stopListening(): void {
    for (const event of ["readable", "drain"]) this.#socket.off(event, this.#wake);
  }

  /** Drops the connection with a TCP reset. With TLS it only closes at once, because Deno moves the TCP socket into TLS. */
  reset(): void {
    this.#transport.resetAndDestroy();
    if (this.#socket !== this.#transport) this.#socket.destroy();
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.#socket.destroy();
    this.#transport.destroy();
  }

  /** Ends the connection once the bytes that have arrived are read. */
  #endSoon(): void {
    if (this.ended) return;
    this.#endTimer = setTimeout(() => {
      if (this.ended) return;
      if (this.#socket.readableLength === 0 && this.#frozen === undefined) this.destroy();
      else this.#endSoon();
    }, END_GRACE_MS);
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }

  #nextEvent(): Promise<void> {
    this.#waiting ??= Promise.withResolvers<void>();
    return this.#waiting.promise;
  }
}

/**
 * Calls `onEnd` when TCP ends. If TCP ends within a TLS record, such as when a client dies while it sends, Deno's TLS does
 * not report it, and a reader would wait forever. The TCP handle below TLS reports it.
 */
function onTransportEnd(socket: Socket, onEnd: () => void): void {
  const { _handle: handle } = socket as unknown as { _handle?: { _nativeTcpHandle?: { onread?: OnRead } } };
  const tcp = handle?._nativeTcpHandle;
  const onRead = tcp?.onread;
  if (tcp === undefined || onRead === undefined) return;
  tcp.onread = (bytes) => {
    onRead.call(tcp, bytes);
    if (bytes === undefined || bytes === null) onEnd();
  };
}

type OnRead = (bytes: unknown) => void;
