import type { ColumnData } from "../../batch.ts";
import { words } from "../../words.ts";
import { isSet } from "../../column_value.ts";
import { packBits } from "./bits.ts";
import { type Leaf, Physical } from "./leaf.ts";

/** Below this, a loop copies text faster than a call does. */
const SHORT = 24;

/** The values of a range in the encoding PLAIN: one after the other, NULLs left out. */
export function plainValues(leaf: Leaf, data: ColumnData, from: number, to: number): Uint8Array {
  const { values, nullBitmap: present } = data;
  switch (leaf.physical) {
    case Physical.boolean:
      return packBits(values as Uint8Array, from, to, present);
    case Physical.bytes:
      return prefixed(data, from, to);
    case Physical.fixed:
      return leaf.type.kind === "decimal" ? bigEndian(words(data), from, to, present) : strided(data, from, to, 4, 4);
    case Physical.int64:
    case Physical.double:
      return strided(data, from, to, leaf.type.kind === "decimal" ? 4 : 2, 2);
    default:
      if (values instanceof Int16Array) return widened(values, from, to, present);
      return strided(data, from, to, leaf.type.kind === "decimal" ? 4 : 1, 1);
  }
}

/** The lowest `width` words of values that are `stride` words apart. */
function strided(data: ColumnData, from: number, to: number, stride: number, width: number): Uint8Array {
  const source = words(data);
  const present = data.nullBitmap;
  if (present === undefined && stride === width) return bytesOf(source.subarray(from * width, to * width));
  const kept = new Int32Array((to - from) * width);
  let length = 0;
  for (let at = from; at < to; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    for (let word = 0; word < width; word++) kept[length++] = source[at * stride + word]!;
  }
  return bytesOf(kept.subarray(0, length));
}

function widened(source: Int16Array, from: number, to: number, present?: Uint8Array): Uint8Array {
  const kept = new Int32Array(to - from);
  let length = 0;
  for (let at = from; at < to; at++) if (present === undefined || isSet(present, at)) kept[length++] = source[at]!;
  return bytesOf(kept.subarray(0, length));
}

/** Numbers of 128 bits with the highest byte first. */
function bigEndian(source: Int32Array, from: number, to: number, present?: Uint8Array): Uint8Array {
  const kept = new DataView(new ArrayBuffer((to - from) * 16));
  let length = 0;
  for (let at = from; at < to; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    for (let word = 3; word >= 0; word--, length += 4) kept.setInt32(length, source[at * 4 + word]!);
  }
  return new Uint8Array(kept.buffer, 0, length);
}

/** Each value after its length in four bytes. */
function prefixed(data: ColumnData, from: number, to: number): Uint8Array {
  const source = data.values as Uint8Array;
  const offsets = data.offsets!;
  const present = data.nullBitmap;
  const kept = new Uint8Array(offsets[to]! - offsets[from]! + (to - from) * 4);
  let length = 0;
  for (let at = from; at < to; at++) {
    if (present !== undefined && !isSet(present, at)) continue;
    const start = offsets[at]!;
    const end = offsets[at + 1]!;
    const size = end - start;
    kept[length] = size;
    kept[length + 1] = size >> 8;
    kept[length + 2] = size >> 16;
    kept[length + 3] = size >> 24;
    length += 4;
    if (size >= SHORT) kept.set(source.subarray(start, end), length);
    else for (let byte = 0; byte < size; byte++) kept[length + byte] = source[start + byte]!;
    length += size;
  }
  return kept.subarray(0, length);
}

function bytesOf(values: Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
