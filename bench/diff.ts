/**
 * Compares a table of 1,000,000 rows, 100 of which differ, in two databases of a real PostgreSQL. Also measures reading
 * both tables completely. Run with `deno run -A bench/diff.ts`.
 */

import { connect } from "../mod.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { median, timed } from "./support/timing.ts";
import { benchLogin, makeTrips } from "./support/database.ts";

const ROWS = 1_000_000;
const TIMES = Number(Deno.args[0] ?? 3);

await using server = await startPostgres({ password: "bench" });
const login = benchLogin(server.port);
await using main = await connect(login);
await main.query("CREATE DATABASE copy");
await using copy = await connect({ ...login, database: "copy" });
for (const db of [main, copy]) {
  await makeTrips(db, ROWS);
  await db.sql`ALTER TABLE trips ADD PRIMARY KEY (id)`;
}

async function measured(run: () => Promise<unknown>): Promise<number> {
  const durations: number[] = [];
  for (let n = 0; n < TIMES; n++) durations.push(await timed(run));
  return Math.round(median(durations));
}

const equal = await measured(() => main.diff(copy, "trips"));
await copy.sql`UPDATE trips SET fare = fare + 1 WHERE id % 10000 = 77`;
const few = await measured(() => main.diff(copy, "trips"));
const { changed, fetched } = await main.diff(copy, "trips");
const schemas = await measured(() => main.diff(copy));
const whole = await measured(() =>
  Promise.all([main, copy].map((db) => db.pull("trips", "/dev/null", { format: "csv" })))
);
await copy.sql`UPDATE trips SET fare = fare + 1`;
const all = await measured(() => main.diff(copy, "trips"));

// deno-lint-ignore no-console -- a benchmark's output
console.table({
  "diff of 1,000,000 equal rows": { ms: equal },
  [`diff of 1,000,000 rows, ${changed} changed`]: { ms: few, limit: 5000 },
  "  rows fetched, of both": { rows: fetched, limit: 2 * ROWS / 100 },
  "diff of 1,000,000 rows, all changed": { ms: all },
  "diff of the two schemas": { ms: schemas },
  "COPY of both tables, for comparison": { ms: whole },
});
