import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { checkServerIdentity, type ConnectionOptions, type DetailedPeerCertificate } from "node:tls";
import { LakebaseError, quotedOption } from "../core/errors.ts";
import { destination } from "../net/dns.ts";
import { upgrade } from "../net/tls.ts";

/** A server to look at. */
export interface ServerAddress {
  /** Its name. */
  host: string;
  /** Its port. */
  port: number;
}

/** Opens a TCP connection and closes it again. @returns The address that answered. */
export async function knock(server: ServerAddress, signal: AbortSignal): Promise<string> {
  await using stack = new AsyncDisposableStack();
  const { remoteAddress = server.host } = await open(server, signal, stack);
  return remoteAddress;
}

/**
 * Looks at the certificate that a Postgres server shows. It is taken as it is, so that what is wrong with it can be told:
 * nothing but the handshake goes over this connection.
 *
 * @returns What it says.
 * @throws {LakebaseError} `TLS`, with what is wrong: the name, the dates or the authority.
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
  const shown = secure.getPeerCertificate(true);
  if (shown?.raw === undefined) throw bad("the server shows no certificate");
  const certificate = new X509Certificate(shown.raw);
  const said = `${secure.getProtocol()}, ${oneLine(certificate.subject)} by ${
    oneLine(certificate.issuer)
  }, valid until ${day(certificate.validTo)}`;
  const fault = datesFault(certificate) ?? nameFault(server.host, shown) ??
    (secure.authorized ? undefined : untrusted(String(secure.authorizationError)));
  if (fault === undefined) return said;
  if (ssl.rejectUnauthorized === false) return `${said}; not verified (no-verify): ${fault}`;
  throw bad(`${fault} (${said})`);
}

function datesFault({ validFrom, validTo }: X509Certificate): string | undefined {
  if (Date.parse(validTo) < Date.now()) return `it expired on ${day(validTo)}`;
  if (Date.parse(validFrom) > Date.now()) {
    return `it is valid from ${day(validFrom)} on; is this machine's clock right?`;
  }
}

function nameFault(host: string, certificate: DetailedPeerCertificate): string | undefined {
  if (checkServerIdentity(host, certificate) === undefined) return undefined;
  return `it is for ${certificate.subjectaltname ?? certificate.subject?.CN}, not for ${host}`;
}

function untrusted(error: string): string {
  return `its authority is not trusted (${error}); put a private one into ${quotedOption("ca")} (PGSSLROOTCERT)`;
}

/** By the way that `connect()` takes. */
async function open(
  { host, port }: ServerAddress,
  signal: AbortSignal,
  stack: AsyncDisposableStack,
): Promise<net.Socket> {
  const socket = net.connect(destination(host, port));
  stack.defer(() => void socket.destroy());
  socket.on("error", () => {});
  await once(socket, "connect", { signal });
  return socket;
}

function oneLine(name: string): string {
  return name.replaceAll("\n", ", ");
}

function day(date: string): string {
  return new Date(date).toISOString().slice(0, 10);
}

function bad(state: string): LakebaseError {
  return new LakebaseError("TLS", `The server's certificate does not hold: ${state}`);
}
