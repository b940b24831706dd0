import assert from "node:assert/strict";
import { startLocal } from "lakebase/local";
import { eventually, inTime } from "../support/eventually.ts";
import { postgresMissing, startPostgres } from "../support/postgres.ts";
import { connect, firstRow, refusal } from "./client.ts";

const missing = postgresMissing();
const ignore = missing !== undefined;
const server = ignore ? undefined : await startPostgres({ database: "app", password: "s3cret" });
const local = server && await startLocal({ database: server.url, passwords: { native: "pw" } });
Deno.test.afterAll(async () => {
  await local?.close();
  await server?.stop();
});

function lakebase(): NonNullable<typeof local> {
  if (!local) throw new Error(missing);
  return local;
}

Deno.test({ name: "a session acts as its role, in the URL's database", ignore }, async () => {
  for (const [role, password] of [["you@example.com", undefined], ["native", "pw"]] as const) {
    const client = await connect(lakebase(), { user: role, ...(password ? { password } : {}) });
    assert.deepEqual(await firstRow(client, "SELECT current_user, session_user, current_database()"), [
      role,
      role,
      "app",
    ]);
    await client.query("DISCARD ALL");
    assert.deepEqual(await firstRow(client, "SELECT current_user"), [role]);
    await client.query("CREATE TABLE mine (id int); DROP TABLE mine");
    await client.end();
  }
});

Deno.test({ name: "a client's startup parameters and options reach the server", ignore }, async () => {
  const options = "-c statement_timeout=7s -c search_path=pg_catalog,public";
  const client = await connect(lakebase(), { options, application_name: "it's mine \\o/" });
  assert.deepEqual(
    await firstRow(client, "SELECT current_setting('statement_timeout'), current_setting('application_name')"),
    ["7s", "it's mine \\o/"],
  );
  await client.end();
  const error = await refusal(lakebase(), { options: "-c no_such_setting=1" });
  assert.deepEqual([error.code, error.severity], ["42704", "FATAL"]);
});

Deno.test(
  { name: "a new session has the settings of ALTER ROLE, unless its own options override them", ignore },
  async () => {
    const admin = await connect(lakebase());
    await admin.query(`ALTER ROLE "you@example.com" SET search_path = "a b", public`);
    await admin.query(`ALTER ROLE "you@example.com" SET lock_timeout = '9s'`);
    const settings = "SELECT current_setting('search_path'), current_setting('lock_timeout')";
    const client = await connect(lakebase(), { options: "-c lock_timeout=7s" });
    assert.deepEqual(await firstRow(client, settings), ['"a b", public', "7s"]);
    await client.query("RESET ALL");
    assert.deepEqual(await firstRow(client, settings), ['"a b", public', "7s"]);
    await admin.query(`ALTER ROLE "you@example.com" RESET ALL`);
    await Promise.all([admin.end(), client.end()]);
  },
);

Deno.test({ name: "a client receives the error with which the server refuses its login", ignore }, async () => {
  assert.equal((await refusal(lakebase(), { database: "none" })).code, "3D000");
  assert.equal((await refusal(lakebase(), { user: "who@example.com" })).code, "28000");
});

Deno.test({ name: "two sessions can have a transaction at the same time", ignore }, async () => {
  const [one, two] = await Promise.all([connect(lakebase()), connect(lakebase())]);
  await one.query("BEGIN");
  await two.query("BEGIN");
  assert.deepEqual(await firstRow(two, "SELECT 1"), [1]);
  await Promise.all([one.end(), two.end()]);
});

Deno.test({ name: "a query is canceled on the server", ignore }, async () => {
  const client = await connect(lakebase());
  const [process] = await firstRow(client, "SELECT pg_backend_pid()");
  assert.equal((client as unknown as { processID: number }).processID, process);
  const running = assert.rejects(client.query("SELECT pg_sleep(600)"), { code: "57014" });
  const other = await connect(lakebase());
  const asleep = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
  await eventually("the query runs", async () => (await firstRow(other, asleep))[0] === 1);
  const { secretKey } = client as unknown as { secretKey: number };
  const request = new DataView(new ArrayBuffer(16));
  [16, 80877102, process as number, secretKey].forEach((value, i) => request.setInt32(i * 4, value));
  const socket = await Deno.connect({ hostname: "127.0.0.1", port: Number(lakebase().env["PGPORT"]) });
  await socket.write(new Uint8Array(request.buffer));
  await socket.read(new Uint8Array(1));
  socket.close();
  await inTime("the end of the query", running);
  await Promise.all([client.end(), other.end()]);
});

Deno.test({ name: "a restart of the server ends the sessions, and then new ones can log in", ignore }, async () => {
  const client = await connect(lakebase());
  const ended = new Promise<{ code?: string }>((resolve) => client.once("error", resolve));
  await server?.restart();
  assert.equal((await ended).code, "57P01");
  const again = await connect(lakebase());
  await again.end();
});

Deno.test({ name: "faults act on a real server's sessions too", ignore }, async () => {
  const client = await connect(lakebase());
  const ended = new Promise<{ code?: string }>((resolve) => client.once("error", resolve));
  lakebase().faults.suspend();
  assert.equal((await ended).code, "57P01");
  lakebase().faults.reset();
});

Deno.test("startLocal() rejects if the server does not exist", async () => {
  await assert.rejects(startLocal({ database: "postgres://nobody@127.0.0.1:1/none" }), /ECONNREFUSED|refused/i);
});

Deno.test("the error for an invalid URL does not show the URL", async () => {
  for (
    const database of [
      ...["postgres://app:s3cretpw@127.0.0.1:notaport/db", "app:s3cretpw@127.0.0.1/db", "https://app:s3cretpw@h/db"],
      "host=h password=s3cretpw",
    ]
  ) {
    const error = await startLocal({ database }).then(() => assert.fail("it started"), (error) => error);
    assert.match(error.message, /"database": it is not a URL such as postgres:/);
    assert.doesNotMatch(Deno.inspect(error, { depth: 10, showHidden: true }), /s3cretpw/);
  }
});
