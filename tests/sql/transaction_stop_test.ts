import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { inTime } from "../support/eventually.ts";
import { pgliteTests } from "../support/lakebase.ts";

const test = pgliteTests();

test("a transaction on a server that went silent ends soon after it is stopped", async ({ local, settings }) => {
  await using db = await connect(settings());
  const work = db.transaction(async (tx) => {
    await tx.sql`SELECT 1`;
    local.faults.blackhole = true;
    await tx.sql`SELECT 2`;
  }, { timeout: 1 });
  await inTime("the end of the transaction", assert.rejects(work, { code: "CANCELED" }));
  local.faults.reset();
});

test("a transaction that waits for another one stops on request", async ({ settings }) => {
  await using db = await connect(settings());
  const held = await db.pool.connect();
  await held.query("BEGIN");
  await held.query("SELECT 1");
  const signal = AbortSignal.timeout(200);
  const work = db.transaction((tx) => tx.query("SELECT 1"), { signal });
  await inTime("the end of the transaction", assert.rejects(work, { name: "TimeoutError" }));
  await held.query("ROLLBACK");
  held.release();
});
