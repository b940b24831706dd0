import type { ColumnData } from "../../batch.ts";
import { isSet } from "../../column_value.ts";
import { countBits, packBits } from "./bits.ts";

/** Levels of nesting, and how many values they stand for (NULLs and empty lists are one each). */
export interface Levels {
  /** Each kind of level after its length in four bytes, as a data page of version 1 begins. */
  bytes: Uint8Array[];
  /** How many. */
  count: number;
}

/** Which values of a range are there: 1, or 0 for NULL. */
export function flatLevels({ nullBitmap }: ColumnData, from: number, to: number): Levels {
  const count = to - from;
  const there = nullBitmap === undefined ? count : countBits(nullBitmap, from, to);
  if (there === count) return { bytes: sized(run(1, count)), count };
  if (there === 0) return { bytes: sized(run(0, count)), count };
  return { bytes: sized(packed(packBits(nullBitmap!, from, to), count)), count };
}

/**
 * Levels of a range of lists. Repetition: 0 where a list begins, else 1. Definition: 0 for no list, 1 for an empty one,
 * 2 for an element that is NULL, 3 for one that is there.
 */
export function listLevels({ nullBitmap, offsets, child }: ColumnData, from: number, to: number): Levels {
  const most = offsets![to]! - offsets![from]! + (to - from);
  const repetition = new Uint8Array((most + 7) >> 3);
  const definition = new Uint8Array(((most + 7) >> 3) * 2);
  let count = 0;
  const put = (level: number) => {
    definition[count >> 2]! |= level << ((count & 3) * 2);
    count++;
  };
  for (let at = from; at < to; at++) {
    const start = offsets![at]!;
    const end = offsets![at + 1]!;
    if (start === end) put(nullBitmap !== undefined && !isSet(nullBitmap, at) ? 0 : 1);
    for (let element = start; element < end; element++) {
      if (element > start) repetition[count >> 3]! |= 1 << (count & 7);
      put(child!.nullBitmap !== undefined && !isSet(child!.nullBitmap, element) ? 2 : 3);
    }
  }
  const groups = (count + 7) >> 3;
  return {
    bytes: [
      ...sized(packed(repetition.subarray(0, groups), count)),
      ...sized(packed(definition.subarray(0, groups * 2), count)),
    ],
    count,
  };
}

/** One level many times over, in the hybrid of run lengths and bits (Encodings.md, "RLE"). */
function run(level: number, count: number): Uint8Array {
  return Uint8Array.from([...varint(count * 2), level]);
}

/** Levels as they are, in groups of eight. */
function packed(bits: Uint8Array, count: number): Uint8Array {
  const header = varint(((count + 7) >> 3) * 2 + 1);
  const bytes = new Uint8Array(header.length + bits.length);
  bytes.set(header);
  bytes.set(bits, header.length);
  return bytes;
}

function sized(bytes: Uint8Array): Uint8Array[] {
  return [new Uint8Array(Uint32Array.of(bytes.length).buffer), bytes];
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}
