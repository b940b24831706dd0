import assert from "node:assert/strict";
import { check, connect } from "../../mod.ts";
import { Lakebase } from "../../src/api/lakebase.ts";
import type { LocalLakebase } from "../../src/local/mod.ts";
import type { HostLookup } from "../../src/net/dns.ts";
import type { LoginClient } from "../../src/net/login_client.ts";
import type { LakebasePool } from "../../src/net/pool.ts";
import type { WatchOptions } from "../../src/net/watch.ts";
import { eventually, inTime } from "../support/eventually.ts";
import { relay } from "../support/relay.ts";
import { bothTests } from "../support/lakebase.ts";
import { untilSent } from "../support/queries.ts";
import { localPool } from "./local_pool.ts";

const test = bothTests({ passwords: { app: "native-secret" } });

/** A time limit of a check that a busy machine does not exceed. */
const LIMIT = 30_000;

/** A pool whose watch is fast, and the number of its connections and checks so far, each of which looks up the host. */
async function watchedPool(
  { env, ca }: LocalLakebase,
  watch: WatchOptions,
  port = Number(env["PGPORT"]),
): Promise<LakebasePool & { lookups: () => number }> {
  let lookups = 0;
  const find: HostLookup = (_host, options, callback) => {
    lookups++;
    if (typeof options === "object" && options.all) callback(null, [{ address: "127.0.0.1", family: 4 }]);
    else callback(null, "127.0.0.1", 4);
  };
  const pool = await localPool({ env, ca }, { port, find, max: 3, watch });
  return Object.assign(pool, { lookups: () => lookups });
}

/** Waits until a pool has looked up its host this many more times: once for each connection and each check. */
async function lookedUp({ lookups }: { lookups: () => number }, more: number): Promise<void> {
  const before = lookups();
  await eventually(`${more} more checks have begun`, () => lookups() >= before + more);
}

test("watchClient() ends a statement whose server is silently gone", async ({ local }) => {
  const watch = { silence: 200, limit: 200 };
  const pool = await watchedPool(local, watch);
  const waiting = pool.query("SELECT pg_sleep(60)");
  waiting.catch(() => {});
  await untilSent({ pool });
  local.faults.blackhole = true;
  await assert.rejects(waiting, { message: "the server no longer answers" });
  local.faults.reset();
  watch.limit = LIMIT; // of the next connection
  assert.equal((await pool.query("SELECT 1 AS n")).rows[0].n, 1);
  await pool.end();
});

test("watchClient() keeps a slow statement, and a server that was silent for a moment", async ({ local }) => {
  const pool = await watchedPool(local, { silence: 100, limit: LIMIT });
  await pool.query("SELECT 1");
  local.faults.blackhole = true; // before the statement is sent, so that it can't end first
  const waiting = pool.query("SELECT pg_sleep(1.5), 1 AS n");
  await lookedUp(pool, 1); // a check begins, and has no answer before the server is back
  local.faults.blackhole = false;
  assert.equal((await waiting).rows[0].n, 1);
  await pool.end();
});

/** Makes a statement on another connection take so long that it is checked. */
async function checkedElsewhere(local: LocalLakebase): Promise<void> {
  const pool = await watchedPool(local, { silence: 50, limit: LIMIT });
  await pool.query("SELECT 1");
  await eventually("a statement has been checked", async () => {
    const before = pool.lookups();
    await pool.query("SELECT pg_sleep(2)"); // a stalled machine may not check it in time, and then it is repeated
    return pool.lookups() > before;
  });
  await pool.end();
}

/**
 * Waits until a pool checks nothing while another pool does. On a busy machine, an earlier check may not have ended
 * yet.
 */
async function unchecked(pool: { lookups: () => number }, local: LocalLakebase): Promise<void> {
  await eventually("the pool checks nothing", async () => {
    const before = pool.lookups();
    await checkedElsewhere(local);
    return pool.lookups() === before;
  });
}

/** The error with which a statement ends. */
async function failureOf(work: Promise<unknown>): Promise<string> {
  return await inTime("the statement's end", work.then(() => "the statement succeeded", (error) => error.message));
}

const GONE = "the server no longer answers";
const SOME_PROCESS = "the process that it names is not PGlite's own, so nothing is known of it";

for (const [where, before] of [["", []], [" in a transaction", ["BEGIN"]]] as const) {
  test(`watchClient() ends a statement${where} whose answer was lost while new connections work`, async ({ local }) => {
    using route = relay({ to: Number(local.env["PGPORT"]) });
    const pool = await watchedPool(local, { silence: 150, limit: LIMIT }, route.port);
    const client = await pool.connect();
    for (const text of before) await client.query(text);
    // The statement waits for a lock, so that it ends after its connection is lost, however slow the machine is.
    const holder = await localPool(local, {});
    const lock = 100 + before.length; // the lost session may keep its lock for a while
    await holder.query(`SELECT pg_advisory_lock(${lock})`);
    const waiting = client.query(`SELECT pg_advisory_xact_lock(${lock})`);
    waiting.catch(() => {});
    const waits = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = ${lock} AND NOT granted`;
    await eventually("the statement waits", async () => (await holder.query(waits)).rowCount === 1);
    route.forget();
    await holder.end(); // releases the lock
    assert.equal((await pool.query("SELECT 2 AS n")).rows[0].n, 2);
    assert.equal(await failureOf(waiting), GONE);
    (client as unknown as LoginClient).destroy();
    client.release(true);
    await pool.end();
  }, { notOnPglite: SOME_PROCESS });
}

test(
  "watchClient() ends a statement that never reached the server, and one whose process has gone",
  async ({ local }) => {
    using route = relay({ to: Number(local.env["PGPORT"]) });
    const pool = await watchedPool(local, { silence: 100, limit: LIMIT }, route.port);
    const [idle, ended] = [await pool.connect(), await pool.connect()];
    route.forget();
    for (const client of [idle, ended]) {
      if (client === ended) local.faults.dropConnections();
      assert.equal(await failureOf(client.query("SELECT 1")), GONE);
      client.release(true);
    }
    await pool.end();
  },
  { notOnPglite: SOME_PROCESS },
);

test("watchClient() checks a slow statement less and less often, and does not end it", async ({ local }) => {
  const pool = await watchedPool(local, { silence: 50, limit: LIMIT });
  const [client, holder] = [await pool.connect(), await pool.connect()];
  await holder.query("SELECT pg_advisory_lock(77)");
  const [logins, lookups] = [local.logins.length, pool.lookups()];
  const waiting = client.query("SELECT pg_advisory_lock(77), 1 AS n");
  await lookedUp(pool, 30);
  const asked = local.logins.length - logins;
  const checks = pool.lookups() - lookups - asked;
  assert.ok(asked > 1 && asked < checks / 3, `${asked} times of ${checks}`);
  await holder.query("SELECT pg_advisory_unlock(77)");
  assert.equal((await waiting).rows[0].n, 1);
  holder.release();
  await client.query("BEGIN");
  await unchecked(pool, local); // idle in a transaction, where nothing is waited for
  assert.equal((await client.query("SELECT pg_sleep(0.3), 2 AS n")).rows[0].n, 2);
  client.release();
  await pool.end();
}, { notOnPglite: "a login asks after the running statement, and has to wait for it" });

test("watchClient() keeps a statement whose rows are read slowly after the server has sent all", async ({ local }) => {
  const pool = await watchedPool(local, { silence: 50, limit: LIMIT });
  await using db = overPool(pool);
  let rows = 0;
  for await (const _ of db.sql`SELECT n FROM generate_series(1, 400) n`) {
    if (++rows === 150) await checkedElsewhere(local);
  }
  assert.equal(rows, 400);
  let bytes = 0;
  const slow = new WritableStream<Uint8Array>({
    write: async (chunk) => {
      if (bytes === 0) await lookedUp(pool, 5);
      bytes += chunk.length;
    },
  }, { highWaterMark: 1 });
  await db.sql`SELECT repeat('x', 1000) FROM generate_series(1, 3000) n`.pull(slow, { format: "csv", header: false });
  assert.equal(bytes, 3_003_000);
}, { notOnPglite: SOME_PROCESS });

for (const what of ["pull", "transaction"] as const) {
  test(`a network that drops everything during a ${what} is detected`, async ({ local }) => {
    await using other = overPool(await localPool(local, {})); // a stalled machine may exceed the short limits of the watch
    await using db = overPool(await watchedPool(local, { silence: 150, limit: 150 }));
    await other.sql`DROP TABLE IF EXISTS swallowed`;
    await other.sql`CREATE TABLE swallowed (n int)`;
    const swallow = () => local.faults.blackhole = true;
    let chunks = 0;
    const target = new WritableStream<Uint8Array>({ write: () => void (++chunks === 5 && swallow()) });
    const work = what === "pull"
      ? db.sql`SELECT repeat('x', 1000) FROM generate_series(1, 100000)`.pull(target, { format: "csv" })
      : db.transaction(async (tx) => {
        await tx.sql`INSERT INTO swallowed VALUES (1)`;
        swallow();
        await tx.sql`INSERT INTO swallowed VALUES (2)`;
      });
    const code = await inTime("its end", Promise.resolve(work).then(() => "done", (error) => error.code));
    local.faults.reset();
    assert.equal(code, "CONNECTION_LOST");
    assert.equal(await other.sql`SELECT count(*) FROM swallowed`.value(), 0);
  });
}

/** The objects of the API that a person uses, on a pool whose watch is fast. */
function overPool(pool: LakebasePool): Lakebase {
  const { host, port, database, user } = pool.options as { host: string; port: number; database: string; user: string };
  return new Lakebase({
    pool,
    host,
    port,
    database,
    user,
    readOnly: false,
    types: {},
    endpoint: undefined,
    credentials: undefined,
    check: () => check({}),
    onClose: () => Promise.resolve(),
  });
}

test("watchClient() sends nothing while a connection is idle", async ({ local }) => {
  const pool = await watchedPool(local, { silence: 50 });
  await pool.query("SELECT 1");
  await unchecked(pool, local);
  assert.equal(pool.totalCount, 1);
  await pool.end();
});

test("(slow) a network that drops everything is detected", async ({ local, settings }) => {
  await using db = await connect(settings());
  const waiting = db.query("SELECT pg_sleep(600)");
  waiting.catch(() => {});
  await untilSent(db, "pg_sleep");
  local.faults.blackhole = true;
  await assert.rejects(waiting, { code: "CONNECTION_LOST" });
  local.faults.reset();
}, { neverReached: "the network alone decides" });
