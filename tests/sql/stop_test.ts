import assert from "node:assert/strict";
import { connect, type Lakebase, type LakebaseError } from "../../mod.ts";
import { postgresMissing } from "../support/postgres.ts";
import { inTime, withLimitPassed } from "../support/eventually.ts";
import { errorOf, queryTest, sharedPostgres, untilEnded, untilRuns } from "../support/queries.ts";
import { sized } from "../support/random.ts";
import { requires } from "../support/requirements.ts";

const SLOW = "SELECT count(*) FROM generate_series(1, 20000000000) AS n WHERE random() < 0";

queryTest("a signal cancels a query on the server, and the connection goes on", async ({ open }) => {
  const db = await open({ max: 2 });
  const reason = new Error("enough");
  const controller = new AbortController();
  const running = assert.rejects(db.sql`${db.sql.unsafe(SLOW)}`.with({ signal: controller.signal }).then(), reason);
  await untilRuns(db, SLOW);
  controller.abort(reason);
  await inTime("the end of the query", running);
  await untilEnded(db, SLOW);
  assert.equal(await db.sql`SELECT 1`.value(), 1);
}, { notOnPglite: "it can't be interrupted inside of a function" });

queryTest("a timeout cancels a query, a display and an iteration", async ({ db }) => {
  const slow = () => db.sql`SELECT pg_sleep(600)`.with({ timeout: 0.2 });
  const draw = (query: unknown) => (query as Record<symbol, () => Promise<unknown>>)[Symbol.for("Jupyter.display")]!();
  for (
    const work of [
      async () => await slow(),
      async () => await draw(slow()),
      async () => await slow().first(),
      async () => {
        for await (const _ of slow()) assert.fail();
      },
      async () => await slow().explain({ analyze: true }),
    ]
  ) {
    const error = await inTime("the timeout", errorOf(work));
    assert.equal(error.code, "CANCELED");
    assert.match(error.message, /timeout of 0.2 s/);
  }
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("a query that is aborted before it starts is not sent", async ({ db }) => {
  await db.sql`CREATE TABLE never_sent (id int)`;
  const reason = new Error("before");
  const query = db.sql`INSERT INTO never_sent VALUES (1)`.with({ signal: AbortSignal.abort(reason) });
  await assert.rejects(async () => await query, reason);
  assert.equal(await db.sql`SELECT count(*) FROM never_sent`.value(), 0);
  await db.sql`DROP TABLE never_sent`;
});

queryTest("a query that is aborted in the turn in which it is sent is canceled", async ({ db }) => {
  for (let n = 0; n < 5; n++) {
    const controller = new AbortController();
    const running = db.sql`SELECT pg_sleep(600)`.with({ signal: controller.signal }).then();
    for (let turn = 0; turn < n * 3; turn++) await Promise.resolve();
    controller.abort(new Error("at once"));
    await inTime("the end of the query", assert.rejects(running, { message: "at once" }));
  }
});

queryTest("waiting for a connection can be stopped", async ({ open }) => {
  const db = await open({ max: 1 });
  const held = await db.pool.connect();
  const error = await withLimitPassed(31, () => errorOf(db.sql`SELECT 1`.with({ timeout: 31 })));
  assert.equal(error.code, "CANCELED");
  const transaction = await withLimitPassed(31, () => errorOf(db.transaction(() => 1, { timeout: 31 })));
  assert.equal(transaction.code, "CANCELED");
  held.release();
  assert.equal(await db.sql`SELECT 1`.value(), 1);
  assert.equal(db.pool.waitingCount, 0);
});

queryTest("an iteration can be stopped between two rows", async ({ open }) => {
  const db = await open({ max: 1 });
  const controller = new AbortController();
  let rows = 0;
  await assert.rejects(async () => {
    for await (const _ of db.sql`SELECT * FROM generate_series(1, 90)`.with({ signal: controller.signal })) {
      if (++rows === 5) controller.abort(new Error("stop"));
    }
  }, { message: "stop" });
  assert.equal(rows, 5);
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("a signal that never fires keeps no listener", async ({ db }) => {
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listeners++;
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listeners--;
    removeEventListener.apply(signal, args);
  };
  for (let n = 0; n < 10; n++) await db.sql`SELECT 1`.with({ signal });
  for await (const _ of db.sql`SELECT 1`.with({ signal })) break;
  await db.transaction((tx) => tx.sql`SELECT 1`.with({ signal }), { signal });
  await errorOf(db.sql`SELECT nothing`.with({ signal }));
  assert.equal(listeners, 0);
});

queryTest("query options are checked", ({ db }) => {
  const query = db.sql`SELECT 1`;
  for (
    const options of [
      { timeout: 0 },
      { timeout: Infinity },
      { timeout: 1e9 },
      { timeout: "5" },
      { limit: 0 },
      { limit: 1.5 },
      {
        signal: 1,
      },
      { timout: 5 },
      null,
    ]
  ) assert.throws(() => query.with(options as never), { code: "BAD_PARAMETER" }, JSON.stringify(options));
  assert.throws(() => query.with({ timout: 5 } as never), { message: /did you mean "timeout"/ });
  return Promise.resolve();
});

/** Cancels at the most awkward moments, then runs statements that nobody canceled. */
async function strays(db: Lakebase, rounds: number): Promise<number> {
  let stray = 0;
  for (let n = 0; n < rounds; n++) {
    const controller = new AbortController();
    const running = db.sql`SELECT pg_sleep(${n % 3 === 0 ? 5 : 0.004})`.with({ signal: controller.signal }).then(
      () => {},
      () => {},
    );
    // About when the statement ends by itself; what comes of it is right at any moment.
    await new Promise((resolve) => setTimeout(resolve, n % 3 === 0 ? 5 : 2 + (n % 7)));
    controller.abort(new Error("canceled"));
    await running;
    for (let quick = 0; quick < 5; quick++) {
      await db.sql`SELECT pg_sleep(0.001)`.catch((error) => {
        if ((error as LakebaseError).sqlstate !== "57014") throw error;
        stray++;
      });
    }
  }
  return stray;
}

queryTest("a late cancel never hits the next statement, through the gateway", async ({ open }) => {
  assert.equal(await strays(await open({ max: 1 }), sized(20, 100)), 0);
});

Deno.test({
  ...requires(
    "a late cancel never hits the next statement, directly on Postgres with a native password",
    postgresMissing,
  ),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const { port } = await sharedPostgres();
    await using db = await connect({
      host: "127.0.0.1",
      port,
      user: "postgres",
      database: "postgres",
      password: "native-secret",
      sslMode: "disable",
      max: 1,
    });
    assert.equal(await strays(db, sized(40, 200)), 0);
  },
});
