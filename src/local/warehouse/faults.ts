import { unknownOption } from "../../core/closest.ts";

/** Refuses a misspelled option of a fault, because it would do nothing. */
export function checkFault<Options extends object>(
  name: string,
  options: Options,
  known: readonly (keyof Options & string)[],
): void {
  for (const option of Object.keys(options)) {
    if ((known as readonly string[]).includes(option)) continue;
    throw new TypeError(`Cannot inject the fault ${name}: ${unknownOption(option, known)}`);
  }
}

/** A wrong answer of an external link. */
export interface LinkFault {
  /**
   * `"expired"` and `"forbidden"` refuse with 403, `"unavailable"` with 503; `"html"` sends a page instead of the chunk,
   * `"other-chunk"` sends the next one; `"truncated"` sends half of it as if it were all, `"cut"` sends half and drops the
   * connection, `"reset"` drops it at once, and `"never"` sends nothing.
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
   * Repeats the columns of each result until it has this many, at most 32,767. Postgres allows at most 1,664 columns,
   * but a warehouse allows more. @default {none are repeated}
   */
  columns: number | undefined;
  readonly #stop: () => void;
  readonly #now: () => Date;
  #links: (LinkFault & { left: number })[] = [];
  #failures: (StatementFault & { left: number })[] = [];
  #expiredBefore = -Infinity;
  #hold: "PENDING" | "RUNNING" | undefined;
  #released = Promise.withResolvers<void>();

  /** Only `startLocal` creates one. */
  constructor(stop: () => void, now: () => Date) {
    this.#stop = stop;
    this.#now = now;
    Object.preventExtensions(this); // a misspelled property would do nothing
  }

  /** The state in which statements stay: waiting for the warehouse, or running. `undefined` lets them go on. */
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
    this.#links.push({ ...fault, left: fault.times ?? Infinity });
  }

  /** Lets every link expire that was given out so far. */
  expireLinks(): void {
    this.#expiredBefore = this.#now().getTime();
  }

  /** Lets the next statements fail. */
  fail(fault: StatementFault): void {
    checkFault("fail", fault, ["message", "errorCode", "sqlState", "times"]);
    this.#failures.push({ ...fault, left: fault.times ?? 1 });
  }

  /** Stops every warehouse, and so each statement that waits for it or runs on it. The next statement starts it again. */
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

  /** The fault for a request of a chunk, which counts as one of its `times`. Used by the servers. */
  takeLink(chunk: number): LinkFault | undefined {
    const fault = this.#links.find((fault) => fault.left > 0 && (fault.chunk ?? chunk) === chunk);
    if (fault) fault.left--;
    return fault;
  }

  /** Whether `expireLinks()` was called after this time, in milliseconds since the epoch. Used by the servers. */
  linkExpired(mintedAt: number): boolean {
    return mintedAt <= this.#expiredBefore;
  }

  /** The failure for a statement, which counts as one of its `times`. Used by the servers. */
  takeFailure(): StatementFault | undefined {
    const failure = this.#failures.find((failure) => failure.left > 0);
    if (failure) failure.left--;
    return failure;
  }

  /** Resolves when statements may leave a state; rejects with the signal's reason. Used by the servers. */
  async mayLeave(state: "PENDING" | "RUNNING", signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => aborted.resolve(), { once: true });
    while (this.#hold === state && !signal.aborted) await Promise.race([this.#released.promise, aborted.promise]);
    signal.throwIfAborted();
  }
}
