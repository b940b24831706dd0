import assert from "node:assert/strict";
import { inTime, nextTurn } from "../../support/eventually.ts";
import { failedPull, pullTest, recordingStream } from "../../support/transfers.ts";

/** Enough rows for progress reports. */
const MANY = "SELECT generate_series(1, 3000000) AS n, repeat('x', 100) AS x";
const mine = new TypeError("mine");

const throwsAtTheEnd = ({ done }: { done: boolean }) => {
  if (done) throw mine;
};
const rejectsLater = async (progress: { done: boolean }) => {
  await nextTurn();
  throwsAtTheEnd(progress);
};
const rejects = () => Promise.reject(mine);

pullTest("a rejection of onProgress ends the pull, and the old file stays", async ({ db, folder }) => {
  for (const sql of [MANY, "SELECT 1"]) {
    const query = db.sql`${db.sql.unsafe(sql)}`;
    assert.equal(await failedPull(db, folder, (path) => query.pull(path, { onProgress: rejects })), mine);
  }
});

pullTest("onProgress gets the last report before the file is replaced", async ({ db, folder }) => {
  const query = db.sql`SELECT 1`;
  for (const onProgress of [throwsAtTheEnd, rejectsLater]) {
    assert.equal(await failedPull(db, folder, (path) => query.pull(path, { onProgress })), mine);
  }
  const { stream, state } = recordingStream();
  await assert.rejects(query.pull(stream, { format: "csv", onProgress: throwsAtTheEnd }), mine);
  assert.equal(state(), "aborted: mine");
});

async function* endlessRows() {
  for (;;) {
    await nextTurn();
    for (let n = 0; n < 1000; n++) yield { a: 1 };
  }
}

pullTest("a rejection of onProgress ends a load, which loads nothing", async ({ db }) => {
  await db.sql`CREATE TABLE progress_load (a int)`;
  try {
    const loading = db.load("progress_load", endlessRows(), { onProgress: rejects });
    await inTime("the end of the load", assert.rejects(loading, mine));
    await assert.rejects(db.load("progress_load", [{ a: 1 }], { onProgress: rejects }), mine);
    await assert.rejects(db.load("progress_load", [{ a: 1 }], { onProgress: throwsAtTheEnd }), mine);
    assert.equal(await db.sql`SELECT count(*)::int FROM progress_load`.value(), 0);
  } finally {
    await db.sql`DROP TABLE progress_load`;
  }
});
