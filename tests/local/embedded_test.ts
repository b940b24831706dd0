import assert from "node:assert/strict";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import pg from "pg";
import { startLocal } from "lakebase/local";
import { frame } from "../../src/local/messages.ts";
import { eventually, withLimitPassed } from "../support/eventually.ts";
import { connect, firstRow, mint, newClient, refusal } from "./client.ts";

const local = await startLocal({ lockTimeout: 300_000, handshakeTimeout: 300_000 });
Deno.test.afterAll(() => local.close());

// The leak detector would report the worker's message port, which was opened before the test.
const withWorker = { sanitizeOps: false };

Deno.test(
  "version() is that of Postgres, and a login reports the same parameters as Postgres",
  withWorker,
  async () => {
    const client = newClient(local, await mint(local));
    const statuses = new Map<string, string>();
    (client as unknown as { connection: pg.Connection }).connection.on(
      "parameterStatus" as "message",
      (({ parameterName, parameterValue }: Record<string, string>) =>
        statuses.set(parameterName!, parameterValue!)) as never,
    );
    await client.connect();
    assert.match(String((await firstRow(client, "SELECT version()"))[0]), /^PostgreSQL \d+/);
    assert.deepEqual(
      ["server_encoding", "client_encoding", "is_superuser", "integer_datetimes", "TimeZone", "in_hot_standby"].map((
        name,
      ) => statuses.get(name)),
      ["UTF8", "UTF8", "off", "on", "Etc/UTC", "off"],
    );
    assert.equal(statuses.get("session_authorization"), "you@example.com");
    await client.end();
  },
);

Deno.test("twenty clients at the same time share no statements, settings or transactions", async () => {
  const admin = await connect(local);
  await admin.query("CREATE TABLE concurrent (client int, step int)");
  await Promise.all(Array.from({ length: 20 }, async (_, i) => {
    const client = await connect(local, { application_name: `client ${i}` });
    await client.query(`SET statement_timeout = ${10_001 + i}`);
    for (let step = 0; step < 5; step++) {
      const text = `SELECT $1::int + ${i} AS sum, current_setting('application_name') AS name`;
      const { rows } = await client.query({ name: "same name", text, values: [step] });
      assert.deepEqual(rows, [{ sum: step + i, name: `client ${i}` }]);
      await client.query("BEGIN");
      await client.query("INSERT INTO concurrent VALUES ($1, $2)", [i, step]);
      await client.query(step % 2 ? "ROLLBACK" : "COMMIT");
      await assert.rejects(client.query("SELECT 1 / $1::int", [0]), { code: "22012" });
      assert.deepEqual(await firstRow(client, "SHOW statement_timeout"), [`${10_001 + i}ms`]);
    }
    await client.end();
  }));
  assert.deepEqual(await firstRow(admin, "SELECT count(*)::int, count(DISTINCT client)::int FROM concurrent"), [
    60,
    20,
  ]);
  await admin.end();
});

Deno.test("a session waits for another session's transaction", async () => {
  const [one, two] = await Promise.all([connect(local), connect(local)]);
  await one.query("BEGIN");
  const waiting = two.query("SELECT 2 AS two");
  await one.query("COMMIT");
  assert.deepEqual((await waiting).rows, [{ two: 2 }]);
  await Promise.all([one.end(), two.end()]);
});

Deno.test(
  "a session waits for another session's transaction up to the limit, and can continue afterwards",
  withWorker,
  async () => {
    await using limited = await startLocal({ lockTimeout: 299_000 });
    const one = await connect(limited);
    const two = await connect(limited);
    await one.query("BEGIN");
    await withLimitPassed(299, async () => {
      for (const query of [two.query("SELECT 1"), two.query("SELECT $1::int", [1])]) {
        await assert.rejects(query, { code: "55P03", message: /runs one transaction at a time/ });
      }
    });
    await one.query("ROLLBACK");
    assert.deepEqual(await firstRow(two, "SELECT 3"), [3]);
    await Promise.all([one.end(), two.end()]);
  },
);

Deno.test("the transaction of a client that leaves is rolled back", async () => {
  const [one, two] = await Promise.all([connect(local), connect(local)]);
  await one.query("CREATE TABLE left_open (id int)");
  await one.query("BEGIN; INSERT INTO left_open VALUES (1)");
  const gone = new Promise((resolve) => one.once("end", resolve));
  (one as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  assert.deepEqual(await firstRow(two, "SELECT count(*)::int FROM left_open"), [0]);
  await gone;
  await two.end();
});

Deno.test("startup parameters and options hold for the session, through RESET ALL and DISCARD ALL", async () => {
  const other = await connect(local);
  const options = "-c statement_timeout=7s -c search_path=pg_catalog,public";
  const client = await connect(local, { options, application_name: "mine" });
  const settings = "SELECT current_setting('statement_timeout'), current_setting('application_name')";
  await client.query("SET statement_timeout = 1000; SET ROLE pg_monitor");
  assert.deepEqual(await firstRow(client, settings), ["1s", "mine"]);
  assert.deepEqual(await firstRow(other, settings), ["0", ""]);
  assert.deepEqual(await firstRow(client, "SELECT current_user"), ["pg_monitor"]);
  await client.query("RESET ALL");
  assert.deepEqual(await firstRow(client, settings), ["7s", "mine"]);
  await client.query("SELECT set_config('statement_timeout', '3s', false)");
  assert.deepEqual(await firstRow(other, settings), ["0", ""]);
  assert.deepEqual(await firstRow(client, settings), ["3s", "mine"]);
  await client.query("DISCARD ALL");
  assert.deepEqual(await firstRow(client, settings), ["7s", "mine"]);
  assert.deepEqual(await firstRow(client, "SELECT current_user, session_user"), [
    "you@example.com",
    "you@example.com",
  ]);
  await Promise.all([client.end(), other.end()]);
});

Deno.test("a new session has the settings of ALTER ROLE and ALTER DATABASE, unless its own options override them", async () => {
  const admin = await connect(local);
  await admin.query(`
    ALTER DATABASE databricks_postgres SET statement_timeout = '8s';
    ALTER DATABASE databricks_postgres SET lock_timeout = '8s';
    ALTER ROLE "you@example.com" SET lock_timeout = '9s';
    ALTER ROLE "you@example.com" SET DateStyle = 'German';
    ALTER ROLE "you@example.com" SET search_path = app, public;
    ALTER ROLE "you@example.com" IN DATABASE databricks_postgres SET work_mem = '5MB';
    ALTER ROLE "you@example.com" SET default_tablespace = 'there is none'`);
  const settings = `SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
    current_setting('DateStyle'), current_setting('search_path'), current_setting('work_mem')`;
  try {
    assert.deepEqual(await firstRow(admin, settings), ["0", "0", "ISO, MDY", '"$user", public', "4MB"]);
    const kept = ["8s", "9s", "German, DMY", "app, public", "5MB"];
    const one = await connect(local);
    assert.deepEqual(await firstRow(one, settings), kept);
    await one.query("SET lock_timeout = 1; SET work_mem = '6MB'");
    assert.deepEqual(await firstRow(admin, "SHOW work_mem"), ["4MB"]);
    await one.query("RESET ALL");
    assert.deepEqual(await firstRow(one, settings), kept);
    const two = await connect(local, { options: "-c datestyle=ISO -c lock_timeout=7s" });
    assert.deepEqual(await firstRow(two, settings), ["8s", "7s", "ISO, MDY", "app, public", "5MB"]);
    await Promise.all([one.end(), two.end()]);
  } finally {
    await admin.query(`ALTER DATABASE databricks_postgres RESET ALL; ALTER ROLE "you@example.com" RESET ALL;
      ALTER ROLE "you@example.com" IN DATABASE databricks_postgres RESET ALL`);
  }
  const after = await connect(local);
  assert.deepEqual(await firstRow(after, settings), ["0", "0", "ISO, MDY", '"$user", public', "4MB"]);
  await Promise.all([admin.end(), after.end()]);
});

Deno.test("a custom setting stays in its session", async () => {
  const [one, two] = await Promise.all([connect(local), connect(local)]);
  const tenant = "SELECT current_setting('app.tenant', true)";
  await one.query("SET app.tenant = 'blue'");
  assert.notEqual((await firstRow(two, tenant))[0], "blue");
  assert.deepEqual(await firstRow(one, tenant), ["blue"]);
  const call = { name: "set", text: "SELECT set_config($1, $2, false)" };
  await two.query({ ...call, values: ["app.tenant", "green"] });
  await two.query({ ...call, values: ["app.person", "ann"] });
  assert.deepEqual(await firstRow(one, tenant), ["blue"]);
  await two.query({ ...call, values: ["app.tenant", "red"] });
  assert.deepEqual(await firstRow(one, tenant), ["blue"]);
  assert.deepEqual(await firstRow(two, `${tenant}, current_setting('app.person', true)`), ["red", "ann"]);
  await one.query(`CREATE FUNCTION become(name text) RETURNS text LANGUAGE sql
    AS $$ SELECT set_config('app.tenant', name, false) $$`);
  await two.query("SELECT become('yellow')");
  assert.deepEqual(await firstRow(one, tenant), ["blue"]);
  assert.deepEqual(await firstRow(two, tenant), ["yellow"]);
  await one.query("DROP FUNCTION become");
  await Promise.all([one.end(), two.end()]);
});

Deno.test("a login with an unknown startup option is refused", async () => {
  const error = await refusal(local, { options: "-c no_such_setting=1" });
  assert.deepEqual([error.code, error.severity], ["42704", "FATAL"]);
});

Deno.test("several statements in one query give several results, and an error ends them", async () => {
  const client = await connect(local);
  const results = await client.query("SELECT 1 AS a; CREATE TABLE several (id int); SELECT 2 AS b");
  assert.deepEqual((results as unknown as pg.QueryResult[]).map(({ command, rows }) => [command, rows]), [
    ["SELECT", [{ a: 1 }]],
    ["CREATE", []],
    ["SELECT", [{ b: 2 }]],
  ]);
  await assert.rejects(client.query("SELECT 1; SELECT 1 / 0; SELECT 2"), { code: "22012" });
  assert.deepEqual(await firstRow(client, "SELECT 5"), [5]);
  await client.end();
});

Deno.test("NOTIFY reaches every session that listens, and no other", async () => {
  const [one, two, three] = await Promise.all([connect(local), connect(local), connect(local)]);
  const received: string[] = [];
  for (const [name, session] of [["one", one], ["two", two], ["three", three]] as const) {
    session.on("notification", ({ channel, payload }) => received.push(`${name}: ${channel} ${payload}`));
  }
  await one.query("LISTEN news");
  await two.query('LISTEN news; LISTEN "Other"');
  await three.query("NOTIFY news, 'a'; NOTIFY \"Other\", 'b'");
  await two.query("UNLISTEN news");
  await three.query("NOTIFY news, 'c'");
  for (const session of [one, two, three]) await session.query("SELECT 1");
  assert.deepEqual(received.sort(), ["one: news a", "one: news c", "two: Other b", "two: news a"]);
  await Promise.all([one.end(), two.end(), three.end()]);
});

Deno.test("a query can be canceled while it runs, and while it waits for its turn", async () => {
  const [one, two] = await Promise.all([connect(local), connect(local)]);
  const sendCancel = async (client: pg.Client): Promise<void> => {
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const connection = new pg.Connection();
    const sent = new Promise((resolve) => connection.on("end" as "drain", resolve as never));
    const request = connection as never as CancelRequest;
    connection.on("connect" as "drain", (() => request.cancel(processID, secretKey)) as never);
    request.connect(Number(local.env["PGPORT"]), "127.0.0.1");
    await sent;
  };
  /** Sends requests until the query has ended, because a request that arrives before the query has no effect. */
  const cancel = async (client: pg.Client, query: Promise<void>) => {
    let hasEnded = false;
    const ended = query.finally(() => hasEnded = true);
    ended.catch(() => {});
    await eventually("the query is canceled", async () => {
      if (!hasEnded) await sendCancel(client);
      return hasEnded;
    });
    await ended;
  };
  for (const sql of ["SELECT pg_sleep(20)", "SELECT count(*) FROM generate_series(1, 100000000)"]) {
    await cancel(one, assert.rejects(one.query(sql), { code: "57014", message: /due to user request/ }));
  }
  await one.query("BEGIN");
  await cancel(two, assert.rejects(two.query("SELECT 1"), { code: "57014" }));
  await one.query("COMMIT");
  assert.deepEqual(await firstRow(two, "SELECT 1"), [1]);
  await Promise.all([one.end(), two.end()]);
});

/** The parts of `pg.Connection` that its types omit. */
interface CancelRequest {
  connect(port: number, host: string): void;
  cancel(process: number, secret: number): void;
}

Deno.test("statement_timeout ends a query", async () => {
  const client = await connect(local, { statement_timeout: 100 });
  for (const sql of ["SELECT pg_sleep(20)", "SELECT count(*) FROM generate_series(1, 100000000)"]) {
    await assert.rejects(client.query(sql), { code: "57014", message: /due to statement timeout/ });
  }
  // On a stalled machine, even a short statement may exceed the limit.
  const one = () => firstRow(client, "SELECT 1").catch(({ code }) => code);
  await eventually("the session works", async () => {
    const row = await one();
    if (row !== "57014") assert.deepEqual(row, [1]);
    return row !== "57014";
  });
  await client.end();
});

Deno.test("a large parameter arrives whole", async () => {
  const client = await connect(local);
  const text = "é".repeat(5_000_000);
  assert.deepEqual(await firstRow(client, "SELECT length($1), md5($1) = md5($2)", [text, text]), [5_000_000, true]);
  await client.end();
});

Deno.test("temporary tables are dropped after the last session that has created any", async () => {
  const one = await connect(local);
  await one.query("CREATE TEMP TABLE t (id int)");
  await one.end();
  const two = await connect(local);
  await two.query("CREATE TEMP TABLE t (id int)");
  await two.end();
});

Deno.test("a new session can log in while another session's transaction is open", async () => {
  const one = await connect(local);
  await one.query("BEGIN");
  const two = await connect(local);
  await one.query("COMMIT");
  await Promise.all([one.end(), two.end()]);
});

Deno.test("a user owns the database but is not a superuser", async () => {
  const client = await connect(local);
  await client.query("CREATE SCHEMA mine; CREATE TABLE mine.t (id int); DROP SCHEMA mine CASCADE");
  await client.query('CREATE ROLE "someone@example.com" LOGIN; GRANT USAGE ON SCHEMA public TO PUBLIC');
  await assert.rejects(client.query("COPY pg_class TO '/tmp/no'"), { code: "42501" });
  await client.end();
});

Deno.test("a malformed message ends only its own session", async () => {
  const bodies = [[], [0], [255, 0, 0, 0], [83, 0, 1, 2, 3]];
  for (const kind of "QPBDECHSFdcf!") {
    for (const body of bodies) {
      const client = await connect(local);
      const { connection } = client as unknown as { connection: { stream: Duplex; removeAllListeners(): void } };
      connection.removeAllListeners();
      connection.stream.write(frame(kind, new Uint8Array(body)));
      connection.stream.end();
      await once(connection.stream, "close");
    }
    const client = await connect(local);
    assert.deepEqual(await firstRow(client, "SELECT 1"), [1], `after ${kind}`);
    await client.end();
  }
});
