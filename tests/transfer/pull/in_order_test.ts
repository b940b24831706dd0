import assert from "node:assert/strict";
import type { Chunk } from "../../../src/transfer/copy/messages.ts";
import { InOrder } from "../../../src/transfer/pull/in_order.ts";
import { nextTurn } from "../../support/eventually.ts";

function chunk(text: string): Chunk {
  return { bytes: new TextEncoder().encode(text), rows: 1 };
}

const MB = 1024 * 1024;

async function textOf(order: AsyncIterable<Chunk>): Promise<string> {
  let text = "";
  for await (const { bytes } of order) text += new TextDecoder().decode(bytes);
  return text;
}

Deno.test("InOrder puts parts in their order, however they arrive", async () => {
  const order = new InOrder(4);
  const text = textOf(order);
  await order.push(2, chunk("e"));
  await order.push(0, chunk("a"));
  await nextTurn();
  await order.push(2, chunk("f"));
  await order.push(0, chunk("b"));
  order.close(2);
  await order.push(1, chunk("c"));
  order.close(0);
  await nextTurn();
  order.close(3);
  await order.push(1, chunk("d"));
  order.close(1);
  assert.equal(await text, "abcdef");
  assert.equal(await textOf(new InOrder(0)), "");
});

Deno.test("InOrder lets writers that are ahead wait, but never the part that is read", async () => {
  const order = new InOrder(3);
  const mb = { bytes: new Uint8Array(MB), rows: 1 };
  let ahead = 0;
  let reading = 0;
  const write = async (index: number, count: number, wrote: () => void) => {
    for (let i = 0; i < count; i++) {
      await order.push(index, mb);
      wrote();
    }
    order.close(index);
  };
  const writers = [write(1, 100, () => ahead++), write(2, 10, () => ahead++)];
  await nextTurn();
  assert.ok(ahead >= 28 && ahead <= 32, String(ahead)); // nobody reads
  writers.push(write(0, 10, () => reading++));
  await nextTurn();
  assert.equal(reading, 3);
  let bytes = 0;
  for await (const chunk of order) bytes += chunk.bytes.length;
  assert.equal(bytes, 120 * MB);
  await Promise.all(writers);
});

Deno.test("InOrder gives an error to the reader and the writers", async () => {
  const order = new InOrder(2);
  const failure = new Error("lost");
  const reading = textOf(order);
  const writing = (async () => {
    for (;;) await order.push(1, { bytes: new Uint8Array(MB), rows: 1 });
  })();
  const failing = Promise.all([assert.rejects(reading, failure), assert.rejects(writing, failure)]);
  await nextTurn();
  order.fail(failure);
  order.fail(new Error("a later one"));
  await failing;
});

Deno.test("InOrder does not keep a large buffer for a small chunk", async () => {
  const order = new InOrder(2);
  await order.push(1, { bytes: new Uint8Array(MB).subarray(0, 10), rows: 1 });
  order.close(0);
  order.close(1);
  for await (const { bytes } of order) assert.equal(bytes.buffer.byteLength, 10);
});
