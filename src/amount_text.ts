/**
 * A size as Postgres says it.
 *
 * @param bytes The size.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(sizeText(8192), "8192 bytes");
 * assert.equal(sizeText(5_000_000), "4883 kB");
 * ```
 */
export function sizeText(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
  let size = bytes;
  while (size >= 10 * 1024 && units.length > 1) {
    size /= 1024;
    units.shift();
  }
  return `${Math.round(size)} ${units[0]}`;
}

/**
 * A number of things.
 *
 * @param number How many.
 * @param noun One of them.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(countText(1234, "row"), "1,234 rows");
 * assert.equal(countText(1, "row"), "1 row");
 * ```
 */
export function countText(number: number, noun: string): string {
  return `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`;
}
