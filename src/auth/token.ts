import { backoff } from "../backoff.ts";
import { LakebaseError } from "../errors.ts";
import type { Credential } from "./credential.ts";

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
