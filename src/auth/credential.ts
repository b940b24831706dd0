import { backoff } from "../core/backoff.ts";
import { LakebaseError } from "../core/errors.ts";
import { keepSecret } from "../core/redact.ts";
import type { WorkspaceAnswer } from "./http.ts";
import type { Workspace } from "./workspace.ts";

/** A password that logs in to one endpoint for a while. */
export interface Credential {
  /** The OAuth token, sent as the password. */
  readonly token: string;
  /** When it was asked for, by this machine's clock, in milliseconds since 1970. */
  readonly mintedAt: number;
  /** How long it logs in, in milliseconds from `mintedAt`. */
  readonly lifetime: number;
  /** Whether `lifetime` is what the workspace said; else it is an assumption, and no refresh is planned on it. */
  readonly lifetimeKnown: boolean;
}

/** Whom a credential is for. */
export interface CredentialRequest {
  /** The endpoint's full name, or the name of a Provisioned instance. */
  target: { endpoint: string } | { instance: string };
  /** The group to log in as. */
  group?: string | undefined;
  /** The wanted life in seconds. */
  ttl?: number | undefined;
}

/** No credential lives longer; what claims to is not believed. */
const LONGEST_LIFE_MS = 3_600_000;
/** What a credential is trusted for when its expiry makes no sense: too short to do harm, too long to loop. */
const ASSUMED_LIFE_MS = 60_000;

/**
 * Asks the workspace for a credential.
 *
 * @throws {LakebaseError} As {@linkcode Workspace.request}; `WORKSPACE_UNAVAILABLE` where the answer holds no token.
 */
export async function mintCredential(
  workspace: Workspace,
  request: CredentialRequest,
  signal?: AbortSignal,
): Promise<Credential> {
  const mintedAt = Date.now();
  const answer = await workspace.request({ method: "POST", ...credentialCall(request) }, signal);
  const { token } = answer.body;
  if (typeof token !== "string" || token === "") {
    throw new LakebaseError("WORKSPACE_UNAVAILABLE", "Cannot log in: the workspace answered without a credential");
  }
  keepSecret(token);
  return { token, mintedAt, ...credentialLifetime(answer, mintedAt) };
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
 * How long a credential lives. Both ends are read off the server's clock where it sends one, so that a laptop whose
 * clock is ten minutes off neither trusts a dead token nor throws a good one away.
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
  if (Number.isFinite(lifetime) && lifetime > ASSUMED_LIFE_MS) {
    return { lifetime: Math.min(lifetime, LONGEST_LIFE_MS), lifetimeKnown: true };
  }
  return { lifetime: ASSUMED_LIFE_MS, lifetimeKnown: false };
}

/** A credential this close to its end is not handed out: a login takes a moment. */
const LOGIN_MS = 2000;

/**
 * When to refresh a credential: 10 minutes before the end of the usual hour, in proportion for a shorter life.
 *
 * @param lifetime Milliseconds.
 * @returns Milliseconds after the credential was minted.
 */
export function refreshAfter(lifetime: number): number {
  return lifetime - Math.min(600_000, lifetime / 6);
}

/**
 * The credential in force for one endpoint: minted once for any number of callers, renewed in the background before it
 * ends, and served while it is valid even when renewing fails.
 */
export class CredentialCache {
  readonly #mint: (signal: AbortSignal) => Promise<Credential>;
  readonly #closing = new AbortController();
  #current: Credential | undefined;
  #minting: Promise<Credential> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Makes an empty cache.
   *
   * @param mint Asks for a fresh credential; it retries what is worth retrying by itself.
   */
  constructor(mint: (signal: AbortSignal) => Promise<Credential>) {
    this.#mint = mint;
  }

  /** The credential in force, if there is one; for showing when it ends. */
  get current(): Credential | undefined {
    return this.#current;
  }

  /**
   * The credential to log in with.
   *
   * @throws {LakebaseError} What minting threw, where no valid credential is left; `CLOSED` after {@linkcode close}.
   */
  async get(): Promise<Credential> {
    if (this.#closing.signal.aborted) throw new LakebaseError("CLOSED", "Cannot log in: the connection is closed");
    const credential = this.#current;
    if (credential !== undefined && remaining(credential) > LOGIN_MS) return credential;
    return await this.#mintOnce();
  }

  /**
   * Says that the server refused a credential; it is not served again.
   *
   * @param credential The one that was used; a newer one in force is left alone.
   */
  invalidate(credential: Credential): void {
    if (this.#current === credential) this.#current = undefined;
  }

  /** Ends the background refresh, and a mint that is under way. */
  close(): void {
    clearTimeout(this.#timer);
    this.#closing.abort(new LakebaseError("CLOSED", "Cannot log in: the connection is closed"));
  }

  /** One request at a time: all who ask meanwhile share it. */
  #mintOnce(): Promise<Credential> {
    if (this.#minting !== undefined) return this.#minting;
    const minting = this.#mint(this.#closing.signal).then((credential) => {
      this.#closing.signal.throwIfAborted();
      this.#current = credential;
      if (credential.lifetimeKnown) this.#refreshIn(refreshAfter(remaining(credential)));
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

  /** A failure here is nobody's error yet: the credential in force still logs in, and `get` reports when it does not. */
  async #refresh(attempt: number): Promise<void> {
    try {
      await this.#mintOnce();
    } catch (error) {
      const credential = this.#current;
      const refused = error instanceof LakebaseError && error.code !== "WORKSPACE_UNAVAILABLE";
      if (this.#closing.signal.aborted || refused || credential === undefined) return;
      const wait = backoff(attempt, { first: 5000, most: 60_000 });
      if (remaining(credential) > wait) this.#refreshIn(wait, attempt + 1);
    }
  }
}

function remaining(credential: Credential): number {
  return credential.mintedAt + credential.lifetime - Date.now();
}
