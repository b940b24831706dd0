import type { Data } from "npm:apache-arrow@^21.2.0";
import type { Values } from "./column_reader.ts";

type Bytes = Values & { offsets: Int32Array };

/** A view is 16 bytes: the length, and the bytes if they are few, else their buffer and place. */
const VIEW_BYTES = 16;
const MOST_INLINE = 12;

/** Text or bytes, kept alike. */
export function plainBytes({ values, valueOffsets }: Data): Bytes {
  return { values, offsets: valueOffsets };
}

/** With offsets of 64 bits. A batch that is larger than those of 32 bits reach is larger than a buffer can be. */
export function largeBytes({ values, valueOffsets }: Data): Bytes {
  return { values, offsets: Int32Array.from(valueOffsets as unknown as BigInt64Array, Number) };
}

/** All of one length. */
export function fixedBytes(width: number): (data: Data) => Bytes {
  return ({ values, length }) => ({ values, offsets: Int32Array.from({ length: length + 1 }, (_, at) => at * width) });
}

/** Scattered over several buffers. */
export function viewBytes(data: Data): Bytes {
  const { length, variadicBuffers } = data;
  const inline = data.values as Uint8Array;
  const views = new DataView(inline.buffer, inline.byteOffset, inline.byteLength);
  const offsets = new Int32Array(length + 1);
  for (let at = 0; at < length; at++) {
    offsets[at + 1] = offsets[at]! + (data.getValid(at) ? views.getInt32(at * VIEW_BYTES, true) : 0);
  }
  const values = new Uint8Array(offsets[length]!);
  for (let at = 0; at < length; at++) {
    const size = offsets[at + 1]! - offsets[at]!;
    const view = at * VIEW_BYTES;
    const buffer = size > MOST_INLINE ? variadicBuffers[views.getInt32(view + 8, true)]! : inline;
    const start = size > MOST_INLINE ? views.getInt32(view + 12, true) : view + 4;
    values.set(buffer.subarray(start, start + size), offsets[at]);
  }
  return { values, offsets };
}
