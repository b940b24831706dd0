import type { WorkspaceClient as SdkWorkspaceClient } from "npm:@databricks/sdk-experimental@0.17.0";
import config from "../../deno.json" with { type: "json" };
import { backoff, pause } from "../core/backoff.ts";
import { LakebaseError, quotedOption } from "../core/errors.ts";
import type { WorkspaceClientLike } from "../settings/options.ts";
import type { WorkspaceLogin } from "../settings/workspace.ts";
import { clientCredentialsClient } from "./client_credentials.ts";
import {
  networkOutcome,
  noLogin,
  type Outcome,
  readAnswer,
  send,
  unavailable,
  type WorkspaceAnswer,
  type WorkspaceRequest,
} from "./http.ts";

/** One call may take this long; a slow workspace answers within a second or two. */
const ATTEMPT_LIMIT_MS = 15_000;
/** A cable pulled out for a moment is worth a retry; a wrong host name is not worth a minute. */
const NETWORK_TRIES = 4;

/** Pages of a list, of a hundred items each: no workspace has 100,000 projects that one login sees. */
const MOST_PAGES = 1000;

/** Where to find the workspace and its login. */
export interface WorkspaceOptions {
  /** The caller's own client. */
  client?: WorkspaceClientLike | undefined;
  /** Which workspace, and the login; without a client. */
  login?: WorkspaceLogin | undefined;
  /** Milliseconds that one request may take, retries included. */
  limit: number;
}

/**
 * The Databricks workspace's REST API.
 *
 * The SDK finds the login (token, OAuth machine to machine, CLI, Azure, Google, profiles) and signs the requests. They
 * are sent with `fetch`: the SDK's own HTTP agent verifies no certificate unless told to, retries 429 for five minutes
 * without a look at `Retry-After`, and gives no way to read the `Date` header of an error or to stop.
 */
export class Workspace {
  readonly #client: Promise<WorkspaceClientLike>;
  readonly #limit: number;
  readonly #profile: string | undefined;
  #firstLogin: Promise<unknown> | undefined;

  /** Makes a workspace; nothing is asked of it yet. */
  constructor(options: WorkspaceOptions) {
    this.#client = options.client === undefined ? loginClient(options.login) : Promise.resolve(options.client);
    this.#client.catch(() => {}); // reported by the first request
    this.#limit = options.limit;
    this.#profile = options.login?.profile;
  }

  /**
   * Sends a request; 429, 5xx and network failures are retried within the limit.
   *
   * @throws {LakebaseError} `WORKSPACE_AUTH`, `WORKSPACE_REFUSED`, `ENDPOINT_NOT_FOUND` (404), `WORKSPACE_UNAVAILABLE`.
   */
  async request(
    request: WorkspaceRequest,
    signal?: AbortSignal,
    deadline: number = this.deadline(),
  ): Promise<WorkspaceAnswer> {
    const host = await this.#host();
    for (let attempt = 0;; attempt++) {
      const outcome = await this.#attempt(host, request, deadline, signal);
      if ("answer" in outcome) return outcome.answer;
      const wait = Math.max(outcome.retryAfter ?? 0, backoff(attempt, { first: 250, most: 8000 }));
      const hopeless = !outcome.retry || (outcome.network && attempt + 1 >= NETWORK_TRIES);
      if (hopeless || Date.now() + wait >= deadline) throw outcome.error;
      await pause(wait, signal);
    }
  }

  /** The time by which a request that begins now has to be answered; several requests may share it. */
  deadline(): number {
    return Date.now() + this.#limit;
  }

  /**
   * Every item of a list, page after page, all of them within one deadline.
   *
   * @throws {LakebaseError} `WORKSPACE_UNAVAILABLE` for a list that does not end.
   */
  async list(
    path: string,
    key: string,
    signal?: AbortSignal,
    deadline: number = this.deadline(),
  ): Promise<Record<string, unknown>[]> {
    const items: Record<string, unknown>[] = [];
    const seen = new Set<string>();
    const endless = async () =>
      unavailable(await this.#host(), `its list of ${key} does not end: ${seen.size} pages so far`);
    for (let token = "";;) {
      const query: Record<string, string> = token === ""
        ? { page_size: "100" }
        : { page_size: "100", page_token: token };
      const { body } = await this.request({ method: "GET", path, query }, signal, deadline).catch(async (cause) => {
        throw seen.size > 0 && Date.now() >= deadline ? await endless() : cause;
      });
      if (Array.isArray(body[key])) items.push(...body[key] as Record<string, unknown>[]);
      token = typeof body["next_page_token"] === "string" ? body["next_page_token"] : "";
      if (token === "" || seen.has(token)) return items; // a server that repeats a page would page for ever
      seen.add(token);
      if (seen.size >= MOST_PAGES || Date.now() >= deadline) throw await endless();
    }
  }

  /** Who the login belongs to: an e-mail address, or a service principal's application id. */
  async currentUser(signal?: AbortSignal): Promise<string> {
    return (await this.whoAmI(signal)).user;
  }

  /** {@linkcode currentUser}, and what time it is there. */
  async whoAmI(signal?: AbortSignal): Promise<{ user: string; serverTime: number | undefined }> {
    const { body, serverTime } = await this.request({ method: "GET", path: "/api/2.0/preview/scim/v2/Me" }, signal);
    if (typeof body["userName"] === "string" && body["userName"] !== "") return { user: body["userName"], serverTime };
    throw unavailable(await this.#host(), `it does not say who this login is; give ${quotedOption("user")} (PGUSER)`);
  }

  async #host(): Promise<URL> {
    try {
      return await (await this.#client).config.getHost();
    } catch (cause) {
      throw cause instanceof LakebaseError ? cause : noLogin(cause, this.#profile);
    }
  }

  async #attempt(host: URL, request: WorkspaceRequest, deadline: number, signal?: AbortSignal): Promise<Outcome> {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), Math.max(1, Math.min(ATTEMPT_LIMIT_MS, deadline - Date.now())));
    const either = signal === undefined ? limit.signal : AbortSignal.any([signal, limit.signal]);
    try {
      const headers = await abortable(this.#headers(), either);
      const { response, text } = await send(address(host, request), {
        method: request.method,
        headers,
        body: request.body === undefined ? null : JSON.stringify(request.body),
        signal: either,
      });
      return readAnswer(host, request, response, text);
    } catch (cause) {
      signal?.throwIfAborted();
      if (cause instanceof LakebaseError) return { error: cause, retry: false, network: false };
      return networkOutcome(host, cause, limit.signal.aborted);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The SDK would fetch one token for each of several first requests that run side by side. */
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
        await this.#firstLogin.catch(() => {});
        await login.authenticate(headers);
      }
    } catch (cause) {
      this.#firstLogin = undefined;
      throw cause instanceof LakebaseError ? cause : noLogin(cause, this.#profile);
    }
    return headers;
  }
}

/** A host may serve several workspaces: the Python SDK names the one that is meant in one way, the TypeScript SDK in the other. */
function workspaceHeaders(id: string): Record<string, string> {
  return { "x-databricks-workspace-id": id, "x-databricks-org-id": id };
}

async function loginClient(login: WorkspaceLogin | undefined): Promise<WorkspaceClientLike> {
  const own = login === undefined ? undefined : clientCredentialsClient(login);
  if (own !== undefined) return own;
  const { WorkspaceClient } = await import("npm:@databricks/sdk-experimental@0.17.0");
  return new WorkspaceClient(sdkOptions(login));
}

/** Everything that the SDK may know is said: it reads neither the environment nor a file by itself. */
function sdkOptions(login: WorkspaceLogin | undefined): ConstructorParameters<typeof SdkWorkspaceClient>[0] {
  const { host, workspaceId, profile, attributes = {} } = login ?? {};
  const { experimentalIsUnifiedHost: unified, azureUseMsi: msi, ...texts } = attributes;
  return {
    ...texts,
    ...(host === undefined ? {} : { host }),
    ...(workspaceId === undefined ? {} : { workspaceId }),
    ...(profile === undefined ? {} : { profile }),
    ...(isOn(unified) ? { experimentalIsUnifiedHost: true } : {}),
    ...(isOn(msi) ? { azureUseMsi: true } : {}),
    env: {},
    loaders: [],
    skipVerify: false,
  } as ConstructorParameters<typeof SdkWorkspaceClient>[0];
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && /^(1|t|true|yes|on)$/i.test(value);
}

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  promise.catch(() => {});
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

function address(host: URL, { path, query = {} }: WorkspaceRequest): URL {
  const url = new URL(path, host);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url;
}
