import assert from "node:assert/strict";
import { connect, type Lakebase, type Progress } from "../../../mod.ts";
import { relay } from "../../support/relay.ts";
import { stillHeld } from "../../support/garbage.ts";
import { pgliteTests } from "../../support/lakebase.ts";
import { postgresMissing, startPostgres } from "../../support/postgres.ts";
import { inTime, nextTurn } from "../../support/eventually.ts";
import { errorOf, queryTest, untilEnded, untilRuns } from "../../support/queries.ts";
import { requires } from "../../support/requirements.ts";

async function withTable(db: Lakebase, work: (table: string) => Promise<void>): Promise<void> {
  const table = `faults_${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}`;
  await db.query(`CREATE TABLE ${table} (id int, note text)`);
  await db.load(table, [{ id: 0, note: "there before" }]);
  try {
    await work(table);
  } finally {
    await db.query(`DROP TABLE ${table}`);
  }
}

async function expectUntouched(db: Lakebase, table: string): Promise<void> {
  assert.deepEqual([...await db.query(`SELECT * FROM ${table}`)], [{ id: 0, note: "there before" }]);
}

/** Endless rows; `onRow` may throw. */
function* endless(onRow: (id: number) => void = () => {}): Generator<object, void, void> {
  for (let id = 1;; id++) {
    onRow(id);
    yield { id, note: "x".repeat(50) };
  }
}

/** Enough rows that a load has already sent some of them. */
const MANY = 50_000;

async function* slowly(rows: Iterable<object>): AsyncGenerator<object, void, void> {
  for (const row of rows) yield await Promise.resolve(row);
}

queryTest("an error of the source is thrown unchanged, and nothing is loaded", async ({ db }) => {
  await withTable(db, async (table) => {
    for (const wrap of [(rows: Iterable<object>) => rows, slowly]) {
      for (const failing of [1, 500, 50_000]) {
        const mine = new RangeError("mine");
        let left = false;
        const rows = function* () {
          try {
            yield* endless((id) => {
              if (id === failing) throw mine;
            });
          } finally {
            left = true;
          }
        };
        await assert.rejects(db.load(table, wrap(rows()), { mode: "replace" }), mine);
        assert.ok(left);
        await expectUntouched(db, table);
      }
    }
    const bytes = async function* () {
      yield await Promise.resolve(new TextEncoder().encode("id,note\n1,a\n"));
      throw new RangeError("mine");
    };
    await assert.rejects(db.load(table, bytes(), { format: "csv" }), { name: "RangeError", message: "mine" });
    await expectUntouched(db, table);
  });
});

queryTest("a load reads its source no faster than the server takes it", async ({ db }) => {
  await withTable(db, async (table) => {
    const chunks: WeakRef<object>[] = [];
    let held = -1;
    const source = async function* () {
      const lines = new TextEncoder().encode("1,note\n".repeat(1000));
      for (let at = 0; at < 300; at++) {
        const chunk = lines.slice();
        chunks.push(new WeakRef(chunk));
        yield chunk;
      }
      held = await stillHeld(chunks);
    };
    const { rows } = await db.load(table, source(), { format: "csv", header: false });
    assert.equal(rows, 300_000);
    assert.ok(held < 50, `${held} of ${chunks.length} chunks`);
  });
});

queryTest("a row that the server refuses ends the reading of the source", async ({ db }) => {
  await withTable(db, async (table) => {
    let left = false;
    let last = 0;
    const rows = function* () {
      try {
        for (const row of endless((id) => last = id)) yield last === 10 ? { ...row, id: "ten" } : row;
      } finally {
        left = true;
      }
    };
    assert.match((await errorOf(db.load(table, rows()))).message, /row 10, column id: .*"ten"/);
    assert.ok(left && last < 5_000_000, `${last}`);
    await expectUntouched(db, table);
  });
});

queryTest("a signal and a timeout end a load, wherever it waits", async ({ open }) => {
  const db = await open();
  await withTable(db, async (table) => {
    const never = async function* (onRead: () => void) {
      yield { id: 1 };
      onRead();
      await new Promise(() => {});
    };
    // deno-lint-ignore require-yield -- it never comes to that
    const silent = async function* (onRead: () => void): AsyncGenerator<object> {
      onRead();
      await new Promise(() => {});
    };
    const many = (onRead: () => void) => endless((id) => id === MANY && onRead());
    for (const source of [many, (onRead: () => void) => slowly(many(onRead)), never, silent]) {
      const reason = new Error("enough");
      const controller = new AbortController();
      const stopped = db.load(table, source(() => controller.abort(reason)), {
        signal: controller.signal,
        mode: "replace",
      });
      await inTime("the end of the load", assert.rejects(stopped, reason));
      const error = await inTime(
        "the timeout",
        errorOf(db.load(table, source(() => {}), { timeout: 0.3, mode: "replace" })),
      );
      assert.equal(error.code, "CANCELED");
      await expectUntouched(db, table);
    }
    const reason = new Error("before");
    await assert.rejects(db.load(table, [{ id: 1 }], { signal: AbortSignal.abort(reason) }), reason);
    await expectUntouched(db, table);
  });
});

queryTest("a load that is stopped in a transaction undoes its changes, or ends the transaction", async ({ db }) => {
  await withTable(db, async (table) => {
    const outcome = await db.transaction(async (tx) => {
      await tx.query(`INSERT INTO ${table} VALUES (-1, 'in between')`);
      assert.equal((await errorOf(tx.load(table, endless(), { timeout: 0.3 }))).code, "CANCELED");
      await tx.query("SELECT 1");
      return "whole";
    }).catch((error) => error.code);
    const found = await db.query(`SELECT id FROM ${table} ORDER BY 1`);
    assert.deepEqual(found.map((row) => row["id"]), outcome === "whole" ? [-1, 0] : [0]);
  });
});

queryTest("onProgress gets the progress of a load, and may end it", async ({ db }) => {
  await withTable(db, async (table) => {
    const reports: Progress[] = [];
    let sent = 0;
    const untilReported = async function* () {
      yield "id,note\n";
      while (reports.length === 0) {
        await nextTurn();
        yield `${++sent},${"x".repeat(70_000)}\n`;
      }
    };
    const onReport = (progress: Progress) => reports.push(progress);
    await db.load(table, untilReported(), { format: "csv", onProgress: onReport, mode: "replace" });
    const last = reports.at(-1)!;
    assert.ok(reports.length >= 2 && reports.every(({ done }, index) => done === (index === reports.length - 1)));
    assert.deepEqual([last.rows, last.bytes > sent * 70_000], [sent, true]);
    await db.load(table, [{ id: 0, note: "there before" }], { mode: "replace" });
    const mine = new Error("mine");
    const onProgress = () => {
      throw mine;
    };
    for (const rows of [[{ id: 5 }], endless()]) {
      await assert.rejects(db.load(table, rows, { onProgress, mode: "replace" }), mine);
      await expectUntouched(db, table);
    }
  });
});

queryTest(
  "a compute that suspends during a load leaves the table unchanged, and the error says so",
  async ({ db, local }) => {
    await withTable(db, async (table) => {
      for (const wrap of [(rows: Iterable<object>) => rows, slowly]) {
        const read = Promise.withResolvers<void>();
        const rows = endless((id) => id === MANY && read.resolve());
        const loading = errorOf(db.load(table, wrap(rows), { mode: "replace" }));
        await inTime("many rows are read", read.promise);
        local.faults.suspend({ wakeAfter: 100 });
        assert.equal((await loading).code, "CONNECTION_LOST");
        await expectUntouched(db, table);
      }
    });
  },
);

queryTest(
  "a query's rows are loaded on a pool of one connection, which could not read and write at once",
  async ({ open }) => {
    const db = await open({ max: 1 });
    await withTable(db, async (table) => {
      const rows = db.sql`SELECT id FROM generate_series(1, 300000) AS id`;
      assert.equal((await db.load(table, rows)).rows, 300_000);
    });
  },
);

Deno.test({
  ...requires(
    "(slow) if a server disappears during a load, the load fails and the table is unchanged",
    postgresMissing,
  ),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using server = await startPostgres({ password: "pw" });
    const { port } = server;
    const login = { host: "127.0.0.1", port, user: "postgres", password: "pw", database: "postgres" };
    await using db = await connect({ ...login, sslMode: "disable", connectTimeout: 30 });
    await db.query("CREATE TABLE kept (id int, note text); INSERT INTO kept VALUES (0, 'there before')");
    for (const end of ["terminate", "kill"]) {
      const loading = errorOf(db.load("kept", end === "kill" ? slowly(endless()) : endless(), { mode: "replace" }));
      await untilRuns(db, "COPY%");
      if (end === "kill") await server.kill();
      else await db.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%'");
      const error = await loading;
      assert.equal(error.code, "CONNECTION_LOST", error.message);
      if (end === "kill") await server.restart();
      await untilEnded(db, "COPY%"); // a terminated session is listed as active until its server process is gone
      await expectUntouched(db, "kept");
    }
  },
});

// Only on PGlite, where the watch for silent servers can't end the connection meanwhile, because PGlite has no processes.
pgliteTests()(
  "a load in a transaction ends soon after it is stopped, also on a server that went silent",
  async (test) => {
    await using owner = await connect(test.settings());
    await withTable(owner, async (table) => {
      const stopped = async (
        begin: (db: Lakebase) => (rows: Iterable<object>, signal: AbortSignal) => Promise<unknown>,
      ) => {
        using route = relay({ to: Number(test.local.env["PGPORT"]) });
        await using db = await connect({ ...test.settings(), port: route.port });
        const controller = new AbortController();
        const reason = new Error("enough");
        const rows = endless((id) => {
          if (id !== MANY) return;
          route.forget();
          controller.abort(reason);
        });
        await inTime("the end of the load", assert.rejects(begin(db)(rows, controller.signal), reason));
      };
      await stopped((db) => (rows, signal) => db.transaction((tx) => tx.load(table, rows, { signal })));
      await expectUntouched(owner, table);
      await stopped((db) => async (rows, signal) => {
        const session = await db.session();
        await session.sql`BEGIN`;
        return await session.load(table, rows, { signal });
      });
      await expectUntouched(owner, table);
    });
  },
);
