import { LakebaseError, optionText, quotedOption } from "../core/errors.ts";
import { jsonText } from "../core/text.ts";
import { isLoopback } from "../settings/server.ts";
import type { WorkspaceLogin } from "../settings/workspace.ts";
import { innermostMessage, isUnconnected, MAX_ANSWER_BYTES, type OpenAnswer, readText, unavailable } from "./http.ts";

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
  /** The object of the request, as its errors name it. @default {"the project"} */
  about?: string;
  /** Whether the request must not be sent again once it may have taken effect. @default {false} */
  once?: boolean;
  /** Milliseconds that one attempt may take. @default {15000} */
  attemptLimit?: number;
  /** The longest answer that is read, in bytes. @default {16 MiB} */
  longest?: number;
}

/** A JSON object of the workspace, whose values are not checked yet. */
export type JsonObject = Record<string, unknown>;

/** The answer of the workspace. */
export interface WorkspaceAnswer {
  /** The JSON object. */
  body: JsonObject;
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
  /** Makes the body of each attempt. A stream is sent as its bytes arrive, however long that takes. */
  body?: () => ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer>;
  /**
   * Whether the request is sent again after a failure. Set it only for requests that may run twice without harm. A
   * function is called after each failure that may pass, before the next body is made.
   */
  again: boolean | (() => boolean);
  /** The statuses that count as answers, in addition to those of success. */
  answers?: readonly number[];
  /** Makes the error for any other status. */
  refused(refusal: RefusedRequest): LakebaseError;
}

/** How the workspace refused a request. */
export interface RefusedRequest {
  /** The HTTP status. */
  status: number;
  /** The `error_code`, if the answer has one. */
  code: string | undefined;
  /** The first 500 characters of the `message`, if the answer has one. */
  message: string | undefined;
}

/** The outcome of one attempt, and whether to retry. */
export type AttemptOutcome<Answer = WorkspaceAnswer> = { answer: Answer } | Failure;

/** An attempt that failed. */
export interface Failure {
  error: LakebaseError;
  retry: boolean;
  network: boolean;
  /** Whether the workspace may have carried out the request. */
  mayHaveRun: boolean;
  /** Whether the deadline ended the attempt before its own time limit. */
  cutShort?: boolean;
  retryAfter?: number;
}

/** Reads the answer to an attempt. */
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
 * Reads the answer to an attempt for bytes. The caller reads and closes its body. Only the answer to an upload is read
 * here, because only a complete answer shows that the bytes have arrived.
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
      await readText(host, response, MAX_ANSWER_BYTES);
      return { answer };
    }
    const text = await readText(host, response, MAX_ANSWER_BYTES);
    const body = parseObject(text);
    const isRedirect = status < 400;
    const error = status === 401 || isRedirect
      ? statusError(host, { method: "GET", path: request.path }, status, body, text)
      : request.refused({ status, code: field(body, "error_code"), message: field(body, "message") });
    const retryAfter = retryAfterMs(response.headers.get("retry-after"));
    const isTemporary = (status === 429 || status >= 500) && status !== INSUFFICIENT_STORAGE;
    const retry = isTemporary && isRepeated(request);
    return { error, retry, network: false, mayHaveRun: status >= 500, ...(retryAfter && { retryAfter }) };
  } finally {
    close();
  }
}

/** Whether a failed request is sent again. */
export function isRepeated({ again }: ByteRequest): boolean {
  return typeof again === "function" ? again() : again;
}

/** The status for a full disk (RFC 4918), which a retry does not cure. */
const INSUFFICIENT_STORAGE = 507;

function field(body: JsonObject | undefined, name: string): string | undefined {
  const value = body?.[name];
  return typeof value === "string" ? value.slice(0, 500) : undefined;
}

/** Parses a JSON object; an empty text counts as an empty object. `undefined` for any other text. */
export function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = text === "" ? {} : JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value as JsonObject : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a text that is no valid JSON begins like an object. */
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
  body: JsonObject | undefined,
  text: string,
): LakebaseError {
  const message = field(body, "message");
  if (status === 401 || status === 403) return accessError(host, request, status, message);
  if (status >= 300 && status < 400) {
    return unavailable(host, `it answered ${status}, a redirect. Is DATABRICKS_HOST the address of a workspace?`);
  }
  if (status === 404 && body !== undefined) {
    const what = request.about ?? request.path;
    return new LakebaseError("ENDPOINT_NOT_FOUND", `Cannot find ${what} in ${host.origin}: ${message ?? "404"}`);
  }
  if (status >= 400 && status < 500 && status !== 429 && status !== 404) {
    return new LakebaseError(
      "WORKSPACE_REFUSED",
      `Cannot ask the workspace ${host.origin}: ${status}, "${message ?? ""}"${workspaceIdAdvice(message)}`,
      { cause: refusalCause(status, body, message) },
    );
  }
  if (status === 429 || status >= 500) {
    return unavailable(host, `it answered ${status}${message ? `, "${message}"` : ""}`);
  }
  const kind = /^\s*</.test(text) ? "a web page" : looksCutOff(text) ? "half an answer" : "something that is not JSON";
  return unavailable(host, `it answered ${status} with ${kind}. Is DATABRICKS_HOST the address of a workspace?`);
}

/** Makes the error for 401, an invalid login, and for 403, a login without the right to the object of the request. */
function accessError(
  host: URL,
  request: WorkspaceRequest,
  status: 401 | 403,
  message: string | undefined,
): LakebaseError {
  const { about = "the project" } = request;
  const answer = `answered ${status}${message === undefined ? "" : `, "${message}"`}`;
  const advice = status === 401
    ? 'The token may have expired or been revoked: renew it with "databricks auth login", or set DATABRICKS_TOKEN'
    : `Ask for access to ${about}, or for this network to be allowed`;
  const text = status === 403 && request.about !== undefined
    ? `Cannot use ${about}: the workspace ${host.origin} ${answer}. ${advice}`
    : `Cannot log in to the workspace ${host.origin}: it ${answer}. ${advice}`;
  return new LakebaseError("WORKSPACE_AUTH", text);
}

/**
 * The cause of an error: the workspace's `error_code`, its message and the status, for a caller that knows what the request
 * was for.
 */
function refusalCause(status: number, body: JsonObject | undefined, message = ""): Error {
  return Object.assign(new Error(message), { code: jsonText(body?.["error_code"] ?? ""), errno: status });
}

/** Advice on naming the workspace, for a host of several. */
function workspaceIdAdvice(message: string | undefined): string {
  if (message === undefined || !/(workspace|org)[ _]?id/i.test(message)) return "";
  return '. Name the workspace: DATABRICKS_WORKSPACE_ID, "workspace_id" in the profile, or ?o= in DATABRICKS_HOST';
}

/** The failure of an attempt that got no answer. */
export function networkOutcome(host: URL, cause: unknown, timedOut: boolean): Failure {
  const reason = innermostMessage(cause);
  const mayHaveRun = !isUnconnected(reason);
  if (timedOut) {
    const error = unavailable(host, `it does not answer${proxyAdvice(host)}`, cause);
    return { error, retry: true, network: false, mayHaveRun };
  }
  const certificate = /certificate|UnknownIssuer|NotValidForName/i.test(reason);
  const error = unavailable(host, `${reason}${proxyAdvice(host)}`, cause);
  return { error, retry: !certificate, network: true, mayHaveRun };
}

/** The variables that name a proxy for HTTPS. The first one that is set counts. */
const PROXIES = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/** Reads a variable of the environment, if this program may. */
function variable(name: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return state === "granted" && Deno.env.get(name) || undefined;
}

/** Names the variable of the proxy, whose failure looks like one of the workspace. Its value is left out: it may hold a login. */
function proxyAdvice(host: URL): string {
  const { hostname } = host;
  if (isLoopback(hostname)) return "";
  const noProxy = (variable("no_proxy") ?? variable("NO_PROXY") ?? "").split(",").map((name) => name.trim());
  const isDirect = noProxy.some((name) => name === "*" || `.${hostname}`.endsWith(`.${name.replace(/^\./, "")}`));
  if (isDirect) return "";
  const name = PROXIES.find((name) => variable(name) !== undefined);
  return name === undefined
    ? ""
    : `. ${name} names a proxy for it: check the proxy, or put ${host.hostname} into NO_PROXY`;
}

/** Login errors of the SDK that quote a text that may hold a secret, and the text that replaces each. */
const QUOTING_ERRORS: readonly [RegExp, string][] = [
  [
    /header value|ByteString/i,
    "the token (DATABRICKS_TOKEN) holds a character that no token has, such as a line break",
  ],
  [/cannot (parse|unmarshal)|is not valid JSON|Unexpected (token|end)/i, "the tool or file that keeps it gave no JSON"],
  [/Failed to retrieve token: \{/i, "the answer to the request for a token was not understood"],
];

/** The most profiles that an error lists. */
const MAX_LISTED = 20;

/** Makes the error for a login that failed or is missing. */
export function noLogin(
  cause: unknown,
  { profile, choices = [] }: Pick<WorkspaceLogin, "profile" | "choices">,
): LakebaseError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const replacement = QUOTING_ERRORS.find(([pattern]) => pattern.test(reason))?.[1];
  const listed = choices.slice(0, MAX_LISTED).join(", ");
  const missing = profile === undefined
    ? listed === "" ? "none is configured" : `~/.databrickscfg has the profiles ${listed}, and none of them is chosen`
    : `there is no profile "${profile}" with a host in ~/.databrickscfg${listed === "" ? "" : `, which has ${listed}`}`;
  const state = replacement ?? (/host is not set/.test(reason) ? missing : reason);
  return new LakebaseError(
    "WORKSPACE_AUTH",
    `Cannot log in to a Databricks workspace: ${state}. Set DATABRICKS_HOST and DATABRICKS_TOKEN, or run ` +
      `"databricks auth login" and name the ${quotedOption("profile")}; to try without a workspace, ` +
      optionText({ local: true }, "connect({ local: true })"),
    replacement === undefined ? { cause } : {},
  );
}
