/**
 * Compares `profile()` of 1,000,000 rows of 6 columns with the plain queries for the same figures, on a real PostgreSQL. Run
 * with `deno run -A bench/profile.ts`.
 */

import { connect } from "../mod.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { medianTimes } from "./support/timing.ts";
import { benchLogin, makeTrips } from "./support/database.ts";

const ROWS = 1_000_000;
const TIMES = Number(Deno.args[0] ?? 3);

await using server = await startPostgres({ password: "bench" });
await using db = await connect(benchLogin(server.port));
await makeTrips(db, ROWS);

const COLUMNS = ["id", "zone", "fare", "started", "miles", "paid"].map((name) => db.sql.id(name));
const RANKED = ["id", "fare", "started", "miles"].map((name) => db.sql.id(name));

/** The same figures, each as a person would write it. */
async function plain(): Promise<void> {
  const each = COLUMNS.filter((_, index) => index < 5).map((c) => db.sql`count(${c}), min(${c}), max(${c})`);
  await db.sql`SELECT ${db.sql.join(each)}, avg(id), avg(fare), avg(miles), count(paid) FROM trips`;
  for (const c of COLUMNS) {
    await db.sql`WITH g AS MATERIALIZED (SELECT ${c} AS k, count(*) AS n FROM trips GROUP BY 1)
      SELECT (SELECT count(*) FROM g), (SELECT array_agg(k) FROM (SELECT k FROM g ORDER BY n DESC LIMIT 5) AS top)`;
  }
  for (const c of RANKED) {
    await db.sql`SELECT percentile_disc(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY ${c}) FROM trips`;
  }
}

const { queries, exact, sampled } = await medianTimes({
  queries: plain,
  exact: async () => void await db.profile("trips", { sample: Infinity }),
  sampled: async () => void await db.profile("trips"),
}, TIMES);

// deno-lint-ignore no-console -- a benchmark's output
console.table({
  "plain queries for the figures of 1,000,000 rows": { ms: Math.round(queries) },
  "profile() of all rows": { ms: Math.round(exact), limit: Math.round(1.2 * queries) },
  "profile() of a sample, the default": { ms: Math.round(sampled), limit: 1000 },
});
