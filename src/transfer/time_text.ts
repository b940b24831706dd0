/** The days before 1970 of the first of March in the year 0, where a count of leap years is simple to begin. */
const DAYS_TO_1970 = 719_468;
const DAYS_IN_400_YEARS = 146_097;
const DAY_MICROSECONDS = 86_400_000_000;

/** Postgres knows no year 0. */
interface Day {
  year: number;
  text: string;
}

/**
 * A date as Postgres writes it in the ISO style, such as `2026-01-31` or `0044-03-15 BC`.
 *
 * @param days Days since 1970-01-01; `Date` ends in the year 275760, Postgres does not.
 */
export function dateText(days: number): string {
  const { year, text } = dayOf(days);
  return year > 0 ? text : `${text} BC`;
}

/**
 * A time of day, such as `12:34:56` or `12:34:56.789`.
 *
 * @param microseconds Since midnight.
 */
export function timeText(microseconds: number): string {
  const seconds = Math.floor(microseconds / 1e6);
  const fraction = microseconds % 1e6;
  const whole = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return fraction === 0 ? whole : `${whole}${fractionText(fraction)}`;
}

/**
 * A timestamp, such as `2026-01-31 12:34:56.789`.
 *
 * @param microseconds Since 1970-01-01; a bigint where a number does not hold them.
 * @param zone What stands behind the time, such as `+00`.
 */
export function timestampText(microseconds: number | bigint, zone: "" | "+00"): string {
  const { days, rest } = splitDays(microseconds);
  const { year, text } = dayOf(days);
  return `${text} ${timeText(rest)}${zone}${year > 0 ? "" : " BC"}`;
}

/** The year of a timestamp; 0 is 1 BC. */
export function yearOf(microseconds: number | bigint): number {
  return dayOf(splitDays(microseconds).days).year;
}

function splitDays(microseconds: number | bigint): { days: number; rest: number } {
  if (typeof microseconds === "number") {
    const days = Math.floor(microseconds / DAY_MICROSECONDS);
    return { days, rest: microseconds - days * DAY_MICROSECONDS };
  }
  const day = BigInt(DAY_MICROSECONDS);
  const rest = ((microseconds % day) + day) % day;
  return { days: Number((microseconds - rest) / day), rest: Number(rest) };
}

/** The civil calendar, reckoned from March so that a leap day is a year's last. */
function dayOf(days: number): Day {
  const shifted = days + DAYS_TO_1970;
  const era = Math.floor(shifted / DAYS_IN_400_YEARS);
  const dayOfEra = shifted - era * DAYS_IN_400_YEARS;
  const leapDays = Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1;
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const shown = String(year > 0 ? year : 1 - year).padStart(4, "0");
  return { year, text: `${shown}-${two(month)}-${two(day)}` };
}

/** The digits behind the point, without zeros at their end. */
function fractionText(microseconds: number): string {
  const digits = String(1_000_000 + microseconds);
  let end = digits.length;
  while (digits.charCodeAt(end - 1) === 48) end--;
  return `.${digits.slice(1, end)}`;
}

const TWO = Array.from({ length: 100 }, (_, number) => String(number).padStart(2, "0"));

function two(number: number): string {
  return TWO[number]!;
}
