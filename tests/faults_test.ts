/** Faults of Lakebase, of the network and of the workspace that hit a working connection. */
import assert from "node:assert/strict";
import { connect, type Lakebase } from "../mod.ts";
import { type LocalLakebase, startLocal } from "../src/local/mod.ts";
import { eventually } from "./support/eventually.ts";
import { optionsOf } from "./support/lakebase.ts";
import { postgresMissing, startPostgres } from "./support/postgres.ts";
import { errorOf, queryTest, untilDropped, untilEnded, untilSent } from "./support/queries.ts";
import { requires } from "./support/requirements.ts";

/** A table in which a statement that runs twice leaves two rows. */
async function counter(db: Lakebase): Promise<{ rows: () => Promise<number> } & AsyncDisposable> {
  await db.sql`DROP TABLE IF EXISTS ran`;
  await db.sql`CREATE TABLE ran (n int)`;
  return {
    rows: async () => await db.sql`SELECT count(*) FROM ran`.value() as number,
    async [Symbol.asyncDispose]() {
      await db.sql`DROP TABLE ran`;
    },
  };
}

queryTest("a token that expires during a query or a transaction does not end it", async ({ open, local }) => {
  const db = await open();
  const running = db.sql`SELECT 1 AS n, pg_sleep(3)`.value();
  await untilSent(db, "pg_sleep");
  local.faults.expireTokens();
  assert.equal(await running, 1);
  await db.transaction(async (tx) => {
    await tx.sql`SELECT 1`;
    local.faults.expireTokens();
    assert.equal(await tx.sql`SELECT 2`.value(), 2);
  });
  assert.equal(await db.sql`SELECT 3`.value(), 3);
});

/** Drops all connections, and waits until the client has noticed it. */
async function dropAll(db: Lakebase, local: LocalLakebase): Promise<void> {
  local.faults.dropConnections();
  await untilDropped(db);
}

for (const [when, request] of [["before TLS", []], ["while TLS begins", [0, 0, 0, 8, 4, 210, 22, 47]]] as const) {
  queryTest(`a compute that suspends ${when} sends nothing in plain text`, async ({ local }) => {
    using socket = await Deno.connect({ hostname: "127.0.0.1", port: Number(local.env["PGPORT"]) });
    const bytes = new Uint8Array(1000);
    if (request.length > 0) {
      await socket.write(new Uint8Array(request));
      assert.equal(await socket.read(bytes), 1);
      assert.equal(bytes[0], "S".charCodeAt(0));
    }
    const answer = socket.read(bytes);
    const suspending = setInterval(() => local.faults.suspend({ wakeAfter: 1 }), 20); // the server may not have accepted the socket at first
    const read = await answer.finally(() => clearInterval(suspending));
    assert.equal(read, null, new TextDecoder().decode(bytes.subarray(0, read ?? 0)));
    local.faults.reset();
  });
}

queryTest("an outage of the workspace does not matter while the token is valid", async ({ open, local }) => {
  const db = await open({ max: 3 });
  local.faults.workspace("*", { status: 503 });
  await dropAll(db, local); // so that the next query has to log in anew
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("after the token has expired, the error names the outage of the workspace", async ({ open, local }) => {
  const db = await open({ connectTimeout: 5 });
  local.faults.workspace("*", { status: 503 });
  local.faults.expireTokens();
  await dropAll(db, local);
  const error = await errorOf(db.sql`SELECT 1`);
  assert.equal(error.code, "WORKSPACE_UNAVAILABLE", error.message);
  local.faults.reset();
  assert.equal(await db.sql`SELECT 1`.value(), 1, "the connection recovers without help");
});

for (const minutes of [10, -10]) {
  queryTest(
    `a workspace whose clock is ${minutes} minutes off logs in and refreshes in time`,
    async ({ open, local }) => {
      local.faults.clockOffset = minutes * 60_000;
      const mints = () => local.requests.filter(({ path }) => path.endsWith("/credentials")).length;
      using clock = new LaterClock();
      const db = await open({ tokenTtl: 300 });
      const [minted, logins] = [mints(), local.logins.length];
      // By this machine's clock, the token would live for 15 minutes, or would have expired 5 minutes ago.
      for (const [seconds, expected] of [[200, 0], [294, 0], [299, 1], [301, 1]] as const) { // HTTP's Date has whole seconds
        clock.set(seconds);
        await dropAll(db, local);
        assert.equal(await db.sql`SELECT 1`.value(), 1);
        assert.equal(mints() - minted, expected, `after ${seconds} s`);
      }
      assert.deepEqual([...new Set(local.logins.slice(logins).map(({ outcome }) => outcome))], ["ok"]);
    },
  );
}

/**
 * The time of both client and server, which only the test moves: on a slow machine, a login takes longer than the
 * token's last seconds. No timer depends on it.
 */
class LaterClock implements Disposable {
  readonly #now = Date.now;
  readonly #started = Date.now();

  constructor() {
    this.set(0);
  }

  set(seconds: number): void {
    Date.now = () => this.#started + seconds * 1000;
  }

  [Symbol.dispose](): void {
    Date.now = this.#now;
  }
}

queryTest("if a compute suspends during a query, the query fails and the next one works", async ({ open, local }) => {
  const db = await open();
  await using ran = await counter(db);
  const running = errorOf(db.sql`INSERT INTO ran SELECT 1 FROM pg_sleep(3)`);
  await untilSent(db, "pg_sleep");
  local.faults.suspend({ wakeAfter: 100 });
  const error = await running;
  assert.deepEqual([error.code, error.sqlstate], ["CONNECTION_LOST", "57P01"], error.message);
  assert.match(error.message, /may or may not|not known/i);
  await untilEnded(db, "INSERT INTO ran%");
  assert.ok(await ran.rows() <= 1);
});

queryTest("if a compute suspends during a transaction, nothing of the transaction remains", async ({ open, local }) => {
  const db = await open();
  await using ran = await counter(db);
  const error = await errorOf(db.transaction(async (tx) => {
    await tx.sql`INSERT INTO ran VALUES (1)`;
    local.faults.suspend({ wakeAfter: 100 });
    await untilDropped(db);
    await tx.sql`INSERT INTO ran VALUES (2)`;
  }));
  assert.equal(error.code, "CONNECTION_LOST", error.message);
  assert.equal(await ran.rows(), 0);
});

for (const seconds of [0.1, 8]) {
  queryTest(`connecting waits for a compute that takes ${seconds} s to wake`, async ({ open, local }) => {
    const db = await open({ connectTimeout: 60 });
    local.faults.suspend({ wakeAfter: seconds * 1000, refuse: "28000" });
    await untilDropped(db);
    assert.equal(await db.sql`SELECT 1`.value(), 1);
  }, seconds < 1 ? {} : { notOnPglite: "the gateway alone decides, and once is long enough" });
}

queryTest(
  "50 running statements that lose their connections at once all fail, and none runs twice",
  async (test) => {
    const { open, local } = test;
    const db = await open({ max: 52 });
    await using _ran = await counter(db);
    const active = async () =>
      await db.sql`SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT%'`.value();
    // These statements wait for a lock whose holder also loses its connection, so that the server then runs all of
    // them. They are made outside the transaction's function, because inside it they would belong to the transaction.
    const locked = Promise.withResolvers<void>();
    const dropped = Promise.withResolvers<void>();
    const locking = db.transaction(async (tx) => {
      await tx.sql`SELECT pg_advisory_xact_lock(4711)`;
      locked.resolve();
      await dropped.promise;
    });
    await locked.promise;
    const lock = db.sql`pg_advisory_xact_lock_shared(4711)`;
    const running = Array.from({ length: 50 }, (_, n) => db.sql`INSERT INTO ran SELECT ${n}::int FROM ${lock}`);
    const settling = Promise.allSettled(running);
    await eventually("all of them wait", async () => await active() === 50);
    local.faults.dropConnections();
    const outcomes = await settling;
    dropped.resolve();
    await assert.rejects(locking);
    assert.equal(outcomes.length, 50);
    for (const outcome of outcomes) {
      assert.equal(outcome.status === "rejected" && outcome.reason.code, "CONNECTION_LOST");
    }
    await eventually("the server has ended the statements that nobody waits for", async () => await active() === 0);
    const rows = await db.sql<{ n: number; times: number }>`SELECT n, count(*) AS times FROM ran GROUP BY n`;
    assert.ok(rows.every(({ times }) => times === 1), "a statement ran twice");
  },
  { notOnPglite: "it runs one statement at a time" },
);

queryTest("all callers that need a connection wait for a full server", async ({ open, local }) => {
  const db = await open({ max: 10 });
  await db.sql`SELECT 1`;
  const before = local.logins.length;
  local.faults.maxConnections = local.connections;
  const busy = db.sql`SELECT 0 AS n FROM pg_sleep(0.5)`.value(); // takes the only connection there is
  const others = Array.from({ length: 8 }, (_, n) => db.sql`SELECT ${n + 1}::int AS n`.value());
  await eventually("a login is refused", () => local.logins.slice(before).some(({ outcome }) => outcome === "53300"));
  local.faults.maxConnections = undefined;
  assert.deepEqual(await Promise.all([busy, ...others]), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

queryTest("a server that stays full is reported as full", async ({ open, local }) => {
  const db = await open({ connectTimeout: 5 });
  local.faults.maxConnections = 0;
  await dropAll(db, local);
  const error = await errorOf(db.sql`SELECT 1`);
  assert.deepEqual([error.code, error.sqlstate], ["TOO_MANY_CONNECTIONS", "53300"], error.message);
});

queryTest("a later silence does not hide the error of a server", async ({ open, local }) => {
  const db = await open({ connectTimeout: 5 });
  local.faults.maxConnections = 0;
  await dropAll(db, local);
  const refused = () => local.logins.filter(({ outcome }) => outcome === "53300").length;
  const before = refused();
  const failing = errorOf(db.sql`SELECT 1`);
  await eventually("the first refusal has arrived", () => refused() >= before + 2);
  local.faults.blackhole = true;
  const error = await failing;
  assert.deepEqual([error.code, error.sqlstate], ["TOO_MANY_CONNECTIONS", "53300"], error.message);
});

Deno.test({
  ...requires("if a server restarts, running statements fail and the next query works", postgresMissing),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using server = await startPostgres({ password: "owner-secret" });
    await using local = await startLocal({ database: server.url });
    await using db = await connect({ ...optionsOf(local), connectTimeout: 30 });
    await using ran = await counter(db);
    const running = errorOf(db.sql`INSERT INTO ran SELECT 1 FROM pg_sleep(30)`);
    const active = "SELECT FROM pg_stat_activity WHERE query LIKE 'INSERT%' AND state = 'active'";
    await eventually("the statement runs", async () => (await db.pool.query(active)).rowCount === 1);
    const restarting = server.restart();
    const error = await running;
    assert.equal(error.code, "CONNECTION_LOST", error.message);
    await restarting;
    assert.equal(await ran.rows(), 0);
  },
});
