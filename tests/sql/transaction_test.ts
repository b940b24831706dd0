import assert from "node:assert/strict";
import { connect, type Queryable, sql } from "../../mod.ts";
import { inTime, withLimitPassed } from "../support/eventually.ts";
import { pgliteTests } from "../support/lakebase.ts";
import { errorOf, queryTest, untilSent } from "../support/queries.ts";

queryTest("a transaction commits when its function returns, and rolls back when it throws", async ({ db }) => {
  await db.sql`CREATE TABLE ledger (id int)`;
  assert.equal(
    await db.transaction(async (tx) => {
      await tx.sql`INSERT INTO ledger VALUES (1)`;
      return "done";
    }),
    "done",
  );
  await assert.rejects(
    db.transaction(async (tx) => {
      await tx.sql`INSERT INTO ledger VALUES (2)`;
      throw new Error("mine");
    }),
    { message: "mine" },
  );
  assert.deepEqual((await db.sql`SELECT id FROM ledger`).map(({ id }) => id), [1]);
  await db.sql`DROP TABLE ledger`;
});

queryTest("tx.sql is refused after its transaction, and never runs on another's connection", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.sql`CREATE TABLE strays (id int)`;
  let leaked: Queryable | undefined;
  await db.transaction((tx) => void (leaked = tx));
  for (
    const late of [
      () => leaked!.sql`INSERT INTO strays VALUES (1)`,
      () => leaked!.query("INSERT INTO strays VALUES (1)"),
    ]
  ) {
    const error = await errorOf(late());
    assert.equal(error.code, "CLOSED");
    assert.match(error.message, /its transaction has ended/);
  }
  const iteration = await errorOf(async () => {
    for await (const _ of leaked!.sql`SELECT 1`) assert.fail();
  });
  assert.equal(iteration.code, "CLOSED");
  assert.equal(await db.sql`SELECT count(*) FROM strays`.value(), 0);
  await db.sql`DROP TABLE strays`;
});

queryTest("a statement that was not awaited ends its transaction with an error, and writes nothing", async ({ db }) => {
  await db.sql`CREATE TABLE forgotten (id int)`;
  const late: Promise<unknown>[] = [];
  const outcome = (work: PromiseLike<unknown>) => Promise.resolve(work).then(() => "ran", (error) => error.code);
  const forget: [string, (tx: Queryable) => void][] = [
    ["tx.query", (tx) => void late.push(outcome(tx.query("INSERT INTO forgotten VALUES (1)")))],
    ["db.query", () => void late.push(outcome(db.query("INSERT INTO forgotten VALUES (1)")))],
    ["sql", () => void late.push(outcome(sql`INSERT INTO forgotten VALUES (1)`))],
    ["several", (tx) => void late.push(...[1, 2, 3].map(() => outcome(tx.sql`INSERT INTO forgotten VALUES (1)`)))],
  ];
  for (const [name, work] of forget) {
    const error = await errorOf(db.transaction(work));
    assert.equal(error.code, "QUERY_FAILED", name);
    assert.match(error.message, /had not ended when the function.*Put await before it: INSERT INTO forgotten/s, name);
  }
  assert.deepEqual(await Promise.all(late), ["ran", "ran", "ran", "ran", "ran", "ran"]);
  for (const [ends, then, rows] of [["throws", "CLOSED", 0], ["returns", "ran", 1]] as const) {
    const over = Promise.withResolvers<void>();
    const left = Promise.withResolvers<unknown>();
    await db.transaction(() => {
      over.promise.then(() => left.resolve(outcome(db.sql`INSERT INTO forgotten VALUES (2)`)));
      if (ends === "throws") throw new Error("mine");
    }).catch(() => {});
    over.resolve();
    assert.equal(await left.promise, then, ends);
    assert.equal(await db.sql`SELECT count(*) FROM forgotten`.value(), rows, ends);
  }
  await db.sql`DROP TABLE forgotten`;
});

queryTest("sql and db.sql inside a transaction are part of it, and db.pool is not", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.sql`CREATE TABLE inner_rows (id int)`;
  const file = await Deno.makeTempFile({ suffix: ".csv" });
  const writes: Record<string, () => PromiseLike<unknown>> = {
    "sql": () => sql`INSERT INTO inner_rows VALUES (1)`,
    "db.sql": () => db.sql`INSERT INTO inner_rows VALUES (1)`,
    "db.query": () => db.query("INSERT INTO inner_rows VALUES (1)"),
    "db.load": () => db.load("inner_rows", [{ id: 1 }]),
    "first": () => db.sql`INSERT INTO inner_rows VALUES (1) RETURNING id`.first(),
    "a loop": async () => {
      for await (const _ of db.sql`INSERT INTO inner_rows VALUES (1) RETURNING id`);
    },
    "a query made outside": (() => {
      const query = db.sql`INSERT INTO inner_rows VALUES (1)`;
      return () => query;
    })(),
  };
  for (const [name, write] of Object.entries(writes)) {
    const error = await db.transaction(async () => {
      await write();
      assert.equal(await db.sql`SELECT count(*) FROM inner_rows`.value(), 1, name);
      throw new Error("mine");
    }).catch((error) => error);
    assert.equal(error.message, "mine", error.stack);
    assert.equal(await sql`SELECT count(*) FROM inner_rows`.value(), 0, name);
  }
  await db.transaction(async () => {
    await db.sql`INSERT INTO inner_rows VALUES (0)`;
    assert.equal((await db.sql`TABLE inner_rows`.columns()).get("id").toArray().length, 1);
    assert.equal((await db.pull("inner_rows", file)).rows, 1);
    assert.equal((await db.tables("inner_rows")).length, 1);
    assert.equal((await db.profile("inner_rows")).length, 1);
  });
  assert.equal(await db.transaction(() => db.sql`INSERT INTO inner_rows VALUES (1)`).then((rows) => rows.rowCount), 1);
  await Deno.remove(file);
  await db.sql`DROP TABLE inner_rows`;
});

queryTest("db.pool stays outside of a transaction", async ({ open }) => {
  const db = await open({ max: 2 });
  await db.sql`CREATE TABLE outside_rows (id int)`;
  await db.transaction(async () => {
    await db.pool.query("INSERT INTO outside_rows VALUES (1)");
    throw new Error("mine");
  }).catch(() => {});
  assert.equal(await db.sql`SELECT count(*) FROM outside_rows`.value(), 1);
  await db.sql`DROP TABLE outside_rows`;
}, { notOnPglite: "it runs one transaction at a time" });

queryTest("a nested transaction is a savepoint", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.sql`CREATE TABLE nested (id int)`;
  const ids = async () => (await db.sql`SELECT id FROM nested ORDER BY id`).map(({ id }) => id);
  await db.transaction(async (tx) => {
    await tx.sql`INSERT INTO nested VALUES (1)`;
    await db.transaction(async () => {
      await sql`INSERT INTO nested VALUES (2)`;
      await tx.sql`INSERT INTO nested VALUES (3)`; // the outer transaction's function also runs in the inner one
      throw new Error("mine");
    }).catch(() => {});
    await db.transaction(() => db.sql`INSERT INTO nested VALUES (4)`);
    const failed = await errorOf(db.transaction(() => db.sql`SELECT 1 / 0`));
    assert.equal(failed.sqlstate, "22012");
    const caught = await errorOf(db.transaction(async () => void await errorOf(db.sql`SELECT 1 / 0`)));
    assert.match(caught.message, /Cannot commit: a statement of this transaction failed.*division by zero/s);
    assert.equal((await errorOf(db.transaction((tx) => void tx.query("SELECT 1")))).sqlstate, "25000");
    assert.equal(
      (await errorOf(db.transaction(() => db.sql`INSERT INTO nested VALUES (5)`, { readOnly: true }))).sqlstate,
      "25006",
    );
    assert.equal(await db.transaction(() => db.sql`SELECT 6`.value(), { readOnly: true }), 6);
    assert.equal((await errorOf(db.transaction(() => 1, { isolation: "serializable" }))).code, "BAD_PARAMETER");
    await Promise.all([7, 8].map((id) =>
      db.transaction(async () => {
        await db.sql`INSERT INTO nested VALUES (${id})`;
        if (id === 7) throw new Error("mine");
      }).catch(() => {})
    ));
    await tx.sql`INSERT INTO nested VALUES (9)`;
  });
  assert.deepEqual(await ids(), [1, 4, 8, 9]);
  const ended = await errorOf(db.transaction(async () => {
    await db.transaction(() => db.sql`COMMIT`).catch(() => {});
    await db.sql`INSERT INTO nested VALUES (10)`;
  }));
  assert.equal(ended.code, "CLOSED");
  assert.deepEqual(await ids(), [1, 4, 8, 9]);
  await db.sql`DROP TABLE nested`;
});

queryTest("two statements of one transaction that begin together run one after the other", async ({ db }) => {
  const values = await db.transaction(async (tx) =>
    await Promise.all([1, 2, 3, 4].map((n) => tx.sql`SELECT ${n}::int AS n, pg_sleep(0.01)`.value()))
  );
  assert.deepEqual(values, [1, 2, 3, 4]);
});

queryTest("after a failure the transaction says why it refuses statements", async ({ open }) => {
  const db = await open({ max: 2 });
  await db.transaction(async (tx) => {
    await errorOf(tx.sql`SELECT 1 / 0`);
    const second = await errorOf(tx.sql`SELECT 1`);
    assert.equal(second.sqlstate, "25P02");
    assert.match(second.message, /earlier statement of this transaction failed: division by zero/);
    await tx.sql`SELECT 1`.catch(() => {});
  }).catch((error) => {
    assert.equal(error.sqlstate, "25P02");
    assert.match(error.message, /rolled everything back.*division by zero/);
  });
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("a failure between savepoints does not end the transaction", async ({ db }) => {
  const value = await db.transaction(async (tx) => {
    await tx.sql`SAVEPOINT s`;
    await errorOf(tx.sql`SELECT 1 / 0`);
    await tx.sql`ROLLBACK TO SAVEPOINT s`;
    return await tx.sql`SELECT 5`.value();
  });
  assert.equal(value, 5);
});

queryTest("stopping a nested transaction does not end the outer one", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.sql`CREATE TABLE kept_rows (id int)`;
  await db.transaction(async () => {
    await db.sql`INSERT INTO kept_rows VALUES (1)`;
    const error = await errorOf(db.transaction(() => db.sql`SELECT pg_sleep(30)`, { timeout: 0.3 }));
    assert.equal(error.code, "CANCELED");
    await db.sql`INSERT INTO kept_rows VALUES (2)`;
  });
  assert.equal(await db.sql`SELECT count(*) FROM kept_rows`.value(), 2);
  await db.sql`DROP TABLE kept_rows`;
});

queryTest("the wait for a free connection ends, and the error says who holds them", async ({ open }) => {
  const db = await open({ max: 1, connectTimeout: 31 });
  const refused = (work: () => PromiseLike<unknown>) => withLimitPassed(31, () => errorOf(work));
  await db.transaction(async (tx) => {
    await tx.sql`SELECT 1`;
    const error = await refused(() => db.pool.query("SELECT 2"));
    assert.equal(error.code, "CONNECT_TIMEOUT");
    assert.match(
      error.message,
      /none of 1 was free for 31 s \(connectTimeout\).*for \d+ s: a transaction, idle.*a max above 1/s,
    );
  });
  const rows = db.sql`SELECT n FROM generate_series(1, 1000) AS n`[Symbol.asyncIterator]();
  await rows.next();
  assert.match((await refused(() => db.sql`SELECT 1`)).message, /for \d+ s: SELECT n FROM generate_series/);
  await rows.return!();
  const client = await db.pool.connect();
  assert.match((await refused(() => db.sql`SELECT 1`)).message, /for \d+ s: db.pool, idle/);
  client.release();
  assert.equal(await db.sql`SELECT 1`.value(), 1);
  assert.equal((await db.pool.query("SELECT 1 AS one")).rows[0].one, 1);
});

queryTest("stopping a transaction cancels its running statement and rolls back", async ({ open }) => {
  const db = await open({ max: 2 });
  await db.sql`CREATE TABLE undone (id int)`;
  const error = await errorOf(db.transaction(async (tx) => {
    await tx.sql`INSERT INTO undone VALUES (1)`;
    await tx.sql`SELECT pg_sleep(600)`;
  }, { timeout: 0.2 }));
  assert.equal(error.code, "CANCELED");
  assert.equal(await db.sql`SELECT count(*) FROM undone`.value(), 0);
  await errorOf(db.transaction(async (tx) => {
    await tx.sql`INSERT INTO undone VALUES (1)`;
    await errorOf(tx.sql`SELECT pg_sleep(30)`.with({ timeout: 0.2 }));
    await tx.sql`SELECT 1`;
  }));
  assert.equal(await db.sql`SELECT count(*) FROM undone`.value(), 0);
  await db.sql`DROP TABLE undone`;
});

queryTest("a transaction can't be left open or ended from inside", async ({ open }) => {
  const db = await open({ max: 1 });
  assert.equal((await errorOf(db.sql`BEGIN`)).sqlstate, "25000");
  assert.equal((await errorOf(db.sql`BEGIN; SELECT 1 / 0`)).sqlstate, "22012");
  assert.equal(await db.sql`SELECT 1`.value(), 1);
  assert.equal((await db.pool.query("SELECT 2 AS two")).rows[0].two, 2);
  const error = await errorOf(db.transaction(async (tx) => {
    await tx.sql`COMMIT`;
  }));
  assert.equal(error.sqlstate, "25P01");
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("transaction() sets the isolation level and read only", async ({ db }) => {
  const level = await db.transaction((tx) => tx.sql`SHOW transaction_isolation`.value(), { isolation: "serializable" });
  assert.equal(level, "serializable");
  const error = await errorOf(db.transaction(async (tx) => await tx.sql`CREATE TABLE no (id int)`, { readOnly: true }));
  assert.equal(error.sqlstate, "25006");
  assert.equal((await errorOf(db.transaction(() => 1, { isolation: "chaos" as never }))).code, "BAD_PARAMETER");
});

const pgliteTest = pgliteTests();

pgliteTest("a transaction on a server that went silent ends soon after it is stopped", async ({ local, settings }) => {
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

pgliteTest("a transaction that waits for another one stops on request", async ({ settings }) => {
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
