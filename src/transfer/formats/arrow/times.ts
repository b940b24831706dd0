import { type Data, type Date_, DateUnit, type Time, type Timestamp, TimeUnit } from "npm:apache-arrow@^21.2.0";
import { CellProblem } from "../../binary/block.ts";
import type { Values } from "./column_reader.ts";

const DAY_MS = 86_400_000n;
const DAY_MICROSECONDS = 86_400_000_000n;

/** What Postgres can't tell from infinity any more, and by far what its calendar can't. */
const MOST = 2n ** 63n - 1n;
const MOST_DAYS = 2n ** 31n - 1n;

/** Days since 1970. */
export function days({ unit }: Date_): (data: Data) => Values {
  if (unit === DateUnit.DAY) return same;
  return (data) => {
    const values = new Int32Array(data.length);
    each(data, MOST_DAYS, (ms) => floorDivide(ms, DAY_MS), (at, day) => values[at] = Number(day));
    return { values };
  };
}

/** Microseconds since midnight; what is finer Postgres has no room for, and is cut off. */
export function times({ unit }: Time): (data: Data) => Values {
  const read = inMicroseconds(unit);
  return (data) => {
    const values = read(data).values as BigInt64Array;
    for (let at = 0; at < data.length; at++) {
      const value = values[at]!;
      if ((value < 0n || value > DAY_MICROSECONDS) && data.getValid(at)) {
        throw new CellProblem(
          at,
          `the time of day is ${value} microseconds after midnight, and a day has ${DAY_MICROSECONDS}`,
        );
      }
    }
    return { values };
  };
}

/** Microseconds since 1970, likewise. */
export function timestamps({ unit }: Timestamp): (data: Data) => Values {
  return inMicroseconds(unit);
}

function inMicroseconds(unit: TimeUnit): (data: Data) => Values {
  switch (unit) {
    case TimeUnit.MICROSECOND:
      return same;
    case TimeUnit.NANOSECOND:
      return ({ values }) => ({ values: (values as BigInt64Array).map((ns) => floorDivide(ns, 1000n)) });
    default:
      return (data) => multiplied(data, unit === TimeUnit.SECOND ? 1_000_000n : 1000n);
  }
}

function multiplied(data: Data, factor: bigint): Values {
  const values = new BigInt64Array(data.length);
  each(data, MOST, (value) => value * factor, (at, value) => values[at] = value);
  return { values };
}

/** Converts the values that are there. */
function each(
  data: Data,
  most: bigint,
  convert: (value: bigint) => bigint,
  put: (at: number, to: bigint) => void,
): void {
  const source = data.values as Int32Array | BigInt64Array;
  for (let at = 0; at < data.length; at++) {
    if (!data.getValid(at)) continue;
    const value = convert(BigInt(source[at]!));
    if (value > most || value < -most) {
      throw new CellProblem(
        at,
        `the time ${source[at]} is beyond what Postgres can hold; leave it out, or make it a text`,
      );
    }
    put(at, value);
  }
}

/** The whole part of a quotient, towards the past: so the order of what is cut off stays as it was. */
export function floorDivide(value: bigint, by: bigint): bigint {
  const rest = value % by;
  return (value - (rest < 0n ? rest + by : rest)) / by;
}

function same({ values }: Data): Values {
  return { values };
}
