import { unknownOption } from "../closest.ts";
import type { LakebaseError } from "../errors.ts";

/** What each option has to be. */
export type OptionChecks<Options> = Readonly<
  Record<keyof Options, readonly [fits: (value: unknown) => boolean, wanted: string]>
>;

/**
 * Checks options that a program gave.
 *
 * @param options The options.
 * @param checks What they have to be.
 * @param example One of them, as it would be written.
 * @param bad Makes the error of what is wrong.
 * @returns The same, without those that are `undefined`.
 */
export function checkOptions<Options extends object>(
  options: Options,
  checks: OptionChecks<Options>,
  example: string,
  bad: (state: string) => LakebaseError,
): Options {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw bad(`the options must be an object such as ${example}`);
  }
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name, value] of given) {
    if (!Object.hasOwn(checks, name)) throw bad(unknownOption(name, Object.keys(checks)));
    const [fits, wanted] = checks[name as keyof Options];
    if (fits(value)) continue;
    throw bad(`${name} is ${Deno.inspect(value, { depth: 1, strAbbreviateSize: 40 })}; it must be ${wanted}`);
  }
  return Object.fromEntries(given) as Options;
}

/** The check of a switch. */
export const SWITCH = [(value: unknown) => typeof value === "boolean", "true or false"] as const;

/** The check of a list of columns. */
export const COLUMN_NAMES = [isNames, 'a list of different columns\' names, such as ["id", "fare"]'] as const;

/** The check of a delimiter: what COPY takes as one in either of its formats. */
export const DELIMITER = [
  isDelimiter,
  "one character of ASCII, and no quote, letter, digit, point, back-slash or line end",
] as const;

/** The check of what stands for NULL. */
export const NULL_TEXT = [isNullText, "a text without quotes and line ends"] as const;

/** The check of a function. */
export const FUNCTION = [(value: unknown) => typeof value === "function", "a function"] as const;

/** The check of a signal. */
export const SIGNAL = [(value: unknown) => value instanceof AbortSignal, "an AbortSignal"] as const;

/** The check of a timeout, as far as `checkStops` does not look at it. */
export const SECONDS = [(value: unknown) => typeof value === "number", "a number of seconds"] as const;

/** The check of a number of things. */
export const COUNT = [
  (value: unknown) => Number.isInteger(value) && Number(value) > 0,
  "a whole number above 0",
] as const;

/** The check of one of some words. */
export function oneOf(words: readonly string[]): readonly [fits: (value: unknown) => boolean, wanted: string] {
  return [(value) => words.includes(value as string), words.map((word) => `"${word}"`).join(", ")];
}

function isNames(value: unknown): boolean {
  if (!Array.isArray(value) || value.length === 0) return false;
  return value.every((name) => typeof name === "string" && name !== "") && new Set(value).size === value.length;
}

function isDelimiter(value: unknown): boolean {
  return typeof value === "string" && /^[\t\x20-\x7e]$/.test(value) && !/[a-z0-9."'\\]/i.test(value);
}

function isNullText(value: unknown): boolean {
  return typeof value === "string" && value.isWellFormed() && !/["\r\n\0]/.test(value);
}
