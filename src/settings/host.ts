import { isIP } from "node:net";
import { LakebaseError } from "../core/errors.ts";
import { badSetting, quotedName } from "./read_option.ts";

/** A host as it was given. @throws {LakebaseError} `BAD_SETTING` for what is more than a name or an address. */
export function checkHost(host: string): string {
  if (/^[A-Za-z0-9_.-]+$/.test(host) && !host.startsWith("-") || isIP(host) === 6) return host;
  throw badSetting(
    `"host" (PGHOST) is ${quotedName(host)}; it must be a host name alone, without scheme, user, port or path`,
  );
}

/** Whether a host is one of Lakebase's connection pooler, PgBouncer, which hands out the server's sessions by transaction. */
function isPooler(host: string): boolean {
  return /^[^.]+-pooler\./.test(host);
}

/** Refuses a host of Lakebase's connection pooler, which takes no OAuth. @throws {LakebaseError} `POOLED_HOST` */
export function checkTakesOAuth(host: string): void {
  if (!isPooler(host)) return;
  throw new LakebaseError(
    "POOLED_HOST",
    `Cannot connect to "${host}" with OAuth: Lakebase's connection pooler takes native Postgres passwords only. ` +
      `Use "${host.replace("-pooler.", ".")}", or give a user and a password`,
  );
}

/**
/**
 * Refuses settings that belong to a server session where the connection pooler would give each transaction another one: it
 * refuses them at the login, and a `SET` would meet other clients.
 *
 * @param host The server's host.
 * @param settings The names of the options in question that are set.
 * @throws {LakebaseError} `POOLED_HOST`
 */
export function checkTakesSettings(host: string, settings: readonly string[]): void {
  if (settings.length === 0 || !isPooler(host)) return;
  throw new LakebaseError(
    "POOLED_HOST",
    `Cannot connect to "${host}" with ${
      settings.join(" and ")
    }: Lakebase's connection pooler gives each transaction another ` +
      `session of the server, so no setting holds. Use "${host.replace("-pooler.", ".")}"`,
  );
}

/**
 * Whether a host's name is one of this machine. Where it leads is decided by DNS: what depends on that asks
 * {@linkcode isLoopbackAddress} of the address that is connected to.
 *
 * @param host A host name or an address.
 * @returns `true` for `localhost`, names under it, `127.0.0.0/8` and `::1`.
 */
export function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost)$/i.test(host) || isLoopbackAddress(host.replace(/^\[|\]$/g, ""));
}

/** Whether an address is one of this machine's own, which no packet leaves: `127.0.0.0/8`, `::1`, and the former as IPv6. */
export function isLoopbackAddress(address: string): boolean {
  const four = address.replace(/^::ffff:/i, "");
  return isIP(four) === 4 ? four.startsWith("127.") : address === "::1";
}
