import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { localTests } from "../support/lakebase.ts";

const test = localTests();

test("a transaction on a server that went silent ends soon after it is stopped", async ({ local, settings }) => {
  await using db = await connect(settings());
  const started = performance.now();
  const work = db.transaction(async (tx) => {
    await tx.sql`SELECT 1`;
    local.faults.blackhole = true;
    await tx.sql`SELECT 2`;
  }, { timeout: 1 });
  await assert.rejects(work, { code: "CANCELED" });
  assert.ok(performance.now() - started < 6000, `${performance.now() - started} ms`);
  local.faults.reset();
});

test("a transaction that waits for another one stops on request", async ({ settings }) => {
  await using db = await connect(settings());
  const held = await db.pool.connect();
  await held.query("BEGIN");
  await held.query("SELECT 1");
  const started = performance.now();
  const signal = AbortSignal.timeout(1000);
  await assert.rejects(db.transaction((tx) => tx.query("SELECT 1"), { signal }), { name: "TimeoutError" });
  assert.ok(performance.now() - started < 6000, `${performance.now() - started} ms`);
  await held.query("ROLLBACK");
  held.release();
});
