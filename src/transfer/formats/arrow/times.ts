import { type Data, type Date_, DateUnit, type Time, type Timestamp, TimeUnit } from "apache-arrow";
import { LakebaseError } from "../../../errors.ts";
import type { Values } from "./column_reader.ts";

const DAY_MS = 86_400_000n;

/** What Postgres can't tell from infinity any more, and by far what its calendar can't. */
const MOST = 2n ** 63n - 1n;

/** Days since 1970. */
export function days({ unit }: Date_): (data: Data) => Values {
  if (unit === DateUnit.DAY) return same;
  return ({ values }) => ({
    values: Int32Array.from(values as BigInt64Array, (ms) => Number(floorDivide(ms, DAY_MS))),
  });
}

/** Microseconds since midnight; what is finer Postgres has no room for. */
export function times({ unit }: Time): (data: Data) => Values {
  return inMicroseconds(unit);
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
  const source = data.values as Int32Array | BigInt64Array;
  const values = new BigInt64Array(data.length);
  for (let at = 0; at < data.length; at++) {
    if (!data.getValid(at)) continue;
    const value = BigInt(source[at]!) * factor;
    if (value > MOST || value < -MOST) {
      throw new LakebaseError("BAD_FILE", `it has the time ${source[at]}, which is beyond what Postgres can hold`);
    }
    values[at] = value;
  }
  return { values };
}

function floorDivide(value: bigint, by: bigint): bigint {
  const rest = value % by;
  return (value - (rest < 0n ? rest + by : rest)) / by;
}

function same({ values }: Data): Values {
  return { values };
}
