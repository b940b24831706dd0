import type { CertificateFault } from "./certificate.ts";
import { type Failure, SHUTDOWN } from "./messages.ts";

/** How the workspace API answers instead of doing what it was asked. */
export interface WorkspaceFault {
  /** HTTP status of the answer. @default {200 where `body` is given, else 500} */
  status?: number;
  /** `error_code` of the error body. @default {the usual one for `status`} */
  errorCode?: string;
  /** `message` of the error body. @default {one that says that a fault was injected} */
  message?: string;
  /** Sent as `Retry-After`: seconds, or a date. @default {none} */
  retryAfter?: number | string;
  /** Sent as it is, instead of an error body: a page of HTML, half of a JSON. */
  body?: string;
  /** The answer's type. @default {"application/json", or "text/html" where `body` begins with "<"} */
  contentType?: string;
  /** `"never"` leaves the call without an answer, `"reset"` drops its connection, `"truncated"` sends half of the real answer. */
  answer?: "never" | "reset" | "truncated";
  /** How many calls it meets before it is used up. @default {every call until `reset()`} */
  times?: number;
}

/** How a suspended compute meets those who connect to it. */
export interface SuspendOptions {
  /** Milliseconds from the first connection until it is up. @default {0} */
  wakeAfter?: number;
  /**
   * What happens to a connection in the meantime: held until the compute is up, refused with SQLSTATE 28000, reset, or
   * closed without a word.
   *
   * @default {"hold"}
   */
  refuse?: "hold" | "28000" | "reset" | "close";
}

/** What becomes of a connection that has just arrived. */
export type Arrival = "serve" | "28000" | "reset" | "close" | { hold: number };

/** What the faults need from the servers that they act on. */
export interface FaultTargets {
  /** Ends every open Postgres connection, with a FATAL or without a word. */
  drop(how: Failure | "abrupt"): void;
  /** Stops or resumes the bytes on every Postgres connection. */
  freeze(frozen: boolean): void;
  suspended(suspended: boolean): void;
  revokeToken(revoked: boolean): void;
  now(): Date;
}

/**
 * Makes a local Lakebase misbehave, from the moment that a fault is set until {@linkcode Faults.reset}.
 *
 * @example
 * ```ts
 * import { startLocal } from "lakebase/local";
 * import assert from "node:assert/strict";
 *
 * await using local = await startLocal();
 * local.faults.latency = 100; // milliseconds
 * local.faults.workspace("GET *", { status: 503, times: 1 });
 * const [failed, worked] = [await fetch(local.env["DATABRICKS_HOST"]!), await fetch(local.env["DATABRICKS_HOST"]!)];
 * assert.equal(failed.status, 503);
 * assert.notEqual(worked.status, 503);
 * await Promise.all([failed, worked].map(({ body }) => body?.cancel()));
 * ```
 */
export class Faults {
  /** Milliseconds that every call of the workspace API waits. */
  latency = 0;
  /** Milliseconds that the service's clock is ahead of this machine's: its `Date` header, and when credentials expire. */
  clockOffset = 0;
  /** Fields laid over the answer that carries a credential; undefined leaves a field out. */
  credential: Record<string, unknown> | undefined;
  /** The certificate that the Postgres port shows. Undefined is the right one. */
  certificate: CertificateFault | undefined;
  /** What the Postgres port says to a new connection, instead of Postgres. */
  greeting: "http" | "close" | "reset" | undefined;
  /** How many Postgres connections there may be; one more is refused with 53300. */
  maxConnections: number | undefined;

  readonly #targets: FaultTargets;
  readonly #rules: { method: string; path: RegExp; fault: WorkspaceFault; left: number }[] = [];
  #logins: (Failure & { left: number })[] = [];
  #blackhole = false;
  #expiredBefore = -Infinity;
  #suspension: (SuspendOptions & { upAt?: number }) | undefined;

  /** Only `startLocal` makes one. */
  constructor(targets: FaultTargets) {
    this.#targets = targets;
  }

  /**
   * Answers calls of the workspace API with a fault.
   *
   * @param route A method and a path, `"POST /api/2.0/postgres/credentials"`; `*` stands for any text in either.
   */
  workspace(route: string, fault: WorkspaceFault): void {
    const [method = "*", path = "*"] = route.split(" ");
    this.#rules.push({ method, path: glob(path), fault, left: fault.times ?? Infinity });
  }

  /** Refuses the next logins with an error of the caller's choice. */
  failLogins(failure: Partial<Failure> & { times?: number } = {}): void {
    const { sqlstate = "28P01", message = "password authentication failed", times = 1, ...rest } = failure;
    this.#logins.push({ sqlstate, message, ...rest, left: times });
  }

  /** Refuses every credential minted so far, as if it had expired. */
  expireTokens(): void {
    this.#expiredBefore = this.#targets.now().getTime();
  }

  /** Refuses `DATABRICKS_TOKEN` with 401 from now on. */
  revokeToken(): void {
    this.#targets.revokeToken(true);
  }

  /** Suspends the compute: the endpoint is IDLE and open connections end with 57P01. Whoever connects wakes it. */
  suspend(options: SuspendOptions = {}): void {
    this.#suspension = { ...options };
    this.#targets.suspended(true);
    this.#targets.drop(SHUTDOWN);
  }

  /** Ends every open Postgres connection without a word, in Postgres or in TLS. */
  dropConnections(): void {
    this.#targets.drop("abrupt");
  }

  /** Whether the Postgres port has gone silent: it accepts and never answers, and open connections carry nothing. */
  get blackhole(): boolean {
    return this.#blackhole;
  }

  set blackhole(silent: boolean) {
    this.#blackhole = silent;
    this.#targets.freeze(silent);
  }

  /** Takes every fault back, and wakes the compute. Connections that are gone stay gone. */
  reset(): void {
    this.latency = 0;
    this.clockOffset = 0;
    this.credential = undefined;
    this.certificate = undefined;
    this.greeting = undefined;
    this.maxConnections = undefined;
    this.blackhole = false;
    this.#rules.length = 0;
    this.#logins = [];
    this.#expiredBefore = -Infinity;
    this.#suspension = undefined;
    this.#targets.suspended(false);
    this.#targets.revokeToken(false);
  }

  /** The fault that a call meets; counts as one of its times. Used by the servers. */
  takeWorkspaceFault(method: string, path: string): WorkspaceFault | undefined {
    const rule = this.#rules.find((rule) =>
      rule.left > 0 && (rule.method === "*" || rule.method === method) && rule.path.test(path)
    );
    if (rule) rule.left--;
    return rule?.fault;
  }

  /** The failure that a login meets; counts as one of its times. Used by the servers. */
  takeLoginFailure(): Failure | undefined {
    const failure = this.#logins.find((failure) => failure.left > 0);
    if (failure) failure.left--;
    return failure;
  }

  /** Whether a credential minted at that time, in milliseconds of the epoch, has been expired. Used by the servers. */
  expired(mintedAt: number): boolean {
    return mintedAt <= this.#expiredBefore;
  }

  /** What becomes of a connection that arrives now; it wakes the compute. Used by the servers. */
  arrival(): Arrival {
    const suspension = this.#suspension;
    if (!suspension) return "serve";
    const now = performance.now();
    suspension.upAt ??= now + (suspension.wakeAfter ?? 0);
    if (now < suspension.upAt) {
      const { refuse = "hold" } = suspension;
      return refuse === "hold" ? { hold: suspension.upAt - now } : refuse;
    }
    this.#suspension = undefined;
    this.#targets.suspended(false);
    return "serve";
  }
}

function glob(pattern: string): RegExp {
  const escaped = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${escaped.join(".*")}$`);
}

/** Resolves after `milliseconds`, or at once when the signal aborts; it never rejects and leaves no timer behind. */
export function delay(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) return Promise.resolve();
  const done = (): void => {
    clearTimeout(timer);
    signal.removeEventListener("abort", done);
    resolve();
  };
  const timer = setTimeout(done, milliseconds);
  signal.addEventListener("abort", done);
  return promise;
}
