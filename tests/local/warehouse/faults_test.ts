import assert from "node:assert/strict";
import { RecordBatchReader } from "apache-arrow";
import type { LinkFault } from "lakebase/local";
import { call } from "../client.ts";
import { type Answer, json, type Link, rows, run, STATEMENTS, untilEnded } from "./statements.ts";
import { ownLakebase } from "../../support/lakebase.ts";

const local = await ownLakebase({ lockTimeout: 300_000, warehouses: [{ name: "small", chunkRows: 3 }] });
const { faults } = local;
const WAREHOUSE = `/api/2.0/sql/warehouses/${local.env["DATABRICKS_WAREHOUSE_ID"]}`;
Deno.test.afterEach(() => faults.reset());
Deno.test.afterAll(() => local.close());

/** Registers a test without the leak detectors, because the servers' timers outlive it. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn });
}

async function state(id: string): Promise<string> {
  return (await json<Answer>(local, `GET ${STATEMENTS}/${id}`)).status.state;
}

for (const hold of ["PENDING", "RUNNING"] as const) {
  test(`faults.warehouse.hold keeps statements ${hold}`, async () => {
    faults.warehouse.hold = hold;
    const [first, second] = [
      await run(local, "SELECT 1", { wait_timeout: "0s" }),
      await run(local, "SELECT 2", { wait_timeout: "0s" }),
    ];
    assert.equal(await state(first.statement_id), hold);
    await json(local, `POST ${STATEMENTS}/${second.statement_id}/cancel`, {});
    assert.deepEqual((await untilEnded(local, second.statement_id)).status, { state: "CANCELED" });
    assert.equal(await state(first.statement_id), hold);
    faults.warehouse.hold = undefined;
    assert.equal((await untilEnded(local, first.statement_id)).status.state, "SUCCEEDED");
  });
}

test("a statement that has not ended after the wait continues, or is canceled on request", async () => {
  faults.warehouse.hold = "RUNNING";
  const wait_timeout = "5s"; // the shortest
  const [goesOn, canceled] = await Promise.all([
    run(local, "SELECT 1", { wait_timeout }),
    run(local, "SELECT 1", { wait_timeout, on_wait_timeout: "CANCEL" }),
  ]);
  assert.deepEqual([goesOn.status, canceled.status], [{ state: "RUNNING" }, { state: "CANCELED" }]);
});

test("faults.warehouse.fail() fails the next statement", async () => {
  const message = "[INSUFFICIENT_PERMISSIONS] Insufficient privileges. SQLSTATE: 42501";
  faults.warehouse.fail({ message, sqlState: "42501" });
  const { status } = await run(local, "SELECT 1");
  assert.deepEqual(status, { state: "FAILED", error: { error_code: "BAD_REQUEST", message }, sql_state: "42501" });
  assert.deepEqual(await rows(local, "SELECT 1"), [["1"]]);
});

async function links(): Promise<Link[]> {
  const { statement_id } = await run(local, "SELECT n FROM generate_series(1, 7) AS n", {
    disposition: "EXTERNAL_LINKS",
    format: "ARROW_STREAM",
  });
  const chunks = [0, 1, 2].map((chunk) =>
    json<Answer["result"]>(local, `GET ${STATEMENTS}/${statement_id}/result/chunks/${chunk}`)
  );
  return (await Promise.all(chunks)).map(({ external_links }) => external_links![0]!);
}

/** Follows a link: its status and numbers, or `broken` for a connection that breaks or a file that can't be read. */
async function follow({ external_link, http_headers }: Link, headers = {}): Promise<unknown[]> {
  try {
    const response = await fetch(external_link, { headers: { ...http_headers, ...headers } });
    const body = new Uint8Array(await response.arrayBuffer());
    if (response.status !== 200) return [response.status, /<Code>(\w+)/.exec(new TextDecoder().decode(body))?.[1]];
    if (body[0] === "<".charCodeAt(0)) return [200, "html"];
    return [200, [...RecordBatchReader.from(body)].flatMap((batch) => [...batch.getChildAt(0)!])];
  } catch {
    return ["broken"];
  }
}

const LINK_FAULTS: [LinkFault["answer"], unknown[]][] = [
  ["expired", [403, "AccessDenied"]],
  ["forbidden", [403, "AccessDenied"]],
  ["unavailable", [503, "SlowDown"]],
  ["html", [200, "html"]],
  ["other-chunk", [200, [7]]],
  ["truncated", ["broken"]],
  ["cut", ["broken"]],
  ["reset", ["broken"]],
];

for (const [answer, expected] of LINK_FAULTS) {
  test(`faults.warehouse.link() answers a link with "${answer}"`, async () => {
    const [first, second] = await links();
    faults.warehouse.link({ answer, chunk: 1, times: 1 });
    assert.deepEqual(await follow(first!), [200, [1, 2, 3]]);
    assert.deepEqual(await follow(second!), expected);
    assert.deepEqual(await follow(second!), [200, [4, 5, 6]]);
  });
}

test("a link expires, and a new link works", async () => {
  const before = await links();
  faults.warehouse.expireLinks();
  assert.deepEqual(await follow(before[0]!), [403, "AccessDenied"]);
  faults.clockOffset = 1;
  assert.deepEqual(await follow((await links())[0]!), [200, [1, 2, 3]]);
  faults.warehouse.linkLifetime = 0;
  assert.deepEqual(await follow((await links())[0]!), [403, "AccessDenied"]);
  faults.reset();
  const [link] = await links();
  assert(Date.parse(link!.expiration) - Date.now() > 880_000);
  faults.clockOffset = 901_000;
  assert.deepEqual(await follow(link!), [403, "AccessDenied"]);
});

test("a link requires its headers and its signature, and refuses the workspace's login", async () => {
  const [link] = await links();
  assert.deepEqual(await follow(link!, { authorization: `Bearer ${local.env["DATABRICKS_TOKEN"]}` }), [
    400,
    "InvalidArgument",
  ]);
  assert.deepEqual(await follow({ ...link!, http_headers: {} }), [400, "InvalidRequest"]);
  const other = link!.external_link.replace("/0?", "/1?");
  assert.deepEqual(await follow({ ...link!, external_link: other }), [403, "SignatureDoesNotMatch"]);
  assert.notEqual(new URL(link!.external_link).port, new URL(local.env["DATABRICKS_HOST"]!).port);
});

test("a warehouse that is stopped ends its statements, and the next one starts it", async () => {
  const { statement_id } = await run(local, "SELECT pg_sleep(600)", { wait_timeout: "0s" });
  faults.warehouse.stop();
  const { status } = await untilEnded(local, statement_id);
  assert.deepEqual([status.state, status.error?.error_code], ["FAILED", "ABORTED"]);
  assert.equal((await json<{ state: string }>(local, `GET ${WAREHOUSE}`)).state, "STOPPED");
  assert.deepEqual(await rows(local, "SELECT 1"), [["1"]]);
  assert.equal((await json<{ state: string }>(local, `GET ${WAREHOUSE}`)).state, "RUNNING");
});

test("statements wait for a slow start", async () => {
  await using slow = await ownLakebase({ warehouses: [{ name: "slow", state: "STOPPED", startTime: 3_600_000 }] });
  const path = `/api/2.0/sql/warehouses/${slow.env["DATABRICKS_WAREHOUSE_ID"]}`;
  const { statement_id } = await run(slow, "SELECT 1", { wait_timeout: "0s" });
  assert.equal((await json<{ state: string }>(slow, `GET ${path}`)).state, "STARTING");
  assert.equal((await json<Answer>(slow, `GET ${STATEMENTS}/${statement_id}`)).status.state, "PENDING");
  assert.deepEqual(await json(slow, `POST ${path}/stop`, {}), {});
  const { status } = await untilEnded(slow, statement_id);
  assert.deepEqual([status.state, status.error?.error_code], ["FAILED", "ABORTED"]);
});

test("warehouses are listed, started, stopped and deleted", async () => {
  await using several = await ownLakebase({
    warehouses: [{ name: "one", id: "1" }, { name: "two", id: "2", state: "STOPPED" }, {
      name: "gone",
      id: "3",
      state: "DELETED",
    }],
  });
  const states = async () =>
    (await json<{ warehouses: { id: string; name: string; state: string }[] }>(several, "GET /api/2.0/sql/warehouses"))
      .warehouses.map(({ id, name, state }) => `${id} ${name} ${state}`);
  assert.equal(several.env["DATABRICKS_WAREHOUSE_ID"], undefined);
  assert.deepEqual(await states(), ["1 one RUNNING", "2 two STOPPED", "3 gone DELETED"]);
  await json(several, "POST /api/2.0/sql/warehouses/1/stop", {});
  await json(several, "POST /api/2.0/sql/warehouses/2/start", {});
  assert.equal((await call(several, "POST /api/2.0/sql/warehouses/3/start", {})).status, 400);
  await run(several, "SELECT 1", { warehouse_id: "2" });
  assert.deepEqual(await states(), ["1 one STOPPED", "2 two RUNNING", "3 gone DELETED"]);
  await json(several, "DELETE /api/2.0/sql/warehouses/2");
  assert.deepEqual(await states(), ["1 one STOPPED", "2 two DELETED", "3 gone DELETED"]);
  for (const warehouse_id of ["2", "3", "4"]) {
    const refused = await call(several, `POST ${STATEMENTS}`, { warehouse_id, statement: "SELECT 1" });
    const { error_code, message } = await refused.json();
    assert.deepEqual([refused.status, error_code], [400, "INVALID_PARAMETER_VALUE"]);
    assert.match(message, new RegExp(`^${warehouse_id} is not a valid endpoint id\\.`));
  }
  assert.equal((await call(several, "GET /api/2.0/sql/warehouses/4")).status, 404);
});

test('the fault "lost" carries out the call', async () => {
  faults.workspace(`POST ${STATEMENTS}`, { answer: "lost", times: 1 });
  await assert.rejects(run(local, "CREATE TABLE lost (a int)"));
  assert.deepEqual(await rows(local, "SELECT * FROM lost"), []);
});

test("revoking the token while a statement runs refuses calls, but does not end the statement", async () => {
  faults.warehouse.hold = "RUNNING";
  const { statement_id } = await run(local, "SELECT 1", { wait_timeout: "0s" });
  faults.revokeToken();
  assert.equal((await call(local, `GET ${STATEMENTS}/${statement_id}`)).status, 401);
  faults.reset();
  assert.equal((await untilEnded(local, statement_id)).status.state, "SUCCEEDED");
});
