import { isIP } from "node:net";
import { lookup } from "node:dns/promises";
import { joinBytes } from "../core/bytes.ts";
import { LakebaseError } from "../core/errors.ts";
import { isLoopback, isLoopbackAddress } from "../settings/server.ts";

/** The answer of an HTTP server. */
interface HttpAnswer {
  /** The status and the headers. */
  response: Response;
  /** The body. */
  text: string;
}

/** The longest answer that is read, in bytes after decompression. A page of a hundred endpoints has less than 100 kB. */
export const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** The address of the service that gives an Azure machine its logins. Requests to it do not leave the machine's host. */
export const METADATA_SERVICE = "169.254.169.254";

/**
 * Sends a request that carries a login, and reads the answer as text, as {@linkcode sendAndRead} does.
 *
 * @param longest The longest answer that is read, in bytes.
 * @throws {LakebaseError} `BAD_SETTING` for plain HTTP to another machine; `WORKSPACE_UNAVAILABLE` for a longer answer.
 */
export function send(url: URL, init: RequestInit, longest: number = MAX_ANSWER_BYTES): Promise<HttpAnswer> {
  return sendAndRead(url, init, async (response) => ({ response, text: await readText(url, response, longest) }));
}

/**
 * Sends a request as {@linkcode open} does, and reads the answer.
 *
 * @param read Reads the answer. The connection may be closed afterwards.
 * @throws {LakebaseError} `BAD_SETTING` for plain HTTP to another machine.
 */
export async function sendAndRead<T>(
  url: URL,
  init: RequestInit,
  read: (response: Response) => Promise<T>,
): Promise<T> {
  const { response, close } = await open(url, init);
  try {
    return await read(response);
  } finally {
    close();
  }
}

/** The answer of an HTTP server, with a body that is still unread. */
export interface OpenAnswer {
  /** The status, the headers and the body. */
  response: Response;
  /** Gives back the connection after the body was read or canceled. May be called again. */
  close(): void;
}

/**
 * Sends a request whose address, headers or answer is secret. It does not follow redirects, because the
 * login would be sent to their targets. For a request to this machine it uses no proxy and a verified loopback address, because DNS decides
 * where a name such as `w.localhost` leads. For other requests it uses the environment's proxy, if there is one.
 *
 * @throws {LakebaseError} `BAD_SETTING` for plain HTTP to another machine.
 */
export async function open(url: URL, init: RequestInit): Promise<OpenAnswer> {
  const metadataAddresses = url.hostname === METADATA_SERVICE ? [METADATA_SERVICE] : [];
  const addresses = isLoopback(url.hostname) ? await loopbackAddresses(url) : metadataAddresses;
  if (url.protocol !== "https:" && (url.protocol !== "http:" || addresses.length === 0)) throw plainTextError(url);
  for (let at = 0;; at++) {
    try {
      return await openAt(url, init, addresses[at]);
    } catch (error) {
      const sent = init.body instanceof ReadableStream || !isUnconnected(innermostMessage(error));
      if (sent || at + 1 >= addresses.length) throw error;
    }
  }
}

/** Like {@linkcode open}, at one address; without an address, by the host's name. */
async function openAt(url: URL, init: RequestInit, address: string | undefined): Promise<OpenAnswer> {
  const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
  let client = address === undefined ? undefined : Deno.createHttpClient({
    proxy: { transport: "tcp", hostname: proxyTarget(url.hostname, address, port), port },
  });
  const close = () => {
    client?.close();
    client = undefined;
  };
  try {
    return { response: await fetch(url, { ...init, redirect: "manual", ...(client && { client }) }), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Reads the body of an answer as text. `response.text()` has no limit. */
export async function readText(url: URL, response: Response, longest: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of response.body ?? []) { // leaving the loop cancels the body
    size += piece.length;
    if (size > longest) throw unavailable(url, `its answer has more than ${longest / 1024 ** 2} MiB`);
    pieces.push(piece);
  }
  return new TextDecoder().decode(joinBytes(pieces));
}

const LOOPBACK = ["127.0.0.1", "::1"];

/** The loopback addresses that a name resolves to; none if it leads to another machine. */
async function loopbackAddresses({ hostname }: URL): Promise<string[]> {
  const host = hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0) return [host];
  if (host === "localhost") return LOOPBACK; // no resolver may lead it elsewhere (RFC 6761, 6.3)
  if (Deno.permissions.querySync({ name: "net", host }).state !== "granted") return [];
  try {
    const found = await lookup(host, { all: true });
    const addresses = found.toSorted((a, b) => a.family - b.family).map(({ address }) => address);
    return addresses.every(isLoopbackAddress) ? addresses : [];
  } catch {
    return LOOPBACK; // RFC 6761, 6.3: such a name always means this machine, but some resolvers do not know it
  }
}

/** The address; or the name, if this program may connect to that name only. */
function proxyTarget(hostname: string, address: string, port: number): string {
  const host = address.includes(":") ? `[${address}]` : address;
  const granted = Deno.permissions.querySync({ name: "net", host: `${host}:${port}` }).state === "granted";
  return granted ? address : hostname;
}

function plainTextError(url: URL): LakebaseError {
  return new LakebaseError(
    "BAD_SETTING",
    `Cannot ask the workspace: DATABRICKS_HOST is "${url.origin}", which would send the login in plain text. Use https`,
  );
}

/** Whether a request failed because there was no connection. */
export function isUnconnected(reason: string): boolean {
  return /client error \(Connect\)/.test(reason);
}

/** The message of the innermost cause, because `fetch failed` says too little. */
export function innermostMessage(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return cause.cause instanceof Error ? innermostMessage(cause.cause) : cause.message;
}

/** Makes the error for a workspace that can't be reached, or that does not answer as a workspace. */
export function unavailable(host: URL, state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("WORKSPACE_UNAVAILABLE", `Cannot reach the workspace ${host.origin}: ${state}`, { cause });
}
