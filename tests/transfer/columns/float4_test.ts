import assert from "node:assert/strict";
import { shortestFloat4 } from "../../../src/transfer/columns/value.ts";
import { queryTest } from "../../support/queries.ts";

queryTest("shortestFloat4() gives the number that the server writes", async ({ db }) => {
  const rows = await db.sql<{ v: number }>`SELECT v FROM (
    SELECT (2.0::float8 ^ n)::float4 FROM generate_series(-149, 127) AS n
    UNION ALL SELECT (10.0::float8 ^ n * (n + 60) / 3)::float4 FROM generate_series(-37, 35) AS n
    UNION ALL SELECT ((n * n * 7919) * 1.1)::float4 FROM generate_series(1, 400) AS n
    UNION ALL SELECT -(n / 7.0)::float4 FROM generate_series(1, 400) AS n
    UNION ALL VALUES ('-0'::float4), (16777216), (3.4028235e38), (1.17549435e-38), (7.6075184e7), ('NaN'), ('-Infinity')
  ) AS t (v)`;
  for (const { v } of rows) {
    assert.ok(Object.is(shortestFloat4(Math.fround(v)), v), `${v} is ${shortestFloat4(Math.fround(v))}`);
  }
});
