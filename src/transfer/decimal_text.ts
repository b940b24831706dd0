/** Below it a double holds every whole number. */
const SAFE_HIGH = 2 ** 21;

/**
 * A decimal as Postgres writes it.
 *
 * @param words Numbers of 128 bits, as four words each.
 * @param row Which.
 * @param scale The digits behind the point.
 */
export function decimalText(words: Uint32Array, row: number, scale: number): string {
  const at = row * 4;
  const [low, high, upper, top] = [words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!];
  const small = upper === 0 && top === 0 && high < SAFE_HIGH;
  if (small) return point(String(high * 2 ** 32 + low), scale);
  const value = BigInt.asIntN(128, [top, upper, high, low].reduce((sum, word) => sum << 32n | BigInt(word), 0n));
  return value < 0n ? `-${point(String(-value), scale)}` : point(String(value), scale);
}

function point(digits: string, scale: number): string {
  if (scale === 0) return digits;
  const padded = digits.padStart(scale + 1, "0");
  return `${padded.slice(0, -scale)}.${padded.slice(-scale)}`;
}
