import { X509Certificate } from "node:crypto";
import net from "node:net";
import type { Socket } from "node:net";
import tls from "node:tls";
import type { ConnectionOptions } from "node:tls";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { LakebaseError, quotedOption } from "../core/errors.ts";
import { isLoopback, isLoopbackAddress } from "../settings/host.ts";
import type { SslMode } from "../settings/options.ts";

/** What `pg` takes as `ssl`: options, or `false` for none. */
export type SslConfig = false | ConnectionOptions;

/**
 * How the connection is encrypted and whom it trusts. There is no way from here to an unverified server but
 * `no-verify`, and none to plain text but `disable` on loopback.
 *
 * @param host The server's name: for SNI and the certificate's check.
 * @param mode As in `ConnectOptions.sslMode`.
 * @param ca PEM text or a file; `undefined` for the system's roots.
 * @throws {LakebaseError} `BAD_SETTING` for `disable` elsewhere than on loopback, and for a `ca` that is no certificate.
 */
export async function tlsOptions(host: string, mode: SslMode, ca: string | undefined): Promise<SslConfig> {
  if (mode === "disable") {
    if (isLoopback(host)) return false;
    throw new LakebaseError(
      "BAD_SETTING",
      `Cannot connect: sslMode is "disable", which sends the login to "${host}" in plain text. Use verify-full`,
    );
  }
  const authority = ca === undefined ? {} : { ca: await readCertificates(ca) };
  return { rejectUnauthorized: mode !== "no-verify", minVersion: "TLSv1.2", ...authority };
}

/**
 * Ends a connection without TLS as soon as it stands, where it leads to another machine: what a name such as `db.localhost`
 * leads to is decided by DNS. For a socket that nobody else listens to yet, so that nothing is sent first.
 *
 * @param socket A socket that is to connect.
 * @param host The host, for the error.
 */
export function keepOnLoopback(socket: Socket, host: string): void {
  socket.once("connect", () => {
    const address = socket.remoteAddress ?? "an unknown address";
    if (isLoopbackAddress(address)) return;
    socket.destroy(
      new LakebaseError(
        "BAD_SETTING",
        `Cannot connect: sslMode is "disable", and "${host}" leads to ${address}, which is not this machine. Use verify-full`,
        { setting: "sslMode" },
      ),
    );
  });
}

async function readCertificates(ca: string): Promise<string> {
  const pem = ca.includes("-----BEGIN") ? ca : await readFile(ca);
  if (isCertificate(pem)) return pem;
  throw new LakebaseError(
    "BAD_SETTING",
    `Cannot connect: ${quotedOption("ca")} (PGSSLROOTCERT) holds no certificate in PEM form`,
  );
}

function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem);
    return true;
  } catch {
    return false;
  }
}

async function readFile(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    const state = cause instanceof Error ? cause.message : String(cause);
    throw new LakebaseError(
      "BAD_SETTING",
      `Cannot read ${quotedOption("ca")} (PGSSLROOTCERT), the file "${path}": ${state}`,
      { cause },
    );
  }
}

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
