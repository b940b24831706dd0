import { isIP, type LookupFunction, type TcpNetConnectOpts } from "node:net";
import { lookup as systemLookup } from "node:dns";
import { LakebaseError } from "../core/errors.ts";

/** An IP address and its family. */
export interface Address {
  /** For example `203.0.113.7` or `2001:db8::7`. */
  address: string;
  /** 4 or 6. */
  family: 4 | 6;
}

/** A way to resolve a host name. */
export type Resolver = (hostname: string) => Promise<Address[]>;

/** The callback of Node's `lookup`. It gets one address, or with the option `all` a list. */
type LookupCallback = (
  error: Error | null,
  address?: string | Address[],
  family?: number,
) => void;

/** A `lookup` function as Node's `net.connect` takes it. */
export type HostLookup = (hostname: string, options: { all?: boolean } | number, callback: LookupCallback) => void;

/** Milliseconds that one resolver may take. */
const LIMIT_MS = 5000;

/**
 * The resolvers in the order of their use. The resolver of macOS fails on some of Lakebase's long names; `dig` does not,
 * because it queries the name server directly.
 */
const RESOLVERS: readonly (readonly [name: string, resolve: Resolver])[] = [
  ["the system", resolveWithSystem],
  ["dig", resolveWithDig],
  ["Deno.resolveDns", resolveWithDeno],
];

const LOOPBACK: readonly Address[] = [{ address: "127.0.0.1", family: 4 }, { address: "::1", family: 6 }];

/** The addresses of a host name, and the resolver that found them. */
interface Resolution {
  /** The addresses; at least one. */
  addresses: Address[];
  /** The name of the resolver, such as `the system` or `dig`. */
  resolver: string;
}

/**
 * Resolves a host name with the system's resolver; if that fails, with `dig`, and then with `Deno.resolveDns`.
 *
 * @param hostname A host name; an IP address is returned as it is.
 * @param resolvers The resolvers to try.
 * @throws {LakebaseError} `DNS`, with the error of each resolver.
 */
export async function resolveHost(hostname: string, resolvers = RESOLVERS): Promise<Resolution> {
  const family = isIP(hostname);
  if (family !== 0) return { addresses: [{ address: hostname, family: family as 4 | 6 }], resolver: "itself" };
  // RFC 6761, 6.3: such a name always means this machine, but some resolvers do not find it.
  if (/\.localhost\.?$/i.test(hostname)) return { addresses: [...LOOPBACK], resolver: "itself" };
  const failures: string[] = [];
  let cause: unknown;
  for (const [name, resolve] of resolvers) {
    try {
      const addresses = await withLimit(resolve(hostname));
      if (addresses.length > 0) return { addresses, resolver: name };
      failures.push(`${name}: no address`);
    } catch (error) {
      cause ??= error;
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new LakebaseError(
    "DNS",
    `Cannot find the address of "${hostname}" (${failures.join("; ")}). Check the host's name, the network and the VPN`,
    { cause },
  );
}

/**
 * {@linkcode resolveHost} as the `lookup` function of a socket. The address is only for the socket; SNI and the check of
 * the certificate use the host name.
 */
export const lookup: HostLookup = (hostname, options, callback) => {
  const all = typeof options === "object" && options.all === true;
  resolveHost(hostname).then(
    ({ addresses }) => all ? callback(null, addresses) : callback(null, addresses[0]!.address, addresses[0]!.family),
    (error) => callback(error),
  );
};

/**
 * The options with which a socket connects to a host, with {@linkcode lookup} if this program may resolve names. The
 * socket tries the addresses one after another.
 */
export function destination(host: string, port: number, find: HostLookup = lookup): TcpNetConnectOpts {
  return resolvesNames() ? { host, port, lookup: find as LookupFunction } : { host, port };
}

/**
 * Whether this program may resolve names itself. If it may connect only to certain hosts, Deno has to resolve the name,
 * because it refuses a connection to an address.
 */
export function resolvesNames(): boolean {
  return Deno.permissions.querySync({ name: "net" }).state === "granted";
}

async function withLimit<T>(work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer in ${LIMIT_MS / 1000} s`)), LIMIT_MS);
  work.catch(() => {}); // without this, a failure after the limit would be unhandled
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function resolveWithSystem(hostname: string): Promise<Address[]> {
  return new Promise((resolve, reject) => {
    systemLookup(hostname, { all: true }, (error, addresses) => {
      if (error) reject(error);
      else resolve(addresses as Address[]);
    });
  });
}

async function resolveWithDig(hostname: string): Promise<Address[]> {
  // A name that begins with "-" would be an option of dig.
  if (!/^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/.test(hostname)) throw new Error("not a host name");
  if (Deno.permissions.querySync({ name: "run", command: "dig" }).state !== "granted") {
    throw new Error("no --allow-run=dig");
  }
  const args = ["+short", "+time=2", "+tries=2", hostname, "A", hostname, "AAAA"];
  const child = new Deno.Command("dig", { args, stdin: "null", stdout: "piped", stderr: "null" }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS - 100);
  try {
    return parseDig(await readAll(child, timer));
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Reads the output until the process ends, because the output itself may not end: if `dig` is a script, its child may keep
 * the output open after the script was killed.
 */
async function readAll(child: Deno.ChildProcess, timer: ReturnType<typeof setTimeout>): Promise<string> {
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const ended = child.status.then(async (status) => {
    clearTimeout(timer);
    if (status.signal !== null) await reader.cancel();
    return status;
  });
  let output = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    output += value;
    if (output.length < 65_536) continue;
    child.kill("SIGKILL");
    throw new Error("it printed too much");
  }
  const { success, signal } = await ended;
  if (signal !== null) throw new Error(`no answer in ${LIMIT_MS / 1000} s`);
  if (!success) throw new Error("it failed");
  return output;
}

/**
 * Extracts the addresses from the output of `dig +short`.
 *
 * @param output Lines with addresses, with names that end in a dot (CNAMEs), and comments that begin with `;`.
 * @returns The distinct addresses in their order.
 */
export function parseDig(output: string): Address[] {
  const lines = output.split(/\r?\n/).map((line) => line.trim());
  const addresses = [...new Set(lines)].filter((line) => isIP(line) !== 0);
  return addresses.map((address) => ({ address, family: isIP(address) as 4 | 6 }));
}

async function resolveWithDeno(hostname: string): Promise<Address[]> {
  const signal = AbortSignal.timeout(LIMIT_MS);
  const records = await Promise.allSettled([
    Deno.resolveDns(hostname, "A", { signal }),
    Deno.resolveDns(hostname, "AAAA", { signal }),
  ]);
  const addresses = records.flatMap((record) => record.status === "fulfilled" ? record.value : []);
  const failed = records.find((record) => record.status === "rejected");
  if (addresses.length === 0 && failed !== undefined) throw failed.reason;
  return addresses.map((address) => ({ address, family: isIP(address) as 4 | 6 }));
}
