import { Buffer } from "node:buffer";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";

/** PostgreSQL's protocol, section "Message Formats": the code of a request for TLS, which comes instead of a start-up. */
const SSL_REQUEST = 80877103;

/**
 * Has the server change to TLS on a connection that was just opened.
 *
 * @param socket The connection.
 * @param host The server's name: for SNI and the certificate's check.
 * @param ssl Whom to trust.
 */
export async function upgrade(
  socket: net.Socket,
  host: string,
  ssl: tls.ConnectionOptions,
  signal: AbortSignal,
): Promise<tls.TLSSocket> {
  if (!await askForTls(socket, signal)) throw new Error("the server offers no TLS");
  const secure = tls.connect({ ...ssl, socket, host, ...(net.isIP(host) === 0 ? { servername: host } : {}) });
  secure.on("error", () => {});
  await once(secure, "secureConnect", { signal });
  return secure;
}

/** Asks a server on a fresh connection whether it takes TLS. */
export async function askForTls(socket: net.Socket, signal: AbortSignal): Promise<boolean> {
  socket.write(requestMessage(SSL_REQUEST));
  const [answer] = await once(socket, "data", { signal }) as [Buffer];
  return answer.toString("latin1") === "S";
}

/** A message without a type byte: its length, a code, and words. */
export function requestMessage(code: number, ...words: number[]): Buffer {
  const bytes = Buffer.alloc(8 + words.length * 4);
  [bytes.length, code, ...words].forEach((word, index) => bytes.writeInt32BE(word | 0, index * 4));
  return bytes;
}
