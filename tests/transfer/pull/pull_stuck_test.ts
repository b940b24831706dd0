import assert from "node:assert/strict";
import type { PullOptions } from "../../../mod.ts";
import { heldLimit, inTime } from "../../support/eventually.ts";
import { errorOf } from "../../support/queries.ts";
import { namesIn, pullTest } from "../../support/transfers.ts";

/** More rows than fit between the server and a target that accepts none. */
const MANY = "SELECT n, repeat('x', 100) AS x FROM generate_series(1, 1000000) AS n";
/** Called when a stream is stuck. */
let onStuck = () => {};
const never = () => {
  onStuck();
  return new Promise<void>(() => {});
};

/** Fails if work does not end. Otherwise the test would wait for it forever. */
const endsInTime = <T>(work: Promise<T>) => inTime("the end of what was stopped", work);

const STUCK: readonly (readonly [name: string, sink: UnderlyingSink<Uint8Array>, sql: string, options: PullOptions])[] =
  [
    ["never starts", { start: never }, MANY, { format: "csv" }],
    ["accepts none of many rows", { write: never }, MANY, { format: "csv" }],
    ["does not accept its one row", { write: never }, "SELECT 1", { format: "csv" }],
    ["accepts no gzip", { write: never }, MANY, { format: "ndjson", gzip: true }],
    ["accepts no Arrow", { write: never }, MANY, { format: "arrow" }],
    ["accepts no Parquet", { write: never }, MANY, { format: "parquet" }],
    ["never ends", { close: never }, "SELECT 1", { format: "csv" }],
    ["accepts no rows and no end", { write: never, abort: never }, MANY, { format: "csv" }],
  ];

for (const [name, sink, sql, options] of STUCK) {
  pullTest(`a signal and a timeout end a pull to a stream that ${name}`, async ({ open }) => {
    const db = await open({ max: 1 });
    const reason = new Error("enough");
    const controller = new AbortController();
    onStuck = () => controller.abort(reason);
    const pull = (stop: PullOptions) => {
      return endsInTime(db.sql`${db.sql.unsafe(sql)}`.pull(new WritableStream(sink), { ...options, ...stop }));
    };
    await assert.rejects(pull({ signal: controller.signal }), reason);
    assert.match((await errorOf(pull({ timeout: 0.3 }))).message, /longer than its timeout of 0\.3 s/);
    assert.equal(await endsInTime(Promise.resolve(db.sql`SELECT 1`.value())), 1); // its only connection is free again
  });
}

pullTest("a failed query ends a pull after its time limit, although its stream does not end", async ({ db }) => {
  using limit = heldLimit(31);
  onStuck = limit.pass; // the query has failed before the limit passes
  const stream = new WritableStream<Uint8Array>({ abort: never });
  const error = await errorOf(endsInTime(db.sql`SELECT 1 / 0`.pull(stream, { format: "csv", timeout: 31 })));
  assert.equal(error.sqlstate, "22012");
});

pullTest("a transaction that is stopped ends a pull to a stream that accepts nothing", async ({ db }) => {
  using limit = heldLimit(31);
  onStuck = limit.pass; // the pull has begun before the limit passes
  let pulling: Promise<unknown> = Promise.resolve();
  const work = db.transaction(async (tx) => {
    pulling = tx.sql`${tx.sql.unsafe(MANY)}`.pull(new WritableStream({ write: never }), { format: "csv" });
    await pulling;
  }, { timeout: 31 });
  assert.equal((await errorOf(endsInTime(work))).code, "CANCELED");
  assert.equal((await errorOf(endsInTime(pulling))).code, "CANCELED"); // the pull has ended, too
});

pullTest("an onProgress that never settles does not keep a pull from being stopped", async ({ db, folder }) => {
  const options = { timeout: 0.3, onProgress: never };
  assert.equal((await errorOf(endsInTime(db.sql`SELECT 1`.pull(`${folder}/t.csv`, options)))).code, "CANCELED");
  assert.deepEqual(namesIn(folder), []);
});

pullTest(
  "a pull that is stopped at its end either fails without a file, or reports that it is complete",
  async ({ db, folder }) => {
    const outcomes = new Set<boolean>();
    for (let turns = 0; turns < 30; turns++) {
      const controller = new AbortController();
      const abortLater = async () => {
        for (let turn = 0; turn < turns; turn++) await undefined;
        controller.abort();
      };
      const onProgress = ({ done }: { done: boolean }) => done ? void abortLater() : undefined;
      const pulling = db.sql`SELECT 1 AS a`.pull(`${folder}/${turns}.csv`, { signal: controller.signal, onProgress });
      const whole = await pulling.then(() => true, () => false);
      assert.equal(namesIn(folder).includes(`${turns}.csv`), whole, `${turns} turns`);
      outcomes.add(whole);
    }
    assert.deepEqual([...outcomes].sort(), [false, true]); // else the stop never came near the end
    assert.ok(namesIn(folder).every((name) => name.endsWith(".csv")));
  },
);
