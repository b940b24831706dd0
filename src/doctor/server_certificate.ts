import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { checkServerIdentity, type ConnectionOptions, type DetailedPeerCertificate } from "node:tls";
import { LakebaseError, quotedOption } from "../core/errors.ts";
import { destination } from "../net/dns.ts";
import { upgrade } from "../net/tls.ts";

/** The address of a server. */
export interface ServerAddress {
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
  const { remoteAddress = server.host } = await open(server, signal, stack);
  return remoteAddress;
}

/**
 * Checks the certificate of a Postgres server. The handshake accepts any certificate, so that the error can say what is wrong
 * with it. Nothing else is sent over this connection.
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
  const socket = await open(server, signal, stack);
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
async function open(
  { host, port }: ServerAddress,
  signal: AbortSignal,
  stack: AsyncDisposableStack,
): Promise<net.Socket> {
  const socket = net.connect(destination(host, port));
  stack.defer(() => void socket.destroy());
  socket.on("error", () => {}); // a later error would end the process; an error of connecting rejects below
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
