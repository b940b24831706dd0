/**
 * Measures the largest stall of the event loop: how long Stop, progress and other cells wait while rows become objects,
 * while a pull writes Parquet, and while the first chart is drawn. Uses a real PostgreSQL. Run with `deno run -A
 * bench/stalls.ts`.
 *
 * On Linux it also says for how much of the largest stall the thread itself was busy (`busy`), and how long it waited
 * for a processor (`queued`) on a machine with other work. In the rest of the time it waited for another thread or a
 * file.
 */

import { connect } from "../mod.ts";
import { drawSvg } from "../src/plot/plot.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { benchLogin, makeTrips } from "./support/database.ts";

const ROWS = 1_000_000;

/**
 * A moment of the main thread, in milliseconds: the time, how long the thread has run, and how long it has waited for a
 * processor.
 */
type Moment = [now: number, busy: number, queued: number];

function moment(): Moment {
  const now = performance.now();
  if (Deno.build.os !== "linux") return [now, NaN, NaN];
  const [busy, queued] = Deno.readTextFileSync(`/proc/self/task/${Deno.pid}/schedstat`).split(" ");
  return [now, Number(busy) / 1e6, Number(queued) / 1e6];
}

interface Stall {
  stall: number;
  busy: number;
  queued: number;
  /** The duration of the whole work. */
  ms: number;
}

/** Runs something beside a timer that should fire each millisecond, and returns the longest time that it did not. */
async function largestStall(run: () => Promise<unknown>): Promise<Stall> {
  let last = moment();
  let largest = [0, 0, 0];
  const note = () => {
    const now = moment();
    const held = now.map((at, index) => at - last[index]!);
    if (held[0]! > largest[0]!) largest = held;
    last = now;
  };
  const timer = setInterval(note, 1);
  const [started] = last;
  await run();
  const ms = performance.now() - started;
  await new Promise((resolve) => setTimeout(resolve, 2)); // the stall that the end is a part of
  note();
  clearInterval(timer);
  const [stall, busy, queued] = largest.map(Math.round) as Moment;
  return { stall, busy, queued, ms: Math.round(ms) };
}

const rows: Record<string, Stall & { limit: number }> = {};
const measure = async (what: string, run: () => Promise<unknown>) => {
  rows[what] = { ...await largestStall(run), limit: 50 };
};

async function measureAll(): Promise<void> {
  await using server = await startPostgres({ password: "bench" });
  await using db = await connect(benchLogin(server.port));
  await makeTrips(db, ROWS);

  const file = `${await Deno.makeTempDir()}/trips.parquet`;
  const empty = { data: { values: [] }, mark: "bar" };
  await measure("the first drawing in a notebook", () => drawSvg(empty, false));
  await measure("the first chart in a script", async () => await db.sql`SELECT zone, fare FROM trips`.plot());
  await measure("another chart", async () => await db.sql`SELECT zone, miles FROM trips`.plot());
  await measure("a pull of 1,000,000 rows to Parquet", () => db.pull("trips", file));
  await measure("1,000,000 rows as objects", async () => await db.sql`SELECT * FROM trips`);
  await measure("a pull again, beside their garbage", () => db.pull("trips", file));
  await Deno.remove(file);
}

await measureAll();
// deno-lint-ignore no-console -- a benchmark's output
console.table(rows);
Deno.exit(); // the worker of a notebook does not end by itself
