import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { inTime } from "../support/eventually.ts";
import { pgliteTests } from "../support/lakebase.ts";
import { untilSent } from "../support/queries.ts";

const test = pgliteTests();

test("a transaction on a server that went silent ends soon after it is stopped", async ({ local, settings }) => {
  await using db = await connect(settings());
  const controller = new AbortController();
  const reason = new Error("enough");
  const work = db.transaction(async (tx) => {
    await tx.sql`SELECT 1`;
    local.faults.blackhole = true;
    await tx.sql`SELECT 2`;
  }, { signal: controller.signal });
  const ended = assert.rejects(work, reason);
  await untilSent(db, "SELECT 2");
  controller.abort(reason);
  await inTime("the end of the transaction", ended);
  local.faults.reset();
});

test("a transaction that waits for another one stops on request", async ({ settings }) => {
  await using db = await connect(settings());
  const held = await db.pool.connect();
  await held.query("BEGIN");
  await held.query("SELECT 1");
  const controller = new AbortController();
  const reason = new Error("enough");
  const ended = assert.rejects(db.transaction((tx) => tx.query("SELECT 1"), { signal: controller.signal }), reason);
  await untilSent(db);
  controller.abort(reason);
  await inTime("the end of the transaction", ended);
  await held.query("ROLLBACK");
  held.release();
});
