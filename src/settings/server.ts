import { isIP } from "node:net";
import { LakebaseError, quotedOption } from "../core/errors.ts";
import type { ConnectOptions } from "./options.ts";
import type { WithOrigin } from "./origin.ts";
import { badSetting, type OptionReader, quotedName, shownValue } from "./read_option.ts";
import type { Settings } from "./settings.ts";

/** The server that the settings name. */
interface Server extends Pick<Settings, "endpoint" | "branch" | "instance"> {
  /** Whether a host from the environment is ignored, because it belongs to another branch. The workspace names the host. */
  ignoreHost: boolean;
}

/** Finds the endpoint or the instance. If an option names one of them, the environment is not read for the other one. */
export function findServer(options: ConnectOptions, read: OptionReader): Server {
  const variables = options.endpoint === undefined && options.instance === undefined;
  const endpoint = read.text("endpoint", variables);
  const instance = read.text("instance", variables);
  if (endpoint !== undefined && instance !== undefined) {
    throw badSetting(
      `${quotedOption("endpoint")} (LAKEBASE_ENDPOINT) and ${
        quotedOption("instance")
      } (LAKEBASE_INSTANCE) are both set, to ${quotedName(endpoint.value)} and ${quotedName(instance.value)}; ` +
        "keep one",
    );
  }
  const server = {
    endpoint: endpoint === undefined ? undefined : checkEndpoint(endpoint),
    instance: instance === undefined ? undefined : checkInstance(instance),
  };
  // The environment does not overrule an option that names a branch or an instance.
  const namesBranch = endpoint?.origin.source === "option" && server.endpoint!.includes("/branches/");
  const branch = read.text("branch", !namesBranch && options.instance === undefined);
  if (branch === undefined) return { ...server, branch: undefined, ignoreHost: false };
  return replaceBranch(checkBranch(branch), { ...server, namesBranch }, options);
}

/** Puts a branch in the place of the endpoint's. */
function replaceBranch(
  branch: string,
  { endpoint, instance, namesBranch }: Pick<Settings, "endpoint" | "instance"> & { namesBranch: boolean },
  options: ConnectOptions,
): Server {
  if (instance !== undefined) {
    throw badSetting(
      `${quotedOption("branch")} is ${quotedName(branch)}, and ${quotedOption("instance")} is ${
        quotedName(instance)
      }; an instance of Lakebase ` +
        "Provisioned has no branches. Keep one of the two",
      { setting: "branch", origin: { source: "option", name: "branch" } },
    );
  }
  const project = endpoint === undefined ? undefined : /^(?:projects\/)?([^/]+)/.exec(endpoint)![1];
  const name = branch.startsWith("projects/") || project === undefined
    ? branch
    : `projects/${project}/branches/${branch}`;
  const isSame = endpoint === name || endpoint?.startsWith(`${name}/`) === true;
  if (namesBranch && !isSame) {
    throw badSetting(
      `options ${quotedOption("branch")} and ${quotedOption("endpoint")} name different branches, ${
        quotedName(branch)
      } and ${quotedName(endpoint!)}; ` +
        "keep one, or name only the project as the endpoint",
    );
  }
  if (isSame) return { endpoint, branch: undefined, instance, ignoreHost: false };
  if (options.host !== undefined) {
    throw badSetting(
      `option ${quotedOption("host")} is ${shownValue(options.host)}, and ${quotedOption("branch")} is ${
        quotedName(branch)
      }, which has its own host; ` +
        "keep one",
      { setting: "host", origin: { source: "option", name: "host" } },
    );
  }
  const isFullName = name.startsWith("projects/");
  return { endpoint: isFullName ? name : undefined, branch: isFullName ? undefined : name, instance, ignoreHost: true };
}

function checkBranch({ value, origin }: WithOrigin): string {
  const name = value.trim();
  if (/^(projects\/\w[\w.-]*\/branches\/)?\w[\w.-]*$/.test(name)) return name;
  throw badSetting(
    `${quotedOption("branch")} (LAKEBASE_BRANCH) is ${
      quotedName(name)
    }; it must be a branch's id, or projects/p/branches/b`,
    { setting: "branch", origin },
  );
}

function checkEndpoint({ value, origin }: WithOrigin): string {
  const name = value.trim();
  if (
    /^(projects\/\w[\w.-]*(\/branches\/\w[\w.-]*(\/endpoints\/\w[\w.-]*)?)?|\w[\w.-]*)$/
      .test(name)
  ) return name;
  throw badSetting(
    `${quotedOption("endpoint")} (LAKEBASE_ENDPOINT) is ${
      quotedName(name)
    }; it must be projects/p/branches/b/endpoints/e, ` +
      "projects/p/branches/b, projects/p, or a project's id",
    { setting: "endpoint", origin },
  );
}

function checkInstance({ value, origin }: WithOrigin): string {
  if (/^\w[\w.-]*$/.test(value)) return value;
  throw badSetting(
    `${quotedOption("instance")} (LAKEBASE_INSTANCE) is ${
      quotedName(value)
    }; it must be a name of letters, digits and hyphens`,
    { setting: "instance", origin },
  );
}

/** Returns the host unchanged. @throws {LakebaseError} `BAD_SETTING` for anything but a host name or an IP address. */
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
 * @param settings The names of the options for session settings that are set.
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
 * Whether a host name stands for this machine by convention. DNS decides where the name leads. A caller whose security
 * depends on the answer must check the connected address with {@linkcode isLoopbackAddress}.
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
