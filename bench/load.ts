/**
 * Measures the cost of a query for 1, 15 and 200 concurrent callers, and compares it with raw `pg.Pool` with the same options.
 * The server is a real PostgreSQL over TLS, as Lakebase uses. The query methods take turns in many short rounds. Each is
 * compared with `pg.Pool` in the same round, so that other load on the machine affects all of them equally; the result is
 * the median ratio. CPU time counts only this process and shows differences of a few percent that the clock can't show.
 * Everything runs on one core, because a backend on the caller's core answers twice as fast as one on another core.
 * Run with `deno task bench` or `deno run -A bench/load.ts`.
 */

import process from "node:process";
// @ts-types="@types/pg"
import pg from "pg";
import { connect } from "../mod.ts";
import { CertificateAuthority } from "../src/local/certificate.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { median } from "./support/timing.ts";

const QUERIES = 300;
const ROUNDS = 101;
const WARM_UP = 10;
const MAX = 15;

/** Microseconds per query. */
interface Cost {
  clock: number;
  cpu: number;
}

type Query = (n: number) => PromiseLike<unknown>;

await onOneCore();
const authority = await CertificateAuthority.create();
await using server = await startPostgres({ password: "bench", certificate: authority.issue() });
const login = { host: "127.0.0.1", port: server.port, user: "postgres", database: "postgres", password: "bench" };
await using db = await connect({ ...login, ca: authority.ca, max: MAX });
const raw = new pg.Pool({
  ...login,
  ssl: { ca: authority.ca },
  max: MAX,
  idleTimeoutMillis: 30_000,
  allowExitOnIdle: true,
});
raw.on("error", () => {}); // the server may report its shutdown after end()

const METHODS = {
  "pg.Pool": (n) => raw.query("SELECT $1::int AS n", [n]),
  "db.sql": (n) => db.sql`SELECT ${n}::int AS n`,
  "db.query": (n) => db.query("SELECT $1::int AS n", [n]),
  "db.pool": (n) => db.pool.query("SELECT $1::int AS n", [n]),
} satisfies Record<string, Query>;

const lines = [];
for (const callers of [1, 15, 200]) {
  const costs = await rounds(callers);
  for (const method of Object.keys(METHODS) as (keyof typeof METHODS)[]) {
    const ratio = (what: keyof Cost) => {
      return spread(costs[method].map((cost, round) => cost[what] / costs["pg.Pool"][round]![what]));
    };
    lines.push({
      callers,
      method,
      "queries/s": Math.round(1e6 / median(costs[method].map(({ clock }) => clock))).toLocaleString("en"),
      "CPU µs": median(costs[method].map(({ cpu }) => cpu)).toFixed(1),
      "CPU : pg.Pool": ratio("cpu"),
      "clock : pg.Pool": ratio("clock"),
      limit: method === "pg.Pool" ? "" : "1.05",
    });
  }
}
await raw.end();
// deno-lint-ignore no-console -- a benchmark's output
console.table(lines);

/** Pins this process and the processes that it starts to one core. Works only on Linux. */
async function onOneCore(): Promise<void> {
  const pin = new Deno.Command("taskset", { args: ["-a", "-c", "-p", "0", `${Deno.pid}`], stdout: "null" });
  await pin.output().catch(() => {});
}

/** Returns the cost of each query method in each round. */
async function rounds(callers: number): Promise<Record<keyof typeof METHODS, Cost[]>> {
  const costs: Record<keyof typeof METHODS, Cost[]> = { "pg.Pool": [], "db.sql": [], "db.query": [], "db.pool": [] };
  const methods = Object.entries(METHODS) as [keyof typeof METHODS, Query][];
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    for (const [method, query] of methods) {
      const cost = await load(callers, query);
      if (round >= 0) costs[method].push(cost);
    }
    methods.push(methods.shift()!); // so that none always comes first or after the same one
    if (round % 2 === 0) methods.reverse();
  }
  return costs;
}

async function load(callers: number, query: Query): Promise<Cost> {
  let next = 0;
  const started = performance.now();
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: callers }, async () => {
    while (next < QUERIES) await query(next++);
  }));
  const { user, system } = process.cpuUsage(before);
  return { clock: (performance.now() - started) * 1000 / QUERIES, cpu: (user + system) / QUERIES };
}

/** Formats the median and the range of the middle half. */
function spread(ratios: readonly number[]): string {
  const sorted = ratios.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.floor(part * sorted.length)]!.toFixed(2);
  return `${median(ratios).toFixed(2)} (${at(0.25)} to ${at(0.75)})`;
}
