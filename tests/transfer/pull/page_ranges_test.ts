import assert from "node:assert/strict";
import type { Chunk } from "../../../src/transfer/copy/messages.ts";
import { type PagedTable, pageRanges, rangeQuery, RangeQueue } from "../../../src/transfer/pull/page_ranges.ts";
import { nextTurn } from "../../support/eventually.ts";

const PAGE = 8192;

function table(pages: number, more: Partial<PagedTable> = {}): PagedTable {
  return { name: "t", pages, bytes: pages * PAGE, ...more };
}

Deno.test("pageRanges() covers every page once and in order, whatever the sizes", () => {
  const sizes = [0, 1, 31, 32, 33, 100, 1000, 12_345, 10_000_000];
  for (const pages of sizes) {
    for (const parallel of [1, 2, 7, 64]) {
      const ranges = pageRanges([table(pages)], parallel);
      assert.equal(ranges[0]!.from, 0);
      assert.equal(ranges.at(-1)!.to, undefined);
      ranges.slice(1).forEach(({ from }, index) => {
        assert.equal(ranges[index]!.to, from);
        assert.ok(from > ranges[index]!.from);
      });
    }
  }
});

Deno.test("pageRanges() makes many more ranges than connections, of 32 MB together", () => {
  const cases: [PagedTable[], number, number][] = [
    [[table(0)], 4, 1],
    [[table(32)], 4, 1],
    [[table(33)], 4, 2],
    [[table(10_000)], 2, 8],
    [[table(10_000)], 1, 1],
    [[table(10_000)], 8, 33],
    [[table(1_310_720)], 8, 2560], // 10 GB
    [[table(100, { bytes: 10 * 1024 ** 3 })], 4, 100], // wide rows, kept beside the heap
    [[table(10_000), table(0), table(40)], 2, 10],
  ];
  for (const [tables, parallel, expected] of cases) {
    assert.equal(pageRanges(tables, parallel).length, expected, JSON.stringify([tables, parallel]));
  }
});

Deno.test("rangeQuery() leaves the last range open", () => {
  assert.equal(
    rangeQuery('"a"', { table: '"t"', from: 3, to: 9 }),
    `SELECT "a" FROM ONLY "t" WHERE ctid OPERATOR(pg_catalog.>=) '(3,0)' AND ctid OPERATOR(pg_catalog.<) '(9,0)'`,
  );
  assert.equal(
    rangeQuery("", { table: "t", from: 3, to: undefined }),
    `SELECT  FROM ONLY t WHERE ctid OPERATOR(pg_catalog.>=) '(3,0)'`,
  );
});

function chunk(text: string): Chunk {
  return { bytes: new TextEncoder().encode(text), rows: 1 };
}

const MB = 1024 * 1024;

async function textOf(queue: AsyncIterable<Chunk>): Promise<string> {
  let text = "";
  for await (const { bytes } of queue) text += new TextDecoder().decode(bytes);
  return text;
}

Deno.test("RangeQueue puts the chunks of ranges in order, however they arrive", async () => {
  const queue = new RangeQueue(4);
  const text = textOf(queue);
  await queue.push(2, chunk("e"));
  await queue.push(0, chunk("a"));
  await nextTurn();
  await queue.push(2, chunk("f"));
  await queue.push(0, chunk("b"));
  queue.close(2);
  await queue.push(1, chunk("c"));
  queue.close(0);
  await nextTurn();
  queue.close(3);
  await queue.push(1, chunk("d"));
  queue.close(1);
  assert.equal(await text, "abcdef");
  assert.equal(await textOf(new RangeQueue(0)), "");
});

Deno.test("RangeQueue makes writers that are ahead wait, but never the writer of the range that is read", async () => {
  const queue = new RangeQueue(3);
  const mb = { bytes: new Uint8Array(MB), rows: 1 };
  let ahead = 0;
  let reading = 0;
  const write = async (index: number, count: number, wrote: () => void) => {
    for (let i = 0; i < count; i++) {
      await queue.push(index, mb);
      wrote();
    }
    queue.close(index);
  };
  const writers = [write(1, 100, () => ahead++), write(2, 10, () => ahead++)];
  await nextTurn();
  assert.ok(ahead >= 28 && ahead <= 32, String(ahead)); // nobody reads
  writers.push(write(0, 10, () => reading++));
  await nextTurn();
  assert.equal(reading, 3);
  let bytes = 0;
  for await (const chunk of queue) bytes += chunk.bytes.length;
  assert.equal(bytes, 120 * MB);
  await Promise.all(writers);
});

Deno.test("RangeQueue gives an error to the reader and to all writers", async () => {
  const queue = new RangeQueue(2);
  const failure = new Error("lost");
  const reading = textOf(queue);
  const writing = (async () => {
    for (;;) await queue.push(1, { bytes: new Uint8Array(MB), rows: 1 });
  })();
  const failing = Promise.all([assert.rejects(reading, failure), assert.rejects(writing, failure)]);
  await nextTurn();
  queue.fail(failure);
  queue.fail(new Error("a later failure"));
  await failing;
});

Deno.test("RangeQueue does not keep a large buffer for a small chunk", async () => {
  const queue = new RangeQueue(2);
  await queue.push(1, { bytes: new Uint8Array(MB).subarray(0, 10), rows: 1 });
  queue.close(0);
  queue.close(1);
  for await (const { bytes } of queue) assert.equal(bytes.buffer.byteLength, 10);
});
