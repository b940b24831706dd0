import assert from "node:assert/strict";
import { startLocal } from "lakebase/local";
import { eventually, inTime } from "../support/eventually.ts";
import { postgresMissing, startPostgres } from "../support/postgres.ts";
import { connect, refusal, row } from "./client.ts";

const missing = postgresMissing();
const ignore = missing !== undefined;
const server = ignore ? undefined : await startPostgres({ database: "app", password: "s3cret" });
const local = server && await startLocal({ database: server.url, passwords: { native: "pw" } });
Deno.test.afterAll(async () => {
  await local?.close();
  await server?.stop();
});

function here(): NonNullable<typeof local> {
  if (!local) throw new Error(missing);
  return local;
}

Deno.test({ name: "a session acts as its role, in the URL's database", ignore }, async () => {
  for (const [role, password] of [["you@example.com", undefined], ["native", "pw"]] as const) {
    const connected = await connect(here(), { user: role, ...(password ? { password } : {}) });
    assert.deepEqual(await row(connected, "SELECT current_user, session_user, current_database()"), [
      role,
      role,
      "app",
    ]);
    await connected.query("DISCARD ALL");
    assert.deepEqual(await row(connected, "SELECT current_user"), [role]);
    await connected.query("CREATE TABLE mine (id int); DROP TABLE mine");
    await connected.end();
  }
});

Deno.test({ name: "a client's startup parameters and options reach the server", ignore }, async () => {
  const options = "-c statement_timeout=7s -c search_path=pg_catalog,public";
  const connected = await connect(here(), { options, application_name: "it's mine \\o/" });
  assert.deepEqual(
    await row(connected, "SELECT current_setting('statement_timeout'), current_setting('application_name')"),
    ["7s", "it's mine \\o/"],
  );
  await connected.end();
  const error = await refusal(here(), { options: "-c no_such_setting=1" });
  assert.deepEqual([error.code, error.severity], ["42704", "FATAL"]);
});

Deno.test({ name: "a new session has what ALTER ROLE keeps, below its own options", ignore }, async () => {
  const admin = await connect(here());
  await admin.query(`ALTER ROLE "you@example.com" SET search_path = "a b", public`);
  await admin.query(`ALTER ROLE "you@example.com" SET lock_timeout = '9s'`);
  const settings = "SELECT current_setting('search_path'), current_setting('lock_timeout')";
  const connected = await connect(here(), { options: "-c lock_timeout=7s" });
  assert.deepEqual(await row(connected, settings), ['"a b", public', "7s"]);
  await connected.query("RESET ALL");
  assert.deepEqual(await row(connected, settings), ['"a b", public', "7s"]);
  await admin.query(`ALTER ROLE "you@example.com" RESET ALL`);
  await Promise.all([admin.end(), connected.end()]);
});

Deno.test({ name: "what the server refuses, the client is told", ignore }, async () => {
  assert.equal((await refusal(here(), { database: "none" })).code, "3D000");
  assert.equal((await refusal(here(), { user: "who@example.com" })).code, "28000");
});

Deno.test({ name: "transactions of two sessions don't wait for each other", ignore }, async () => {
  const [one, two] = await Promise.all([connect(here()), connect(here())]);
  await one.query("BEGIN");
  await two.query("BEGIN");
  assert.deepEqual(await row(two, "SELECT 1"), [1]);
  await Promise.all([one.end(), two.end()]);
});

Deno.test({ name: "a query is cancelled on the server", ignore }, async () => {
  const connected = await connect(here());
  const [process] = await row(connected, "SELECT pg_backend_pid()");
  assert.equal((connected as unknown as { processID: number }).processID, process);
  const running = assert.rejects(connected.query("SELECT pg_sleep(600)"), { code: "57014" });
  const other = await connect(here());
  const asleep = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
  await eventually("the query runs", async () => (await row(other, asleep))[0] === 1);
  const { secretKey } = connected as unknown as { secretKey: number };
  const request = new DataView(new ArrayBuffer(16));
  [16, 80877102, process as number, secretKey].forEach((value, i) => request.setInt32(i * 4, value));
  const canceller = await Deno.connect({ hostname: "127.0.0.1", port: Number(here().env["PGPORT"]) });
  await canceller.write(new Uint8Array(request.buffer));
  await canceller.read(new Uint8Array(1));
  canceller.close();
  await inTime("the end of the query", running);
  await Promise.all([connected.end(), other.end()]);
});

Deno.test({ name: "a restart of the server ends the sessions, and new ones are let in", ignore }, async () => {
  const connected = await connect(here());
  const ended = new Promise<{ code?: string }>((resolve) => connected.once("error", resolve));
  await server?.restart();
  assert.equal((await ended).code, "57P01");
  const again = await connect(here());
  await again.end();
});

Deno.test({ name: "faults act on a real server's sessions too", ignore }, async () => {
  const connected = await connect(here());
  const ended = new Promise<{ code?: string }>((resolve) => connected.once("error", resolve));
  here().faults.suspend();
  assert.equal((await ended).code, "57P01");
  here().faults.reset();
});

Deno.test("a server that does not exist is an error", async () => {
  await assert.rejects(startLocal({ database: "postgres://nobody@127.0.0.1:1/none" }), /ECONNREFUSED|refused/i);
});

Deno.test("an invalid URL is an error that does not show the URL", async () => {
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
