import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { tlsOptions } from "../../src/net/tls.ts";
import { LakebasePool } from "../../src/net/pool.ts";
import type { WatchOptions } from "../../src/net/watch.ts";
import type { LocalLakebase } from "../../src/local/mod.ts";
import { localTests } from "../support/lakebase.ts";

const test = localTests({ passwords: { app: "native-secret" } });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function watchedPool({ env, ca }: LocalLakebase, watch: WatchOptions): Promise<LakebasePool> {
  return new LakebasePool({
    ...{ host: "localhost", port: Number(env["PGPORT"]), database: env["PGDATABASE"]!, user: "app" },
    ...{ password: "native-secret", native: true, ssl: await tlsOptions("localhost", "verify-full", ca) },
    ...{ max: 3, idleTimeout: 30, maxLifetime: 3600, connectTimeout: 2, statementTimeout: 0, readOnly: false, watch },
  });
}

test("watchClient() ends a statement whose server is gone without a word", async ({ local }) => {
  const pool = await watchedPool(local, { silence: 200, limit: 200 });
  await pool.query("SELECT 1");
  const waiting = pool.query("SELECT pg_sleep(60)");
  waiting.catch(() => {});
  await sleep(100);
  local.faults.blackhole = true;
  const started = performance.now();
  await assert.rejects(waiting, { message: "the server does not answer any more" });
  assert.ok(performance.now() - started < 2000);
  local.faults.reset();
  assert.equal((await pool.query("SELECT 1 AS n")).rows[0].n, 1);
  await pool.end();
});

test("watchClient() leaves a statement alone that takes its time, and a server that was silent for a moment", async ({ local }) => {
  const pool = await watchedPool(local, { silence: 100, limit: 1500 });
  await pool.query("SELECT 1");
  const waiting = pool.query("SELECT pg_sleep(1.5), 1 AS n");
  await sleep(300);
  local.faults.blackhole = true;
  await sleep(700);
  local.faults.blackhole = false;
  assert.equal((await waiting).rows[0].n, 1);
  await pool.end();
});

test("watchClient() asks nobody while a connection is idle, and outlives none", async ({ local }) => {
  const pool = await watchedPool(local, { silence: 50 });
  await pool.query("SELECT 1");
  const before = local.logins.length;
  await sleep(400);
  assert.equal(local.connections, 1);
  assert.equal(local.logins.length, before);
  await pool.end();
});

test("a network that swallows everything is found within a minute", async ({ local, settings }) => {
  await using db = await connect(settings());
  const waiting = db.query("SELECT pg_sleep(600)");
  waiting.catch(() => {});
  await sleep(100);
  local.faults.blackhole = true;
  const started = performance.now();
  await assert.rejects(waiting, { code: "CONNECTION_LOST" });
  assert.ok(performance.now() - started < 60_000);
  local.faults.reset();
});
