import { isIP } from "node:net";
import { badSetting, quotedName } from "./bad_setting.ts";
import { LakebaseError } from "../errors.ts";

/** A host as it was given. @throws {LakebaseError} `BAD_SETTING` for what is more than a name or an address. */
export function checkHost(host: string): string {
  if (/^[A-Za-z0-9_.-]+$/.test(host) && !host.startsWith("-") || isIP(host) === 6) return host;
  throw badSetting(
    `"host" (PGHOST) is ${quotedName(host)}; it must be a host name alone, without scheme, user, port or path`,
  );
}

/** Refuses a host of Lakebase's connection pooler, which takes no OAuth. @throws {LakebaseError} `POOLED_HOST` */
export function checkTakesOAuth(host: string): void {
  if (!/^[^.]+-pooler\./.test(host)) return;
  throw new LakebaseError(
    "POOLED_HOST",
    `Cannot connect to "${host}" with OAuth: Lakebase's connection pooler takes native Postgres passwords only. ` +
      `Use "${host.replace("-pooler.", ".")}", or give a user and a password`,
  );
}

/**
 * Whether a host name means this machine.
 *
 * @param host A host name or an address.
 * @returns `true` for `localhost`, names under it, `127.0.0.0/8` and `::1`.
 */
export function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host);
}
