import { isIP } from "node:net";
import { lookup } from "node:dns/promises";
import { LakebaseError } from "../errors.ts";
import { isLoopback, isLoopbackAddress } from "../settings/host.ts";

/** What an HTTP server answered. */
export interface HttpAnswer {
  /** The status and the headers. */
  response: Response;
  /** The body. */
  text: string;
}

/**
 * Sends a request that carries a login. It follows no redirect, which would hand the login to whoever the redirect names.
 * To this machine it goes straight, by no proxy, and to an address that was checked: what a name of this machine resolves
 * to is decided by DNS. To others it goes as Deno's `fetch` goes, by the proxy of the environment where there is one.
 *
 * @throws {LakebaseError} `BAD_SETTING` for plain HTTP to another machine.
 */
export async function send(url: URL, init: RequestInit): Promise<HttpAnswer> {
  const address = isLoopback(url.hostname) ? await ownAddress(url) : undefined;
  if (url.protocol !== "https:" && (url.protocol !== "http:" || address === undefined)) throw plainText(url);
  const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
  const client = address === undefined ? undefined : Deno.createHttpClient({
    proxy: { transport: "tcp", hostname: reachable(url.hostname, address, port), port },
  });
  try {
    const how: RequestInit & { client?: Deno.HttpClient } = { ...init, redirect: "manual", ...(client && { client }) };
    const response = await fetch(url, how);
    return { response, text: await response.text() };
  } finally {
    client?.close();
  }
}

/** The address of this machine that a name stands for; `undefined` where it stands for another machine's. */
async function ownAddress({ hostname }: URL): Promise<string | undefined> {
  const host = hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0) return host;
  if (Deno.permissions.querySync({ name: "net", host }).state !== "granted") {
    return host === "localhost" ? host : undefined; // the one name that a resolver must not send elsewhere (RFC 6761)
  }
  const addresses = await lookup(host, { all: true }).catch(() => []);
  const own = addresses.every(({ address }) => isLoopbackAddress(address));
  const [first] = addresses.sort((a, b) => a.family - b.family);
  return own ? first?.address : undefined;
}

/** A program that may reach `localhost` by its name only is given that name. */
function reachable(hostname: string, address: string, port: number): string {
  const host = address.includes(":") ? `[${address}]` : address;
  const granted = Deno.permissions.querySync({ name: "net", host: `${host}:${port}` }).state === "granted";
  return granted ? address : hostname;
}

function plainText(url: URL): LakebaseError {
  return new LakebaseError(
    "BAD_SETTING",
    `Cannot ask the workspace: DATABRICKS_HOST is "${url.origin}", which would send the login in plain text. Use https`,
  );
}
