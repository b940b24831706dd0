import assert from "node:assert/strict";
import { check, connect, type Lakebase, LakebaseError } from "../../mod.ts";
import type { LocalLakebase } from "../../src/local/mod.ts";
import { eventually } from "../support/eventually.ts";
import { bothTests, localTests, optionsOf, ownLakebase, prepareOwnLakebase, workspaceOf } from "../support/lakebase.ts";
import { LOCKED } from "../support/files.ts";
import { untilDropped } from "../support/queries.ts";

prepareOwnLakebase();
const both = bothTests({ passwords: { app: "secret" } });
const test = localTests({ passwords: { app: "secret" }, instances: [{ name: "old" }] });

const BRANCHES = "/api/2.0/postgres/projects/local/branches";

/** The limit for starting the database of a branch, which takes seconds on a busy machine. */
const LONG_TIMEOUT = { connectTimeout: 120 };

/** The branches of the local workspace, except the one that exists from the start. */
async function ids(db: Lakebase): Promise<string[]> {
  return (await db.branches()).map(({ name }) => name).filter((name) => name !== "production");
}

async function errorOf(work: Promise<unknown>): Promise<LakebaseError> {
  const error = await work.then(() => undefined, (error) => error);
  assert.ok(error instanceof LakebaseError, `the work did not fail with a LakebaseError: ${error}`);
  return error;
}

both("branch() connects to a copy that is deleted at the end of its scope", async ({ settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  await db.sql`CREATE TABLE trips AS SELECT n AS id FROM generate_series(1, 10) AS n`;
  {
    await using copy = await db.branch();
    assert.match(copy.name, /^you-production-[0-9a-z]{7}$/);
    assert.ok(Math.abs(copy.expires!.getTime() - Date.now() - 86_400_000) < 600_000);
    await copy.sql`DELETE FROM trips WHERE id < 5`;
    assert.equal(await copy.sql`SELECT count(*) FROM trips`.value(), 6);
    assert.match(Deno.inspect(copy), /branch +you-production-\w+ of production, expires at .*, deleted when/);
    assert.deepEqual(await ids(db), [copy.name]);
    const { detail } = (await copy.check()).find(({ step }) => step === "endpoint")!;
    assert.match(detail, new RegExp(`; branch ${copy.name}, made from production, expires at 20\\S+Z$`));
  }
  assert.equal(await db.sql`SELECT count(*) FROM trips`.value(), 10);
  assert.deepEqual(await ids(db), []);
  await db.sql`DROP TABLE trips`;
});

test("connect() and dropBranch() find a kept branch by its name", async ({ settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  await (await db.branch({ name: "kept", keep: true, ttl: false })).close();
  const [, row] = await db.branches();
  assert.deepEqual([row!.name, row!.parent, row!.expires, row!.connected], ["kept", "production", null, false]);
  assert.match(Deno.inspect(await db.branches()), /kept +\| READY +\| production \|.*\| never/);
  const { host: _, ...elsewhere } = settings(LONG_TIMEOUT);
  for (const branch of ["kept", "projects/local/branches/kept"]) {
    const { endpoint: __, ...named } = elsewhere;
    await using there = await connect({ ...named, endpoint: "local", branch });
    assert.match(Deno.inspect(there), /projects\/local\/branches\/kept\/endpoints\/primary/);
    await using only = await connect({ ...named, branch });
    assert.equal((await only.branches()).find(({ connected }) => connected)?.name, "kept");
    assert.match((await errorOf(db.dropBranch("kept"))).message, /this program is connected to it; close\(\)/);
  }
  await db.dropBranch("kept");
  assert.match(
    (await errorOf(db.dropBranch("kept"))).message,
    /deleted already; \{ purge: true \} removes it for good/,
  );
  assert.match(
    (await errorOf(db.branch({ name: "kept" }))).message,
    /the name is taken, by a branch or by a deleted branch/,
  );
  await db.dropBranch("kept", { purge: true });
});

test("dropBranch() refuses branches that must not be dropped", async ({ settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  await using parent = await db.branch({ name: "parent" });
  await using _child = await parent.branch({ name: "child" });
  const refusals: [unknown, RegExp][] = [
    ["production", /"production": it is the project's default branch/],
    ["parent", /child were made from it; drop them first/],
    ["parnet", /no branch has that name; did you mean "parent"\?/],
    ["", /the name is ""; it must be a branch's id/],
    [undefined, /the name is undefined/],
    ["a b", /the name is "a b"/],
    ["..", /the name is "\.\."/], // in an address it would name another folder
    ["projects/../branches/x", /it must be a branch's id/],
    [
      "projects/other/branches/x",
      /^Cannot find projects\/other: it is not in the workspace, or this login may not see it/,
    ],
  ];
  for (const [name, message] of refusals) assert.match((await errorOf(db.dropBranch(name as string))).message, message);
  assert.match((await errorOf(db.dropBranch("parent", { purg: true } as never))).message, /did you mean "purge"/);
});

const wrong: [object, RegExp][] = [
  [{ name: "Big" }, /name is "Big"; it must be 1 to 63 lower-case letters, digits and hyphens/],
  [{ name: "a".repeat(64) }, /it must be 1 to 63/],
  [{ at: "yesterday" }, /at is "yesterday"; it must be a Date, a time with its zone, or "2 hours ago"/],
  [{ at: "2026-11-29T12:00:00" }, /a time with its zone/],
  [{ at: new Date(NaN) }, /at is Invalid Date/],
  [{ at: "2026-02-30T12:00:00Z" }, /at is "2026-02-30T12:00:00Z"; it must be/], // this day does not exist; it is not March 2
  [{ at: "2026-11-31T12:00:00Z" }, /at is "2026-11-31/],
  [{ at: "2026-13-01T12:00:00Z" }, /at is "2026-13-01/],
  [{ at: "2026-11-30T12:00:61Z" }, /at is "2026-11-30T12:00:61Z"/],
  [{ at: "999999999 weeks ago" }, /"at" must be within the time that the project keeps its history/],
  [{ at: new Date(), lsn: "0/1" }, /both at and lsn are given/],
  [{ lsn: "12" }, /a log sequence number such as/],
  [{ ttl: 0 }, /a number of seconds from 1 to 2592000 \(30 days\), or false/],
  [{ ttl: 2_592_001 }, /30 days/],
  [{ ttl: true }, /30 days/],
  [{ keep: 1 }, /keep is 1; it must be true or false/],
  [{ from: "a b" }, /from is "a b"; it must be a branch's id/],
  [{ from: "projects/../branches/x" }, /it must be a branch's id/],
  [{ nam: "x" }, /there is no option "nam"; did you mean "name"\?/],
  [{ from: "none" }, /there is no branch projects\/local\/branches\/none/],
  [{ name: "production" }, /the name is taken, .* connect\(\{ branch: "production" \}\)/],
  [{ at: "2 hours ago" }, /The local Lakebase can't make a branch of the past/],
  [{ at: "2001-01-01T00:00:00Z" }, /"at" must be within the time that the project keeps its history/],
  [{ lsn: "0/1A" }, /can't make a branch of the past/],
];

for (const [options, message] of wrong) {
  test(`branch(${Deno.inspect(options).slice(0, 60)}) is refused`, async ({ settings, local }) => {
    await using db = await connect(settings(LONG_TIMEOUT));
    const before = local.requests.length;
    const error = await errorOf(db.branch(options));
    assert.match(error.message, message);
    assert.match(error.message, /^Cannot make (a|the) branch/);
    assert.ok(!local.requests.slice(before).some(({ method }) => method === "DELETE"));
  });
}

test("branch() works on a workspace that is slow, overloaded, or refuses logins at first", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  local.faults.branch = { takes: 300, refuseLogins: 300 };
  local.faults.workspace(`GET ${BRANCHES}/*/operations/*`, { status: 429, retryAfter: 0, times: 1 });
  local.faults.workspace(`GET ${BRANCHES}/*/operations/*`, { status: 500, times: 1 });
  await using copy = await db.branch();
  assert.equal(await copy.sql`SELECT 1`.value(), 1);
});

test("branch() reports a missing right, and repeats a request that was refused temporarily", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  local.faults.workspace(`POST ${BRANCHES}`, { status: 403, message: "no permission", times: 1 });
  const error = await errorOf(db.branch({ name: "denied" }));
  assert.equal(error.code, "WORKSPACE_AUTH");
  assert.match(
    error.message,
    /Cannot use branch projects\/local\/branches\/denied: .* answered 403, "no permission.*Ask for access/,
  );
  local.faults.workspace(`POST ${BRANCHES}`, { status: 429, retryAfter: 0, times: 2 });
  await (await db.branch()).drop();
  assert.deepEqual(await ids(db), []);
});

test("'2 hours ago' is counted on the workspace's clock", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  local.faults.clockOffset = 20 * 86_400_000; // by this machine's clock it would be before the history
  assert.match((await errorOf(db.branch({ at: "2 hours ago" }))).message, /can't make a branch of the past/);
});

Deno.test("(slow) a branch of a database with a data folder is in memory", async () => {
  const dataDir = await Deno.makeTempDir();
  {
    await using db = await connect({ local: { dataDir } });
    await db.sql`CREATE TABLE kept AS SELECT 1 AS n`;
    await using copy = await db.branch();
    await copy.sql`INSERT INTO kept VALUES (2)`;
    assert.equal(await copy.sql`SELECT count(*) FROM kept`.value(), 2);
    assert.equal(await db.sql`SELECT count(*) FROM kept`.value(), 1);
  }
  await Deno.remove(dataDir, { recursive: true });
});

/** The options of a branch, and the request that the workspace receives. */
const SENT: [options: object, spec: object][] = [
  [{ at: "2026-11-30T12:00:00.123456Z" }, { source_branch_time: "2026-11-30T12:00:00.123456Z" }],
  [{ at: "2026-11-30 12:00:00.123456+00" }, { source_branch_time: "2026-11-30T12:00:00.123456Z" }], // as Postgres writes it
  [{ at: "2026-11-30 13:30:00+01:30" }, { source_branch_time: "2026-11-30T12:00:00.000Z" }],
  [{ at: "2026-11-30T07:00-0500" }, { source_branch_time: "2026-11-30T12:00:00.000Z" }],
  [{ at: new Date("2026-11-30T12:00:00.123Z") }, { source_branch_time: "2026-11-30T12:00:00.123Z" }],
  [{ ttl: 3600 / 7 }, { ttl: "514.286s" }], // a protobuf Duration has at most nine digits after the point
  [{ ttl: 90 }, { ttl: "90s" }],
  [{ ttl: false }, { no_expiry: true }],
];

test("the time and the lifetime of a branch reach the workspace exactly", async ({ local, settings }) => {
  const bodies: Record<string, unknown>[] = [];
  await using workspace = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    bodies.push((await request.json()).spec);
    return Response.json({ error_code: "BAD_REQUEST", message: "seen" }, { status: 400 });
  });
  const host = new URL(`http://127.0.0.1:${workspace.addr.port}`);
  const seen = { config: { ...workspaceOf(local).config, getHost: () => Promise.resolve(host) } };
  await using db = await connect(settings({ ...LONG_TIMEOUT, user: "app", password: "secret", workspace: seen }));
  for (const [options, spec] of SENT) {
    assert.match((await errorOf(db.branch(options))).message, /"seen"/);
    const { source_branch, ttl, ...sent } = bodies.pop()!;
    assert.equal(source_branch, "projects/local/branches/production");
    assert.deepEqual({ ...(ttl === undefined || ttl === "86400s" ? {} : { ttl }), ...sent }, spec);
  }
});

test("a drop() that failed can be called again", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  const copy = await db.branch();
  local.faults.workspace(`DELETE ${BRANCHES}/*`, { status: 403, times: 1 });
  assert.equal((await errorOf(copy.drop())).code, "WORKSPACE_AUTH");
  assert.deepEqual(await ids(db), [copy.name]);
  await copy.drop();
  assert.deepEqual(await ids(db), []);
  const other = await db.branch();
  local.faults.workspace(`DELETE ${BRANCHES}/*`, { status: 403, times: 1 });
  await other.close(); // prints that the branch is kept
  await other.drop();
  assert.deepEqual(await ids(db), []);
});

test("a branch that can't be completed is deleted, or the error names it", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  local.faults.branch = { error: { errorCode: "RESOURCE_EXHAUSTED", message: "No compute is free" } };
  const error = await errorOf(db.branch({ name: "fails" }));
  assert.equal(error.code, "WORKSPACE_REFUSED");
  assert.match(error.message, /the operation failed \(RESOURCE_EXHAUSTED\), "No compute is free"$/);
  assert.deepEqual(await ids(db), []);
  local.faults.workspace(`DELETE ${BRANCHES}/*`, { status: 403 });
  const { message } = await errorOf(db.branch({ name: "stays" }));
  assert.match(message, /The branch "stays" may still exist; delete it with: lakebase branch drop stays$/);
  local.faults.reset();
  await db.dropBranch("stays", { purge: true });
});

test("Stop while a branch is being made deletes the branch", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  local.faults.branch = { takes: 60_000 };
  const stop = new AbortController();
  const earlier = new Set(local.requests); // those of other tests
  const making = db.branch({ signal: stop.signal });
  await eventually(
    "the branch's operation is polled",
    () => local.requests.some((request) => !earlier.has(request) && request.path.includes("/operations/")),
  );
  stop.abort(new Error("stopped"));
  await assert.rejects(making, { message: "stopped" });
  assert.deepEqual(await ids(db), []);
  const late = await errorOf(db.branch({ timeout: 0.2 }));
  assert.equal(late.code, "CANCELED");
  assert.deepEqual(await ids(db), []);
});

test("an answer that names no operation counts as lost, because the branch may exist", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  for (const body of ["{}", '{"name":"../../../evil"}', '{"name":"projects/local/../operations/1"}', '{"name":7}']) {
    local.faults.workspace(`POST ${BRANCHES}`, { body, times: 2 });
    const before = local.requests.length;
    const { code, message } = await errorOf(db.branch({ name: "whose" }));
    assert.equal(code, "CONNECTION_LOST");
    assert.match(message, /names no operation\. If there is a branch of that name now, find out whose/);
    assert.equal((await errorOf(db.branch())).code, "CONNECTION_LOST");
    const paths = local.requests.slice(before).map(({ path }) => path);
    assert.ok(!paths.some((path) => path.includes("evil") || path.includes("operations")), paths.join("\n"));
  }
  assert.deepEqual(await ids(db), []);
});

test("if the answer to a request is lost, no branch with a generated name remains", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  local.faults.workspace(`POST ${BRANCHES}`, { answer: "truncated", times: 2 });
  assert.equal((await errorOf(db.branch())).code, "CONNECTION_LOST");
  assert.deepEqual(await ids(db), []);
  const { message } = await errorOf(db.branch({ name: "whose" }));
  assert.match(message, /find out whose it is before you delete it with: lakebase branch drop whose$/);
  assert.deepEqual(await ids(db), ["whose"]); // another program may have made it
  await db.dropBranch("whose", { purge: true });
});

test("close() deletes only the branch that was made, not a later branch of the same name or a protected one", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  const first = await db.branch({ name: "same" });
  const { env } = local;
  const headers = { authorization: `Bearer ${env["DATABRICKS_TOKEN"]}` };
  const ask = async (method: string, path: string, body?: unknown) => {
    const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    assert.equal((await (await fetch(env["DATABRICKS_HOST"] + BRANCHES + path, init)).json()).error_code, undefined);
  };
  await ask("DELETE", "/same?purge=true");
  await ask("POST", "?branch_id=same", { spec: { no_expiry: true } });
  await first.close();
  assert.deepEqual(await ids(db), ["same"]);
  const second = await db.branch({ name: "shielded" });
  await ask("PATCH", "/shielded?update_mask=spec.is_protected", { spec: { is_protected: true } });
  assert.match((await errorOf(second.drop())).message, /it is now protected, so it was not deleted/);
  await ask("PATCH", "/shielded?update_mask=spec.is_protected", { spec: { is_protected: false } });
  for (const name of ["same", "shielded"]) await db.dropBranch(name, { purge: true });
});

test("(slow) branch() works twice at once, and reports the project's limit", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  const both = await Promise.all([db.branch(), db.branch()]);
  assert.notEqual(both[0]!.name, both[1]!.name);
  local.faults.maxBranches = 3;
  assert.match(
    (await errorOf(db.branch())).message,
    /limit of 3 branches.*; delete a branch that is not needed: db.branches/,
  );
  await Promise.all(both.map((copy) => copy.drop()));
  for (let i = 0; i < 4; i++) await (await db.branch()).drop(); // more than the limit of those that are there at once
  assert.deepEqual(await ids(db), []);
});

test("the parent connection can be closed before the branch", async ({ settings }) => {
  const db = await connect(settings(LONG_TIMEOUT));
  await using copy = await db.branch();
  await db.close();
  assert.equal(await copy.sql`SELECT 1`.value(), 1);
  for (const work of [db.branch(), db.branches() as never, db.dropBranch("x")]) {
    assert.equal((await errorOf(work)).code, "CLOSED");
  }
});

Deno.test("(slow) a local parent connection can also be closed before the branch", async () => {
  const db = await connect({ local: { user: "closing@example.com" } });
  const copy = await db.branch();
  await db.close();
  assert.equal(await copy.sql`SELECT 1`.value(), 1);
  await copy.close();
});

test("branch() says why a connection can't have branches", async ({ local, settings }) => {
  const { endpoint: _, workspace: __, ...server } = settings(LONG_TIMEOUT);
  await using native = await connect({ ...server, user: "app", password: "secret" });
  const { code, message } = await errorOf(native.branch());
  assert.equal(code, "BAD_SETTING");
  assert.match(message, /native password and no workspace; connect with the workspace's login/);
  await using old = await connect({ ...server, workspace: workspaceOf(local), instance: "old" });
  assert.match(
    (await errorOf(old.branches() as never)).message,
    /old is an instance of Lakebase Provisioned, which has no branches/,
  );
});

test("a native password logs in to the branch as well", async ({ settings }) => {
  const { host: _, ...server } = settings({ ...LONG_TIMEOUT, user: "app", password: "secret" });
  await using db = await connect(server);
  await using copy = await db.branch();
  assert.equal(await copy.sql`SELECT current_user`.value(), "app");
});

test("the next connection names a branch that was deleted while it was in use", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  await using copy = await db.branch({ name: "short" });
  await copy.sql`SELECT 1`;
  local.faults.clockOffset = 2 * 86_400_000;
  await ids(db);
  await untilDropped(copy);
  const error = await errorOf(copy.sql`SELECT 1` as never);
  assert.match(
    error.message,
    /branches\/short\/endpoints\/primary: it is not in the workspace; its branch may have been/,
  );
});

test("the next statement restores a branch that was archived while it was in use", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  await using copy = await db.branch({ name: "seldom" });
  await copy.sql`CREATE TABLE kept AS SELECT 1 AS n`;
  await using session = await copy.session();
  await session.sql`SET app.tenant = 'seven'`;
  local.faults.archive("projects/local/branches/seldom", { restoreAfter: 300 });
  assert.equal((await db.branches()).find(({ name }) => name === "seldom")?.state, "ARCHIVED");
  await untilDropped(copy);
  assert.match(
    (await errorOf(session.sql`SELECT 1` as never)).message,
    /its session has ended .*Lost with the session/,
  );
  assert.equal(await copy.sql`SELECT n FROM kept`.value(), 1);
  assert.equal((await db.branches()).find(({ name }) => name === "seldom")?.state, "READY");
});

test("an archived branch can be connected to and dropped, but not copied", async ({ local, settings }) => {
  await using db = await connect(settings(LONG_TIMEOUT));
  await (await db.branch({ name: "old", keep: true })).close();
  const archive = () => local.faults.archive("projects/local/branches/old", { restoreAfter: 300 });
  archive();
  assert.match((await errorOf(db.branch({ from: "old" }))).message, /Cannot make the branch .* is ARCHIVED/);
  const { host: _, endpoint: __, ...named } = settings({ ...LONG_TIMEOUT, branch: "old" });
  const steps = await check(named);
  assert.match(steps.find(({ step }) => step === "endpoint")!.detail, /branch old, archived: connecting restores it, /);
  archive();
  await using old = await connect({ ...named, branch: "old" });
  const { detail } = (await old.check()).find(({ step }) => step === "endpoint")!;
  assert.doesNotMatch(detail, /archived/, "the connection has restored it");
  await old.close();
  archive();
  await db.dropBranch("old", { purge: true });
  assert.deepEqual(await ids(db), []);
});

Deno.test("connect() without a branch makes the same requests as before", async () => {
  await using local = await ownLakebase();
  await using db = await connect(optionsOf(local));
  await db.sql`SELECT 1`;
  assert.deepEqual(local.requests.map(({ method, path }) => `${method} ${path}`), [
    "POST /api/2.0/postgres/credentials",
  ]);
  const { host: _, ...asked } = optionsOf(local);
  await using other = await connect(asked);
  await other.sql`SELECT 1`;
  assert.deepEqual(local.requests.slice(1).map(({ method, path }) => `${method} ${path}`).sort(), [
    "GET /api/2.0/postgres/projects/local/branches/production/endpoints/primary",
    "POST /api/2.0/postgres/credentials",
  ]);
});

/** Runs a script that makes a branch, and returns what it leaves behind. */
async function script(local: LocalLakebase, how: string, signal?: Deno.Signal) {
  const path = decodeURIComponent(new URL("./branch_script.ts", import.meta.url).pathname);
  const { env } = local;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", ...LOCKED, path, how],
    env: { ...env, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(child.stderr).text();
  let name = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    name += text;
    if (signal !== undefined) child.kill(signal);
  }
  const { code } = await child.status;
  return { name: name.trim(), code, errors: await errors };
}

const ENDS: [how: string, code: number, isKept: boolean, signal?: Deno.Signal][] = [
  ["end", 0, false],
  ["signal", 143, false, "SIGTERM"],
  ["signal", 130, false, "SIGINT"],
  ["exit", 0, true],
  ["throw", 1, true],
];

for (const [how, code, isKept, signal] of ENDS) {
  test(`(slow) a script that ends by ${signal ?? how} ${isKept ? "names" : "deletes"} its branch`, async ({ local, settings }) => {
    await using db = await connect(settings(LONG_TIMEOUT));
    const ended = await script(local, how, signal);
    assert.equal(ended.code, code, ended.errors);
    assert.deepEqual(await ids(db), isKept ? [ended.name] : []);
    if (!isKept) return;
    assert.match(
      ended.errors,
      new RegExp(`Branch ${ended.name} is kept until .*; delete it with: lakebase branch drop`),
    );
    await db.dropBranch(ended.name, { purge: true });
  });
}
