import assert from "node:assert/strict";
import { connect as connectSocket } from "node:net";
import type pg from "pg";
import { install } from "npm:@sinonjs/fake-timers@15.5.0";
import { eventually, nextTurn } from "../support/eventually.ts";
import { call, connect, firstRow, mint, newClient, refusal } from "./client.ts";
import { ownLakebase } from "../support/lakebase.ts";

const local = await ownLakebase({ handshakeTimeout: 300_000, lockTimeout: 300_000 });
const { faults } = local;
Deno.test.afterEach(() => faults.reset());
Deno.test.afterAll(() => local.close());

const CREDENTIALS = "POST /api/2.0/postgres/credentials";
const ENDPOINT = `/api/2.0/postgres/${local.env["LAKEBASE_ENDPOINT"]}`;

async function state(): Promise<string> {
  return (await (await call(local, `GET ${ENDPOINT}`)).json()).status.current_state;
}

/** Waits until there are more calls than before. It also works while the clock is stopped. */
const nextCall = ((wait) => async (before: number) => {
  while (local.requests.length === before) await new Promise<void>((resolve) => void wait(resolve, 2));
})(setTimeout);

/** Runs some work with a stopped clock, which only `pass()` moves. */
async function withStoppedClock(work: (pass: (ms: number) => void) => Promise<void>): Promise<void> {
  const clock = install({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  try {
    await work((ms) => clock.tick(ms));
  } finally {
    clock.uninstall();
  }
}

/** Resolves after the time that a login takes: another Lakebase, without faults, answers one. */
async function loginElsewhere(): Promise<void> {
  await using other = await ownLakebase();
  await (await connect(other)).end();
}

/** The error with which an open connection ends. */
function endOf(client: pg.Client): Promise<Partial<pg.DatabaseError>> {
  return new Promise((resolve) => client.once("error", resolve));
}

Deno.test("faults.workspace() answers the given number of calls", async () => {
  faults.workspace(CREDENTIALS, { status: 429, retryAfter: 2, times: 2 });
  const body = { endpoint: local.env["LAKEBASE_ENDPOINT"] };
  for (let i = 0; i < 2; i++) {
    const response = await call(local, CREDENTIALS, body);
    assert.deepEqual([response.status, response.headers.get("retry-after")], [429, "2"]);
    assert.equal((await response.json()).error_code, "REQUEST_LIMIT_EXCEEDED");
  }
  assert.equal(await (await call(local, `GET ${ENDPOINT}`)).json().then(({ name }) => name), body.endpoint);
  const response = await call(local, CREDENTIALS, body);
  assert.equal(response.status, 200);
  await response.body?.cancel();
});

Deno.test("faults.workspace() answers with any status and body", async () => {
  const answers: [Parameters<typeof faults.workspace>[1], number, RegExp][] = [
    [{ status: 401 }, 401, /"UNAUTHENTICATED"/],
    [{ status: 403, errorCode: "403", message: "Source IP address: 1.2.3.4 is blocked" }, 403, /"403".*1\.2\.3\.4/],
    [{ status: 503, retryAfter: "Wed, 21 Oct 2026 07:28:00 GMT" }, 503, /"TEMPORARILY_UNAVAILABLE"/],
    [{}, 500, /"INTERNAL_ERROR"/],
    [{ status: 502, body: "<html>Bad gateway</html>" }, 502, /^<html>/],
    [{ body: '{"token": "x"' }, 200, /^\{"token": "x"$/],
    [{ answer: "truncated" }, 200, /^\{"name":[^}]*$/],
  ];
  for (const [fault, status, body] of answers) {
    faults.workspace("GET *", { ...fault, times: 1 });
    const response = await call(local, `GET ${ENDPOINT}`);
    assert.equal(response.status, status);
    assert.match(await response.text(), body);
  }
});

Deno.test("faults.workspace() can delay the real answer", async () => {
  faults.workspace("GET /api/2.0/postgres/*", { delay: 200, times: 1 });
  await withStoppedClock(async (pass) => {
    let answered = false;
    const ask = async () => (await (await call(local, `GET ${ENDPOINT}`)).json()).name;
    const before = local.requests.length;
    const first = ask().finally(() => answered = true);
    await nextCall(before);
    assert.equal(await ask(), local.env["LAKEBASE_ENDPOINT"]);
    assert.equal(answered, false);
    pass(200);
    assert.equal(await first, local.env["LAKEBASE_ENDPOINT"]);
  });
  faults.workspace("GET *", { delay: 1, status: 503, times: 1 });
  const refused = await call(local, `GET ${ENDPOINT}`);
  assert.equal(refused.status, 503);
  await refused.body?.cancel();
});

Deno.test("faults.workspace() can leave a call without an answer, or drop it", async () => {
  faults.workspace("* /api/2.0/postgres/*", { answer: "never", times: 1 });
  const url = local.env["DATABRICKS_HOST"] + ENDPOINT;
  const before = local.requests.length;
  const stop = new AbortController();
  const unanswered = assert.rejects(fetch(url, { signal: stop.signal }), { name: "AbortError" });
  await eventually("the call has arrived", () => local.requests.length > before);
  stop.abort();
  await unanswered;
  faults.workspace("* *", { answer: "reset", times: 1 });
  await assert.rejects(async () => await (await fetch(url)).text());
});

Deno.test("a misspelled option or property of a fault is refused", () => {
  const wrong: [inject: () => void, error: RegExp][] = [
    [() => faults.workspace("GET *", { stauts: 503 } as never), /fault workspace: .*"stauts"; did you mean "status"\?/],
    [() => faults.failLogins({ sqlState: "28P01" } as never), /"sqlState"; did you mean "sqlstate"\?/],
    [() => faults.suspend({ wakeafter: 100 } as never), /"wakeafter"; did you mean "wakeAfter"\?/],
    [() => faults.archive("projects/local/branches/old", { restore: 1 } as never), /there is no option "restore"/],
    [() => faults.warehouse.link({ answers: "cut" } as never), /"answers"; did you mean "answer"\?/],
    [() => faults.warehouse.fail({ message: "x", sqlstate: "XX000" } as never), /did you mean "sqlState"\?/],
    [() => Object.assign(faults, { latancy: 100 }), /latancy/],
    [() => Object.assign(faults.warehouse, { column: 5 }), /column/],
  ];
  for (const [inject, error] of wrong) {
    assert.throws(inject, (found) => error.test(String(found)) && found instanceof TypeError);
  }
});

Deno.test("faults.latency delays every call", async () => {
  await withStoppedClock(async (pass) => {
    faults.latency = 60;
    let answered = false;
    const before = local.requests.length;
    const late = mint(local).finally(() => answered = true);
    await nextCall(before);
    faults.latency = 0;
    await mint(local);
    assert.equal(answered, false);
    pass(60);
    await late;
  });
});

Deno.test("faults.revokeToken() makes the token invalid", async () => {
  faults.revokeToken();
  const response = await call(local, `GET ${ENDPOINT}`);
  assert.equal(response.status, 401);
  await response.body?.cancel();
  faults.reset();
  assert.equal(await state(), "ACTIVE");
});

Deno.test("faults.clockOffset moves the Date header and the expiry", async () => {
  faults.clockOffset = 600_000;
  const response = await call(local, CREDENTIALS, { endpoint: local.env["LAKEBASE_ENDPOINT"], ttl: "300s" });
  const { expire_time } = await response.json();
  const ahead = Date.parse(response.headers.get("date")!) - Date.now();
  assert(ahead > 598_000 && ahead <= 600_000, String(ahead));
  const left = Date.parse(expire_time) - Date.now();
  assert(left > 895_000 && left <= 900_000, String(left));
});

Deno.test("faults.credential changes the answer's fields", async () => {
  for (const expire_time of [undefined, "not a date", "2020-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 5]) {
    faults.credential = { expire_time };
    const answer = await (await call(local, CREDENTIALS, { endpoint: local.env["LAKEBASE_ENDPOINT"] })).json();
    assert.equal(answer.expire_time, expire_time);
    assert.equal(typeof answer.token, "string");
  }
});

Deno.test("faults.suspend() ends open connections with 57P01, and connecting wakes the compute", async () => {
  const client = await connect(local);
  const ended = endOf(client);
  const logins = local.logins.length;
  await withStoppedClock(async (pass) => {
    faults.suspend({ wakeAfter: 80 });
    assert.equal((await ended).code, "57P01");
    assert.equal(await state(), "IDLE");
    let up = false;
    const again = connect(local).finally(() => up = true);
    while (local.logins.length === logins) await state();
    assert.equal(await state(), "IDLE");
    assert.equal(up, false);
    pass(80);
    await (await again).end();
    assert.equal(await state(), "ACTIVE");
  });
});

Deno.test("faults.suspend() can refuse connections in three ways until the compute is up", async () => {
  for (const [refuse, expected] of [["28000", "28000"], ["reset", "ECONNRESET"], ["close", undefined]] as const) {
    faults.suspend({ wakeAfter: 3_600_000, refuse });
    const error = await refusal(local);
    assert.equal(error.code, expected, error.message);
    faults.suspend({ wakeAfter: 0, refuse });
    await (await connect(local)).end();
  }
});

Deno.test("faults.dropConnections() ends open connections without a message", async () => {
  const client = await connect(local);
  const query = assert.rejects(client.query("SELECT pg_sleep(10)"), /Connection terminated unexpectedly/);
  const ended = endOf(client);
  await mint(local); // once another call is answered, the query has arrived
  faults.dropConnections();
  await Promise.all([query, ended]);
  // The embedded database cancels the query a second after its client has left, because all sessions share one backend.
  const again = await connect(local);
  assert.deepEqual(await firstRow(again, "SELECT 1"), [1]);
  await again.end();
});

Deno.test("faults.blackhole silences new and open connections until it is reset", async () => {
  const client = await connect(local);
  faults.blackhole = true;
  const query = client.query("SELECT 1 AS one");
  const newcomer = newClient(local, await mint(local));
  const connecting = newcomer.connect();
  assert.equal(await Promise.race([query, connecting, loginElsewhere().then(() => "silence")]), "silence");
  faults.blackhole = false;
  assert.deepEqual((await query).rows, [{ one: 1 }]);
  await connecting;
  await Promise.all([client.end(), newcomer.end()]);
});

Deno.test("faults.blackhole outlasts the handshake limit", { sanitizeOps: false }, async () => {
  await using limited = await ownLakebase({ handshakeTimeout: 20 });
  limited.faults.blackhole = true;
  const socket = connectSocket(Number(limited.env["PGPORT"]), "127.0.0.1");
  const answered = new Promise((resolve) => ["data", "close"].forEach((event) => socket.once(event, resolve)));
  assert.equal(await Promise.race([answered, loginElsewhere().then(() => "silence")]), "silence");
  socket.destroy();
  await answered;
});

Deno.test("faults.failLogins() refuses the next logins", async () => {
  faults.failLogins({ sqlstate: "28000", message: "External authorization failed.", times: 2 });
  for (let i = 0; i < 2; i++) assert.equal((await refusal(local)).message, "External authorization failed.");
  await (await connect(local)).end();
});

Deno.test("faults.expireTokens() refuses the credentials minted before, but ends no session", async () => {
  const password = await mint(local);
  const client = await connect(local, { password });
  faults.expireTokens();
  assert.equal((await refusal(local, { password })).code, "28P01");
  assert.deepEqual(await firstRow(client, "SELECT 1"), [1]);
  const expired = Date.now();
  while (Date.now() === expired) await nextTurn(); // a credential of the same millisecond has expired, too
  await Promise.all([client.end(), connect(local).then((fresh) => fresh.end())]);
});

Deno.test("a credential that has expired is refused", async () => {
  const password = await mint(local, { ttl: "300s" });
  faults.clockOffset = 301_000;
  assert.equal((await refusal(local, { password })).code, "28P01");
});

Deno.test("faults.certificate makes the server use an invalid certificate", async () => {
  const codes = new Map([
    ["wrong-name", /ERR_TLS_CERT_ALTNAME_INVALID/],
    // Deno gives no other reason for a chain that it does not trust.
    ["expired", /CERT_HAS_EXPIRED|UNABLE_TO_VERIFY/],
    ["self-signed", /SELF_SIGNED|UNABLE_TO_VERIFY/],
  ]);
  for (const [fault, code] of codes) {
    faults.certificate = fault as "expired";
    const error = await refusal(local);
    assert.match(`${error.code} ${error.message}`, code);
  }
  faults.certificate = undefined;
  await (await connect(local)).end();
});

Deno.test("faults.greeting answers as a server other than Postgres", async () => {
  for (const [greeting, expected] of [["http", /^HTTP\/1\.1 400/], ["close", /^$/], ["reset", /^$/]] as const) {
    faults.greeting = greeting;
    let text = "";
    const { promise, resolve } = Promise.withResolvers<void>();
    const socket = connectSocket(Number(local.env["PGPORT"]), "127.0.0.1");
    socket.on("data", (data) => text += data);
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    await promise;
    assert.match(text, expected);
  }
});

Deno.test("faults.maxConnections refuses further logins with 53300", async () => {
  const one = await connect(local);
  assert.equal(local.connections, 1);
  faults.maxConnections = 1;
  const error = await refusal(local);
  assert.deepEqual([error.code, error.message], ["53300", "sorry, too many clients already"]);
  await one.end();
});
