import assert from "node:assert/strict";
import type { Lakebase } from "../../../mod.ts";
import { SESSION } from "../../../src/api/lakebase.ts";
import { onConnection } from "../../../src/sql/run.ts";
import type { Lease, Session } from "../../../src/sql/session.ts";
import { copyIn } from "../../../src/transfer/copy/copy_in.ts";
import { copyOut } from "../../../src/transfer/copy/copy_out.ts";
import { inTime } from "../../support/eventually.ts";
import { errorOf, queryTest } from "../../support/queries.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** Runs work on the only connection, so that the next statement would see anything that the work leaves behind. */
async function on<T>(
  db: Lakebase,
  work: (session: Session, lease: Lease, signal?: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
) {
  const session = db[SESSION];
  return await onConnection(session, { text: "COPY", values: [] }, signal, (lease, stop) => work(session, lease, stop));
}

const into = (
  db: Lakebase,
  source: Parameters<typeof copyIn>[3],
  signal?: AbortSignal,
  text = "COPY copied FROM STDIN",
) => on(db, (session, lease, stop) => copyIn(session, lease, text, source, stop), signal);

queryTest("copyOut() gives whole messages and the count of rows, and the connection stays usable", async ({ open }) => {
  const db = await open({ max: 1 });
  for (const format of ["csv", "binary"]) {
    const [rows, messages] = await on(db, async (session, lease) => {
      const text = `COPY (SELECT n, repeat('é', n % 50) FROM generate_series(1, 20000) n) TO STDOUT (FORMAT ${format})`;
      const copying = copyOut(session, lease, text, undefined);
      for (let messages = 0;;) {
        const { done, value } = await copying.next();
        if (done) return [value, messages] as const;
        messages += value.rows;
        if (format === "csv") assert.equal(value.bytes.at(-1), 0x0a);
      }
    });
    assert.deepEqual([rows, messages], [20_000, format === "csv" ? 20_000 : 20_001]);
    assert.equal(await db.sql`SELECT 1`.value(), 1);
  }
});

queryTest("leaving copyOut() early ends it on the server, and the connection stays usable", async ({ open }) => {
  const db = await open({ max: 1 });
  for (let n = 0; n < 3; n++) {
    await on(db, async (session, lease) => {
      const text = "COPY (SELECT repeat('x', 1000), generate_series(1, 100000000)) TO STDOUT";
      for await (const _ of copyOut(session, lease, text, undefined)) break;
    });
    assert.equal(await db.sql`SELECT 1`.value(), 1);
  }
});

queryTest(
  "a stopped COPY never counts as complete, however soon the server has sent the rest",
  async ({ open }) => {
    const db = await open({ max: 1 });
    for (const rows of [100, 1000, 3000, 10_000, 30_000]) {
      const reason = new Error("enough");
      const controller = new AbortController();
      const copying = on(db, async (session, lease, signal) => {
        const text = `COPY (SELECT repeat('x', 1000) FROM generate_series(1, ${rows})) TO STDOUT`;
        for await (const _ of copyOut(session, lease, text, signal)) {
          // Meanwhile the server continues to send. Both outcomes are right.
          await new Promise((resolve) => setTimeout(resolve, 30));
          controller.abort(reason);
        }
      }, controller.signal);
      await assert.rejects(copying, (error) => error === reason, `${rows} rows`);
      assert.equal(await db.sql`SELECT 1`.value(), 1);
    }
  },
);

queryTest("copyOut() of another statement, or of a COPY that fails, throws the server's error", async ({ open }) => {
  const db = await open({ max: 1 });
  const read = (text: string) =>
    on(db, async (session, lease) => {
      for await (const _ of copyOut(session, lease, text, undefined)); // to its end
    });
  assert.equal((await errorOf(read("COPY nowhere TO STDOUT"))).sqlstate, "42P01");
  assert.equal((await errorOf(read("COPY pg_am FROM STDIN"))).code, "QUERY_FAILED");
  await read("SELECT 1"); // copyOut() drops the rows of a query
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("copyIn() reads its source only as far as the server accepts it", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.query("CREATE TABLE copied (n int, t text)");
  assert.deepEqual(await into(db, []), { rows: 0 });
  assert.deepEqual(await into(db, [bytes("1\ta"), bytes("\n2"), bytes("\tb\n")]), { rows: 2 });
  const large = bytes(`3\t${"é".repeat(1_000_000)}\n`);
  assert.deepEqual(
    await into(
      db,
      (async function* () {
        for (let n = 0; n < 5; n++) yield await Promise.resolve(large);
      })(),
    ),
    { rows: 5 },
  );
  assert.equal(await db.sql`SELECT sum(length(t)) FROM copied`.value(), 5_000_002);

  let sent = 0;
  let left = false;
  const endless = (async function* () {
    try {
      for (;;) {
        sent++;
        yield bytes(sent === 3 ? "no number\tx\n" : "1\tx\n".repeat(1000));
      }
    } finally {
      left = true;
    }
  })();
  assert.equal((await errorOf(into(db, endless))).sqlstate, "22P02");
  assert.ok(left && sent < 100_000, `${sent}`);
  assert.equal(await db.sql`SELECT count(*) FROM copied`.value(), 7);
  await db.query("DROP TABLE copied");
});

queryTest(
  "copyIn() has its rows discarded when its source fails, does not answer, or is stopped",
  async ({ open }) => {
    const db = await open({ max: 1 });
    await db.query("CREATE TABLE copied (n int, t text)");
    const silent = async function* (first: string, onRead = () => {}) {
      yield bytes(first);
      onRead();
      await new Promise(() => {});
    };
    assert.equal((await errorOf(into(db, silent("x\ty\n")))).sqlstate, "22P02");
    const reason = new Error("enough");
    const late = into(db, silent("1\tx\n"), AbortSignal.any([AbortSignal.timeout(50)]));
    await inTime("the timeout", assert.rejects(late, { name: "TimeoutError" }));
    const controller = new AbortController();
    const stopped = into(db, silent("1\tx\n", () => controller.abort(reason)), controller.signal);
    await inTime("the stop", assert.rejects(stopped, reason));
    const mine = new Error("mine");
    const failing = async function* () {
      yield await Promise.resolve(bytes("1\tx\n"));
      throw mine;
    };
    const error = await errorOf(into(db, failing()));
    assert.equal((error.cause as Error).message, "mine");
    assert.equal((await errorOf(into(db, [], undefined, "COPY nowhere FROM STDIN"))).sqlstate, "42P01");
    assert.equal(await db.sql`SELECT count(*) FROM copied`.value(), 0);
    await db.query("DROP TABLE copied");
  },
);
