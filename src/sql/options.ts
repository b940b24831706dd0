import { unknownOption } from "../core/closest.ts";
import { LakebaseError, optionName } from "../core/errors.ts";

/** How a `Query` runs. */
export interface QueryOptions {
  /** Cancels the query on the server; the query then rejects with the signal's reason. */
  signal?: AbortSignal;
  /**
   * Seconds that the query may take, including the wait for a connection. @default {no limit but the connection's
   * `statementTimeout`}
   */
  timeout?: number;
  /** The most rows that a cell shows. A pull reads all rows, and refuses this option. @default {20} */
  limit?: number;
}

/** How a plan is made. */
export interface ExplainOptions {
  /** Whether the statement is run and measured; its changes then take effect. @default {false} */
  analyze?: boolean;
}

/** The longest time that a timer can wait, in seconds. */
const MAX_SECONDS = 2_147_483;

/** The checks of options, each with a text that says what the option must be, for the error. */
export type OptionChecks<Options> = Readonly<
  Record<keyof Options, readonly [isValid: (value: unknown) => boolean, expected: string]>
>;

/**
 * Checks the options that a program gave.
 *
 * @param options The options.
 * @param checks The check of each option.
 * @param example An example of the options as a program would write them, for the error.
 * @param makeError Makes the error from a text that says what is wrong.
 * @returns The same options, without those that are `undefined`.
 */
export function checkEach<Options extends object>(
  options: Options,
  checks: OptionChecks<Options>,
  example: string,
  makeError: (state: string) => LakebaseError,
): Options {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw makeError(`the options must be an object such as ${example}`);
  }
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name, value] of entries) {
    if (!Object.hasOwn(checks, name)) throw makeError(unknownOption(name, Object.keys(checks)));
    const [isValid, expected] = checks[name as keyof Options];
    if (isValid(value)) continue;
    throw makeError(
      `${optionName(name)} is ${Deno.inspect(value, { depth: 1, strAbbreviateSize: 40 })}; it must be ${expected}`,
    );
  }
  return Object.fromEntries(entries) as Options;
}

/** The checks of the options that stop a call. */
export const STOP_CHECKS: OptionChecks<Pick<QueryOptions, "signal" | "timeout">> = {
  signal: [(value) => value instanceof AbortSignal, "an AbortSignal"],
  timeout: [
    (value) => typeof value === "number" && value > 0 && value <= MAX_SECONDS,
    `a number of seconds above 0, and at most ${MAX_SECONDS}`,
  ],
};

/** The check of an option that is true or false. */
export const ON_OR_OFF = [(value: unknown) => typeof value === "boolean", "true or false"] as const;

/** The check of a count. */
export const COUNT = [
  (value: unknown) => Number.isInteger(value) && Number(value) > 0,
  "a whole number above 0",
] as const;

/** The checks of the options that every transfer has, for its progress and for stopping it. */
export const TRANSFER_CHECKS = {
  onProgress: [(value: unknown) => typeof value === "function", "a function"],
  progress: ON_OR_OFF,
  ...STOP_CHECKS,
} as const;

/** The check of a list of columns. */
export const COLUMN_NAMES = [
  (value: unknown) =>
    Array.isArray(value) && value.length > 0 && new Set(value).size === value.length &&
    value.every((name) => typeof name === "string" && name !== ""),
  'a list of different columns\' names, such as ["id", "fare"]',
] as const;

/** The check of an option that is one of several texts. */
export function oneOf(texts: readonly string[]): readonly [isValid: (value: unknown) => boolean, expected: string] {
  return [(value) => texts.includes(value as string), texts.map((text) => `"${text}"`).join(", ")];
}

/**
 * Checks the options of a call, including those that may stop it.
 *
 * @param doing What the call does; it follows `Cannot` in the error.
 * @param options The options that a program gave.
 * @param more The checks of options other than `signal` and `timeout`.
 * @returns The same options, without those that are `undefined`.
 * @throws {LakebaseError} `BAD_PARAMETER`, with what was found and what is allowed.
 */
export function checkCall<Options extends object>(
  doing: string,
  options: Options,
  more: OptionChecks<Omit<Options, "signal" | "timeout">>,
): Options {
  const checks = { ...more, ...STOP_CHECKS } as unknown as OptionChecks<Options>;
  return checkEach(options, checks, "{ timeout: 5 }", (state) => badCall(doing, state));
}

/** Checks the options of a call that can't be stopped; see {@linkcode checkCall}. */
export function checkUnstoppable<Options extends object>(
  doing: string,
  options: Options,
  checks: OptionChecks<Options>,
  example: string,
): Options {
  return checkEach(options, checks, example, (state) => badCall(doing, state));
}

/**
 * Refuses the arguments of a call that has no parameters, because the call would ignore them.
 *
 * @param name The name of the call.
 * @param instead What to do instead.
 * @param given The arguments of the call.
 * @param doing What the call does, in words that follow `Cannot`; by default its name.
 */
export function takesNothing(name: string, given: readonly unknown[], instead: string, doing: string = name): void {
  if (given.length > 0) throw badCall(doing, `${name}() takes no options; ${instead}`);
}

/** Refuses options of `query()`, which only a query of the `sql` tag takes. */
export function takesNoOptions(given: readonly unknown[]): void {
  takesNothing("query", given, "write sql`...`.with({ timeout: 5 }) for a limit", "run the query");
}

/** Checks the options of a query; see {@linkcode checkCall}. */
export function checkOptions(options: QueryOptions): QueryOptions {
  return checkCall("run the query", options, { limit: COUNT });
}

/** Checks the options that may stop the reading of columns; see {@linkcode checkCall}. */
export function checkColumns(options: Pick<QueryOptions, "signal" | "timeout">): typeof options {
  return checkCall("read the columns", options, {});
}

function badCall(doing: string, state: string): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot ${doing}: ${state}`);
}
