import config from "../../deno.json" with { type: "json" };
import { backoff, pause } from "../core/pause.ts";
import { LakebaseError, quotedOption } from "../core/errors.ts";
import { keepSecret } from "../core/redact.ts";
import { sentence } from "../core/text.ts";
import type { WorkspaceClientLike } from "../settings/options.ts";
import type { WorkspaceLogin } from "../settings/workspace.ts";
import { open, type OpenAnswer, send, unavailable } from "./http.ts";
import { loginClient } from "./workspace_login.ts";
import {
  type AttemptOutcome,
  type ByteRequest,
  type Failure,
  isRepeated,
  type JsonObject,
  networkOutcome,
  noLogin,
  readAnswer,
  readByteAnswer,
  type WorkspaceAnswer,
  type WorkspaceRequest,
} from "./workspace_request.ts";

/** The limit of one attempt. Even a slow workspace answers within two seconds. */
const ATTEMPT_LIMIT_MS = 15_000;
/** Attempts after network failures: enough for a short outage, and few enough that a wrong host name fails soon. */
const MAX_NETWORK_ATTEMPTS = 4;

/** The most pages of a list, with a hundred items each. No login sees 100,000 projects. */
const MAX_PAGES = 1000;

/** The options of a {@linkcode Workspace}. */
interface WorkspaceOptions {
  /** The caller's own client. */
  client?: WorkspaceClientLike | undefined;
  /** The workspace and the login, if the caller has no client. */
  login?: WorkspaceLogin | undefined;
  /** Milliseconds that one request may take, including retries. */
  limit: number;
}

/**
 * The Databricks workspace's REST API.
 *
 * This module exchanges secrets for tokens itself. The SDK has the other logins (`databricks` and `az`, a token, a
 * password), and signs the requests. `fetch` sends them, because the SDK's HTTP agent does not verify certificates by
 * default, retries 429 for five minutes without regard to `Retry-After`, can't be aborted, and does not give access to
 * the `Date` header.
 */
export class Workspace {
  readonly #client: Promise<WorkspaceClientLike>;
  readonly #limit: number;
  readonly #profiles: Pick<WorkspaceLogin, "profile" | "choices">;
  #firstLogin: Promise<unknown> | undefined;

  /** Keeps the login; sends no request. */
  constructor(options: WorkspaceOptions) {
    this.#client = options.client === undefined ? loginClient(options.login) : Promise.resolve(options.client);
    this.#client.catch(() => {}); // the first request reports the failure
    this.#limit = options.limit;
    const { profile, choices = [] } = options.login ?? {};
    this.#profiles = { profile, choices };
  }

  /**
   * Sends a request. It retries after 429, 5xx and network failures, until the deadline. It retries a request with
   * `once` only if the request can't have taken effect.
   *
   * @throws {LakebaseError} `WORKSPACE_AUTH`, `WORKSPACE_REFUSED`, `ENDPOINT_NOT_FOUND` (404), `WORKSPACE_UNAVAILABLE`;
   * `CONNECTION_LOST` for a request with `once` whose answer was lost.
   */
  async request(
    request: WorkspaceRequest,
    signal?: AbortSignal,
    deadline: number = this.deadline(),
  ): Promise<WorkspaceAnswer> {
    const host = await this.#host();
    const once = request.once === true;
    return await withRetries(() => this.#attempt(host, request, deadline, signal), once, () => deadline, signal);
  }

  /**
   * Sends a request whose body or answer is bytes. It retries only if the request says so. The deadline does not count
   * the time until the first attempt with a body fails, because the body may come slowly.
   *
   * @param signal Ends the request, also while its body is sent or its answer is read.
   * @throws {LakebaseError} What the request makes of a refusal; `WORKSPACE_AUTH`, `WORKSPACE_UNAVAILABLE`.
   */
  async transfer(request: ByteRequest, signal?: AbortSignal): Promise<OpenAnswer> {
    const host = await this.#host();
    const fromStart = this.deadline();
    let fromFirstFailure: number | undefined;
    const deadline = () => request.body === undefined ? fromStart : fromFirstFailure ??= this.deadline();
    return await withRetries(() => this.#attemptBytes(host, request, fromStart, signal), false, deadline, signal);
  }

  async #attemptBytes(
    host: URL,
    request: ByteRequest,
    deadline: number,
    signal?: AbortSignal,
  ): Promise<AttemptOutcome<OpenAnswer>> {
    const limited = request.body === undefined;
    using limit = limited ? limitedAttempt(ATTEMPT_LIMIT_MS, deadline, signal) : unlimitedAttempt(signal);
    try {
      const headers = await abortable(this.#headers(), limit.signal);
      for (const [name, value] of Object.entries(request.headers ?? {})) headers.set(name, value);
      const { method } = request;
      const body = request.body?.() ?? null;
      const answer = await open(address(host, request), { method, headers, body, signal: limit.signal ?? null });
      return await readByteAnswer(host, request, answer);
    } catch (cause) {
      const failure = failedAttempt(host, cause, limit, signal, true);
      return { ...failure, retry: failure.retry && isRepeated(request) };
    }
  }

  /** The origin of the workspace's address, for messages. */
  async origin(): Promise<string> {
    return (await this.#host()).origin;
  }

  /** The deadline of a request that begins now, in milliseconds since 1970. Several requests may share one. */
  deadline(): number {
    return Date.now() + this.#limit;
  }

  /**
   * Fetches all pages of a list within one deadline.
   *
   * @throws {LakebaseError} `WORKSPACE_UNAVAILABLE` for a list that does not end.
   */
  async list(
    path: string,
    key: string,
    signal?: AbortSignal,
    deadline: number = this.deadline(),
  ): Promise<JsonObject[]> {
    const items: JsonObject[] = [];
    const tokens = new Set<string>();
    const endlessListError = async () =>
      unavailable(await this.#host(), `its list of ${key} does not end: ${tokens.size} pages so far`);
    for (let token = "";;) {
      const query: Record<string, string> = token === ""
        ? { page_size: "100" }
        : { page_size: "100", page_token: token };
      const { body } = await this.request({ method: "GET", path, query }, signal, deadline).catch(async (cause) => {
        throw tokens.size > 0 && Date.now() >= deadline ? await endlessListError() : cause;
      });
      for (const item of Array.isArray(body[key]) ? body[key] : []) {
        if (typeof item === "object" && item !== null) items.push(item);
      }
      token = typeof body["next_page_token"] === "string" ? body["next_page_token"] : "";
      if (token === "" || tokens.has(token)) return items; // a server that repeats a page would never end the list
      tokens.add(token);
      if (tokens.size >= MAX_PAGES || Date.now() >= deadline) throw await endlessListError();
    }
  }

  /** The user of the login: an e-mail address, or the application id of a service principal. */
  async currentUser(signal?: AbortSignal): Promise<string> {
    return (await this.whoAmI(signal)).user;
  }

  /** Like {@linkcode currentUser}, with the server's time. */
  async whoAmI(signal?: AbortSignal): Promise<{ user: string; serverTime: number | undefined }> {
    const { body, serverTime } = await this.request({ method: "GET", path: "/api/2.0/preview/scim/v2/Me" }, signal);
    if (typeof body["userName"] === "string" && body["userName"] !== "") return { user: body["userName"], serverTime };
    throw unavailable(await this.#host(), `it does not say who this login is; give ${quotedOption("user")} (PGUSER)`);
  }

  async #host(): Promise<URL> {
    try {
      return await (await this.#client).config.getHost();
    } catch (cause) {
      throw cause instanceof LakebaseError ? cause : noLogin(cause, this.#profiles);
    }
  }

  async #attempt(
    host: URL,
    request: WorkspaceRequest,
    deadline: number,
    signal?: AbortSignal,
  ): Promise<AttemptOutcome> {
    const { attemptLimit = ATTEMPT_LIMIT_MS } = request;
    using limit = limitedAttempt(attemptLimit, deadline, signal);
    let sent = false;
    try {
      const headers = await abortable(this.#headers(), limit.signal);
      sent = true;
      const { response, text } = await send(address(host, request), {
        method: request.method,
        headers,
        body: request.body === undefined ? null : JSON.stringify(request.body),
        signal: limit.signal ?? null,
      }, request.longest);
      return readAnswer(host, request, response, text);
    } catch (cause) {
      return failedAttempt(host, cause, limit, signal, sent);
    }
  }

  /** Concurrent first requests share one login. Otherwise the SDK would fetch a token for each of them. */
  async #headers(): Promise<Headers> {
    const { config: login } = await this.#client;
    const headers = new Headers({
      accept: "application/json",
      "content-type": "application/json",
      "user-agent": `lakebase-deno/${config.version}`,
      ...(login.workspaceId === undefined || login.workspaceId === "" ? {} : workspaceHeaders(login.workspaceId)),
    });
    try {
      if (this.#firstLogin === undefined) {
        this.#firstLogin = login.authenticate(headers);
        await this.#firstLogin;
      } else {
        await this.#firstLogin.catch(() => {}); // the first request reports its failure, and this one tries to log in itself
        await login.authenticate(headers);
      }
    } catch (cause) {
      this.#firstLogin = undefined;
      throw cause instanceof LakebaseError ? cause : noLogin(cause, this.#profiles);
    }
    keepSecret(headers.get("authorization")?.replace(/^\w+\s+/, "")); // so that the text of an answer or of an error never shows it
    return headers;
  }
}

function lostAnswer(cause: LakebaseError): LakebaseError {
  const { message } = cause;
  return new LakebaseError(
    "CONNECTION_LOST",
    `${sentence(message)} Whether the request took effect is not known, so it was not sent again`,
    { cause },
  );
}

/**
 * Makes attempts until one gets an answer, until a retry makes no sense, or until the next attempt would begin after the
 * deadline.
 *
 * @param once Whether an attempt that may have taken effect is the last one.
 * @param deadline Gives the deadline; called after each failure.
 */
async function withRetries<T>(
  attempt: () => Promise<AttemptOutcome<T>>,
  once: boolean,
  deadline: () => number,
  signal?: AbortSignal,
): Promise<T> {
  let previous: LakebaseError | undefined;
  for (let failed = 0;; failed++) {
    const outcome = await attempt();
    if ("answer" in outcome) return outcome.answer;
    if (once && outcome.mayHaveRun) throw lostAnswer(outcome.error);
    const wait = Math.max(outcome.retryAfter ?? 0, backoff(failed, { first: 250, most: 8000 }));
    const isFinal = !outcome.retry || (outcome.network && failed + 1 >= MAX_NETWORK_ATTEMPTS);
    // The error of an attempt that the deadline cuts short must not hide the reason of the attempt before it.
    if (isFinal || Date.now() + wait >= deadline()) throw outcome.cutShort && previous ? previous : outcome.error;
    previous = outcome.error;
    await pause(wait, signal);
  }
}

/** The limit of an attempt. Disposing of it lifts the time limit; the caller's signal still ends the attempt. */
interface AttemptLimit extends Disposable {
  signal: AbortSignal | undefined;
  /** Whether the time limit has passed. */
  hasPassed(): boolean;
  /** Whether the deadline made the time limit shorter. */
  isShortened: boolean;
}

function limitedAttempt(ms: number, deadline: number, signal?: AbortSignal): AttemptLimit {
  const limit = new AbortController();
  const rest = deadline - Date.now();
  const timer = setTimeout(() => limit.abort(), Math.max(1, Math.min(ms, rest)));
  return {
    signal: signal === undefined ? limit.signal : AbortSignal.any([signal, limit.signal]),
    hasPassed: () => limit.signal.aborted,
    isShortened: rest < ms,
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

/** The limit of an attempt with a long body: only the caller knows how long the body takes. */
function unlimitedAttempt(signal?: AbortSignal): AttemptLimit {
  return { signal, hasPassed: () => false, isShortened: false, [Symbol.dispose]() {} };
}

function failedAttempt(
  host: URL,
  cause: unknown,
  limit: AttemptLimit,
  signal: AbortSignal | undefined,
  sent: boolean,
): Failure {
  signal?.throwIfAborted();
  if (cause instanceof LakebaseError) return { error: cause, retry: false, network: false, mayHaveRun: sent };
  const timedOut = limit.hasPassed();
  const failure = { ...networkOutcome(host, cause, timedOut), cutShort: timedOut && limit.isShortened };
  return sent ? failure : { ...failure, mayHaveRun: false };
}

/** The headers that name the workspace on a host of several: the first is the Python SDK's, the second the TypeScript SDK's. */
function workspaceHeaders(id: string): Record<string, string> {
  return { "x-databricks-workspace-id": id, "x-databricks-org-id": id };
}

/** Waits for a promise, unless the signal aborts first. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  promise.catch(() => {}); // after an abort nobody waits for this promise
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

function address(host: URL, { path, query = {} }: Pick<WorkspaceRequest, "path" | "query">): URL {
  const url = new URL(path, host);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url;
}
