import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import net, { type Socket } from "node:net";
import tls, { checkServerIdentity, type ConnectionOptions, type DetailedPeerCertificate } from "node:tls";
import { LakebaseError, quotedOption } from "../core/errors.ts";
import type { SslMode } from "../settings/options.ts";
import { isLoopback, isLoopbackAddress } from "../settings/server.ts";
import { destination } from "./dns.ts";

/** The option `ssl` of `pg`: TLS options, or `false` for no TLS. */
export type SslConfig = false | ConnectionOptions;

/**
 * The TLS options of a connection. Only `no-verify` accepts an unverified server. Only `disable` accepts plain text,
 * and only on loopback.
 *
 * @param host The server's name, for SNI and the check of its certificate.
 * @param mode As in `ConnectOptions.sslMode`.
 * @param ca PEM text or a file; `undefined` for the authorities that the system trusts.
 * @throws {LakebaseError} `BAD_SETTING` for `disable` on a host that is not loopback, and for a `ca` without a
 * certificate.
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
 * Closes a socket as soon as it has connected to another machine, because DNS decides where a name such as
 * `db.localhost` leads. Call this before you add other listeners, so that nothing is sent before the check.
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
  socket: Socket,
  host: string,
  ssl: ConnectionOptions,
  signal: AbortSignal,
): Promise<tls.TLSSocket> {
  const answer = await askForTls(socket, signal);
  if (answer === "N") throw new Error("The server does not support SSL connections");
  if (answer !== "S") throw new Error("There was an error establishing an SSL connection");
  const secure = tls.connect({ ...ssl, socket, host, ...(net.isIP(host) === 0 ? { servername: host } : {}) });
  secure.on("error", () => {}); // the wait below reports an error, which without a listener would end the process
  await eventOf(secure, "secureConnect", signal);
  return secure;
}

/** Asks the server on a new connection whether it supports TLS. Postgres answers `S` or `N`. */
export async function askForTls(socket: Socket, signal: AbortSignal): Promise<string> {
  socket.write(requestMessage(SSL_REQUEST));
  const [answer] = await eventOf(socket, "data", signal) as [Buffer];
  return answer.toString("latin1");
}

/** Waits for an event. Rejects if the connection closes first. */
async function eventOf(socket: Socket, event: string, signal: AbortSignal): Promise<unknown[]> {
  const done = new AbortController();
  const either = AbortSignal.any([signal, done.signal]);
  const closed = once(socket, "close", { signal: either }).then(() => {
    throw new Error("Connection terminated unexpectedly");
  });
  try {
    return await Promise.race([once(socket, event, { signal: either }), closed]);
  } finally {
    done.abort();
  }
}

/** Encodes a message that has no type byte: its length, a code, and 32-bit values. */
export function requestMessage(code: number, ...values: number[]): Buffer {
  const bytes = Buffer.alloc(8 + values.length * 4);
  [bytes.length, code, ...values].forEach((value, index) => bytes.writeInt32BE(value | 0, index * 4));
  return bytes;
}

/** The address of a server. */
interface ServerAddress {
  /** The host. */
  host: string;
  /** The port. */
  port: number;
}

/**
 * Opens a TCP connection and closes it.
 *
 * @returns The address that answered.
 */
export async function reachServer(server: ServerAddress, signal: AbortSignal): Promise<string> {
  await using stack = new AsyncDisposableStack();
  const { remoteAddress = server.host } = await openSocket(server, signal, stack);
  return remoteAddress;
}

/**
 * Checks the certificate of a Postgres server. The handshake accepts any certificate, so that the error can say what is
 * wrong. Nothing else is sent on this connection.
 *
 * @returns The protocol, the certificate's subject and issuer, and its expiry date.
 * @throws {LakebaseError} `TLS` if the name, the dates or the authority is wrong.
 */
export async function inspectCertificate(
  server: ServerAddress,
  ssl: ConnectionOptions,
  signal: AbortSignal,
): Promise<string> {
  await using stack = new AsyncDisposableStack();
  const socket = await openSocket(server, signal, stack);
  const secure = await upgrade(socket, server.host, { ...ssl, rejectUnauthorized: false }, signal);
  stack.defer(() => void secure.destroy());
  const peer = secure.getPeerCertificate(true);
  if (peer?.raw === undefined) throw certificateError("the server sent no certificate");
  const certificate = new X509Certificate(peer.raw);
  const summary = `${secure.getProtocol()}, ${oneLine(certificate.subject)} by ${
    oneLine(certificate.issuer)
  }, valid until ${day(certificate.validTo)}`;
  const problem = dateProblem(certificate) ?? nameProblem(server.host, peer) ??
    (secure.authorized ? undefined : untrusted(String(secure.authorizationError)));
  if (problem === undefined) return summary;
  if (ssl.rejectUnauthorized === false) return `${summary}; not verified (no-verify): ${problem}`;
  throw certificateError(`${problem} (${summary})`);
}

function dateProblem({ validFrom, validTo }: X509Certificate): string | undefined {
  if (Date.parse(validTo) < Date.now()) return `it expired on ${day(validTo)}`;
  if (Date.parse(validFrom) > Date.now()) {
    return `it is not valid before ${day(validFrom)}; check this machine's clock`;
  }
}

function nameProblem(host: string, certificate: DetailedPeerCertificate): string | undefined {
  if (checkServerIdentity(host, certificate) === undefined) return undefined;
  return `it is for ${certificate.subjectaltname ?? certificate.subject?.CN}, not for ${host}`;
}

function untrusted(error: string): string {
  return `its authority is not trusted (${error}); put a private one into ${quotedOption("ca")} (PGSSLROOTCERT)`;
}

/** Opens a TCP connection as `connect()` does. */
async function openSocket(
  { host, port }: ServerAddress,
  signal: AbortSignal,
  stack: AsyncDisposableStack,
): Promise<Socket> {
  const socket = net.connect(destination(host, port));
  stack.defer(() => void socket.destroy());
  socket.on("error", () => {}); // without a listener, a later error would end the process; an error of connecting rejects below
  await once(socket, "connect", { signal });
  return socket;
}

function oneLine(name: string): string {
  return name.replaceAll("\n", ", ");
}

function day(date: string): string {
  return new Date(date).toISOString().slice(0, 10);
}

function certificateError(state: string): LakebaseError {
  return new LakebaseError("TLS", `Cannot trust the server's certificate: ${state}`);
}
