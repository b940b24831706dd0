import type { ParserSource } from "../query/types.ts";
import { isTyped } from "./column_kind.ts";
import type { SourceColumn } from "./profile.ts";
import type { ColumnProfile } from "./profiled.ts";
import { BARS, QUARTILES } from "./statistics_sql.ts";

/** What the server computes of a column, its values as text. */
export interface Statistics {
  /** Values that are not NULL. */
  count: number;
  /** Different values. */
  distinct: number;
  /** The mean. */
  mean?: string | null;
  /** The least and the greatest value; between them, where there are quartiles, the two values around each. */
  marks: (string | null)[] | null;
  /** Ranges of equal width, from 1, with how many values are in each that has any. */
  bars?: [range: number, count: number][] | null;
  /** The most frequent values. */
  top: [value: string, count: number][] | null;
}

/**
 * A column's statistics with their values as JavaScript's.
 *
 * @param column The column.
 * @param statistics What the server computed.
 * @param rows Rows that it looked at.
 * @param types The connection's parsers.
 */
export function toProfile(
  { name, type, oid, kind }: SourceColumn,
  { count, distinct, mean, marks, bars, top }: Statistics,
  rows: number,
  types: ParserSource,
): ColumnProfile {
  const parse = isTyped(kind) ? types.getTypeParser(oid) : (text: string) => text;
  const value = (text: string | null | undefined) => text === null || text === undefined ? null : parse(text);
  const quartile = (index: number) => {
    const [low, high] = [marks?.[1 + 2 * index], marks?.[2 + 2 * index]];
    if (kind === "moment") return value(low);
    return kind === "number" ? between(low, high, QUARTILES[index]! * (count - 1)) : null;
  };
  return {
    ...{ column: name, type, histogram: bars ? histogramOf(bars) : null },
    ...{ count, nulls: rows - count, distinct },
    ...{ min: value(marks?.[0]), p25: quartile(0), median: quartile(1), p75: quartile(2), max: value(marks?.at(-1)) },
    mean: mean === null || mean === undefined ? null : Number(mean),
    top: (top ?? []).map(([text, count]) => ({ value: parse(text), count })),
  };
}

function histogramOf(bars: readonly [range: number, count: number][]): number[] {
  const counts = Array<number>(BARS).fill(0);
  for (const [range, count] of bars) counts[range - 1] = count;
  return counts;
}

/** The number at a rank that lies between those of two numbers. */
function between(low: string | null | undefined, high: string | null | undefined, rank: number): number | null {
  if (typeof low !== "string" || typeof high !== "string") return null;
  const start = Number(low);
  const part = rank % 1;
  return part === 0 || low === high ? start : start + part * (Number(high) - start);
}
