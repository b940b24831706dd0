import assert from "node:assert/strict";
import { type PagedTable, pageRanges, rangeQuery } from "../../../src/transfer/pull/snapshot.ts";

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
