/**
 * The largest stall of the event loop: how long Stop, progress and other cells wait while rows become objects, while a pull
 * writes Parquet, and while the first chart is drawn. On a real PostgreSQL. Run with `deno run -A bench/stalls.ts`.
 */

import { connect } from "../mod.ts";
import { startPostgres } from "../tests/support/postgres.ts";

const ROWS = 1_000_000;

await using server = await startPostgres({ password: "bench" });
await using db = await connect({
  ...{ host: "127.0.0.1", port: server.port, user: "postgres", database: "postgres", password: "bench", max: 2 },
  sslMode: "disable",
});
await db
  .sql`CREATE TABLE trips AS SELECT n::int AS id, 'zone ' || n % 265 AS zone, (n % 5000 / 100.0)::numeric(10, 2) AS fare,
  '2026-01-01Z'::timestamptz + n * interval '30 s' AS started, n / 7.0::float8 AS miles, n % 2 = 0 AS paid
  FROM generate_series(1, ${ROWS}) n`;
await db.sql`VACUUM ANALYZE trips`;

/** Runs something beside a timer that should fire each millisecond, and returns the longest time that it did not. */
async function largestStall(run: () => Promise<unknown>): Promise<{ stall: number; ms: number }> {
  let last = performance.now();
  let stall = 0;
  const note = () => {
    stall = Math.max(stall, performance.now() - last);
    last = performance.now();
  };
  const timer = setInterval(note, 1);
  const started = last;
  await run();
  const ms = performance.now() - started;
  await new Promise((resolve) => setTimeout(resolve, 2)); // the stall that the end is a part of
  note();
  clearInterval(timer);
  return { stall: Math.round(stall), ms: Math.round(ms) };
}

const rows: Record<string, { stall: number; ms: number; limit: number }> = {};
const measure = async (what: string, run: () => Promise<unknown>) => {
  rows[what] = { ...await largestStall(run), limit: 50 };
};
const file = `${await Deno.makeTempDir()}/trips.parquet`;
await measure("the first chart", async () => await db.sql`SELECT zone, fare FROM trips`.plot());
await measure("another chart", async () => await db.sql`SELECT zone, miles FROM trips`.plot());
await measure("1,000,000 rows as objects", async () => await db.sql`SELECT * FROM trips`);
await measure("a pull of them to Parquet", () => db.pull("trips", file));
await Deno.remove(file);

// deno-lint-ignore no-console -- a benchmark's output
console.table(rows);
