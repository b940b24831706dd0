import { once } from "node:events";
import net from "node:net";
import { destination, type Lookup } from "./dns.ts";
import { keepOnLoopback, requestMessage, type SslConfig, upgrade } from "./tls.ts";

/** PostgreSQL's protocol, section "Message Formats": the code of a request that comes instead of a start-up. */
const CANCEL_REQUEST = 80877102;

/** Which statement to cancel, and where. */
export interface CancelOptions {
  /** The server's host. */
  host: string;
  /** Its port. */
  port: number;
  /** The TLS of the connection whose statement it is: the request holds that connection's key. */
  ssl: SslConfig;
  /** The backend's process, from its `BackendKeyData`. */
  processId: number;
  /** The backend's key, from there too. */
  secretKey: number;
  /** Milliseconds that it may take. @default {5000} */
  limit?: number;
  /** How the host is resolved. */
  find?: Lookup;
}

/**
 * Asks the server to cancel what a connection is running, on a connection of its own as the protocol has it. There is no
 * answer: the statement ends with SQLSTATE 57014, or had ended before.
 */
export async function requestCancel(options: CancelOptions): Promise<void> {
  const { host, port, ssl, processId, secretKey, limit = 5000, find } = options;
  const signal = AbortSignal.timeout(limit);
  const socket = new net.Socket();
  if (ssl === false) keepOnLoopback(socket, host);
  socket.connect(destination(host, port, find));
  let secure: net.Socket = socket;
  socket.on("error", () => {});
  const onAbort = () => socket.destroy();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await once(socket, "connect", { signal });
    if (ssl !== false) secure = await upgrade(socket, host, ssl, signal);
    const taken = once(secure.resume(), "end", { signal });
    secure.write(requestMessage(CANCEL_REQUEST, processId, secretKey));
    await taken; // the server hangs up when it has signaled the process
  } finally {
    signal.removeEventListener("abort", onAbort);
    secure.destroy();
    socket.destroy();
  }
}
