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

/** The option `ssl` of `pg`: TLS options, or `false` for no TLS. */
export type SslConfig = false | ConnectionOptions;

/**
 * The TLS options of a connection. Only `no-verify` accepts an unverified server, and only `disable` on loopback accepts plain
 * text.
 *
 * @param host The server's name, for SNI and the check of its certificate.
 * @param mode As in `ConnectOptions.sslMode`.
 * @param ca PEM text or a file; `undefined` for the authorities that the system trusts.
 * @throws {LakebaseError} `BAD_SETTING` for `disable` on another host than loopback, and for a `ca` without a certificate.
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
 * Closes a socket as soon as it has connected to another machine: DNS decides where a name such as `db.localhost` leads. Call
 * this before other listeners are added, so that nothing is sent first.
 *
 * @param socket A socket that has not connected.
 * @param host The host, for the error.
 */
export function keepOnLoopback(socket: Socket, host: string): void {
  socket.once("connect", () => {
    const address = socket.remoteAddress ?? "an unknown address";
    if (isLoopbackAddress(address)) return;
    socket.destroy(
      new LakebaseError(
        "BAD_SETTING",
        `Cannot connect: sslMode is "disable", and the address of "${host}" is ${address}, which is not this machine. Use verify-full`,
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
    `Cannot connect: ${quotedOption("ca")} (PGSSLROOTCERT) contains no PEM certificate`,
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

/** PostgreSQL's protocol, section "Message Formats": the code of a request for TLS. */
const SSL_REQUEST = 80877103;

/**
 * Starts TLS on a new connection.
 *
 * @param socket The connection.
 * @param host The server's name, for SNI and the check of its certificate.
 * @param ssl The TLS options.
 * @throws {Error} With the messages of `pg` where the server closes the connection, has no TLS or does not speak Postgres.
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
  secure.on("error", () => {}); // a wait reports it; without a listener it would end the process
  await eventOf(secure, "secureConnect", signal);
  return secure;
}

/** Asks a server over a new connection whether it supports TLS. Postgres answers `S` or `N`. */
export async function askForTls(socket: net.Socket, signal: AbortSignal): Promise<string> {
  socket.write(requestMessage(SSL_REQUEST));
  const [answer] = await eventOf(socket, "data", signal) as [Buffer];
  return answer.toString("latin1");
}

/** Waits for an event; rejects if the connection closes first. */
async function eventOf(socket: net.Socket, event: string, signal: AbortSignal): Promise<unknown[]> {
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

/** A message without a type byte: its length, a code, and 32-bit values. */
export function requestMessage(code: number, ...values: number[]): Buffer {
  const bytes = Buffer.alloc(8 + values.length * 4);
  [bytes.length, code, ...values].forEach((value, index) => bytes.writeInt32BE(value | 0, index * 4));
  return bytes;
}
