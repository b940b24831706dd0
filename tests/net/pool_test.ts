import assert from "node:assert/strict";
// @ts-types="@types/pg"
import type pg from "pg";
import { connect, type LakebaseError } from "../../mod.ts";
import type { HostLookup } from "../../src/net/dns.ts";
import { LakebasePool } from "../../src/net/pool.ts";
import { eventually } from "../support/eventually.ts";
import { bothTests } from "../support/lakebase.ts";
import { postgresMissing } from "../support/postgres.ts";
import { sharedPostgres, untilDropped, untilSent } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";
import { LOCKED } from "../support/files.ts";
import { localPool } from "./local_pool.ts";

const test = bothTests({ passwords: { app: "native-secret" } });
const CREDENTIALS = "/api/2.0/postgres/credentials";

function mints({ requests }: { requests: readonly { path: string }[] }): number {
  return requests.filter(({ path }) => path === CREDENTIALS).length;
}

test("LakebasePool answers 200 concurrent first queries with one credential", async ({ local, settings }) => {
  const before = mints(local);
  await using db = await connect(settings());
  const rows = await Promise.all(
    Array.from({ length: 200 }, (_, n) => db.query<{ n: number }>("SELECT $1::int AS n", [n])),
  );
  assert.deepEqual(rows.map(([row]) => row?.n), Array.from({ length: 200 }, (_, n) => n));
  assert.equal(mints(local) - before, 1);
  assert.ok(db.pool.totalCount <= 15);
});

test("LakebasePool supports the promise and callback forms of pg.Pool", async ({ settings }) => {
  await using db = await connect(settings());
  const { pool } = db;
  assert.equal((await pool.query("SELECT 1 AS n")).rows[0].n, 1);
  const client = await pool.connect();
  assert.equal((await client.query("SELECT 2 AS n")).rows[0].n, 2);
  client.release();
  const called = Promise.withResolvers<number>();
  pool.query("SELECT 3 AS n", (error, result) => error ? called.reject(error) : called.resolve(result.rows[0].n));
  assert.equal(await called.promise, 3);
  const connected = Promise.withResolvers<number>();
  pool.connect((error, lent, done) => {
    if (lent === undefined) return connected.reject(error);
    lent.query("SELECT 4 AS n").then(({ rows }) => connected.resolve(rows[0].n), connected.reject).finally(done);
  });
  assert.equal(await connected.promise, 4);
});

test("LakebasePool keeps a new connection while the thread computes for longer than connectTimeout", async ({ local }) => {
  const pool = await localPool(local, { connectTimeout: 5 });
  const client = await pool.connect();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5700); // blocks this thread
  assert.equal((await client.query("SELECT 1 AS n")).rows[0].n, 1);
  client.release();
  await pool.end();
});

test("LakebasePool mints once more when the server refuses a credential from the cache", async ({ local, settings }) => {
  await using db = await connect(settings());
  const held = await db.pool.connect();
  local.faults.expireTokens();
  const before = mints(local);
  const rows = await Promise.all(Array.from({ length: 10 }, () => db.query("SELECT 1 AS n")));
  assert.equal(rows.length, 10);
  assert.equal(mints(local) - before, 1);
  held.release();
});

test("LakebasePool reports the refusal of a fresh credential without a retry", async ({ local, settings }) => {
  await using db = await connect(settings());
  const held = await db.pool.connect();
  local.faults.failLogins({ times: 1000 });
  const before = mints(local);
  await assert.rejects(db.query("SELECT 1"), { code: "LOGIN_REFUSED", sqlstate: "28P01" });
  assert.equal(mints(local) - before, 1);
  held.release();
});

for (const [how, drop] of [["reset", "dropConnections"], ["suspended", "suspend"]] as const) {
  test(`LakebasePool silently replaces an idle connection that was ${how}`, async ({ local, settings }) => {
    await using db = await connect(settings());
    await Promise.all(Array.from({ length: 5 }, () => db.query("SELECT 1")));
    local.faults[drop]();
    await untilDropped(db);
    assert.equal((await db.query("SELECT 1 AS n")).length, 1);
  });
}

test("LakebasePool tests a connection that was idle for long", async ({ local, settings }) => {
  await using db = await connect(settings());
  const client = await db.pool.connect() as pg.PoolClient & { idleSince: number };
  client.release();
  client.once("end", () => local.faults.blackhole = false); // the pool's test has failed
  client.idleSince -= 60_000; // as if a laptop had slept: no timer fired, and no bytes came
  local.faults.blackhole = true; // the server is gone, and has not closed the connection
  assert.equal((await db.query("SELECT 1 AS n")).length, 1);
}, { neverReached: "the network alone decides" });

test("LakebasePool reports the running queries that a lost connection has ended, and opens new connections", async ({ local, settings }) => {
  await using db = await connect(settings());
  await db.query("CREATE TABLE IF NOT EXISTS drops (n int)");
  const running = Array.from(
    { length: 50 },
    (_, n) => db.query("INSERT INTO drops SELECT $1 FROM pg_sleep(0.2)", [n]),
  );
  const settling = Promise.allSettled(running);
  await untilSent(db, "INSERT INTO drops");
  local.faults.dropConnections();
  const outcomes = await settling;
  const lost = outcomes.filter((outcome) => outcome.status === "rejected");
  assert.ok(lost.length > 0);
  for (const { reason } of lost) assert.equal(reason.code, "CONNECTION_LOST", reason.message);
  const [row] = await db.query<{ twice: number }>(
    "SELECT count(*) - count(DISTINCT n) AS twice FROM drops",
  );
  assert.equal(row?.twice, 0, "a statement ran twice");
});

test("LakebasePool replaces a connection after maxLifetime", async ({ settings }) => {
  await using db = await connect(settings({ maxLifetime: 1 }));
  const pid = async () => (await db.query<{ pid: number }>("SELECT pg_backend_pid() AS pid"))[0]!.pid;
  const client = await db.pool.connect();
  client.release();
  await eventually("the old connection is closed", () => db.pool.totalCount === 0);
  const next = await db.pool.connect();
  next.release();
  assert.notEqual(next, client);
  assert.ok(await pid());
});

test("LakebasePool closes a connection that was idle for idleTimeout, and none that is in use", async ({ settings }) => {
  await using db = await connect(settings({ idleTimeout: 0.2 }));
  const held = await db.pool.connect();
  (await db.pool.connect()).release();
  assert.deepEqual([db.pool.totalCount, db.pool.idleCount], [2, 1]);
  await eventually("the idle one is closed", () => db.pool.idleCount === 0);
  assert.equal(db.pool.totalCount, 1);
  held.release();
  assert.equal((await db.query("SELECT 1 AS n")).length, 1);
});

test("LakebasePool.end() does not wait forever for a connection that is never released", async ({ settings }) => {
  const db = await connect(settings());
  await db.pool.connect();
  await db.close();
}, { neverReached: "the pool alone decides" });

test("a script without close() ends, and prints nothing on standard error", async ({ local }) => {
  const script = `import { connect } from "${import.meta.resolve("../../mod.ts")}";
    const db = await connect({ envFile: "/dev/null", idleTimeout: 3600 });
    console.log((await db.query("SELECT 1 AS n")).length);
    await db.query("SELECT 1/0").catch((error) => console.log(error.sqlstate));
    await connect({ database: "nope" }).catch((error) => console.log(error.code));
    await connect({ port: 1, connectTimeout: 30 }).catch((error) => console.log(error.code));`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", ...LOCKED, script], // Deno says there what it downloads
    env: local.env,
    signal: AbortSignal.timeout(120_000), // the token and an idle connection live for an hour: a timer that holds the process shows here
  });
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  assert.equal(decoder.decode(stderr), "");
  assert.deepEqual(decoder.decode(stdout).trim().split("\n"), ["1", "22012", "DATABASE_NOT_FOUND", "UNREACHABLE"]);
  assert.equal(code, 0);
}, { neverReached: "the process alone decides" });

test("LakebasePool reaches a server on one of a host's addresses, whatever the others do", async ({ local }) => {
  const find: HostLookup = (_host, _options, callback) =>
    callback(null, [{ address: "::1", family: 6 }, { address: "127.0.0.1", family: 4 }]);
  const pool = await localPool(local, { find, ssl: { ca: local.ca } });
  assert.equal((await pool.query("SELECT 1 AS n")).rows[0].n, 1);
  await pool.end();
}, { neverReached: "the addresses alone decide" });

const NATIVE = { user: "app", password: "native-secret", host: "localhost-pooler.localhost" };

test(
  "a -pooler host accepts a native login, and options that its pooler refuses are reported",
  async ({ settings }) => {
    const { workspace: _, endpoint: __, ...alone } = settings(NATIVE);
    await using db = await connect(alone);
    assert.equal((await db.query("SELECT 1 AS n")).length, 1);
    for (const option of [{ readOnly: true }, { statementTimeout: 5 }, { onConnect: "SET a.b TO 1" }]) {
      await assert.rejects(connect({ ...alone, ...option, max: 2 }), (error: LakebaseError) => {
        assert.equal(error.code, "POOLED_HOST");
        assert.match(error.message, new RegExp(`with ${Object.keys(option)[0]}.*Use "localhost.localhost"`));
        return true;
      });
    }
  },
  { neverReached: "the pooler alone decides" },
);

test("a -pooler host is sent no PGOPTIONS, which its pooler would refuse", async ({ local }) => {
  const script = `import { connect } from "${import.meta.resolve("../../mod.ts")}";
    await connect({ envFile: false }).catch((error) => console.log(error.code, error.sqlstate, error.message));`;
  const { LAKEBASE_ENDPOINT: _, ...env } = local.env;
  for (const host of [NATIVE.host, "Localhost-Pooler.localhost"]) {
    const login = { PGHOST: host, PGUSER: NATIVE.user, PGPASSWORD: NATIVE.password };
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--quiet", ...LOCKED, script],
      env: { ...env, ...login, PGOPTIONS: "-c search_path=public" },
    }).output();
    const output = new TextDecoder().decode(stdout); // without an SQLSTATE, because no server was asked
    assert.match(output, /^POOLED_HOST undefined .*with PGOPTIONS: .*settings do not last. Use "localhost.localhost"/i);
  }
}, { neverReached: "nothing is sent" });

test("(slow) connect({ local: true }) takes no PGOPTIONS of the environment", async () => {
  const script = `import { connect } from "${import.meta.resolve("../../mod.ts")}";
    await using db = await connect({ local: true });
    console.log(await db.sql\`SELECT 1\`.value());`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", ...LOCKED, script],
    env: { PGOPTIONS: "-c no_such_setting=1" },
  }).output();
  assert.equal(new TextDecoder().decode(stdout), "1\n", new TextDecoder().decode(stderr));
}, { neverReached: "the environment alone decides" });

/** An address of this machine that others can also reach, if it has one. */
function outerAddress(): string | undefined {
  return Deno.networkInterfaces().find(({ family, address }) => family === "IPv4" && !address.startsWith("127."))
    ?.address;
}
const outerMissing = () => outerAddress() === undefined ? "this machine has no address but its own" : undefined;

Deno.test({
  ...requires(
    "LakebasePool sends nothing without TLS to another machine that a name of this one leads to",
    outerMissing,
  ),
  fn: async () => {
    using listener = Deno.listen({ hostname: "0.0.0.0", port: 0 });
    const got = (async () => {
      using connection = await listener.accept();
      return await connection.read(new Uint8Array(1000)).catch(() => null);
    })();
    const address = outerAddress()!;
    const find: HostLookup = (_, options, callback) => {
      if (typeof options === "object" && options.all) callback(null, [{ address, family: 4 }]);
      else callback(null, address, 4);
    };
    const pool = new LakebasePool({
      host: "db.localhost",
      port: listener.addr.port,
      database: "d",
      user: "u",
      native: true,
      password: "s3cret",
      max: 1,
      idleTimeout: 1,
      maxLifetime: 60,
      connectTimeout: 30,
      statementTimeout: 0,
      readOnly: false,
      ssl: false,
      find,
    });
    await assert.rejects(pool.connect(), {
      code: "BAD_SETTING",
      message: /the address of "db.localhost" is [\d.]+, which is not this machine/,
    });
    assert.equal(await got, null);
    await pool.end();
  },
});

test("the error of a password function is reported without its message, which may contain the password", async ({ settings }) => {
  const password = () => {
    throw new TypeError("vault: hunter2-secret has expired");
  };
  const { workspace: _, ...options } = settings({ user: "app", password });
  const error = await connect(options).then(() => undefined, (error: LakebaseError) => error);
  assert.equal(error?.code, "BAD_SETTING");
  assert.doesNotMatch(Deno.inspect(error, { depth: 9, showHidden: true }), /hunter2/);
  assert.equal((error?.cause as Error).name, "TypeError");
});

/**
 * A server that refuses its first connection with an SQLSTATE, like a compute that is starting, and forwards the others
 * to a port.
 */
function startingServer(sqlstate: string, port: number) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const fields = ["SFATAL", "VFATAL", `C${sqlstate}`, "Mthe compute is not up yet", ""].join("\0") + "\0";
  const refusal = new Uint8Array(5 + fields.length);
  refusal[0] = "E".charCodeAt(0);
  new DataView(refusal.buffer).setInt32(1, 4 + fields.length);
  new TextEncoder().encodeInto(fields, refusal.subarray(5));
  let connections = 0;
  const serve = async (client: Deno.TcpConn) => {
    if (++connections === 1) {
      await client.read(new Uint8Array(1000));
      await client.write(refusal);
      return client.close();
    }
    const server = await Deno.connect({ hostname: "127.0.0.1", port });
    await Promise.allSettled([client.readable.pipeTo(server.writable), server.readable.pipeTo(client.writable)]);
  };
  const serving = (async () => {
    for await (const client of listener) serve(client).catch(() => {});
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
    },
  };
}

Deno.test({
  ...requires("a cold start is waited for, whatever SQLSTATE of class 08 it refuses with", postgresMissing),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const { port } = await sharedPostgres();
    const login = { host: "127.0.0.1", user: "postgres", password: "native-secret", database: "postgres" } as const;
    for (const sqlstate of ["08000", "08001", "08003", "08004", "08006", "08007", "08P01"]) {
      await using starting = startingServer(sqlstate, port);
      await using db = await connect({ ...login, port: starting.port, sslMode: "disable", connectTimeout: 30 });
      assert.equal(await db.sql`SELECT 1`.value(), 1, sqlstate);
    }
  },
});
