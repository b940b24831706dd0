import { backoff } from "../core/pause.ts";
import { LakebaseError } from "../core/errors.ts";
import { keepSecret } from "../core/redact.ts";
import type { Workspace } from "./workspace.ts";
import type { WorkspaceAnswer } from "./workspace_request.ts";

/** A short-lived password for one endpoint. */
export interface Credential {
  /** The OAuth token, sent as the password. */
  readonly token: string;
  /** When it was requested, by this machine's clock, in milliseconds since 1970. */
  readonly mintedAt: number;
  /** How long it is valid, in milliseconds from `mintedAt`. */
  readonly lifetime: number;
  /** Whether the workspace stated `lifetime`. Otherwise the lifetime is assumed, and no refresh is scheduled. */
  readonly lifetimeKnown: boolean;
}

/** What a credential is for. */
interface CredentialRequest {
  /** The endpoint's full name, or the name of a Provisioned instance. */
  target: { endpoint: string } | { instance: string };
  /** The group to log in as. */
  group?: string | undefined;
  /** The requested lifetime in seconds. */
  ttl?: number | undefined;
}

/** The longest lifetime that is believed. */
const MAX_LIFETIME_MS = 3_600_000;
/**
 * The lifetime that is assumed if the workspace's answer has no valid one: short enough that no expired token is used for
 * long, and long enough that requests do not follow each other at once.
 */
const ASSUMED_LIFETIME_MS = 60_000;

/**
 * Requests a credential from the workspace.
 *
 * @throws {LakebaseError} As {@linkcode Workspace.request}; `WORKSPACE_UNAVAILABLE` for an answer without a token.
 */
export async function mintCredential(
  workspace: Workspace,
  request: CredentialRequest,
  signal?: AbortSignal,
): Promise<Credential> {
  const mintedAt = Date.now();
  const answer = await workspace.request({ method: "POST", ...credentialCall(request) }, signal)
    .catch((error) => Promise.reject(explainMissing(error, request)));
  const { token } = answer.body;
  if (typeof token !== "string" || token === "") {
    throw new LakebaseError("WORKSPACE_UNAVAILABLE", "Cannot log in: the workspace answered without a credential");
  }
  keepSecret(token);
  return { token, mintedAt, ...credentialLifetime(answer, mintedAt) };
}

/**
 * Explains a 404, whose own message names the path of the request and does not say that an endpoint is deleted together
 * with its branch.
 */
function explainMissing(error: unknown, { target }: CredentialRequest): unknown {
  if (!(error instanceof LakebaseError) || error.code !== "ENDPOINT_NOT_FOUND") return error;
  const name = "endpoint" in target ? target.endpoint : `instance "${target.instance}"`;
  const branch = "endpoint" in target ? "; its branch may have been deleted or have expired" : "";
  return new LakebaseError(error.code, `Cannot log in to ${name}: it is not in the workspace${branch}`, {
    cause: error,
  });
}

function credentialCall({ target, group, ttl }: CredentialRequest): { path: string; body: unknown } {
  if ("instance" in target) {
    const body = { instance_names: [target.instance], request_id: crypto.randomUUID() };
    return { path: "/api/2.0/database/credentials", body };
  }
  const body = {
    endpoint: target.endpoint,
    ...(group === undefined ? {} : { group_name: group }),
    ...(ttl === undefined ? {} : { ttl: `${ttl}s` }),
  };
  return { path: "/api/2.0/postgres/credentials", body };
}

/**
 * How long a credential is valid. Its beginning and its expiry are both taken from the server's clock, if the server sends
 * its time, so that a laptop whose clock is ten minutes off neither uses an expired token nor drops a valid one.
 *
 * @param answer The workspace's answer: `expire_time` (Autoscaling) or `expiration_time` (Provisioned).
 * @param now This machine's clock, in milliseconds since 1970.
 */
export function credentialLifetime(
  { body, serverTime }: WorkspaceAnswer,
  now: number,
): Pick<Credential, "lifetime" | "lifetimeKnown"> {
  const expiry = body["expire_time"] ?? body["expiration_time"];
  const lifetime = typeof expiry === "string" ? Date.parse(expiry) - (serverTime ?? now) : NaN;
  if (Number.isFinite(lifetime) && lifetime > ASSUMED_LIFETIME_MS) {
    return { lifetime: Math.min(lifetime, MAX_LIFETIME_MS), lifetimeKnown: true };
  }
  return { lifetime: ASSUMED_LIFETIME_MS, lifetimeKnown: false };
}

/** How long before its expiry a credential is no longer used, because a login takes a moment. */
const EXPIRY_MARGIN_MS = 2000;

/**
 * When to refresh a credential: 10 minutes before the end of the usual hour, and a sixth of a shorter lifetime before its
 * end.
 *
 * @param lifetime Milliseconds.
 * @returns Milliseconds after the credential was minted.
 */
export function refreshAfter(lifetime: number): number {
  return lifetime - Math.min(600_000, lifetime / 6);
}

/**
 * Caches the credential of one endpoint. All callers share one request. The cache renews the credential in the background
 * before it expires. If the renewal fails, the old credential is used as long as it is valid.
 */
export class CredentialCache {
  readonly #mint: (signal: AbortSignal) => Promise<Credential>;
  readonly #closed = new AbortController();
  #current: Credential | undefined;
  #minting: Promise<Credential> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Makes an empty cache.
   *
   * @param mint Requests a new credential. It retries failed requests itself.
   */
  constructor(mint: (signal: AbortSignal) => Promise<Credential>) {
    this.#mint = mint;
  }

  /** The cached credential, for a message that shows its expiry. */
  get current(): Credential | undefined {
    return this.#current;
  }

  /**
   * The credential to log in with.
   *
   * @throws {LakebaseError} The error of the request if there is no valid credential; `CLOSED` after {@linkcode close}.
   */
  async get(): Promise<Credential> {
    if (this.#closed.signal.aborted) throw new LakebaseError("CLOSED", "Cannot log in: the connection is closed");
    const credential = this.#current;
    if (credential !== undefined && remainingLifetime(credential) > EXPIRY_MARGIN_MS) return credential;
    return await this.#mintOnce();
  }

  /**
   * Drops a credential that the server refused.
   *
   * @param credential The credential that was used; a newer one stays cached.
   */
  invalidate(credential: Credential): void {
    if (this.#current === credential) this.#current = undefined;
  }

  /** Ends the background refresh and a running request. */
  close(): void {
    clearTimeout(this.#timer);
    this.#closed.abort(new LakebaseError("CLOSED", "Cannot log in: the connection is closed"));
  }

  /** Sends one request at a time, whose result all callers share. */
  #mintOnce(): Promise<Credential> {
    if (this.#minting !== undefined) return this.#minting;
    const minting = this.#mint(this.#closed.signal).then((credential) => {
      this.#closed.signal.throwIfAborted();
      this.#current = credential;
      if (credential.lifetimeKnown) this.#refreshIn(refreshAfter(remainingLifetime(credential)));
      return credential;
    });
    const clear = () => {
      this.#minting = undefined;
    };
    minting.then(clear, clear);
    return this.#minting = minting;
  }

  #refreshIn(ms: number, attempt = 0): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#refresh(attempt), Math.max(1000, ms));
    Deno.unrefTimer(this.#timer);
  }

  /** Ignores failures: the cached credential is still valid, and `get` reports the failure once it is invalid. */
  async #refresh(attempt: number): Promise<void> {
    try {
      await this.#mintOnce();
    } catch (error) {
      const credential = this.#current;
      const refused = error instanceof LakebaseError && error.code !== "WORKSPACE_UNAVAILABLE";
      if (this.#closed.signal.aborted || refused || credential === undefined) return;
      const wait = backoff(attempt, { first: 5000, most: 60_000 });
      if (remainingLifetime(credential) > wait) this.#refreshIn(wait, attempt + 1);
    }
  }
}

function remainingLifetime(credential: Credential): number {
  return credential.mintedAt + credential.lifetime - Date.now();
}
