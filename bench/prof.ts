import { openParquet } from "../src/transfer/formats/parquet/open.ts";
import { copyRows } from "../src/transfer/formats/copy_rows.ts";
for (let k = 0; k < 3; k++) {
  for (const binary of [undefined, [23, 1184, 701, 1700, 25, 16]]) {
    for (let c = 0; c < 6; c++) {
      await using f = await openParquet("/tmp/b.parquet");
      const t = performance.now();
      let n = 0;
      for await (
        const r of copyRows(f, {
          name: "x",
          binary: binary && [binary[c]!],
          columns: [{ index: c, name: "a", bytesAsText: false }],
          expected: [],
        }, (s) => new Error(s))
      ) n += r.bytes.length;
      console.log(c, (performance.now() - t).toFixed(0), n);
    }
    const t = performance.now();
    {
      await using f = await openParquet("/tmp/b.parquet");
      let n = 0;
      for await (
        const r of copyRows(f, {
          name: "x",
          binary,
          columns: [0, 1, 2, 3, 4, 5].map((index) => ({ index, name: "a", bytesAsText: false })),
          expected: [],
        }, (s) => new Error(s))
      ) n += r.bytes.length;
      console.log(binary ? "binary" : "text", "all", (performance.now() - t).toFixed(0), n);
    }
  }
}
