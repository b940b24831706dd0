/**
 * Compares a chart (bars of 1,000,000 rows in 265 groups) with the plain GROUP BY that it needs, on a real PostgreSQL.
 * Also measures the import of the first chart. Run with `deno run -A bench/plot.ts`.
 */

import { connect } from "../mod.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { medianTimes } from "./support/timing.ts";
import { benchLogin } from "./support/database.ts";

const ROWS = 1_000_000;
const TIMES = Number(Deno.args[0] ?? 7);

await using server = await startPostgres({ password: "bench" });
await using db = await connect(benchLogin(server.port));
await db.sql`CREATE TABLE trips AS SELECT 'zone ' || n % 265 AS zone, (n % 5000 / 100.0)::numeric(10, 2) AS fare,
  '2026-01-01Z'::timestamptz + n * interval '30 s' AS started, random() * 100 AS miles FROM generate_series(1, ${ROWS}) n`;
await db.sql`VACUUM ANALYZE trips`;
const trips = db.sql`SELECT * FROM trips`;

const started = performance.now();
const { drawSvg } = await import("../src/plot/plot.ts");
await drawSvg({ $schema: "https://vega.github.io/schema/vega-lite/v5.json", data: { values: [] }, mark: "bar" }, false);
const first = performance.now() - started;

const bars = await medianTimes({
  plain: async () => void await db.sql`SELECT zone, avg(fare) FROM trips GROUP BY zone`,
  plot: async () => void await trips.plot({ x: "zone", y: "avg(fare)" }),
}, TIMES);
const others = await medianTimes({
  line: async () => void await trips.plot({ x: "started", y: "avg(fare)" }),
  histogram: async () => void await trips.plot({ mark: "histogram", x: "miles" }),
  points: async () => void await trips.plot({ mark: "point", x: "miles", y: "fare" }),
  box: async () => void await trips.plot({ mark: "box", y: "miles" }),
}, 3);

const { plain, plot } = bars;
// deno-lint-ignore no-console -- a benchmark's output
console.table({
  "import of the first chart": { ms: Math.round(first), limit: 1000 },
  "GROUP BY of 1,000,000 rows by 265": { ms: Math.round(plain) },
  "bars of the same": { ms: Math.round(plot), limit: Math.round(1.1 * plain + 300) },
  ...Object.fromEntries(
    Object.entries(others).map(([name, ms]) => [`${name} of 1,000,000 rows`, { ms: Math.round(ms) }]),
  ),
});
