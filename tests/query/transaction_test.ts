import assert from "node:assert/strict";
import type { Queryable } from "../../mod.ts";
import { errorOf, queryTest, sleep } from "./support.ts";

queryTest("a transaction commits what it returns from, and rolls back what it throws from", async ({ db }) => {
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

queryTest("a statement that was not awaited is part of the transaction, or refused", async ({ db }) => {
  await db.sql`CREATE TABLE forgotten (id int)`;
  const late: Promise<unknown>[] = [];
  await db.transaction(async (tx) => {
    late.push(tx.query("INSERT INTO forgotten VALUES (1)").then(() => "ran", (error) => error.code));
    await Promise.resolve();
    setTimeout(
      () => late.push(tx.query("INSERT INTO forgotten VALUES (2)").then(() => "ran", (error) => error.code)),
      30,
    );
  });
  await sleep(60);
  const outcomes = await Promise.all(late);
  assert.equal(outcomes[1], "CLOSED");
  assert.equal(await db.sql`SELECT count(*) FROM forgotten`.value(), outcomes[0] === "ran" ? 1 : 0);
  await db.sql`DROP TABLE forgotten`;
});

queryTest("two statements of one transaction at once run one after the other", async ({ db }) => {
  const values = await db.transaction(async (tx) =>
    await Promise.all([1, 2, 3, 4].map((n) => tx.sql`SELECT ${n}::int AS n, pg_sleep(0.01)`.value()))
  );
  assert.deepEqual(values, [1, 2, 3, 4]);
});

queryTest("after a failure the transaction says why it takes nothing more", async ({ open }) => {
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

queryTest("what fails between savepoints does not end the transaction", async ({ db }) => {
  const value = await db.transaction(async (tx) => {
    await tx.sql`SAVEPOINT s`;
    await errorOf(tx.sql`SELECT 1 / 0`);
    await tx.sql`ROLLBACK TO SAVEPOINT s`;
    return await tx.sql`SELECT 5`.value();
  });
  assert.equal(value, 5);
});

queryTest("a nested transaction on a pool of one can be ended", async ({ open }) => {
  const db = await open({ max: 1 });
  const nested = () =>
    db.transaction(async () => await db.transaction(async (tx) => await tx.sql`SELECT 1`), { timeout: 0.3 });
  const error = await errorOf(nested);
  assert.equal(error.code, "CANCELED");
  await sleep(20);
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("stopping a transaction cancels what runs and rolls back", async ({ open }) => {
  const db = await open({ max: 2 });
  await db.sql`CREATE TABLE undone (id int)`;
  const started = performance.now();
  const error = await errorOf(db.transaction(async (tx) => {
    await tx.sql`INSERT INTO undone VALUES (1)`;
    await tx.sql`SELECT pg_sleep(30)`;
  }, { timeout: 0.2 }));
  assert.equal(error.code, "CANCELED");
  assert.ok(performance.now() - started < 1500);
  assert.equal(await db.sql`SELECT count(*) FROM undone`.value(), 0);
  await errorOf(db.transaction(async (tx) => {
    await tx.sql`INSERT INTO undone VALUES (1)`;
    await errorOf(tx.sql`SELECT pg_sleep(30)`.with({ timeout: 0.2 }));
    await tx.sql`SELECT 1`;
  }));
  assert.equal(await db.sql`SELECT count(*) FROM undone`.value(), 0);
  await db.sql`DROP TABLE undone`;
});

queryTest("a transaction is neither left open nor ended from inside", async ({ open }) => {
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

queryTest("isolation and read only", async ({ db }) => {
  const level = await db.transaction((tx) => tx.sql`SHOW transaction_isolation`.value(), { isolation: "serializable" });
  assert.equal(level, "serializable");
  const error = await errorOf(db.transaction(async (tx) => await tx.sql`CREATE TABLE no (id int)`, { readOnly: true }));
  assert.equal(error.sqlstate, "25006");
  assert.equal((await errorOf(db.transaction(() => 1, { isolation: "chaos" as never }))).code, "BAD_SETTING");
});
