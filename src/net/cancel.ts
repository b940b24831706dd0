import { once } from "node:events";
import net from "node:net";
import { destination, type HostLookup } from "./dns.ts";
import { keepOnLoopback, requestMessage, type SslConfig, upgrade } from "./tls.ts";

/** PostgreSQL's protocol, section "Message Formats": the code of a cancel request. */
const CANCEL_REQUEST = 80877102;

/** The connection whose statement to cancel. */
export interface CancelOptions {
  /** The server's host. */
  host: string;
  /** Its port. */
  port: number;
  /** The TLS options of the connection: the request contains its key. */
  ssl: SslConfig;
  /** The process id of the backend, from its `BackendKeyData`. */
  processId: number;
  /** The key of the backend, from the same message. */
  secretKey: number;
  /** Milliseconds that the request may take. @default {5000} */
  limit?: number;
  /** How the host is resolved. */
  find?: HostLookup;
}

/**
 * Asks the server, over a new connection as the protocol requires, to cancel the statement of another connection. There is no
 * answer: the statement fails with SQLSTATE 57014, or has ended already.
 */
export async function requestCancel(options: CancelOptions): Promise<void> {
  const { host, port, ssl, processId, secretKey, limit = 5000, find } = options;
  const signal = AbortSignal.timeout(limit);
  const socket = new net.Socket();
  if (ssl === false) keepOnLoopback(socket, host);
  socket.connect(destination(host, port, find));
  let secure: net.Socket = socket;
  socket.on("error", () => {}); // the waits below report it; without a listener it would end the process
  const onAbort = () => socket.destroy();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await once(socket, "connect", { signal });
    if (ssl !== false) secure = await upgrade(socket, host, ssl, signal);
    const taken = once(secure.resume(), "end", { signal });
    secure.write(requestMessage(CANCEL_REQUEST, processId, secretKey));
    await taken; // the server closes the connection when it has signaled the process
  } finally {
    signal.removeEventListener("abort", onAbort);
    secure.destroy();
    socket.destroy();
  }
}
