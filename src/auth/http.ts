import { isIP } from "node:net";
import { lookup } from "node:dns/promises";
import { joinBytes } from "../core/bytes.ts";
import { LakebaseError, optionText, quotedOption } from "../core/errors.ts";
import { isLoopback, isLoopbackAddress } from "../settings/host.ts";

/** The answer of an HTTP server. */
export interface HttpAnswer {
  /** The status and the headers. */
  response: Response;
  /** The body. */
  text: string;
}

/** The longest answer that is read, in bytes after decompression. A page of a hundred endpoints has less than 100 kB. */
const LONGEST_ANSWER = 16 * 1024 * 1024;

/** The address of the service that gives a machine of Azure its logins. Requests to it do not leave the machine's host. */
export const METADATA_SERVICE = "169.254.169.254";

/**
 * Sends a request that carries a login, and reads the answer as text; see {@linkcode sendAndRead}.
 *
 * @param longest The longest answer that is read, in bytes.
 * @throws {LakebaseError} `BAD_SETTING` for plain HTTP to another machine; `WORKSPACE_UNAVAILABLE` for a longer answer.
 */
export function send(url: URL, init: RequestInit, longest: number = LONGEST_ANSWER): Promise<HttpAnswer> {
  return sendAndRead(url, init, async (response) => ({ response, text: await readText(url, response, longest) }));
}

/**
 * Sends a request as {@linkcode open} does, and reads the answer.
 *
 * @param read Reads the answer; afterwards the connection may be closed.
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

/** The answer of an HTTP server, whose body was not read yet. */
export interface OpenAnswer {
  /** The status, the headers and the body. */
  response: Response;
  /** Gives the connection back, once the body was read or canceled. May be called again. */
  close(): void;
}

/**
 * Sends a request whose address, headers or answer are secret. Redirects are not followed, because the login would go along.
 * A request to this machine uses no proxy and goes to a verified loopback address, because DNS decides where a name such as
 * `w.localhost` leads. Other requests use the proxy of the environment, if there is one.
 *
 * @throws {LakebaseError} `BAD_SETTING` for plain HTTP to another machine.
 */
export async function open(url: URL, init: RequestInit): Promise<OpenAnswer> {
  const near = url.hostname === METADATA_SERVICE ? [METADATA_SERVICE] : [];
  const addresses = isLoopback(url.hostname) ? await loopbackAddresses(url) : near;
  if (url.protocol !== "https:" && (url.protocol !== "http:" || addresses.length === 0)) throw plainTextError(url);
  for (let at = 0;; at++) {
    try {
      return await openAt(url, init, addresses[at]);
    } catch (error) {
      const sent = init.body instanceof ReadableStream || !isUnconnected(deepest(error));
      if (sent || at + 1 >= addresses.length) throw error;
    }
  }
}

/** {@linkcode open} at one address, or by the name where there is none. */
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
    const how: RequestInit & { client?: Deno.HttpClient } = { ...init, redirect: "manual", ...(client && { client }) };
    return { response: await fetch(url, how), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Reads the body as text. `response.text()` has no limit. */
async function readText(url: URL, response: Response, longest: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of response.body ?? []) { // leaving the loop cancels the body
    size += piece.length;
    if (size > longest) throw unavailable(url, `its answer has more than ${longest / 1024 ** 2} MiB`);
    pieces.push(piece);
  }
  return new TextDecoder().decode(joinBytes(pieces));
}

const LOOPBACK = [{ address: "127.0.0.1", family: 4 }, { address: "::1", family: 6 }];

/** The loopback addresses that a name resolves to; none where it leads to another machine. */
async function loopbackAddresses({ hostname }: URL): Promise<string[]> {
  const host = hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0) return [host];
  if (Deno.permissions.querySync({ name: "net", host }).state !== "granted") {
    return host === "localhost" ? [host] : []; // the only name that resolvers must keep on this machine (RFC 6761)
  }
  // RFC 6761, 6.3: such a name always means this machine, and not every resolver knows that.
  const found = await lookup(host, { all: true }).catch(() => LOOPBACK);
  const addresses = found.toSorted((a, b) => a.family - b.family).map(({ address }) => address);
  return addresses.every(isLoopbackAddress) ? addresses : [];
}

/** The address, or the name where this program may connect to the name only. */
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

/** A request to the workspace. */
export interface WorkspaceRequest {
  /** The HTTP method. */
  method: "GET" | "POST" | "PATCH" | "DELETE";
  /** The path, which begins with `/api`. */
  path: string;
  /** Query parameters. */
  query?: Record<string, string>;
  /** The body, sent as JSON. */
  body?: unknown;
  /** What the request is about, for its errors. @default {"the project"} */
  about?: string;
  /** Whether it must not be sent again once it may have taken effect. @default {false} */
  once?: boolean;
  /** Milliseconds that one attempt may take. @default {15000} */
  attemptLimit?: number;
  /** The longest answer that is read, in bytes. @default {16 MiB} */
  longest?: number;
}

/** The answer of the workspace. */
export interface WorkspaceAnswer {
  /** The JSON object. */
  body: Record<string, unknown>;
  /** The server's time in its `Date` header, in milliseconds since 1970. */
  serverTime: number | undefined;
}

/** A request whose body or answer is bytes, as in the Files API. */
export interface ByteRequest {
  /** The HTTP method. */
  method: "GET" | "HEAD" | "PUT" | "DELETE";
  /** The path, percent-encoded, which begins with `/api`. */
  path: string;
  /** Query parameters. */
  query?: Record<string, string>;
  /** More headers. */
  headers?: Record<string, string>;
  /** Makes the body of each attempt. A stream is sent as it comes, however long that takes. */
  body?: () => ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer>;
  /**
   * Whether the request is sent again after a failure. Only for requests that do no more the second time. A function is called
   * after each failure that may pass, before the body is made again.
   */
  again: boolean | (() => boolean);
  /** The statuses that are answers too, besides those of success. */
  answers?: readonly number[];
  /** Makes the error for any other status. */
  refused(refusal: Refusal): LakebaseError;
}

/** How the workspace refused a request. */
export interface Refusal {
  /** The HTTP status. */
  status: number;
  /** The `error_code`, where it gave one. */
  code: string | undefined;
  /** The `message`, where it gave one, at most 500 characters of it. */
  said: string | undefined;
}

/** The outcome of one attempt, and whether to retry. */
export type AttemptOutcome<Answer = WorkspaceAnswer> = { answer: Answer } | Failure;

/** An attempt that failed. */
export interface Failure {
  error: LakebaseError;
  retry: boolean;
  network: boolean;
  /** Whether the workspace may have done what it was asked. */
  mayHaveRun: boolean;
  retryAfter?: number;
}

/** The outcome of an attempt that was answered. */
export function readAnswer(host: URL, request: WorkspaceRequest, response: Response, text: string): AttemptOutcome {
  const body = parseObject(text);
  if (response.ok && body !== undefined) {
    const serverTime = Date.parse(response.headers.get("date") ?? "");
    return { answer: { body, serverTime: Number.isFinite(serverTime) ? serverTime : undefined } };
  }
  const { status } = response;
  const error = statusError(host, request, status, body, text);
  const retry = status === 429 || status >= 500 || (response.ok && looksCutOff(text));
  const retryAfter = retryAfterMs(response.headers.get("retry-after"));
  const mayHaveRun = status >= 500 || response.ok;
  return { error, retry, network: false, mayHaveRun, ...(retryAfter === undefined ? {} : { retryAfter }) };
}

/**
 * The outcome of an attempt for bytes. The body of an answer is left to the caller, who closes it; but the answer to a body is
 * read, because one that breaks off does not say that the body has arrived.
 */
export async function readByteAnswer(
  host: URL,
  request: ByteRequest,
  answer: OpenAnswer,
): Promise<AttemptOutcome<OpenAnswer>> {
  const { response, close } = answer;
  const { status } = response;
  if ((response.ok || request.answers?.includes(status)) && request.body === undefined) return { answer };
  try {
    if (response.ok) {
      await readText(host, response, LONGEST_ANSWER);
      return { answer };
    }
    const text = await readText(host, response, LONGEST_ANSWER);
    const body = parseObject(text);
    const moved = status < 400;
    const error = status === 401 || moved
      ? statusError(host, { method: "GET", path: request.path }, status, body, text)
      : request.refused({ status, code: field(body, "error_code"), said: field(body, "message") });
    const retryAfter = retryAfterMs(response.headers.get("retry-after"));
    const passes = (status === 429 || status >= 500) && status !== INSUFFICIENT_STORAGE;
    const retry = passes && isRepeated(request);
    return { error, retry, network: false, mayHaveRun: status >= 500, ...(retryAfter && { retryAfter }) };
  } finally {
    close();
  }
}

/** Whether a request that has failed is sent again. */
export function isRepeated({ again }: ByteRequest): boolean {
  return typeof again === "function" ? again() : again;
}

/** The status for a full disk (RFC 4918), which does not get better by asking again. */
const INSUFFICIENT_STORAGE = 507;

function field(body: Record<string, unknown> | undefined, name: string): string | undefined {
  const value = body?.[name];
  return typeof value === "string" ? value.slice(0, 500) : undefined;
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = text === "" ? {} : JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? value as Record<string, unknown>
      : undefined;
  } catch {
    return undefined;
  }
}

function looksCutOff(text: string): boolean {
  return /^\s*\{/.test(text);
}

/** `Retry-After` is a number of seconds or a date (RFC 9110, section 10.2.3). */
function retryAfterMs(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

function statusError(
  host: URL,
  request: WorkspaceRequest,
  status: number,
  body: Record<string, unknown> | undefined,
  text: string,
): LakebaseError {
  const said = field(body, "message");
  const { about = "the project" } = request;
  if (status === 401 || status === 403) {
    const answer = `it answered ${status}${said === undefined ? "" : `, "${said}"`}`;
    const todo = status === 401
      ? 'The token may have expired or been revoked: renew it with "databricks auth login", or set DATABRICKS_TOKEN'
      : `Ask for access to ${about}, or for this network to be allowed`;
    if (status === 403 && request.about !== undefined) {
      return new LakebaseError(
        "WORKSPACE_AUTH",
        `Cannot use ${about}: the workspace ${host.origin} ${answer.slice(3)}. ${todo}`,
      );
    }
    return new LakebaseError("WORKSPACE_AUTH", `Cannot log in to the workspace ${host.origin}: ${answer}. ${todo}`);
  }
  if (status >= 300 && status < 400) {
    return unavailable(host, `it answered ${status}, a redirect. Is DATABRICKS_HOST the address of a workspace?`);
  }
  if (status === 404 && body !== undefined) {
    const what = request.about ?? request.path;
    return new LakebaseError("ENDPOINT_NOT_FOUND", `Cannot find ${what} in ${host.origin}: ${said ?? "404"}`);
  }
  if (status >= 400 && status < 500 && status !== 429 && status !== 404) {
    return new LakebaseError(
      "WORKSPACE_REFUSED",
      `Cannot ask the workspace ${host.origin}: ${status}, "${said ?? ""}"${aboutWorkspaceId(said)}`,
      { cause: refusal(status, body, said) },
    );
  }
  if (status === 429 || status >= 500) return unavailable(host, `it answered ${status}${said ? `, "${said}"` : ""}`);
  const kind = /^\s*</.test(text) ? "a web page" : looksCutOff(text) ? "half an answer" : "something that is not JSON";
  return unavailable(host, `it answered ${status} with ${kind}. Is DATABRICKS_HOST the address of a workspace?`);
}

/** What the workspace said: its `error_code`, its message and the status, for whoever knows what the request was about. */
function refusal(status: number, body: Record<string, unknown> | undefined, said = ""): Error {
  return Object.assign(new Error(said), { code: String(body?.["error_code"] ?? ""), errno: status });
}

/** Advice for a host that serves several workspaces. */
function aboutWorkspaceId(said: string | undefined): string {
  if (said === undefined || !/(workspace|org)[ _]?id/i.test(said)) return "";
  return '. Name the workspace: DATABRICKS_WORKSPACE_ID, "workspace_id" in the profile, or ?o= in DATABRICKS_HOST';
}

/** The outcome of an attempt that was not answered. */
export function networkOutcome(host: URL, cause: unknown, timedOut: boolean): Failure {
  const reason = deepest(cause);
  const mayHaveRun = !isUnconnected(reason);
  if (timedOut) {
    const error = unavailable(host, `it does not answer${proxyAdvice(host)}`, cause);
    return { error, retry: true, network: false, mayHaveRun };
  }
  const certificate = /certificate|UnknownIssuer|NotValidForName/i.test(reason);
  const error = unavailable(host, `${reason}${proxyAdvice(host)}`, cause);
  return { error, retry: !certificate, network: true, mayHaveRun };
}

/** Whether a request failed because there was no connection. */
function isUnconnected(reason: string): boolean {
  return /client error \(Connect\)/.test(reason);
}

/** The variables that name a proxy for HTTPS. The first one that is set counts. */
const PROXIES = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/** Names the variable of the proxy, because a proxy that fails looks like a workspace that fails. Its value may hold a login. */
function proxyAdvice(host: URL): string {
  if (isLoopback(host.hostname)) return "";
  const isSet = (variable: string) =>
    Deno.permissions.querySync({ name: "env", variable }).state === "granted" && Boolean(Deno.env.get(variable));
  const name = PROXIES.find(isSet);
  return name === undefined
    ? ""
    : `. ${name} names a proxy for it: check the proxy, or put ${host.hostname} into NO_PROXY`;
}

/** The message of the innermost cause: `fetch failed` says too little. */
export function deepest(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return cause.cause instanceof Error ? deepest(cause.cause) : cause.message;
}

/** The error for a workspace that can't be reached, or that answers as none. */
export function unavailable(host: URL, state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("WORKSPACE_UNAVAILABLE", `Cannot reach the workspace ${host.origin}: ${state}`, { cause });
}

/** Login errors of the SDK that quote what it could not read, and the text to use instead. */
const QUOTES: readonly [RegExp, string][] = [
  [
    /header value|ByteString/i,
    "the token (DATABRICKS_TOKEN) holds a character that no token has, such as a line break",
  ],
  [/cannot (parse|unmarshal)|is not valid JSON|Unexpected (token|end)/i, "the tool or file that keeps it gave no JSON"],
  [/Failed to retrieve token: \{/i, "the answer to the request for a token was not understood"],
];

/** The error where no login is available. */
export function noLogin(cause: unknown, profile: string | undefined): LakebaseError {
  const said = cause instanceof Error ? cause.message : String(cause);
  const quoting = QUOTES.find(([pattern]) => pattern.test(said))?.[1];
  const state = quoting ??
    (!/host is not set/.test(said)
      ? said
      : profile === undefined
      ? "none is configured"
      : `there is no profile "${profile}" with a host in ~/.databrickscfg`);
  return new LakebaseError(
    "WORKSPACE_AUTH",
    `Cannot log in to a Databricks workspace: ${state}. Set DATABRICKS_HOST and DATABRICKS_TOKEN, or run ` +
      `"databricks auth login" and name the ${quotedOption("profile")}; to try without a workspace, ` +
      optionText({ local: true }, "connect({ local: true })"),
    quoting === undefined ? { cause } : {},
  );
}
