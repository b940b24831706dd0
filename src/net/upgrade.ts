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
 * @throws {Error} With the same words as `pg` where the server hangs up, has no TLS or speaks something else.
 */
export async function upgrade(
  socket: net.Socket,
  host: string,
  ssl: tls.ConnectionOptions,
  signal: AbortSignal,
): Promise<tls.TLSSocket> {
  const answer = await askForTls(socket, signal);
  if (answer === "N") throw new Error("The server does not support SSL connections");
  if (answer !== "S") throw new Error("There was an error establishing an SSL connection");
  const secure = tls.connect({ ...ssl, socket, host, ...(net.isIP(host) === 0 ? { servername: host } : {}) });
  secure.on("error", () => {});
  await heard(secure, "secureConnect", signal);
  return secure;
}

/** Asks a server on a fresh connection whether it takes TLS; `S` and `N` are Postgres's answers. */
export async function askForTls(socket: net.Socket, signal: AbortSignal): Promise<string> {
  socket.write(requestMessage(SSL_REQUEST));
  const [answer] = await heard(socket, "data", signal) as [Buffer];
  return answer.toString("latin1");
}

/** The event, unless the connection ends before. */
async function heard(socket: net.Socket, event: string, signal: AbortSignal): Promise<unknown[]> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const gone = once(socket, "close", { signal: either }).then(() => {
    throw new Error("Connection terminated unexpectedly");
  });
  try {
    return await Promise.race([once(socket, event, { signal: either }), gone]);
  } finally {
    over.abort();
  }
}

/** A message without a type byte: its length, a code, and words. */
export function requestMessage(code: number, ...words: number[]): Buffer {
  const bytes = Buffer.alloc(8 + words.length * 4);
  [bytes.length, code, ...words].forEach((word, index) => bytes.writeInt32BE(word | 0, index * 4));
  return bytes;
}
