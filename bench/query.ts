/**
 * Compares the `sql` layer with raw `pg` in one run on a real PostgreSQL. Prints a table of medians.
 * Run with `deno run -A --v8-flags=--expose-gc bench/query.ts`.
 */

// @ts-types="@types/pg"
import pg from "pg";
import { connect } from "../mod.ts";
import { isTraced } from "../src/core/trace.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { benchLogin, sixColumns } from "./support/database.ts";
import { collectGarbage, median, medianTimes, timed } from "./support/timing.ts";

const ROWS = 1_000_000;
const TABLE = "SELECT * FROM bench";

interface Row {
  what: string;
  raw?: number;
  ours: number;
  unit: string;
  limit: string;
}

await using server = await startPostgres({ password: "bench" });
const raw = new pg.Pool({ connectionString: server.url, max: 1, ssl: false });
raw.on("error", () => {});
const db = await connect({ ...benchLogin(server.port), max: 1 });

await db.sql`CREATE TABLE bench AS ${sixColumns(db, ROWS)}`;
await db.sql`ANALYZE bench`;

const table: Row[] = [];
table.push(...await whole());
table.push(...await display());
table.push(...await small());
table.push(tracing());
print(table);
await db.close();
await raw.end();

async function whole(): Promise<Row[]> {
  const query = { raw: () => raw.query(TABLE), ours: async () => await db.query(TABLE) };
  const time = await medianTimes(query, 5);
  const memory = { raw: await peak(query.raw), ours: await peak(query.ours) };
  return [
    {
      what: `await sql, ${ROWS.toLocaleString("en")} rows x 6`,
      raw: time.raw,
      ours: time.ours,
      unit: "ms",
      limit: "1.0x",
    },
    { what: "  peak memory of that", raw: memory.raw, ours: memory.ours, unit: "MB", limit: "1.0x" },
  ];
}

async function display(): Promise<Row[]> {
  const draw = async () => {
    const query = db.sql`${db.sql.unsafe(TABLE)}`;
    await (query as unknown as Record<symbol, () => Promise<unknown>>)[Symbol.for("Jupyter.display")]!();
  };
  const first = await timed(draw);
  const { ours } = await medianTimes({ ours: repeat(100, draw) }, 9);
  return [
    { what: "first bare display of the same table", ours: first, unit: "ms", limit: "100 ms" },
    { what: "bare display, once warm", ours: ours / 100, unit: "ms", limit: "" },
    { what: "  peak memory of that", ours: await peak(draw), unit: "MB", limit: "constant" },
  ];
}

async function small(): Promise<Row[]> {
  const many = (one: () => Promise<unknown>) => repeat(1000, one);
  const beside = (ours: () => Promise<unknown>) =>
    medianTimes({ raw: many(() => raw.query("SELECT 1")), ours: many(ours) }, 9);
  const viaQuery = await beside(() => db.query("SELECT 1"));
  const viaSql = await beside(async () => await db.sql`SELECT 1`);
  const viaPool = await beside(() => db.pool.query("SELECT 1"));
  return [
    { what: 'db.query("SELECT 1")', raw: viaQuery.raw, ours: viaQuery.ours, unit: "us", limit: "1.1x" },
    { what: "await sql`SELECT 1`", raw: viaSql.raw, ours: viaSql.ours, unit: "us", limit: "+1 ms" },
    { what: 'db.pool.query("SELECT 1")', raw: viaPool.raw, ours: viaPool.ours, unit: "us", limit: "" },
  ];
}

/** The cost of tracing for each query while no tracer provider is registered. */
function tracing(): Row {
  const times = 10_000_000;
  const started = performance.now();
  let traced = 0;
  for (let n = 0; n < times; n++) if (isTraced()) traced++;
  if (traced > 0) throw new Error("a tracer provider is registered");
  const ours = (performance.now() - started) / times * 1e6;
  return { what: "tracing that is off, in each query", ours, unit: "ns", limit: "100 ns" };
}

function repeat(count: number, one: () => Promise<unknown>): () => Promise<void> {
  return async () => {
    for (let n = 0; n < count; n++) await one();
  };
}

/** Returns the peak growth of the heap in megabytes, sampled every 5 ms and at the end; the median of 5 runs. */
async function peak(run: () => Promise<unknown>): Promise<number> {
  const peaks: number[] = [];
  for (let n = 0; n < 5; n++) {
    collectGarbage();
    const before = Deno.memoryUsage().heapUsed;
    let largest = 0;
    const sample = () => largest = Math.max(largest, Deno.memoryUsage().heapUsed - before);
    const timer = setInterval(sample, 5);
    const kept = await run();
    sample();
    clearInterval(timer);
    peaks.push(largest / 1e6);
    void kept;
  }
  return median(peaks);
}

function print(rows: Row[]): void {
  // deno-lint-ignore no-console -- a benchmark's output
  console.table(rows.map(({ what, raw, ours, unit, limit }) => ({
    what,
    "raw pg": raw === undefined ? "" : `${raw.toFixed(1)} ${unit}`,
    ours: `${ours.toFixed(1)} ${unit}`,
    ratio: raw === undefined ? "" : (ours / raw).toFixed(2),
    limit,
  })));
}
