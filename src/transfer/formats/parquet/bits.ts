import { isSet } from "../../column_value.ts";

/** Bits of a range for which there is a value, from the first bit of a byte on. */
export function packBits(bits: Uint8Array, from: number, to: number, present?: Uint8Array): Uint8Array {
  if (present === undefined && (from & 7) === 0) return bits.subarray(from >> 3, (to + 7) >> 3);
  const packed = new Uint8Array((to - from + 7) >> 3);
  let length = 0;
  for (let at = from; at < to; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    if (isSet(bits, at)) packed[length >> 3]! |= 1 << (length & 7);
    length++;
  }
  return packed.subarray(0, (length + 7) >> 3);
}

/** How many bits of a range are set. */
export function countBits(bits: Uint8Array, from: number, to: number): number {
  let count = 0;
  for (let at = from; at < to; at++) if (isSet(bits, at)) count++;
  return count;
}
