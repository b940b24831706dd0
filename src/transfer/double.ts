/** Decimals of so many digits, and of such a size, a double always gives back. */
const SAFE_DIGITS = 15;
const SAFE_EXPONENT = 290;

/**
 * Whether a double gives a number back as it was written, but for zeros at its end: `0.1` and `1.7976931348623157e+308`
 * are, `9007199254740993` and `1e400` are not.
 *
 * @param text A decimal, `NaN` or an infinity.
 */
export function isKeptByDouble(text: string): boolean {
  const written = parts(text);
  if (written === undefined) return true; // NaN and the infinities
  if (written.digits.length <= SAFE_DIGITS && Math.abs(written.exponent) <= SAFE_EXPONENT) return true;
  const kept = parts(String(Number(text)));
  return kept?.digits === written.digits && kept.exponent === written.exponent;
}

/** The digits without zeros at their ends, and the power of ten of the first of them. */
function parts(text: string): { digits: string; exponent: number } | undefined {
  const found = /^-?(\d*)(?:\.(\d*))?(?:e([+-]?\d+))?$/i.exec(text);
  if (found === null) return undefined;
  const [, whole = "", fraction = "", exponent = "0"] = found;
  const all = whole + fraction;
  const first = all.search(/[1-9]/);
  if (first === -1) return { digits: "", exponent: 0 };
  let last = all.length; // a pattern for the zeros at the end would look at those in the middle again and again
  while (all[last - 1] === "0") last--;
  return { digits: all.slice(first, last), exponent: Number(exponent) + whole.length - first };
}
