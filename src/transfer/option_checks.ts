import type { ColumnData } from "./columns/batch.ts";

export { checkEach as checkOptions, type OptionChecks } from "../sql/options.ts";

/** The check of a switch. */
export const SWITCH = [(value: unknown) => typeof value === "boolean", "true or false"] as const;

/** The check of a list of columns. */
export const COLUMN_NAMES = [isNames, 'a list of different columns\' names, such as ["id", "fare"]'] as const;

/** The check of a delimiter: what COPY takes as one in either of its formats. */
export const DELIMITER = [
  isDelimiter,
  "one character of ASCII, and no quote, letter, digit, point, back-slash or line end",
] as const;

/** The check of a quote or an escape. */
export const QUOTE = [isQuote, "one character of ASCII, and no letter, digit, space or line end"] as const;

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

function isQuote(value: unknown): boolean {
  return typeof value === "string" && /^[\x21-\x7e]$/.test(value) && !/[a-z0-9]/i.test(value);
}

function isNullText(value: unknown): boolean {
  return typeof value === "string" && value.isWellFormed() && !/["\r\n\0]/.test(value);
}

/** Values as words of 32 bits: copied as such, no NaN is changed and no bigint made. */
export function words({ values }: ColumnData): Int32Array {
  const aligned = values.byteOffset % 4 === 0 ? values : values.slice();
  return new Int32Array(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength >> 2);
}
