import assert from "node:assert/strict";
import { check, connect } from "../../mod.ts";
import { Lakebase } from "../../src/api/lakebase.ts";
import type { LocalLakebase } from "../../src/local/mod.ts";
import type { LoginClient } from "../../src/net/login_client.ts";
import { LakebasePool } from "../../src/net/pool.ts";
import { tlsOptions } from "../../src/net/tls.ts";
import type { WatchOptions } from "../../src/net/watch.ts";
import { bothTests } from "../support/lakebase.ts";

const test = bothTests({ passwords: { app: "native-secret" } });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function watchedPool(
  { env, ca }: LocalLakebase,
  watch: WatchOptions,
  port = Number(env["PGPORT"]),
): Promise<LakebasePool> {
  return new LakebasePool({
    ...{ host: "localhost", port, database: env["PGDATABASE"]!, user: "app" },
    ...{ password: "native-secret", native: true, ssl: await tlsOptions("localhost", "verify-full", ca) },
    ...{ max: 3, idleTimeout: 30, maxLifetime: 3600, connectTimeout: 2, statementTimeout: 0, readOnly: false, watch },
  });
}

test("watchClient() ends a statement whose server is silently gone", async ({ local }) => {
  const pool = await watchedPool(local, { silence: 200, limit: 200 });
  await pool.query("SELECT 1");
  const waiting = pool.query("SELECT pg_sleep(60)");
  waiting.catch(() => {});
  await sleep(100);
  local.faults.blackhole = true;
  await assert.rejects(waiting, { message: "the server does not answer any more" });
  local.faults.reset();
  assert.equal((await pool.query("SELECT 1 AS n")).rows[0].n, 1);
  await pool.end();
});

test("watchClient() keeps a slow statement, and a server that was silent for a moment", async ({ local }) => {
  const pool = await watchedPool(local, { silence: 100, limit: 1500 });
  await pool.query("SELECT 1");
  const waiting = pool.query("SELECT pg_sleep(1.5), 1 AS n");
  await sleep(300);
  local.faults.blackhole = true;
  await sleep(700);
  local.faults.blackhole = false;
  assert.equal((await waiting).rows[0].n, 1);
  await pool.end();
});

/** A way to the server that can forget the connections that it has, as a firewall does: what they carry is lost. */
function forgetfulRelay({ env }: LocalLakebase): Disposable & { port: number; forget: () => void } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.Conn>();
  let forgotten = new WeakSet<Deno.Conn>();
  const carry = async (from: Deno.Conn, to: Deno.Conn) => {
    const buffer = new Uint8Array(65_536);
    for (let size = await from.read(buffer); size !== null; size = await from.read(buffer)) {
      for (let at = 0; at < size && !forgotten.has(from);) at += await to.write(buffer.subarray(at, size));
    }
    if (!forgotten.has(from)) to.close();
  };
  (async () => {
    for await (const near of listener) {
      const far = await Deno.connect({ hostname: "127.0.0.1", port: Number(env["PGPORT"]) });
      for (const [from, to] of [[near, far], [far, near]] as const) {
        open.add(from);
        carry(from, to).catch(() => {}).finally(() => open.delete(from));
      }
    }
  })().catch(() => {});
  return {
    port: (listener.addr as Deno.NetAddr).port,
    forget: () => forgotten = new WeakSet(open),
    [Symbol.dispose]() {
      listener.close();
      for (const conn of open) {
        try {
          conn.close();
        } catch {
          // Its other side has closed it.
        }
      }
    },
  };
}

/** The error that a statement ends with, within some seconds. */
async function failureOf(work: Promise<unknown>, limit = 4000): Promise<string> {
  const late = sleep(limit).then(() => "it still waits");
  return await Promise.race([work.then(() => "it was answered", (error) => error.message), late]);
}

const GONE = "the server does not answer any more";
const SOME_PROCESS = "the process that it names is not PGlite's own, so nothing is known of it";

for (const [where, before] of [["", []], [" in a transaction", ["BEGIN"]]] as const) {
  test(`watchClient() ends a statement${where} whose answer was lost while new connections work`, async ({ local }) => {
    using relay = forgetfulRelay(local);
    const pool = await watchedPool(local, { silence: 150, limit: 1000 }, relay.port);
    const client = await pool.connect();
    for (const text of before) await client.query(text);
    const waiting = client.query("SELECT pg_sleep(0.3)");
    waiting.catch(() => {});
    await sleep(100);
    relay.forget();
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
    using relay = forgetfulRelay(local);
    const pool = await watchedPool(local, { silence: 100, limit: 1000 }, relay.port);
    const [idle, ended] = [await pool.connect(), await pool.connect()];
    relay.forget();
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
  const pool = await watchedPool(local, { silence: 50, limit: 2000 });
  const client = await pool.connect();
  const before = local.logins.length;
  assert.equal((await client.query("SELECT pg_sleep(2), 1 AS n")).rows[0].n, 1);
  const asked = local.logins.length - before;
  assert.ok(asked > 1 && asked < 14, `${asked} times`);
  await client.query("BEGIN");
  await sleep(300); // idle in a transaction, where nothing is waited for
  assert.equal((await client.query("SELECT pg_sleep(0.3), 2 AS n")).rows[0].n, 2);
  client.release();
  await pool.end();
}, { notOnPglite: "a login asks after the running statement, and has to wait for it" });

test("watchClient() keeps a statement whose rows are read slowly after the server has sent all", async ({ local }) => {
  const pool = await watchedPool(local, { silence: 50, limit: 1000 });
  await using db = overPool(pool);
  let rows = 0;
  for await (const _ of db.sql`SELECT n FROM generate_series(1, 400) n`) if (++rows % 150 === 0) await sleep(500);
  assert.equal(rows, 400);
  let bytes = 0;
  const slow = new WritableStream<Uint8Array>({
    write: async (chunk) => {
      if (bytes === 0) await sleep(1000);
      bytes += chunk.length;
    },
  }, { highWaterMark: 1 });
  await db.sql`SELECT repeat('x', 1000) FROM generate_series(1, 3000) n`.pull(slow, { format: "csv", header: false });
  assert.equal(bytes, 3_003_000);
}, { notOnPglite: SOME_PROCESS });

for (const what of ["pull", "transaction"] as const) {
  test(`a network that swallows everything during a ${what} is detected`, async ({ local }) => {
    await using db = overPool(await watchedPool(local, { silence: 150, limit: 150 }));
    await db.sql`DROP TABLE IF EXISTS swallowed`;
    await db.sql`CREATE TABLE swallowed (n int)`;
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
    const code = await Promise.race([
      Promise.resolve(work).then(() => "done", (error) => error.code),
      sleep(5000).then(() => "it still waits"),
    ]);
    local.faults.reset();
    assert.equal(code, "CONNECTION_LOST");
    assert.equal(await db.sql`SELECT count(*) FROM swallowed`.value(), 0);
  });
}

/** What a person holds, over a pool whose watch is fast. */
function overPool(pool: LakebasePool): Lakebase {
  const { host, port, database, user } = pool.options as { host: string; port: number; database: string; user: string };
  return new Lakebase({
    ...{ pool, host, port, database, user, readOnly: false, types: {}, endpoint: undefined, credentials: undefined },
    check: () => check({}),
    onClose: () => Promise.resolve(),
  });
}

test("watchClient() sends nothing while a connection is idle", async ({ local }) => {
  const pool = await watchedPool(local, { silence: 50 });
  await pool.query("SELECT 1");
  const before = local.logins.length;
  await sleep(400);
  assert.equal(local.connections, 1);
  assert.equal(local.logins.length, before);
  await pool.end();
});

test("(slow) a network that drops everything is detected", async ({ local, settings }) => {
  await using db = await connect(settings());
  const waiting = db.query("SELECT pg_sleep(600)");
  waiting.catch(() => {});
  await sleep(100);
  local.faults.blackhole = true;
  await assert.rejects(waiting, { code: "CONNECTION_LOST" });
  local.faults.reset();
}, { neverReached: "the network alone decides" });
