const FLOAT = new Float32Array(1);
const BITS = new Int32Array(FLOAT.buffer);

/** Below it a float4 has fewer than 6 digits. */
const LEAST_NORMAL = 2 ** -126;

/**
 * The number that the server writes for a float4: 0.1, not the double nearest to it that a `Float32Array` gives. Of the
 * shortest decimals that are nearer to it than to any other float4, it is the nearest.
 */
export function shortestFloat4(value: number): number {
  const size = Math.abs(value);
  if (!(size > 0 && size < Infinity)) return value;
  const low = (size + beside(size, -1)) / 2;
  const next = beside(size, 1);
  const high = next === Infinity ? size + (size - low) : (size + next) / 2;
  for (let digits = size < LEAST_NORMAL ? 1 : 6; digits < 9; digits++) {
    const found = decimals(size, digits).filter((decimal) => decimal > low && decimal < high);
    if (found.length > 0) return Math.sign(value) * nearest(found, size);
  }
  return Number(value.toPrecision(9));
}

/** The float4 before or after. */
function beside(size: number, step: 1 | -1): number {
  FLOAT[0] = size;
  BITS[0]! += step;
  return FLOAT[0]!;
}

/** The decimals about a number, those with an even last digit first. */
function decimals(size: number, digits: number): number[] {
  if (digits === 6) return [Number(size.toPrecision(digits))]; // no other is near enough
  const [mantissa, power] = size.toExponential(digits - 1).split("e");
  const whole = Number(mantissa!.replace(".", ""));
  const near = whole % 2 === 0 ? [whole, whole - 1, whole + 1] : [whole - 1, whole + 1, whole];
  return near.map((decimal) => Number(`${decimal}e${Number(power) - digits + 1}`));
}

/** Of two that are equally near the one with the even digit; what tells them apart then is the rounding of a double. */
function nearest(decimals: readonly number[], size: number): number {
  const isNearer = (a: number, b: number) => Math.abs(a - size) < Math.abs(b - size) * (1 - 1e-6);
  return decimals.reduce((best, decimal) => isNearer(decimal, best) ? decimal : best);
}
