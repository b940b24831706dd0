import { isIP } from "node:net";
import { LakebaseError } from "../core/errors.ts";
import { badSetting, quotedName } from "./read_option.ts";

/** Returns the host as given. @throws {LakebaseError} `BAD_SETTING` for anything but a host name or an IP address. */
export function checkHost(host: string): string {
  if (/^[A-Za-z0-9_.-]+$/.test(host) && !host.startsWith("-") || isIP(host) === 6) return host;
  throw badSetting(
    `"host" (PGHOST) is ${quotedName(host)}; it must be a host name alone, without scheme, user, port or path`,
  );
}

const POOLER = /^([^.]+)-pooler(?=\.)/i;

/** Whether a host name is that of Lakebase's connection pooler (PgBouncer in transaction mode). */
function isPooler(host: string): boolean {
  return POOLER.test(host);
}

/** Refuses the host of a connection pooler, which does not support OAuth. @throws {LakebaseError} `POOLED_HOST` */
export function checkTakesOAuth(host: string): void {
  if (!isPooler(host)) return;
  throw new LakebaseError(
    "POOLED_HOST",
    `Cannot connect to "${host}" with OAuth: Lakebase's connection pooler takes native Postgres passwords only. ` +
      `Use "${host.replace(POOLER, "$1")}", or give a user and a password`,
  );
}

/**
 * Refuses session settings on the host of a connection pooler. The pooler rejects them at the login, and a `SET` would affect
 * other clients, because each transaction may run in another session of the server.
 *
 * @param host The server's host.
 * @param settings The names of such options that are set.
 * @throws {LakebaseError} `POOLED_HOST`
 */
export function checkTakesSettings(host: string, settings: readonly string[]): void {
  if (settings.length === 0 || !isPooler(host)) return;
  throw new LakebaseError(
    "POOLED_HOST",
    `Cannot connect to "${host}" with ${
      settings.join(" and ")
    }: Lakebase's connection pooler gives each transaction another ` +
      `session of the server, so settings do not last. Use "${host.replace(POOLER, "$1")}"`,
  );
}

/**
 * Whether a host name stands for this machine by convention. DNS decides where it leads: a caller whose security depends on
 * that checks the connected address with {@linkcode isLoopbackAddress}.
 *
 * @param host A host name or an address.
 * @returns `true` for `localhost`, names under it, `127.0.0.0/8` and `::1`.
 */
export function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost)$/i.test(host) || isLoopbackAddress(host.replace(/^\[|\]$/g, ""));
}

/** Whether an IP address is a loopback address: `127.0.0.0/8`, also mapped into IPv6, or `::1`. */
export function isLoopbackAddress(address: string): boolean {
  const four = address.replace(/^::ffff:/i, "");
  return isIP(four) === 4 ? four.startsWith("127.") : address === "::1";
}
