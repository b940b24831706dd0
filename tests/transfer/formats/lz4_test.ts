import assert from "node:assert/strict";
import { decompressLz4 } from "../../../src/transfer/formats/arrow/apache_arrow.ts";

/** A frame with one block: an "a", and a match that repeats it. */
function bomb(extra: number): Uint8Array {
  const block = [0x1f, 0x61, 1, 0, ...Array(extra).fill(255), 0];
  const frame = new Uint8Array(7 + 4 + block.length + 4);
  const view = new DataView(frame.buffer);
  view.setUint32(0, 0x184d_2204, true);
  view.setUint32(7, block.length, true);
  frame.set(block, 11);
  return frame;
}

Deno.test("decompressLz4() decompresses to the stated size, and no further", () => {
  const size = 1 + 4 + 15 + 255 * 100;
  assert.equal(decompressLz4(bomb(100), size).length, size);
  assert.throws(() => decompressLz4(bomb(100), size - 1), /becomes more than the 25519 bytes/);
  assert.throws(() => decompressLz4(bomb(100_000), 1000), /becomes more than the 1000 bytes/);
});
