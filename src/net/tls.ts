import { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { LakebaseError } from "../errors.ts";
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
  throw new LakebaseError("BAD_SETTING", `Cannot connect: "ca" (PGSSLROOTCERT) holds no certificate in PEM form`);
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
    throw new LakebaseError("BAD_SETTING", `Cannot read "ca" (PGSSLROOTCERT), the file "${path}": ${state}`, { cause });
  }
}
