import { LakebaseError } from "../errors.ts";
import type { Batch, ColumnData } from "./batch.ts";
import { words } from "./words.ts";

/** 24:00:00, which Postgres takes; to Arrow and Parquet a day ends before it. */
const DAY_MICROSECONDS = 86_400_000_000;
const DAY_LOW = DAY_MICROSECONDS | 0;
const DAY_HIGH = Math.floor(DAY_MICROSECONDS / 2 ** 32);

/**
 * Refuses what Arrow and Parquet have no form of, rather than write a date in the year 294247.
 *
 * @param before The rows of the batches before.
 * @throws {LakebaseError} `QUERY_FAILED`, with the row and the column.
 */
export function checkTimes({ columns }: Batch, before = 0): void {
  for (const column of columns) {
    const { name, child, offsets } = column;
    const odd = oddTime(child ?? column);
    if (odd === undefined) continue;
    const row = before + 1 + (child === undefined ? odd.at : offsets!.findIndex((start) => start > odd.at) - 1);
    throw new LakebaseError(
      "QUERY_FAILED",
      `Cannot convert column "${name}": row ${row} has the value ${odd.value}, which Arrow and Parquet have no form of; ` +
        "select it as ::text",
    );
  }
}

/** The first value of that sort; how they are kept {@linkcode ColumnValues} tells. */
function oddTime(data: ColumnData): { at: number; value: string } | undefined {
  const { kind } = data.type;
  if (kind !== "date" && kind !== "timestamp" && kind !== "time") return undefined;
  const source = words(data);
  if (kind === "date") {
    const at = source.findIndex((day) => day === 0x7fff_ffff || day === -0x8000_0000);
    return at < 0 ? undefined : infinity(at, source[at]!);
  }
  // By words: to read numbers of 64 bits one by one costs more than all the rest.
  for (let word = 0; word < source.length; word += 2) {
    const low = source[word]!;
    const high = source[word + 1]!;
    if (kind === "time") {
      if (low === DAY_LOW && high === DAY_HIGH) return { at: word / 2, value: "24:00:00" };
    } else if (high === 0x7fff_ffff && low === -1 || high === -0x8000_0000 && low === 0) {
      return infinity(word / 2, high);
    }
  }
  return undefined;
}

function infinity(at: number, value: number): { at: number; value: string } {
  return { at, value: value < 0 ? "-infinity" : "infinity" };
}
