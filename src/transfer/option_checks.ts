/** The check of a list of columns. */
export const COLUMN_NAMES = [isNames, 'a list of different columns\' names, such as ["id", "fare"]'] as const;

/** The check of a delimiter that both the CSV and the text format of COPY accept. */
export const DELIMITER = [
  isDelimiter,
  "one character of ASCII, and no quote, letter, digit, point, back-slash or line end",
] as const;

/** The check of a quote or an escape. */
export const QUOTE = [isQuote, "one character of ASCII, and no letter, digit, space or line end"] as const;

/** The check of the text that stands for NULL. */
export const NULL_TEXT = [isNullText, "a text without quotes and line ends"] as const;

/** The check of a function. */
export const FUNCTION = [(value: unknown) => typeof value === "function", "a function"] as const;

/** The check of a count. */
export const COUNT = [
  (value: unknown) => Number.isInteger(value) && Number(value) > 0,
  "a whole number above 0",
] as const;

/** The check of an option that is one of several texts. */
export function oneOf(texts: readonly string[]): readonly [fits: (value: unknown) => boolean, wanted: string] {
  return [(value) => texts.includes(value as string), texts.map((text) => `"${text}"`).join(", ")];
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
