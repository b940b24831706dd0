import assert from "node:assert/strict";
import { SESSION } from "../../src/api/lakebase.ts";
import { estimateRows } from "../../src/catalog/source.ts";
import { queryTest } from "../support/queries.ts";

queryTest("estimateRows() asks the planner, and never fails", async ({ db, open }) => {
  const session = db[SESSION];
  await db.query("CREATE TABLE IF NOT EXISTS estimated AS SELECT n FROM generate_series(1, 5000) n");
  await db.query("ANALYZE estimated");
  assert.equal(await estimateRows(session, 'SELECT * FROM "public"."estimated"'), 5000);
  assert.equal(await estimateRows(session, "TABLE estimated"), 5000);
  assert.equal(await estimateRows(session, "VALUES (1), (2)"), 2);
  assert.equal(await estimateRows(session, "SELECT FROM nowhere"), undefined);
  assert.equal(await estimateRows(session, "no sql"), undefined);
  await db.query("DROP TABLE estimated");
  const single = await open({ max: 1 });
  await single.transaction(async (tx) => {
    await tx.query("SELECT 1");
    assert.equal(await estimateRows(single[SESSION], "VALUES (1)"), undefined); // no connection is free
  });
});
