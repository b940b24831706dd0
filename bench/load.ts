/**
 * Queries a second at 1, 15 and 200 callers, beside raw `pg.Pool` with the same options, on a real PostgreSQL over TLS as
 * Lakebase has it: medians of 5. Run with `deno task bench` or `deno run -A bench/load.ts`.
 */

// @ts-types="@types/pg"
import pg from "pg";
import { connect } from "../mod.ts";
import { CertificateAuthority } from "../src/local/certificate.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { contest } from "./support/contest.ts";

const QUERIES = 4000;
const MAX = 15;

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

const lines = [];
for (const callers of [1, 15, 200]) {
  const took = await contest({
    raw: () => load(callers, (n) => raw.query("SELECT $1::int AS n", [n])),
    ours: () => load(callers, async (n) => await db.sql`SELECT ${n}::int AS n`),
    pool: () => load(callers, (n) => db.pool.query("SELECT $1::int AS n", [n])),
  });
  const rate = (ms: number) => Math.round(QUERIES / ms * 1000).toLocaleString("en");
  lines.push({
    callers,
    "pg.Pool, queries/s": rate(took.raw),
    "sql, queries/s": rate(took.ours),
    "db.pool, queries/s": rate(took.pool),
    "sql : pg.Pool": (took.raw / took.ours).toFixed(2),
    "limit": "0.95",
  });
}
await raw.end();
// deno-lint-ignore no-console -- a benchmark's output
console.table(lines);

async function load(callers: number, query: (n: number) => PromiseLike<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: callers }, async () => {
    while (next < QUERIES) await query(next++);
  }));
}
