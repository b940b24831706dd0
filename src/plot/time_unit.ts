/** What times are rounded down to; Postgres's `date_trunc` knows them by the same names. */
export type TimeUnit = typeof UNITS[number];

const UNITS = [
  "milliseconds",
  "second",
  "minute",
  "hour",
  "day",
  "week",
  "month",
  "quarter",
  "year",
  "decade",
] as const;

const DAY = 86_400_000;
const LENGTHS: Readonly<Record<TimeUnit, number>> = {
  ...{ milliseconds: 1, second: 1000, minute: 60_000, hour: 3_600_000, day: DAY, week: 7 * DAY },
  ...{ month: 28 * DAY, quarter: 90 * DAY, year: 365 * DAY, decade: 3652 * DAY },
};

/**
 * The finest unit that divides a time into at most so many.
 *
 * @param start When it begins, in milliseconds since 1970.
 * @param end When it ends.
 * @param most Units at most, about.
 * @param least The finest that makes sense.
 */
export function unitFor(start: number, end: number, most: number, least: TimeUnit = "milliseconds"): TimeUnit {
  const fitting = UNITS.slice(UNITS.indexOf(least)).find((unit) => (end - start) / LENGTHS[unit] <= most);
  return start === end ? later("day", least) : fitting ?? "decade";
}

function later(one: TimeUnit, other: TimeUnit): TimeUnit {
  return UNITS[Math.max(UNITS.indexOf(one), UNITS.indexOf(other))]!;
}

/** A time, in milliseconds since 1970, rounded down in UTC; weeks begin on Monday. */
export function truncate(unit: TimeUnit, time: number): number {
  const date = new Date(time);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  switch (unit) {
    case "week": {
      const day = Math.floor(time / DAY);
      return (day - ((day + 3) % 7 + 7) % 7) * DAY;
    }
    case "month":
      return utc(year, month);
    case "quarter":
      return utc(year, month - month % 3);
    case "year":
      return utc(year, 0);
    case "decade":
      return utc(Math.floor(year / 10) * 10, 0);
    default:
      return Math.floor(time / LENGTHS[unit]) * LENGTHS[unit];
  }
}

/** When the unit after that of a rounded time begins. */
export function nextUnit(unit: TimeUnit, time: number): number {
  return truncate(unit, time + LENGTHS[unit] * LONGER);
}

/** No unit is longer than its least length by a third, or than two of them. */
const LONGER = 4 / 3;

/** The coarsest unit, from this one on, of which all these times are the beginning. */
export function coarsest(unit: TimeUnit, times: readonly number[]): TimeUnit {
  if (times.length < 2) return unit;
  const rest = UNITS.slice(UNITS.indexOf(unit));
  return rest.findLast((coarser) => times.every((time) => truncate(coarser, time) === time)) ?? unit;
}

/** `Date.UTC` takes the years 0 to 99 for those of the last century. */
function utc(year: number, month: number): number {
  return new Date(Date.UTC(2000, month)).setUTCFullYear(year);
}
