import { type Clock, install } from "npm:@sinonjs/fake-timers@15.5.0";
import assert from "node:assert/strict";
import { connect, lakehouse } from "../../mod.ts";
import { Workspace } from "../../src/auth/workspace.ts";
import { chooseWarehouse } from "../../src/lake/find_warehouse.ts";
import { openWarehouse, untilAllCanceled } from "../../src/lake/warehouse.ts";
import { type LocalLakebase, startLocal } from "../../src/local/mod.ts";
import { eventually } from "../support/eventually.ts";
import { localTests, workspaceOf } from "../support/lakebase.ts";
import { errorOf } from "../support/queries.ts";
import { callsOf, checkSecrets, open, STATEMENTS } from "./support.ts";

const folder = await Deno.makeTempDir({ prefix: "lakebase-lake-" });
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));
const test = localTests({ warehouses: [{ name: "small", chunkRows: 3 }], volumesDir: folder });
const ROOT = "/Volumes/main/raw/landing";
const DISK = `${folder}/main/raw/landing`;

const ALL = [
  { id: "a1", name: "Small", state: "STOPPED" },
  { id: "b2", name: "Large", state: "RUNNING" },
  { id: "c3", name: "Old", state: "DELETED" },
  { id: "d4", name: "Twin", state: "RUNNING" },
  { id: "e5", name: "Twin", state: "STARTING" },
];

Deno.test("a warehouse is found by its id or name, or as the only one", () => {
  const at = "https://w.example";
  assert.equal(chooseWarehouse(ALL, "a1", at).name, "Small");
  assert.equal(chooseWarehouse(ALL, "large", at).id, "b2");
  assert.equal(chooseWarehouse([ALL[0]!, ALL[2]!], undefined, at).id, "a1");
  assert.throws(() => chooseWarehouse(ALL, undefined, at), {
    code: "ENDPOINT_AMBIGUOUS",
    message: /has 4; name one with[^]*a1 +Small \(STOPPED\)[^]*e5 +Twin \(STARTING\)/,
  });
  assert.throws(() => chooseWarehouse(ALL, "Twin", at), {
    code: "ENDPOINT_AMBIGUOUS",
    message: /use an id:\n +d4 .*\n +e5/,
  });
  assert.throws(() => chooseWarehouse(ALL, "Smal", at), {
    code: "ENDPOINT_NOT_FOUND",
    message: /did you mean "Small"/,
  });
  assert.throws(() => chooseWarehouse(ALL, "zzzzzz", at), { code: "ENDPOINT_NOT_FOUND", message: /there are:\n +a1/ });
  assert.throws(() => chooseWarehouse(ALL, "c3", at), { code: "ENDPOINT_NOT_FOUND", message: /"Old" is DELETED/ });
  assert.throws(() => chooseWarehouse([], undefined, at), {
    code: "ENDPOINT_NOT_FOUND",
    message: /has none that this login may use/,
  });
});

test(
  "a warehouse is found by name and started if it is stopped; a missing one is an error",
  async ({ local }) => {
    const workspace = workspaceOf(local);
    assert.equal((await lakehouse({ workspace, warehouse: "SMALL" })).warehouse.name, "small");
    assert.match((await errorOf(lakehouse({ workspace, warehouse: "smal" }))).message, /did you mean "small"/);
    assert.match(
      (await errorOf(lakehouse({ workspace, warehose: "small" } as object))).message,
      /did you mean "warehouse"/,
    );
    local.faults.warehouse.stop();
    const calls = await callsOf(local, async () => void await lakehouse({ workspace }));
    assert.match(calls.at(-1)!, /^POST \/api\/2\.0\/sql\/warehouses\/[\da-f]+\/start$/);
  },
);

test(
  "a statement runs only once: if its answer is lost, the error says that the outcome is unknown",
  async ({ local }) => {
    const lake = await open(local);
    await lake.sql`CREATE TABLE once (a int)`;
    local.faults.workspace(`POST ${STATEMENTS}`, { answer: "lost", times: 1 });
    const lost = await errorOf(lake.sql`INSERT INTO once VALUES (1)`);
    assert.deepEqual([lost.code, /whether it ran is not known; it was not submitted again/.test(lost.message)], [
      "CONNECTION_LOST",
      true,
    ]);
    local.faults.workspace(`POST ${STATEMENTS}`, { status: 503, times: 1 });
    assert.equal((await errorOf(lake.sql`INSERT INTO once VALUES (2)`)).code, "CONNECTION_LOST");
    local.faults.workspace(`POST ${STATEMENTS}`, { status: 429, times: 2 });
    await lake.sql`INSERT INTO once VALUES (3)`;
    assert.deepEqual((await lake.sql`SELECT a FROM once ORDER BY a`).map(({ a }) => a), [1, 3]);
    await lake.sql`DROP TABLE once`;
  },
);

/** The state of the last statement, by its id. */
async function lastState(local: LocalLakebase): Promise<string | undefined> {
  const id = local.requests.map(({ path }) => /statements\/([\w-]+)/.exec(path)?.[1]).findLast((id) =>
    id !== undefined
  );
  const headers = { authorization: `Bearer ${local.env["DATABRICKS_TOKEN"]}` };
  const answer = await fetch(`${local.env["DATABRICKS_HOST"]}${STATEMENTS}/${id}`, { headers });
  return (await answer.json()).status?.state;
}

for (const state of ["PENDING", "RUNNING"] as const) {
  test(`an abort cancels a statement that is ${state} in the warehouse`, async ({ local }) => {
    const lake = await open(local);
    local.faults.warehouse.hold = state;
    const controller = new AbortController();
    const reason = new Error("enough");
    const running = lake.sql`SELECT 1`.with({ signal: controller.signal }).first();
    const late = errorOf(lake.sql`SELECT 1`.with({ timeout: 0.05 })); // both wait for five seconds, as the API does
    const canceled = assert.rejects(running, reason);
    controller.abort(reason);
    await canceled;
    assert.equal((await late).code, "CANCELED");
    await untilAllCanceled();
    assert.equal(await lastState(local), "CANCELED");
    local.faults.reset();
    assert.equal(await lake.sql`SELECT 1`.value(), 1);
  });
}

test(
  "if a warehouse stops while a statement runs, the statement fails with the warehouse's message",
  async ({ local }) => {
    const lake = await open(local);
    local.faults.warehouse.hold = "RUNNING";
    const before = local.requests.length;
    const running = errorOf(lake.sql`SELECT 1`);
    await eventually(
      "the statement is polled",
      () => local.requests.slice(before).some(({ method }) => method === "GET"),
    );
    local.faults.warehouse.stop();
    const error = await running;
    assert.match(error.code, /^(QUERY_FAILED|CANCELED)$/);
    assert.notEqual(error.message, "");
  },
);

test("a statement on a warehouse that was deleted fails with the warehouse's name", async ({ local }) => {
  const lake = await open(local);
  local.faults.workspace(`POST ${STATEMENTS}`, {
    status: 400,
    times: 1,
    body: '{"error_code":"INVALID_PARAMETER_VALUE","message":"0123 is not a valid endpoint id."}',
  });
  const error = await errorOf(lake.sql`SELECT 1`);
  assert.deepEqual([error.code, /"small" no longer exists: 0123/.test(error.message)], [
    "ENDPOINT_NOT_FOUND",
    true,
  ]);
  local.faults.warehouse.fail({ message: "[SOME] thing", sqlState: "XX001" });
  assert.equal((await errorOf(lake.sql`SELECT 1`)).sqlstate, "XX001");
});

test("if a login ends while a statement runs, the error says that the outcome is not known", async ({ local }) => {
  const lake = await open(local);
  local.faults.warehouse.hold = "RUNNING";
  const running = errorOf(lake.sql`SELECT 1`);
  const before = local.requests.length;
  await eventually(
    "the statement is polled",
    () => local.requests.slice(before).some(({ method }) => method === "GET"),
  );
  local.faults.revokeToken();
  const error = await running;
  assert.deepEqual([error.code, /Cannot follow the statement: .*401[^]*not known/.test(error.message)], [
    "CONNECTION_LOST",
    true,
  ]);
  checkSecrets(error);
});

test("rows of a warehouse go into a Volume, whole or not at all", async ({ local, settings }) => {
  await Deno.mkdir(DISK, { recursive: true });
  const lake = await open(local);
  const query = lake.sql`SELECT n AS id, 'zone ' || n AS zone FROM generate_series(1, 11) AS n`;
  await using db = await connect(settings());
  for (const name of ["t.csv", "t.ndjson.gz", "t.arrow", "t.parquet"]) {
    const { rows, path } = await query.pull(`${ROOT}/${name}`);
    assert.deepEqual([rows, path], [11, `${ROOT}/${name}`]);
    assert.equal((await db.load("back", `${ROOT}/${name}`, { create: true })).rows, 11);
    await db.query("DROP TABLE back");
  }
  assert.match(Deno.readTextFileSync(`${DISK}/t.csv`), /^id,zone\n1,zone 1\n[^]*\n11,zone 11\n$/);
  const before = Deno.readTextFileSync(`${DISK}/t.csv`);
  local.faults.warehouse.link({ answer: "forbidden", chunk: 2 });
  await errorOf(query.pull(`${ROOT}/t.csv`)); // after two chunks
  assert.equal(Deno.readTextFileSync(`${DISK}/t.csv`), before);
  await errorOf(query.pull(`${ROOT}/new.csv`));
  assert.deepEqual([...Deno.readDirSync(DISK)].map(({ name }) => name).sort(), [
    ...["t.arrow", "t.csv", "t.ndjson.gz", "t.parquet"],
  ]);
});

/** The phase in which Stop is pressed: the request that hangs, and the statement's state afterwards. */
const PHASES: readonly {
  phase: string;
  hang: (local: LocalLakebase) => void;
  hangs: RegExp;
  canceled: boolean;
}[] = [
  {
    phase: "the statement is submitted",
    hang: ({ faults }) => void (faults.warehouse.hold = "RUNNING"), // the API holds its first answer for five seconds
    hangs: /^POST \/api\/2\.0\/sql\/statements$/,
    canceled: true,
  },
  {
    phase: "it is polled",
    hang: ({ faults }) => {
      faults.warehouse.hold = "RUNNING";
      faults.workspace(`GET ${STATEMENTS}/*`, { answer: "never" });
    },
    hangs: /^GET \/api\/2\.0\/sql\/statements\/[\w-]+$/,
    canceled: true,
  },
  {
    phase: "a link is asked for",
    hang: ({ faults }) => faults.workspace(`GET ${STATEMENTS}/*/result/chunks/*`, { answer: "never" }),
    hangs: /^GET .*\/result\/chunks\/\d$/,
    canceled: false,
  },
  {
    phase: "the target is looked at",
    hang: ({ faults }) => faults.workspace("HEAD */fs/*", { answer: "never" }),
    hangs: /^HEAD \/api\/2\.0\/fs\/files\//,
    canceled: false,
  },
  {
    phase: "the file is uploaded",
    hang: ({ faults }) => faults.workspace("PUT */fs/*", { answer: "never" }),
    hangs: /^PUT \/api\/2\.0\/fs\/files\//,
    canceled: false,
  },
];

for (const { phase, hang, hangs, canceled } of PHASES) {
  test(`(slow) Stop ends a pull of a warehouse into a Volume while ${phase}`, async ({ local }) => {
    await Deno.remove(DISK, { recursive: true }).catch(() => {}); // the first test has none
    await Deno.mkdir(DISK, { recursive: true });
    const lake = await open(local);
    hang(local);
    const controller = new AbortController();
    const reason = new Error("stopped");
    const before = local.requests.length;
    const { signal } = controller;
    const pulling = lake.sql`SELECT n FROM generate_series(1, 40) AS n`.pull(`${ROOT}/t.csv`, { signal });
    const stopped = assert.rejects(pulling, reason);
    await eventually(
      phase,
      () =>
        local.requests.slice(before).some(({ method, path, status }) =>
          status === 0 && hangs.test(`${method} ${path}`)
        ),
    );
    controller.abort(reason);
    await stopped;
    await untilAllCanceled();
    local.faults.reset();
    assert.deepEqual([...Deno.readDirSync(DISK)], []);
    const requests = local.requests.slice(before).map(({ method, path }) => `${method} ${path}`);
    assert.equal(requests.some((request) => /^POST .*\/cancel$/.test(request)), canceled);
    assert.equal(requests.filter((request) => request === `POST ${STATEMENTS}`).length <= 1, true);
  });
}

/** The number of calls of the client that have no answer yet. */
let pendingCalls = 0;

/** A timer that is due within this time is a pause between two polls; the limit of a request is later. */
const MAX_PAUSE_MS = 5000;

/**
 * Moves the fake time to its next timer, again and again. Requests take no time: the time stands still while one is under way,
 * and while the next timer is so late that it can only be the limit of a request.
 */
async function passTimeUntil(done: () => boolean, clock: Clock, local: LocalLakebase, turn: () => Promise<void>) {
  for (let seen = -1; !done();) {
    for (let idle = 0; idle < 5 && !done(); idle++) {
      await turn();
      if (pendingCalls > 0 || local.requests.length !== seen || local.requests.at(-1)?.status === 0) idle = 0;
      seen = local.requests.length;
    }
    const next = Math.min(...[...clock.timers?.values() ?? []].map(({ callAt = Infinity }) => callAt));
    if (!done() && next - clock.now < MAX_PAUSE_MS) clock.next();
  }
}

Deno.test({
  name: "a statement waits minutes for a warehouse that starts, even longer than the login's token is valid",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const machine = { clientId: "11111111-2222-3333-4444-555555555555", clientSecret: "dose0123456789abcdef" };
    await using local = await startLocal({
      servicePrincipals: [machine],
      warehouses: [{ name: "slow", state: "STOPPED", startTime: 240_000 }],
    });
    const turn = ((wait) => () => new Promise<void>((resolve) => void wait(resolve, 2)))(setTimeout);
    const clock = install({ now: Date.now(), toFake: ["setTimeout", "clearTimeout", "Date"] });
    const { fetch } = globalThis;
    globalThis.fetch = async (...call) => {
      pendingCalls++;
      try {
        const answer = await fetch(...call);
        const body = await answer.arrayBuffer(); // a call is under way until its whole answer is there
        return new Response(body.byteLength === 0 ? null : body, answer);
      } finally {
        pendingCalls--;
      }
    };
    try {
      const { DATABRICKS_HOST: host, DATABRICKS_TOKEN: token, DATABRICKS_WAREHOUSE_ID: id } = local.env;
      const started = Date.now();
      const starting = await fetch(`${host}/api/2.0/sql/warehouses/${id}/start`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
        body: "{}",
      });
      await starting.body?.cancel();
      const login = {
        // An address, because the time does not stand still while a name is looked up.
        host: host!.replace("localhost", "127.0.0.1"),
        workspaceId: undefined,
        profile: undefined,
        attributes: machine,
      };
      const warehouse = await openWarehouse(new Workspace({ login, limit: 60_000 }), {
        warehouse: undefined,
        catalog: undefined,
        schema: undefined,
      });
      assert.equal(warehouse.info.state, "STARTING");
      warehouse.waitSeconds = 0; // a request that the API holds would stop the fake time
      let done = false;
      const run = () => {
        done = false;
        const running = warehouse.execute({ text: "SELECT 42 AS n", parameters: [] }, { inline: true });
        running.finally(() => done = true).catch(() => {});
        return running;
      };
      const first = run();
      await passTimeUntil(() => done, clock, local, turn);
      assert.deepEqual((await first).inline, [["42"]]);
      assert.ok(Date.now() - started >= 240_000, String(Date.now() - started));
      assert.ok(local.requests.length < 200, String(local.requests.length)); // polls have pauses of seconds

      const tokens = () => local.requests.filter(({ path }) => path === "/oidc/v1/token").length;
      assert.equal(tokens(), 1);
      local.faults.warehouse.hold = "RUNNING";
      const second = run();
      const until = Date.now() + 60_000;
      await passTimeUntil(() => Date.now() > until, clock, local, turn);
      clock.tick(2 * 3_600_000); // the token has ended
      const polls = local.requests.length;
      await passTimeUntil(() => local.requests.length > polls + 3, clock, local, turn);
      assert.equal(done, false);
      local.faults.warehouse.hold = undefined;
      await passTimeUntil(() => done, clock, local, turn);
      assert.deepEqual((await second).inline, [["42"]]);
      assert.equal(tokens(), 2);
    } finally {
      globalThis.fetch = fetch;
      clock.uninstall();
    }
  },
});
