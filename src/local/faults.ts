import { pause } from "../core/pause.ts";
import { errorAnswer, errorCodeOf } from "./api_json.ts";
import type { CertificateFault } from "./certificate.ts";
import { type Failure, SHUTDOWN } from "./messages.ts";
import { checkFault, WarehouseFaults } from "./warehouse/faults.ts";

/** A wrong answer of the workspace API. */
export interface WorkspaceFault {
  /** HTTP status of the answer. @default {200 with a `body`, otherwise 500} */
  status?: number;
  /** `error_code` of the error body. @default {the usual one for `status`} */
  errorCode?: string;
  /** `message` of the error body. @default {a text that says that a fault was injected} */
  message?: string;
  /** Sent as `Retry-After`: seconds, or a date. @default {none} */
  retryAfter?: number | string;
  /** Body that replaces the error body, such as an HTML page or half of a JSON text. */
  body?: string;
  /** Content type of the answer. @default {"text/html" if `body` begins with "<", otherwise "application/json"} */
  contentType?: string;
  /**
   * `"never"` sends no answer. `"reset"` drops the connection. `"lost"` carries out the call and then drops the connection.
   * `"truncated"` carries out the call and sends half of the answer.
   */
  answer?: "never" | "reset" | "lost" | "truncated";
  /** Number of bytes after which the connection is dropped. They are counted in the call's body, or else in the answer. */
  after?: number;
  /** Milliseconds until the answer. Without `status`, `body` and `answer`, the call is then carried out. @default {0} */
  delay?: number;
  /** Number of calls that get this answer. @default {every call until `reset()`} */
  times?: number;
}

/** The behavior of a suspended compute. */
export interface SuspendOptions {
  /** Milliseconds from the first connection until the compute is up. @default {0} */
  wakeAfter?: number;
  /**
   * The treatment of a connection until then: `"hold"` lets it wait for the compute, `"28000"` refuses it with this
   * SQLSTATE, `"reset"` resets it, and `"close"` closes it without a message.
   *
   * @default {"hold"}
   */
  refuse?: "hold" | "28000" | "reset" | "close";
}

/** A slow or failing creation of branches. */
export interface BranchFault {
  /** Milliseconds before the operation copies the data. @default {0} */
  takes?: number;
  /** The error with which the operation ends. @default {none} */
  error?: { errorCode?: string; message?: string };
  /** Milliseconds during which a new branch refuses logins with SQLSTATE 28000. @default {0} */
  refuseLogins?: number;
}

const WORKSPACE_FAULT = [
  "status",
  "errorCode",
  "message",
  "retryAfter",
  "body",
  "contentType",
  "answer",
  "after",
  "delay",
  "times",
] as const;

/** The treatment of a connection that has just arrived. */
export type Arrival = "serve" | "28000" | "reset" | "close" | { hold: number };

/** The servers' functions that faults call. */
interface FaultTargets {
  /** Ends every open Postgres connection, with a FATAL error or without a message. */
  dropConnections(reason: Failure | "abrupt"): void;
  /** Stops or resumes all data on every Postgres connection. */
  freeze(frozen: boolean): void;
  setSuspended(suspended: boolean): void;
  setTokenRevoked(revoked: boolean): void;
  archive(branch: string, restoreAfter: number): void;
  stopWarehouses(): void;
  now(): Date;
}

/**
 * Makes a local Lakebase fail on request. A fault lasts until {@linkcode Faults.reset}, or for its number of `times`.
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
  /** Milliseconds of delay before every answer of the workspace API. */
  latency = 0;
  /** Milliseconds that the service's clock is ahead of this machine's: in its `Date` header and in credentials' expiry. */
  clockOffset = 0;
  /** Fields that replace those of a credential's answer. A field that is `undefined` is removed. */
  credential: Record<string, unknown> | undefined;
  /** The fault of the Postgres port's certificate; undefined for a valid one. */
  certificate: CertificateFault | undefined;
  /** A wrong answer of the Postgres port to every new connection; `undefined` for that of Postgres. */
  greeting: "http" | "close" | "reset" | undefined;
  /** Limit of Postgres sessions. Further logins are refused with 53300. */
  maxConnections: number | undefined;
  /** The fault of creating branches; undefined for none. */
  branch: BranchFault | undefined;
  /** Limit of a project's branches that are not archived; undefined for the usual 10. */
  maxBranches: number | undefined;
  /** Faults of the SQL warehouses. */
  readonly warehouse: WarehouseFaults;

  readonly #targets: FaultTargets;
  readonly #rules: { method: string; path: RegExp; fault: WorkspaceFault; remaining: number }[] = [];
  #loginFailures: (Failure & { remaining: number })[] = [];
  #blackhole = false;
  /** The last call of `expireTokens()`, in milliseconds since the epoch. */
  #expiredBefore = -Infinity;
  #suspension: (SuspendOptions & { upAt?: number }) | undefined;

  /** Only `startLocal` creates one. */
  constructor(targets: FaultTargets) {
    this.#targets = targets;
    this.warehouse = new WarehouseFaults(() => targets.stopWarehouses(), () => targets.now());
    Object.preventExtensions(this); // a misspelled property would have no effect
  }

  /**
   * Answers calls of the workspace API with a fault.
   *
   * @param route A method and a path, such as `"POST /api/2.0/postgres/credentials"`. `*` matches any text in both.
   * @param fault The answer, and the number of calls that get it.
   */
  workspace(route: string, fault: WorkspaceFault): void {
    checkFault("workspace", fault, WORKSPACE_FAULT);
    const [method = "*", path = "*"] = route.split(" ");
    this.#rules.push({ method, path: glob(path), fault, remaining: fault.times ?? Infinity });
  }

  /** Refuses the next logins with an error. By default it refuses one login with 28P01. */
  failLogins(failure: Partial<Failure> & { times?: number } = {}): void {
    checkFault("failLogins", failure, ["sqlstate", "message", "detail", "hint", "times"]);
    const { sqlstate = "28P01", message = "password authentication failed", times = 1, ...rest } = failure;
    this.#loginFailures.push({ sqlstate, message, ...rest, remaining: times });
  }

  /** Refuses, as expired, every credential minted so far. */
  expireTokens(): void {
    this.#expiredBefore = this.#targets.now().getTime();
  }

  /** Refuses `DATABRICKS_TOKEN` with 401 from now on. */
  revokeToken(): void {
    this.#targets.setTokenRevoked(true);
  }

  /** Suspends the compute: the endpoint is IDLE, and open connections end with 57P01. The next connection wakes it. */
  suspend(options: SuspendOptions = {}): void {
    checkFault("suspend", options, ["wakeAfter", "refuse"]);
    this.#suspension = { ...options };
    this.#targets.setSuspended(true);
    this.#targets.dropConnections(SHUTDOWN);
  }

  /**
   * Archives a branch, as a workspace does with a branch that nobody uses. Open connections end with 57P01. The next
   * connection restores the branch.
   *
   * @param branch The branch's full name, such as `projects/local/branches/old`.
   * @param options `restoreAfter` is the number of milliseconds, counted from that connection, during which logins are
   * refused with SQLSTATE 28000. The default is 0.
   * @throws {Error} If there is no such branch.
   */
  archive(branch: string, options: { restoreAfter?: number } = {}): void {
    checkFault("archive", options, ["restoreAfter"]);
    this.#targets.archive(branch, options.restoreAfter ?? 0);
  }

  /** Ends every open Postgres connection without a message of Postgres or TLS. */
  dropConnections(): void {
    this.#targets.dropConnections("abrupt");
  }

  /** Whether the Postgres port is silent: it accepts connections, but sends and reads nothing on new and open ones. */
  get blackhole(): boolean {
    return this.#blackhole;
  }

  set blackhole(silent: boolean) {
    this.#blackhole = silent;
    this.#targets.freeze(silent);
  }

  /** Removes every fault and wakes the compute. Closed connections stay closed. */
  reset(): void {
    this.latency = 0;
    this.clockOffset = 0;
    this.credential = undefined;
    this.certificate = undefined;
    this.greeting = undefined;
    this.maxConnections = undefined;
    this.branch = undefined;
    this.maxBranches = undefined;
    this.blackhole = false;
    this.#rules.length = 0;
    this.#loginFailures = [];
    this.#expiredBefore = -Infinity;
    this.#suspension = undefined;
    this.#targets.setSuspended(false);
    this.#targets.setTokenRevoked(false);
    this.warehouse.reset();
  }

  /** Returns the fault for a call, and counts the call as one of its `times`. The servers call this. */
  takeWorkspaceFault(method: string, path: string): WorkspaceFault | undefined {
    const rule = this.#rules.find((rule) =>
      rule.remaining > 0 && (rule.method === "*" || rule.method === method) && rule.path.test(path)
    );
    if (rule) rule.remaining--;
    return rule?.fault;
  }

  /** Returns the failure for a login, and counts the login as one of its `times`. The servers call this. */
  takeLoginFailure(): Failure | undefined {
    const failure = this.#loginFailures.find((failure) => failure.remaining > 0);
    if (failure) failure.remaining--;
    return failure;
  }

  /** Whether `expireTokens()` was called after this time, in milliseconds since the epoch. The servers call this. */
  expired(mintedAt: number): boolean {
    return mintedAt <= this.#expiredBefore;
  }

  /** Returns the treatment of a connection that arrives now, and wakes the compute. The servers call this. */
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
    this.#targets.setSuspended(false);
    return "serve";
  }
}

function glob(pattern: string): RegExp {
  const escaped = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${escaped.join(".*")}$`);
}

/** Waits, until the signal aborts at the latest. Unlike {@linkcode pause}, it never rejects. */
export async function delay(milliseconds: number, signal: AbortSignal): Promise<void> {
  await pause(milliseconds, signal).catch(() => {});
}

/** Whether a call with this fault is still carried out. */
export function isCarriedOut({ answer, status, body, delay }: WorkspaceFault): boolean {
  if (answer === "truncated" || answer === "lost") return true;
  return delay !== undefined && (status ?? body ?? answer) === undefined;
}

/** Makes the answer that a fault describes. */
export async function faultAnswer(fault: WorkspaceFault, closing: AbortSignal): Promise<Response> {
  const { body, status = body === undefined ? 500 : 200, answer, retryAfter, contentType } = fault;
  if (answer === "never") {
    await new Promise<void>((resolve) => closing.addEventListener("abort", () => resolve(), { once: true }));
  }
  if (answer === "reset") return droppedAnswer();
  const response = body === undefined
    ? errorAnswer(status, fault.errorCode ?? errorCodeOf(status), fault.message ?? `Injected fault ${status}`)
    : new Response(body, {
      status,
      headers: { "content-type": contentType ?? (body.startsWith("<") ? "text/html" : "application/json") },
    });
  if (retryAfter !== undefined) response.headers.set("Retry-After", String(retryAfter));
  return response;
}

/** Makes an answer with half of the body. */
export async function halfAnswer(response: Response): Promise<Response> {
  const bytes = await response.bytes();
  return new Response(bytes.subarray(0, bytes.length / 2), { status: response.status, headers: response.headers });
}

/** Makes an answer whose body is shorter than its Content-Length, so that the server drops the connection. */
export function droppedAnswer(
  body: ReadableStream<Uint8Array> = ReadableStream.from([]),
  init: ResponseInit = {},
): Response {
  const { status = 200 } = init;
  const headers = new Headers(init.headers);
  if (!headers.has("content-length")) headers.set("content-length", "1000000");
  return new Response(body, { status, headers });
}

/** The first bytes of a stream. The other bytes are not read. */
export function firstBytes(stream: ReadableStream<Uint8Array>, count: number): ReadableStream<Uint8Array> {
  let remaining = count;
  return ReadableStream.from((async function* () {
    for await (const chunk of stream) {
      const bytes = chunk.subarray(0, remaining);
      remaining -= bytes.length;
      yield bytes;
      if (remaining <= 0) return;
    }
  })());
}
