import { errorAnswer, errorCodeOf } from "./api_json.ts";
import type { CertificateFault } from "./certificate.ts";
import { type Failure, SHUTDOWN } from "./messages.ts";
import { checkFault, WarehouseFaults } from "./warehouse/faults.ts";

/** A wrong answer of the workspace API. */
export interface WorkspaceFault {
  /** HTTP status of the answer. @default {200 where `body` is given, else 500} */
  status?: number;
  /** `error_code` of the error body. @default {the usual one for `status`} */
  errorCode?: string;
  /** `message` of the error body. @default {a text that says that a fault was injected} */
  message?: string;
  /** Sent as `Retry-After`: seconds, or a date. @default {none} */
  retryAfter?: number | string;
  /** Body that replaces the error body, such as an HTML page or half of a JSON text. */
  body?: string;
  /** Content type of the answer. @default {"application/json", or "text/html" where `body` begins with "<"} */
  contentType?: string;
  /**
   * `"never"` sends no answer, and `"reset"` drops the connection. `"lost"` carries out the call and then drops the connection.
   * `"truncated"` carries out the call and sends half of the answer.
   */
  answer?: "never" | "reset" | "lost" | "truncated";
  /** Number of bytes after which the connection is dropped: of an upload's body, or of the answer to another call. */
  after?: number;
  /** Milliseconds until the answer. It is the real answer if `status`, `body` and `answer` are not given. @default {0} */
  delay?: number;
  /** Number of calls that get this answer. @default {every call until `reset()`} */
  times?: number;
}

/** The behavior of a suspended compute. */
export interface SuspendOptions {
  /** Milliseconds from the first connection until the compute is up. @default {0} */
  wakeAfter?: number;
  /**
   * The answer to a connection until then: hold it until the compute is up, refuse it with SQLSTATE 28000, reset it, or close
   * it without a message.
   *
   * @default {"hold"}
   */
  refuse?: "hold" | "28000" | "reset" | "close";
}

/** A slow or failing creation of branches. */
export interface BranchFault {
  /** Milliseconds that the operation takes before the data are copied. @default {0} */
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

/** The parts of the servers that faults act on. */
interface FaultTargets {
  /** Ends every open Postgres connection, with a FATAL error or without a message. */
  drop(how: Failure | "abrupt"): void;
  /** Stops or resumes the bytes on every Postgres connection. */
  freeze(frozen: boolean): void;
  suspended(suspended: boolean): void;
  revokeToken(revoked: boolean): void;
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
  /** What the Postgres port answers to a new connection instead of Postgres's answer; `undefined` for Postgres's answer. */
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
  readonly #rules: { method: string; path: RegExp; fault: WorkspaceFault; left: number }[] = [];
  #logins: (Failure & { left: number })[] = [];
  #blackhole = false;
  #expiredBefore = -Infinity;
  #suspension: (SuspendOptions & { upAt?: number }) | undefined;

  /** Only `startLocal` creates one. */
  constructor(targets: FaultTargets) {
    this.#targets = targets;
    this.warehouse = new WarehouseFaults(() => targets.stopWarehouses(), () => targets.now());
    Object.preventExtensions(this); // a misspelled property would do nothing
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
    this.#rules.push({ method, path: glob(path), fault, left: fault.times ?? Infinity });
  }

  /** Refuses the next logins with an error. By default it refuses one login with 28P01. */
  failLogins(failure: Partial<Failure> & { times?: number } = {}): void {
    checkFault("failLogins", failure, ["sqlstate", "message", "detail", "hint", "times"]);
    const { sqlstate = "28P01", message = "password authentication failed", times = 1, ...rest } = failure;
    this.#logins.push({ sqlstate, message, ...rest, left: times });
  }

  /** Refuses every credential minted so far as expired. */
  expireTokens(): void {
    this.#expiredBefore = this.#targets.now().getTime();
  }

  /** Refuses `DATABRICKS_TOKEN` with 401 from now on. */
  revokeToken(): void {
    this.#targets.revokeToken(true);
  }

  /** Suspends the compute: the endpoint is IDLE, and open connections end with 57P01. The next connection wakes it. */
  suspend(options: SuspendOptions = {}): void {
    checkFault("suspend", options, ["wakeAfter", "refuse"]);
    this.#suspension = { ...options };
    this.#targets.suspended(true);
    this.#targets.drop(SHUTDOWN);
  }

  /**
   * Archives a branch, as a workspace does after some time without use. Open connections end with 57P01. The next connection
   * restores the branch.
   *
   * @param branch The branch's full name, such as `projects/local/branches/old`.
   * @param options `restoreAfter`: milliseconds from the next connection during which logins are refused with SQLSTATE 28000;
   * 0 by default.
   * @throws {Error} If there is no such branch.
   */
  archive(branch: string, options: { restoreAfter?: number } = {}): void {
    checkFault("archive", options, ["restoreAfter"]);
    this.#targets.archive(branch, options.restoreAfter ?? 0);
  }

  /** Ends every open Postgres connection without a message of Postgres or TLS. */
  dropConnections(): void {
    this.#targets.drop("abrupt");
  }

  /** Whether the Postgres port is silent: it accepts connections but never answers, and open connections transfer nothing. */
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
    this.#logins = [];
    this.#expiredBefore = -Infinity;
    this.#suspension = undefined;
    this.#targets.suspended(false);
    this.#targets.revokeToken(false);
    this.warehouse.reset();
  }

  /** The fault for a call, which counts as one of its `times`. Used by the servers. */
  takeWorkspaceFault(method: string, path: string): WorkspaceFault | undefined {
    const rule = this.#rules.find((rule) =>
      rule.left > 0 && (rule.method === "*" || rule.method === method) && rule.path.test(path)
    );
    if (rule) rule.left--;
    return rule?.fault;
  }

  /** The failure for a login, which counts as one of its `times`. Used by the servers. */
  takeLoginFailure(): Failure | undefined {
    const failure = this.#logins.find((failure) => failure.left > 0);
    if (failure) failure.left--;
    return failure;
  }

  /** Whether `expireTokens()` was called after this time, in milliseconds since the epoch. Used by the servers. */
  expired(mintedAt: number): boolean {
    return mintedAt <= this.#expiredBefore;
  }

  /** The treatment of a connection that arrives now. The connection wakes the compute. Used by the servers. */
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

/** Resolves after `milliseconds`, or when the signal aborts. Never rejects, and leaves no timer. */
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

/** Whether a call with this fault is still carried out. */
export function isCarriedOut({ answer, status, body, delay }: WorkspaceFault): boolean {
  if (answer === "truncated" || answer === "lost") return true;
  return delay !== undefined && (status ?? body ?? answer) === undefined;
}

/** The wrong answer that a fault describes. */
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

/** An answer with half of its body. */
export async function halfAnswer(response: Response): Promise<Response> {
  const bytes = await response.bytes();
  return new Response(bytes.subarray(0, bytes.length / 2), { status: response.status, headers: response.headers });
}

/** An answer whose body is shorter than its Content-Length. The server drops the connection after it. */
export function droppedAnswer(body: ReadableStream<Uint8Array> = emptyStream(), like: ResponseInit = {}): Response {
  const { status = 200 } = like;
  const headers = new Headers(like.headers);
  if (!headers.has("content-length")) headers.set("content-length", "1000000");
  return new Response(body, { status, headers });
}

/** The first bytes of a stream. The other bytes are not read. */
export function firstBytes(stream: ReadableStream<Uint8Array>, bytes: number): ReadableStream<Uint8Array> {
  let left = bytes;
  return ReadableStream.from((async function* () {
    for await (const chunk of stream) {
      const part = chunk.subarray(0, left);
      left -= part.length;
      yield part;
      if (left <= 0) return;
    }
  })());
}

function emptyStream(): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (stream) => stream.close() });
}
