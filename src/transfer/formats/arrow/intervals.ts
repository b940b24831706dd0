import { type Data, type Duration, type Interval, IntervalUnit, TimeUnit } from "npm:apache-arrow@^21.2.0";
import type { Values } from "./column_reader.ts";
import { texts } from "./texts.ts";
import { floorDivide } from "./times.ts";

/** Units of a second, by `TimeUnit`. */
const PER_SECOND: Readonly<Record<TimeUnit, bigint>> = {
  [TimeUnit.SECOND]: 1n,
  [TimeUnit.MILLISECOND]: 1000n,
  [TimeUnit.MICROSECOND]: 1_000_000n,
  [TimeUnit.NANOSECOND]: 1_000_000_000n,
};

/** Lengths of time as Postgres reads them. */
export function durationTexts({ unit }: Duration): (data: Data) => Values {
  const perSecond = PER_SECOND[unit];
  return (data) => texts(data, (at) => seconds((data.values as BigInt64Array)[at]!, perSecond));
}

/** The same with months and days, which are of no fixed length. */
export function intervalTexts({ unit }: Interval): (data: Data) => Values {
  switch (unit) {
    case IntervalUnit.YEAR_MONTH:
      return (data) => texts(data, (at) => `${wordsOf(data)[at]} mons`);
    case IntervalUnit.DAY_TIME:
      return (data) => {
        const words = wordsOf(data);
        return texts(data, (at) => `${words[at * 2]} days ${seconds(BigInt(words[at * 2 + 1]!), 1000n)}`);
      };
    default:
      return (data) => {
        const words = wordsOf(data);
        return texts(data, (at) => {
          const nanoseconds = BigInt(words[at * 4 + 3]!) << 32n | BigInt(words[at * 4 + 2]! >>> 0);
          return `${words[at * 4]} mons ${words[at * 4 + 1]} days ${seconds(nanoseconds, 1_000_000_000n)}`;
        });
      };
  }
}

function wordsOf({ values }: Data): Int32Array {
  return new Int32Array(values.buffer, values.byteOffset, values.byteLength >> 2);
}

/** Parquet's own: months, days and milliseconds, none of them with a sign. */
export function parquetIntervals(data: Data): Values {
  const words = new Uint32Array(data.values.buffer, data.values.byteOffset, data.length * 3);
  return texts(data, (at) => {
    const [months, days, milliseconds] = words.subarray(at * 3);
    return `${months} mons ${days} days ${seconds(BigInt(milliseconds!), 1000n)}`;
  });
}

function seconds(value: bigint, perSecond: bigint): string {
  if (perSecond === PER_SECOND[TimeUnit.NANOSECOND]) {
    return seconds(floorDivide(value, 1000n), PER_SECOND[TimeUnit.MICROSECOND]);
  }
  const size = value < 0n ? -value : value;
  const fraction = String(size % perSecond).padStart(String(perSecond).length - 1, "0");
  return `${value < 0n ? "-" : ""}${size / perSecond}${perSecond === 1n ? "" : `.${fraction}`} seconds`;
}
