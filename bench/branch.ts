// Measures the time to make a branch of a local Lakebase with 100 MB of data, up to the first query on it. Run with
// `deno run -A bench/branch.ts`.
// deno-lint-ignore-file no-console

import { connect } from "../mod.ts";
import { median } from "./support/timing.ts";

await using db = await connect({ local: true });
await db.sql`CREATE TABLE trips AS SELECT n AS id, repeat('x', 50) || n AS note FROM generate_series(1, 1100000) AS n`;
const size = await db.sql`SELECT pg_size_pretty(pg_database_size(current_database()))`.value();

const [branches, queries]: number[][] = [[], []];
for (let round = 0; round < 5; round++) {
  const started = performance.now();
  await using copy = await db.branch();
  branches!.push(performance.now() - started);
  await copy.sql`SELECT id FROM trips LIMIT 1`.value();
  queries!.push(performance.now() - started);
}
console.log(`a branch of an embedded Lakebase with ${size} (median of 5)`);
console.log(`  branch()                  ${median(branches!).toFixed(0)} ms`);
console.log(`  branch() and a first row  ${median(queries!).toFixed(0)} ms (at most 3000)`);
