/**
 * The largest stall of the event loop: how long Stop, progress and other cells wait while rows become objects, while a pull
 * writes Parquet, and while the first chart is drawn. On a real PostgreSQL. Run with `deno run -A bench/stalls.ts`.
 *
 * On Linux it also tells how much of a stall the thread itself was busy (`busy`): on a machine with other work, the rest is
 * the wait for a processor.
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

/** Milliseconds that the main thread has run; Linux only. */
function threadTime(): number {
  if (Deno.build.os !== "linux") return NaN;
  return Number(Deno.readTextFileSync(`/proc/self/task/${Deno.pid}/schedstat`).split(" ")[0]) / 1e6;
}

interface Stall {
  stall: number;
  busy: number;
  ms: number;
}

/** Runs something beside a timer that should fire each millisecond, and returns the longest time that it did not. */
async function largestStall(run: () => Promise<unknown>): Promise<Stall> {
  let [last, lastTime] = [performance.now(), threadTime()];
  let [stall, busy] = [0, 0];
  const note = () => {
    const [now, time] = [performance.now(), threadTime()];
    stall = Math.max(stall, now - last);
    busy = Math.max(busy, time - lastTime);
    [last, lastTime] = [now, time];
  };
  const timer = setInterval(note, 1);
  const started = last;
  await run();
  const ms = performance.now() - started;
  await new Promise((resolve) => setTimeout(resolve, 2)); // the stall that the end is a part of
  note();
  clearInterval(timer);
  return { stall: Math.round(stall), busy: Math.round(busy), ms: Math.round(ms) };
}

const rows: Record<string, Stall & { limit: number }> = {};
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
