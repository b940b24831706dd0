import { unknownOption } from "../closest.ts";
import { LakebaseError } from "../errors.ts";

/** How a `Query` runs. */
export interface QueryOptions {
  /** Cancels it on the server; the query then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Seconds that it may take, the wait for a connection included. @default {no limit but the connection's `statementTimeout`} */
  timeout?: number;
  /** Rows that a cell shows; a pull, which has all of them, refuses it. @default {20} */
  limit?: number;
}

/** How a plan is made. */
export interface ExplainOptions {
  /** Runs the statement, with all that it changes, and measures it. @default {false} */
  analyze?: boolean;
}

const NAMES: readonly string[] = ["signal", "timeout", "limit"] satisfies (keyof QueryOptions)[];

/** What a timer can wait, in seconds. */
const LONGEST = 2_147_483;

/**
 * Checks options that a program gave.
 *
 * @throws {LakebaseError} `BAD_PARAMETER`, with what was found and what is allowed.
 */
export function checkOptions<Options extends QueryOptions>(options: Options): Options {
  if (typeof options !== "object" || options === null) {
    throw bad("the options must be an object such as { timeout: 5 }");
  }
  for (const name of Object.keys(options)) {
    if (!NAMES.includes(name)) throw bad(unknownOption(name, NAMES));
  }
  checkStops(options);
  const { limit } = options;
  if (limit !== undefined && !(Number.isInteger(limit) && limit > 0)) {
    throw bad(`limit is ${limit}; it must be a whole number above 0`);
  }
  return options;
}

/** {@linkcode checkOptions} for what may stop something. */
export function checkStops({ signal, timeout }: Pick<QueryOptions, "signal" | "timeout">): void {
  if (timeout !== undefined && !(typeof timeout === "number" && timeout > 0 && timeout <= LONGEST)) {
    throw bad(`timeout is ${timeout}; it must be a number of seconds above 0, and at most ${LONGEST}`);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw bad("signal must be an AbortSignal");
}

function bad(state: string): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot run the query: ${state}`);
}
