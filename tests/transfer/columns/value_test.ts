import assert from "node:assert/strict";
import { dateText, shortestFloat4, timestampText, timeText } from "../../../src/transfer/columns/value.ts";
import { queryTest } from "../../support/queries.ts";

Deno.test("dateText(), timeText() and timestampText() write what Postgres writes", () => {
  const day = 86_400_000_000;
  const cases: [text: string, expected: string][] = [
    [dateText(0), "1970-01-01"],
    [dateText(-1), "1969-12-31"],
    [dateText(11_016), "2000-02-29"],
    [dateText(-719_162), "0001-01-01"],
    [dateText(-719_163), "0001-12-31 BC"],
    [timeText(0), "00:00:00"],
    [timeText(day), "24:00:00"],
    [timeText(day - 1), "23:59:59.999999"],
    [timeText(1_500_000), "00:00:01.5"],
    [timestampText(-1, ""), "1969-12-31 23:59:59.999999"],
    [timestampText(-1n, ""), "1969-12-31 23:59:59.999999"],
    [timestampText(day * 365, "+00"), "1971-01-01 00:00:00+00"],
    [timestampText(-62_135_596_800_000_001n, "+00"), "0001-12-31 23:59:59.999999+00 BC"],
  ];
  for (const [text, expected] of cases) assert.equal(text, expected);
});

queryTest("dateText() writes every day as the server does", async ({ db }) => {
  const rows = await db.sql<{ days: number; text: string }>`SELECT n AS days, ('1970-01-01'::date + n)::text AS text
    FROM (SELECT generate_series(-2440550, 2145000000, 997 * 991) UNION ALL SELECT generate_series(-1500, 22000)) AS t (n)`;
  for (const { days, text } of rows) assert.equal(dateText(days), text);
});

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
