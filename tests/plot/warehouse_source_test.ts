import assert from "node:assert/strict";
import { connect, lakehouse, type PlotOptions } from "../../mod.ts";
import { localTests, workspaceOf } from "../support/lakebase.ts";
import { drawn, errorOf } from "../support/queries.ts";

const test = localTests();

const CHARTS: PlotOptions[] = [
  {},
  { x: "fare" },
  { x: "whole", mark: "histogram" },
  { x: "zone", y: "avg(fare)" },
  { x: "zone", y: "median(fare)", color: "paid" },
  { x: "zone", y: "stddev(whole)" },
  { x: "zone", y: "sum(price)" },
  { x: "paid", y: "count()" },
  { x: "at", y: "avg(fare)", mark: "line" },
  { x: "day", y: "max(whole)", mark: "line" },
  { x: "local", y: "count(zone)", mark: "bar" },
  { x: "whole", y: "fare", mark: "point" },
  { x: "zone", y: "fare", mark: "box" },
  { x: "whole", y: "price", mark: "heatmap" },
  { x: "list", y: "count()" },
];

test("(slow) a warehouse computes the same chart of a query as Postgres", async ({ local, settings }) => {
  const lake = await lakehouse({ workspace: workspaceOf(local) });
  await using db = await connect(settings());
  await db.query(`CREATE TABLE plotted AS SELECT n AS whole, CASE WHEN n % 7 <> 0 THEN 'zone ' || n % 40 END AS zone,
    CASE n % 11 WHEN 0 THEN 'NaN' WHEN 1 THEN NULL ELSE n / 3.0 END::float8 AS fare, (n * 1.25)::numeric(10, 2) AS price, n % 3 = 0 AS paid,
    TIMESTAMPTZ '2026-01-01 00:00Z' + n * INTERVAL '7 hours' AS at, DATE '2026-01-01' + n AS day,
    TIMESTAMP '2026-01-01 00:00' + n * INTERVAL '1 day' AS local, ARRAY[n % 3] AS list FROM generate_series(1, 400) AS n`);
  const least = 3;
  for (const options of CHARTS) {
    const expected = await db.sql`SELECT * FROM plotted WHERE whole >= ${least}`.plot(options);
    const found = await lake.sql`SELECT * FROM plotted WHERE whole >= ${least}`.plot(options);
    assert.deepEqual([options, found.data], [options, expected.data]);
    assert.equal(found.summary.replace(/ *on SQL warehouse.*/, "").trim(), expected.summary.trim());
  }
  const calls = local.requests.length;
  const chart = lake.sql`SELECT n AS x, n AS y FROM generate_series(1, 100000) AS n`.plot({
    x: "x",
    y: "y",
    mark: "point",
  });
  assert.match(await drawn(chart), /a sample of [\d,]+ of 100,000 rows[^]*on SQL warehouse/);
  assert.ok(local.requests.slice(calls).filter(({ method }) => method === "POST").length <= 5);
  assert.match((await errorOf(lake.sql`SELECT 1 AS a`.plot({ x: "b" }))).message, /"b", which is not a column/);
  assert.match((await errorOf(lake.sql`SELECT * FROM nix`.plot())).message, /TABLE_OR_VIEW_NOT_FOUND/);
  await db.query("DROP TABLE plotted");
});
