import { unknownOption } from "../../core/closest.ts";

/** Refuses a misspelled option of a fault, because it would have no effect. */
export function checkFault<Options extends object>(
  fault: string,
  options: Options,
  names: readonly (keyof Options & string)[],
): void {
  for (const option of Object.keys(options)) {
    if ((names as readonly string[]).includes(option)) continue;
    throw new TypeError(`Cannot inject the fault ${fault}: ${unknownOption(option, names)}`);
  }
}

/** A wrong answer of an external link. */
export interface LinkFault {
  /**
   * `"expired"` and `"forbidden"` refuse the request with 403, and `"unavailable"` with 503. `"html"` sends a web page
   * instead of the chunk, and `"other-chunk"` sends the next chunk. `"truncated"` sends half of the chunk as if it were all
   * of it, `"cut"` sends half and drops the connection, `"reset"` drops the connection at once, and `"never"` sends nothing.
   */
  answer: "expired" | "forbidden" | "unavailable" | "html" | "other-chunk" | "truncated" | "cut" | "reset" | "never";
  /** Index of the chunk. @default {every chunk} */
  chunk?: number;
  /** Number of requests that get this answer. @default {every request until `reset()`} */
  times?: number;
}

/** A failure of a statement. */
export interface StatementFault {
  /** The message, such as `"[INSUFFICIENT_PERMISSIONS] ... SQLSTATE: 42501"`. */
  message: string;
  /** `error_code`. @default {"BAD_REQUEST"} */
  errorCode?: string;
  /** `sql_state`. @default {none} */
  sqlState?: string;
  /** Number of statements that fail. @default {1} */
  times?: number;
}

/**
 * Makes the SQL warehouses of a local Lakebase fail on request.
 *
 * @example
 * ```ts
 * import { startLocal } from "lakebase/local";
 * import assert from "node:assert/strict";
 *
 * await using local = await startLocal();
 * const { DATABRICKS_HOST, DATABRICKS_TOKEN, DATABRICKS_WAREHOUSE_ID: warehouse_id } = local.env;
 * local.faults.warehouse.fail({ message: "[INTERNAL_ERROR] Not today. SQLSTATE: XX000" });
 * const answer = await fetch(`${DATABRICKS_HOST}/api/2.0/sql/statements`, {
 *   method: "POST",
 *   headers: { authorization: `Bearer ${DATABRICKS_TOKEN}` },
 *   body: JSON.stringify({ warehouse_id, statement: "SELECT 1" }),
 * });
 * const { status } = await answer.json();
 * assert.equal(status.state, "FAILED");
 * ```
 */
export class WarehouseFaults {
  /** Milliseconds for which a new link is valid. @default {15 minutes} */
  linkLifetime: number | undefined;
  /**
   * Repeats the columns of each result until there are this many, up to 32,767. A warehouse allows more columns than the
   * 1,664 of Postgres. @default {none are repeated}
   */
  columns: number | undefined;
  readonly #stop: () => void;
  readonly #now: () => Date;
  #links: (LinkFault & { remaining: number })[] = [];
  #failures: (StatementFault & { remaining: number })[] = [];
  #expiredBefore = -Infinity;
  #hold: "PENDING" | "RUNNING" | undefined;
  #released = Promise.withResolvers<void>();

  /** Only `startLocal` creates one. */
  constructor(stop: () => void, now: () => Date) {
    this.#stop = stop;
    this.#now = now;
    Object.preventExtensions(this); // a misspelled property would have no effect
  }

  /** The state in which statements stay: `"PENDING"` (they wait for the warehouse) or `"RUNNING"`; `undefined` for none. */
  get hold(): "PENDING" | "RUNNING" | undefined {
    return this.#hold;
  }

  set hold(state: "PENDING" | "RUNNING" | undefined) {
    this.#hold = state;
    this.#released.resolve();
    this.#released = Promise.withResolvers();
  }

  /** Answers requests of external links with a fault. */
  link(fault: LinkFault): void {
    checkFault("link", fault, ["answer", "chunk", "times"]);
    this.#links.push({ ...fault, remaining: fault.times ?? Infinity });
  }

  /** Refuses, as expired, every link so far. */
  expireLinks(): void {
    this.#expiredBefore = this.#now().getTime();
  }

  /** Makes the next statements fail. */
  fail(fault: StatementFault): void {
    checkFault("fail", fault, ["message", "errorCode", "sqlState", "times"]);
    this.#failures.push({ ...fault, remaining: fault.times ?? 1 });
  }

  /** Stops every warehouse, which ends its statements. The next statement starts it again. */
  stop(): void {
    this.#stop();
  }

  /** Removes every fault. A stopped warehouse stays stopped. */
  reset(): void {
    this.linkLifetime = undefined;
    this.columns = undefined;
    this.#links = [];
    this.#failures = [];
    this.#expiredBefore = -Infinity;
    this.hold = undefined;
  }

  /** Returns the fault for a request of a chunk, and counts the request as one of its `times`. The servers call this. */
  takeLink(chunk: number): LinkFault | undefined {
    const fault = this.#links.find((fault) => fault.remaining > 0 && (fault.chunk ?? chunk) === chunk);
    if (fault) fault.remaining--;
    return fault;
  }

  /** Whether `expireLinks()` was called after this time, in milliseconds since the epoch. The servers call this. */
  linkExpired(mintedAt: number): boolean {
    return mintedAt <= this.#expiredBefore;
  }

  /** Returns the failure for a statement, and counts the statement as one of its `times`. The servers call this. */
  takeFailure(): StatementFault | undefined {
    const failure = this.#failures.find((failure) => failure.remaining > 0);
    if (failure) failure.remaining--;
    return failure;
  }

  /** Resolves when statements may leave a state. Rejects with the signal's reason. The servers call this. */
  async mayLeave(state: "PENDING" | "RUNNING", signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => aborted.resolve(), { once: true });
    while (this.#hold === state && !signal.aborted) await Promise.race([this.#released.promise, aborted.promise]);
    signal.throwIfAborted();
  }
}
