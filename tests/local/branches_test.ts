import assert from "node:assert/strict";
import type { ConnectionOptions } from "node:tls";
import type pg from "pg";
import { install } from "npm:@sinonjs/fake-timers@15.5.0";
import type { LocalLakebase } from "lakebase/local";
import { eventually } from "../support/eventually.ts";
import { bothTests, localTests } from "../support/lakebase.ts";
import { call, connect, firstRow, mint, newClient } from "./client.ts";

const BRANCHES = "/api/2.0/postgres/projects/local/branches";

interface Answer {
  /** The HTTP status. */
  http: number;
  error_code?: string;
  message?: string;
  // deno-lint-ignore no-explicit-any -- JSON whose form each test checks
  [field: string]: any;
}

async function ask(local: LocalLakebase, route: string, body?: unknown): Promise<Answer> {
  const response = await call(local, route, body);
  return { ...await response.json(), http: response.status };
}

/** Waits for the end of an operation, and returns the operation. */
async function finished(local: LocalLakebase, started: Answer): Promise<Answer> {
  assert.equal(started.http, 200, started.message);
  let operation = started;
  await eventually(`${started["name"]} is done`, async () => {
    if (operation["done"] !== true) operation = await ask(local, `GET /api/2.0/postgres/${started["name"]}`);
    return operation["done"] === true;
  });
  return operation;
}

/** Creates a branch, and waits for the operation. */
async function create(local: LocalLakebase, id: string, spec: Record<string, unknown> = {}): Promise<Answer> {
  return await finished(
    local,
    await ask(local, `POST ${BRANCHES}?branch_id=${id}`, { spec: { ttl: "3600s", ...spec } }),
  );
}

/** Runs some work with a stopped clock, so that an operation that takes time ends only when `pass()` moves the clock. */
async function withStoppedClock<Value>(work: (pass: (ms: number) => void) => Promise<Value>): Promise<Value> {
  const clock = install({ toFake: ["setTimeout", "clearTimeout"], shouldClearNativeTimers: true });
  try {
    return await work((ms) => clock.tick(ms));
  } finally {
    clock.uninstall();
  }
}

async function drop(local: LocalLakebase, ...ids: string[]): Promise<void> {
  for (const id of ids) await finished(local, await ask(local, `DELETE ${BRANCHES}/${id}?purge=true`));
}

/** Logs in to a branch. Only SNI has the host name, because some resolvers do not know `*.localhost`. */
async function open(local: LocalLakebase, id: string, config: pg.ClientConfig = {}): Promise<pg.Client> {
  const { endpoints: [endpoint] } = await ask(local, `GET ${BRANCHES}/${id}/endpoints`);
  const password = await mint(local, { endpoint: endpoint.name });
  const ssl = { ca: local.ca, servername: endpoint.status.hosts.host } as ConnectionOptions;
  const client = newClient(local, password, { host: "127.0.0.1", ssl, ...config });
  await client.connect();
  return client;
}

const both = bothTests({ passwords: { app: "secret" } });
const test = localTests();

both("a branch has the data of its source, and a change of either does not affect the other", async ({ local }) => {
  const source = await connect(local);
  await source.query(
    "CREATE TABLE trips (id serial PRIMARY KEY, zone text); INSERT INTO trips (zone) VALUES ('Harlem')",
  );
  await source.query("BEGIN; INSERT INTO trips (zone) VALUES ('never committed')");
  const { response } = await create(local, "copy");
  await source.query("ROLLBACK");
  assert.equal(response.name, "projects/local/branches/copy");
  assert.equal(response.status.current_state, "READY");
  assert.equal(response.status.source_branch, "projects/local/branches/production");
  const copy = await open(local, "copy");
  assert.deepEqual(await firstRow(copy, "SELECT count(*)::int, current_user FROM trips"), [1, "you@example.com"]);
  await copy.query("DELETE FROM trips");
  await source.query("INSERT INTO trips (zone) VALUES ('SoHo')");
  assert.deepEqual(await firstRow(copy, "SELECT count(*)::int FROM trips"), [0]);
  assert.deepEqual(await firstRow(source, "SELECT count(*)::int FROM trips"), [2]);
  await copy.query("INSERT INTO trips (zone) VALUES ('of the branch')"); // the copy has the sequence and the privileges

  const { response: { name } } = await create(local, "second", { source_branch: "projects/local/branches/copy" });
  const second = await open(local, name.split("/").at(-1));
  assert.deepEqual(await firstRow(second, "SELECT zone FROM trips"), ["of the branch"]);
  await Promise.all([source.query("DROP TABLE trips"), second.end()]);
  const inUse = await ask(local, `DELETE ${BRANCHES}/copy?purge=true`);
  assert.deepEqual([inUse.http, inUse.error_code], [400, "BAD_REQUEST"]);
  assert.match(inUse.message!, /child branches: second/);
  const ended = new Promise((resolve) => copy.on("error", resolve));
  await drop(local, "second", "copy");
  assert.match(String(await ended), /terminating connection|Connection terminated|shut/i);
  await source.end();
});

both("a native password, startup options and a cancel request reach the branch", async ({ local }) => {
  await create(local, "native");
  const app = await open(local, "native", { user: "app", password: "secret", options: "-c statement_timeout=0" });
  let hasEnded = false;
  const query = assert.rejects(app.query("SELECT pg_sleep(60)"), { code: "57014" }).finally(() => hasEnded = true);
  const { processID, secretKey } = app as unknown as { processID: number; secretKey: number };
  const request = new DataView(new ArrayBuffer(16));
  [16, 80877102, processID, secretKey].forEach((word, i) => request.setInt32(4 * i, word));
  // A request that arrives before the query has no effect, so it is sent until the query has ended.
  await eventually("the query is canceled", async () => {
    if (hasEnded) return true;
    const socket = await Deno.connect({ hostname: "127.0.0.1", port: Number(local.env["PGPORT"]) });
    await socket.write(new Uint8Array(request.buffer));
    await socket.read(new Uint8Array(1)); // until the server has handled the request
    socket.close();
    return hasEnded;
  });
  await query;
  assert.deepEqual(await firstRow(app, "SELECT current_user"), ["app"]);
  await app.end();
  await drop(local, "native");
});

test("faults.branch makes the operation slow or makes it fail, and makes a new branch refuse logins", async ({ local }) => {
  local.faults.branch = { takes: 100, refuseLogins: 60_000 };
  const started = await withStoppedClock(async (pass) => {
    const started = await ask(local, `POST ${BRANCHES}?branch_id=slow`, { spec: { no_expiry: true } });
    assert.equal(started["done"], false);
    assert.match(started["name"], /^projects\/local\/branches\/slow\/operations\/[0-9a-f-]+$/);
    assert.equal((await ask(local, `GET ${BRANCHES}/slow`))["status"].current_state, "INIT");
    assert.deepEqual(await ask(local, `GET ${BRANCHES}/slow/endpoints`), { http: 200 });
    pass(100);
    return started;
  });
  await finished(local, started);
  await assert.rejects(open(local, "slow"), { code: "28000", message: "External authorization failed." });
  local.faults.branch = { error: { errorCode: "RESOURCE_EXHAUSTED", message: "No compute is free" } };
  const { error } = await create(local, "bad");
  assert.deepEqual(error, { error_code: "RESOURCE_EXHAUSTED", message: "No compute is free" });
  assert.equal((await ask(local, `GET ${BRANCHES}/bad`))["status"].current_state, "INIT");
  await drop(local, "slow", "bad");
});

test("a branch that is deleted during its creation is not completed", async ({ local }) => {
  local.faults.branch = { takes: 50 };
  const started = await withStoppedClock(async (pass) => {
    const started = await ask(local, `POST ${BRANCHES}?branch_id=gone`, { spec: { no_expiry: true } });
    await drop(local, "gone");
    pass(50);
    return started;
  });
  const { error } = await finished(local, started);
  assert.equal(error.error_code, "NOT_FOUND");
  assert.equal((await ask(local, `GET ${BRANCHES}/gone`)).http, 404);
});

const refusals: [string, unknown, number, RegExp][] = [
  ["POST ?branch_id=", { spec: { no_expiry: true } }, 400, /'branch_id' is required/],
  ["POST ?branch_id=Big", { spec: { no_expiry: true } }, 400, /1-63 characters long, start with a lowercase letter/],
  [`POST ?branch_id=${"a".repeat(64)}`, { spec: { no_expiry: true } }, 400, /1-63 characters/],
  ["POST ?branch_id=1a", { spec: { no_expiry: true } }, 400, /1-63 characters/],
  ["POST ?branch_id=production", { spec: { no_expiry: true } }, 409, /already exists/],
  ["POST ?branch_id=b", { spec: {} }, 400, /Exactly one of 'spec.ttl'/],
  ["POST ?branch_id=b", {}, 400, /Exactly one of 'spec.ttl'/],
  ["POST ?branch_id=b", { spec: { ttl: "60s", no_expiry: true } }, 400, /Exactly one of/],
  ["POST ?branch_id=b", { spec: { ttl: "2592001s" } }, 200, /^$/],
  ["POST ?branch_id=b", { spec: { ttl: "2692000s" } }, 400, /^expiration time exceeds the maximum expiration time/],
  ["POST ?branch_id=b", { spec: { ttl: 60 } }, 400, /'spec.ttl' is not a duration/],
  ["POST ?branch_id=b", { spec: { no_expiry: false } }, 400, /can't be false/],
  ["POST ?branch_id=b", { spec: { expire_time: "2001-01-01T00:00:00Z" } }, 400, /must be in the future/],
  ["POST ?branch_id=b", { spec: { expire_time: "soon" } }, 400, /'spec.expire_time' is not a timestamp/],
  ["POST ?branch_id=b", { spec: { ttl: "60s", color: "red" } }, 400, /Unknown field 'spec.color'/],
  ["POST ?branch_id=b", { spec: { ttl: "60s", source_branch: "projects/local/branches/no" } }, 404, /source branch/],
  ["POST ?branch_id=b", { spec: { ttl: "60s", source_branch_time: "2001-01-01T00:00:00Z" } }, 400, /retention window/],
  ["POST ?branch_id=b", { spec: { ttl: "60s", source_branch_time: "2101-01-01T00:00:00Z" } }, 400, /in the future/],
  ["POST ?branch_id=b", { spec: { ttl: "60s", source_branch_lsn: "12" } }, 400, /is not an LSN/],
  ["POST ?branch_id=b", { spec: { ttl: "60s", source_branch_lsn: "0/12" } }, 400, /can't make a branch of the past/],
  ["POST ?branch_id=b", { spec: { ttl: "60s", source_snapshot: "projects/local/snapshots/s" } }, 400, /no snapshot/],
  ["POST ?branch_id=b", "text", 400, /not a JSON object/],
  [
    "PATCH /production?update_mask=spec.expiration",
    { spec: { ttl: "60s" } },
    400,
    /default branch, which can't expire/,
  ],
  ["PATCH /production?update_mask=spec.ttl", { spec: { ttl: "60s" } }, 400, /Unknown field path in update_mask/],
  ["PATCH /production", { spec: { ttl: "60s" } }, 400, /'update_mask' is required/],
  ["PATCH /no?update_mask=spec.expiration", { spec: { ttl: "60s" } }, 404, /branch id not found/],
  ["DELETE /production?purge=true", undefined, 400, /Root branches cannot be deleted/],
  ["DELETE /no", undefined, 404, /branch id not found/],
  ["DELETE /no?allow_missing=true", undefined, 200, /^$/],
  ["POST /production/undelete", {}, 400, /is not deleted/],
  ["GET /production/operations/no", undefined, 404, /operation id not found/],
];

for (const [route, body, status, message] of refusals) {
  test(`${route} ${JSON.stringify(body) ?? ""} gives ${status}`, async ({ local }) => {
    const [method, path] = route.split(" ");
    const answer = await ask(local, `${method} ${BRANCHES}${path}`, body);
    assert.equal(answer.http, status, answer.message);
    assert.match((answer.message ?? "").replace(/ \[TraceId.*/, ""), message);
    if (status === 200 && method === "POST") await drop(local, "b");
  });
}

test("branches are changed, protected, deleted, restored and purged", async ({ local }) => {
  await create(local, "kept", { ttl: undefined, no_expiry: true });
  const name = `${BRANCHES}/kept`;
  const get = async () => (await (await call(local, `GET ${name}`)).json()).status;
  assert.equal((await get()).expire_time, undefined);
  const mask = "spec.expiration,spec.is_protected";
  await finished(
    local,
    await ask(local, `PATCH ${name}?update_mask=${mask}`, { spec: { ttl: "3600s", is_protected: true } }),
  );
  const { expire_time, is_protected } = await get();
  assert.ok(Date.parse(expire_time) > Date.now() + 3_500_000);
  assert.equal(is_protected, true);
  const refused = await ask(local, `DELETE ${name}`);
  assert.match(refused.message!, /^Cannot delete branch 'projects\/local\/branches\/kept'. The branch is protected/);
  const replaced = await ask(local, `POST ${BRANCHES}?branch_id=kept&replace_existing=true`, {
    spec: { no_expiry: true, is_protected: false },
  });
  await finished(local, replaced);
  assert.equal((await get()).expire_time, undefined);
  await finished(local, await ask(local, `DELETE ${name}`));
  const deleted = await get();
  assert.equal(deleted.current_state, "DELETED");
  assert.ok(Date.parse(deleted.purge_time) > Date.now() + 6 * 86_400_000);
  const ids = async (query: string) =>
    (await ask(local, `GET ${BRANCHES}${query}`))["branches"].map(({ branch_id }: { branch_id: string }) => branch_id);
  assert.deepEqual(await ids(""), ["production"]);
  assert.deepEqual(await ids("?show_deleted=true"), ["production", "kept"]);
  const minted = await ask(local, "POST /api/2.0/postgres/credentials", {
    endpoint: "projects/local/branches/kept/endpoints/primary",
  });
  assert.equal(minted.http, 404);
  const again = await ask(local, `POST ${BRANCHES}?branch_id=kept`, { spec: { no_expiry: true } });
  assert.deepEqual([again.http, again.error_code], [409, "ALREADY_EXISTS"]);
  await finished(local, await ask(local, `POST ${name}/undelete`, {}));
  assert.equal((await get()).current_state, "READY");
  await (await open(local, "kept")).end();
  await drop(local, "kept");
  assert.equal((await call(local, `GET ${name}`)).status, 404);
});

test("a branch expires by the service's clock, unless it is protected", async ({ local }) => {
  await create(local, "short", { ttl: "60s" });
  await create(local, "protected", { ttl: "60s", is_protected: true });
  local.faults.clockOffset = 61_000;
  assert.equal((await call(local, `GET ${BRANCHES}/short`)).status, 404);
  assert.equal((await call(local, `GET ${BRANCHES}/protected`)).status, 200);
  await finished(
    local,
    await ask(local, `PATCH ${BRANCHES}/protected?update_mask=spec.is_protected`, { spec: { is_protected: false } }),
  );
  assert.equal((await call(local, `GET ${BRANCHES}/protected`)).status, 404);
});

test("the number of branches is limited, and their list has pages", async ({ local }) => {
  local.faults.maxBranches = 3;
  await create(local, "one");
  await create(local, "two");
  const refused = await ask(local, `POST ${BRANCHES}?branch_id=three`, { spec: { no_expiry: true } });
  assert.deepEqual([refused.http, refused.error_code], [400, "RESOURCE_LIMIT_EXCEEDED"]);
  const first = await ask(local, `GET ${BRANCHES}?page_size=2`);
  const second = await ask(local, `GET ${BRANCHES}?page_size=2&page_token=${first["next_page_token"]}`);
  const ids = [...first["branches"], ...second["branches"]].map(({ branch_id }) => branch_id);
  assert.deepEqual(ids, ["production", "one", "two"]);
  assert.ok(first["branches"][1].status.logical_size_bytes > 1_000_000);
  await drop(local, "one", "two");
});
