import { once } from "node:events";
import type { Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import type { Certificate } from "./certificate.ts";
import { CANCEL_REQUEST, cstring, type Failure, type Frame, frame, int32, PostgresError } from "./messages.ts";

/** Milliseconds that TLS has to report that TCP has ended. */
const END_GRACE_MS = 200;

/** A connection of a client: reads and writes its socket with backpressure. No method rejects. */
export class Connection {
  /** Resolves when the socket is closed. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #transport: Socket;
  readonly #wake: () => void;
  /** Resolves at the next event of the socket; `undefined` if nobody waits for one. */
  #event: PromiseWithResolvers<void> | undefined;
  /** Resolves when data may flow again; `undefined` while they do. */
  #frozen: PromiseWithResolvers<void> | undefined;
  #ended = false;
  /** Whether TLS reads and writes the socket now. */
  #handedOver = false;
  #endTimer: ReturnType<typeof setTimeout> | undefined;

  /** `transport` is the TCP socket: the one below `socket` if `socket` is TLS. */
  constructor(socket: Socket, transport: Socket = socket) {
    this.#socket = socket;
    this.#transport = transport;
    this.#wake = () => {
      // A stream reports its end only when it is read, and nobody may be reading it now.
      if (!socket.readableLength) socket.read(0);
      this.#event?.resolve();
      this.#event = undefined;
    };
    for (const event of ["readable", "drain"]) socket.on(event, this.#wake);
    socket.once("end", () => this.#end());
    socket.on("error", () => {}); // "close" follows, and without a listener an error would end the process
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

  /** Whether the connection uses TLS. */
  get encrypted(): boolean {
    return this.#socket !== this.#transport;
  }

  /** Whether the other side has closed the connection. */
  get ended(): boolean {
    return this.#ended || this.#socket.destroyed;
  }

  /** Reads exactly `size` bytes, or those that have arrived; `undefined` if the connection ends first. */
  async read(size?: number): Promise<Uint8Array | undefined> {
    for (;;) {
      await this.#frozen?.promise;
      const chunk: Uint8Array | null = size === undefined ? this.#socket.read() : this.#socket.read(size);
      // At its end, a stream returns the remaining bytes, even if they are fewer than `size`.
      if (chunk && (size === undefined || chunk.length === size)) return chunk;
      if (this.ended) return undefined;
      await this.#nextEvent();
    }
  }

  /** The next byte, which stays unread; `undefined` at the end. */
  async peek(): Promise<number | undefined> {
    const chunk = await this.read();
    if (chunk) this.#socket.unshift(chunk);
    return chunk?.[0];
  }

  /** Sends the bytes. Resolves when there is room for more. */
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
   * Sends a last message, if there is one, and closes the connection. Further input is discarded. During the TLS
   * handshake the message is not sent, because the client reads only TLS.
   */
  async close(last?: Frame): Promise<void> {
    this.freeze(false);
    if (this.#socket.destroyed || this.#socket.writableEnded) return await this.closed;
    if (last && !this.#handedOver) this.#socket.end(last);
    else this.#socket.end();
    // With unread bytes, TCP would send a reset, which could overtake the last message.
    this.#stopListening();
    this.#socket.resume();
    const timer = setTimeout(() => this.destroy(), 500);
    await this.closed;
    clearTimeout(timer);
  }

  /** Lets TLS read and write the socket from now on. */
  handOver(): void {
    this.#handedOver = true;
    this.#stopListening();
  }

  #stopListening(): void {
    for (const event of ["readable", "drain"]) this.#socket.off(event, this.#wake);
  }

  /** Drops the connection with a TCP reset, or, under TLS, by closing it: Deno has moved the TCP socket into TLS. */
  reset(): void {
    this.#transport.resetAndDestroy();
    if (this.#socket !== this.#transport) this.#socket.destroy();
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.#socket.destroy();
    this.#transport.destroy();
  }

  /** Ends the connection when the bytes that have arrived are read. */
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
    this.#event ??= Promise.withResolvers<void>();
    return this.#event.promise;
  }
}

/**
 * Calls `onEnd` when TCP ends. Deno's TLS does not report an end within a TLS record, which happens when a client dies
 * while it sends, so a reader would wait forever. The TCP handle below TLS reports it.
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

/** A client that has completed TLS and sent its startup packet, but has not logged in. */
export interface Startup {
  client: Connection;
  /** The host name that the client asked for in TLS. */
  servername: string;
  parameters: Map<string, string>;
}

/** The first byte of a client that begins with TLS at once, such as libpq with `sslnegotiation=direct`. */
const TLS_HANDSHAKE = 0x16;

/** The length of the longest startup packet that Postgres reads, in bytes. */
const MAX_PACKET = 10_000;

/**
 * Starts TLS on a new connection, after SSLRequest or directly, and reads the startup packet.
 *
 * @param onSecured Receives the TLS connection as soon as it exists.
 * @returns The startup packet or a cancel request; `undefined` if the client left or sent something else.
 * @throws {PostgresError} If the client uses no TLS or no SNI.
 */
export async function startUp(
  plain: Connection,
  socket: Socket,
  certificate: Certificate,
  onSecured: (client: Connection) => void,
): Promise<Startup | Extract<StartupPacket, { kind: "cancel" }> | undefined> {
  const first = await plain.peek();
  if (first === TLS_HANDSHAKE) return await startTls(plain, socket, certificate, onSecured);
  let packet = await readPacket(plain);
  while (packet?.kind === "gss") {
    await plain.write(new TextEncoder().encode("N"));
    packet = await readPacket(plain);
  }
  if (packet?.kind === "cancel") return packet;
  if (packet?.kind === "startup") throw new PostgresError(INSECURE);
  if (packet?.kind !== "ssl") return undefined;
  await plain.write(new TextEncoder().encode("S"));
  return await startTls(plain, socket, certificate, onSecured);
}

async function startTls(
  plain: Connection,
  socket: Socket,
  certificate: Certificate,
  onSecured: (client: Connection) => void,
): ReturnType<typeof readStartup> {
  const tls = await encrypt(plain, socket, certificate);
  if (!tls) return undefined;
  onSecured(tls.client);
  return await readStartup(tls.client, tls.servername);
}

async function readStartup(
  client: Connection,
  servername: string | undefined,
): Promise<Startup | Extract<StartupPacket, { kind: "cancel" }> | undefined> {
  const packet = await readPacket(client);
  if (packet?.kind === "cancel") return packet;
  if (packet?.kind !== "startup") return undefined;
  if (!servername) throw new PostgresError(NO_SNI);
  // Later minor versions only extend 3.0, so a client that is offered 3.0 can continue.
  if (packet.minor > 0 || packet.unknownOptions.length > 0) await client.write(negotiation(packet.unknownOptions));
  if (!packet.parameters.get("user")) throw new PostgresError(NO_USER);
  return { client, servername, parameters: packet.parameters };
}

async function readPacket(client: Connection): Promise<StartupPacket | undefined> {
  const length = await client.read(4);
  if (!length) return undefined;
  const size = new DataView(length.buffer, length.byteOffset, 4).getInt32(0);
  if (size < 8 || size - 4 > MAX_PACKET) return undefined; // Postgres gives no message either
  const body = await client.read(size - 4);
  const packet = body && parseStartup(body);
  if (packet?.kind === "unsupported" && packet.failure) throw new PostgresError(packet.failure);
  return packet;
}

async function encrypt(
  plain: Connection,
  socket: Socket,
  { cert, key }: Certificate,
): Promise<{ client: Connection; servername: string | undefined } | undefined> {
  plain.handOver();
  let servername: string | undefined;
  const secureContext = createSecureContext({ cert, key, minVersion: "TLSv1.2" });
  const tls = new TLSSocket(socket, {
    isServer: true,
    secureContext,
    ALPNProtocols: ["postgresql"],
    SNICallback: (name, respond) => {
      servername = name || undefined;
      respond(null, secureContext);
    },
  });
  const client = new Connection(tls, socket);
  const secured = once(tls, "secure").then(() => true, () => false);
  return await Promise.race([secured, client.closed.then(() => false)]) ? { client, servername } : undefined;
}

const INSECURE = {
  sqlstate: "08006",
  message:
    "Insecure connection. Ensure that connection is using SSL. Try using `sslmode=require` in the connection string.",
};

const NO_SNI = {
  sqlstate: "08006",
  message: "Connection does not have SNI.",
  detail: "Please upgrade your client to support SNI.",
};

const NO_USER = { sqlstate: "28000", message: "no PostgreSQL user name specified in startup packet" };

// Codes in the place of a startup packet's protocol version.
const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;

/** A client's first packet. */
type StartupPacket =
  | { kind: "ssl" | "gss" }
  | { kind: "cancel"; process: number; secret: Uint8Array }
  | { kind: "startup"; minor: number; parameters: Map<string, string>; unknownOptions: string[] }
  /** `failure` is Postgres's answer; undefined if Postgres closes the connection without an answer. */
  | { kind: "unsupported"; failure?: Failure };

/** Parses a startup packet, without its length word. */
export function parseStartup(body: Uint8Array): StartupPacket {
  if (body.length < 4) return { kind: "unsupported" };
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const code = view.getInt32(0);
  if (code === SSL_REQUEST) return { kind: "ssl" };
  if (code === GSS_REQUEST) return { kind: "gss" };
  if (code === CANCEL_REQUEST && body.length >= 12) {
    return { kind: "cancel", process: view.getInt32(4), secret: body.slice(8) };
  }
  if (code === CANCEL_REQUEST) return { kind: "unsupported" };
  const [major, minor] = [code >>> 16, code & 0xffff];
  if (major !== 3) return { kind: "unsupported", failure: unsupportedVersion(`${major}.${minor}`) };
  const parameters = readParameters(body.subarray(4));
  if (body.at(-1) !== 0) return { kind: "unsupported", failure: UNTERMINATED };
  // Protocol options. The local server has none of them, and a client can continue without them.
  const unknownOptions = [...parameters.keys()].filter((name) => name.startsWith("_pq_."));
  for (const name of unknownOptions) parameters.delete(name);
  return { kind: "startup", minor, parameters, unknownOptions };
}

function unsupportedVersion(version: string): Failure {
  return { sqlstate: "0A000", message: `unsupported frontend protocol ${version}: server supports 3.0 to 3.0` };
}

const UNTERMINATED: Failure = {
  sqlstate: "08P01",
  message: "invalid startup packet layout: expected terminator as last byte",
};

/** NegotiateProtocolVersion: the server has protocol 3.0 and none of these options. */
function negotiation(unknownOptions: string[]): Frame {
  return frame("v", int32(3 << 16), int32(unknownOptions.length), ...unknownOptions.map(cstring));
}

/** Parses zero-terminated names and values. */
function readParameters(bytes: Uint8Array): Map<string, string> {
  const texts = new TextDecoder().decode(bytes).split("\0");
  const parameters = new Map<string, string>();
  for (let i = 0; i + 1 < texts.length && texts[i]; i += 2) {
    parameters.set(texts[i] as string, texts[i + 1] as string);
  }
  return parameters;
}
