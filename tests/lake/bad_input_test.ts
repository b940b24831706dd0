import { type Clock, install } from "npm:@sinonjs/fake-timers@15.5.0";
import assert from "node:assert/strict";
import { connect, type Lakehouse, lakehouse } from "../../mod.ts";
import { Workspace } from "../../src/auth/workspace.ts";
import { compileForWarehouse } from "../../src/lake/statement.ts";
import { canceledEverywhere, openWarehouse } from "../../src/lake/warehouse.ts";
import { type LocalLakebase, startLocal } from "../../src/local/mod.ts";
import { Fragment } from "../../src/sql/fragment.ts";
import { eventually } from "../support/eventually.ts";
import { localTests, workspaceOf } from "../support/lakebase.ts";
import { errorOf } from "../support/queries.ts";

const folder = await Deno.makeTempDir({ prefix: "lakebase-lake-" });
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));
const test = localTests({ warehouses: [{ name: "small", chunkRows: 3 }], volumesDir: folder });
const ROOT = "/Volumes/main/raw/landing";
const DISK = `${folder}/main/raw/landing`;
const STATEMENTS = "/api/2.0/sql/statements";

function open(local: LocalLakebase): Promise<Lakehouse> {
  return lakehouse({ workspace: workspaceOf(local) });
}

test("(slow) a result of 10,000 columns is read in each way, also if they have one name", async ({ local }) => {
  const lake = await open(local);
  local.faults.warehouse.columns = 10_000;
  const names = Array.from({ length: 1000 }, (_, at) => `${at} AS c${at}`).join(", ");
  const wide = lake.sql`SELECT ${lake.sql.unsafe(names)} FROM generate_series(1, 2)`;
  const expected = (row: Record<string, unknown> | undefined) => {
    assert.equal(Object.keys(row!).length, 10_000);
    assert.deepEqual([row!["c0"], row!["c999"], row!["c999_10"]], [0, 999, 999]);
  };
  const rows = await wide;
  assert.equal(rows.length, 2);
  expected(rows[1]);
  expected(await lake.sql`${wide}`.first()); // in JSON, and not from the rows that came as Arrow
  const columns = await wide.columns();
  assert.equal(columns.fields.length, 10_000);
  assert.equal((await columns.toArrow()).numCols, 10_000);
  const same = await lake.sql`SELECT 7 AS a`.first();
  assert.deepEqual([Object.keys(same!).length, same!["a"], same!["a_10000"]], [10_000, 7, 7]);
});

test("a table of 10,000 columns is refused by Postgres, and nothing of it stays", async ({ local, settings }) => {
  const lake = await open(local);
  local.faults.warehouse.columns = 10_000;
  await using db = await connect(settings());
  const error = await errorOf(db.load("wide", lake.sql`SELECT 1 AS a`, { create: true }));
  assert.match(error.message, /1600 columns/);
  assert.equal((await db.tables("wide")).length, 0);
});

test("a statement of 16 MiB runs, and one byte more is refused", async ({ local }) => {
  const lake = await open(local);
  const of = (bytes: number) => lake.sql`${lake.sql.unsafe(`SELECT length('${"x".repeat(bytes - 17)}')`)}`;
  const limit = 16 * 1024 ** 2;
  assert.equal(
    compileForWarehouse(new Fragment([`SELECT length('${"x".repeat(limit - 17)}')`], [])).text.length,
    limit,
  );
  assert.equal(await of(limit).value(), limit - 17);
  const before = local.requests.length;
  assert.match((await errorOf(of(limit + 1))).message, /its text has 16\.0 MiB; a warehouse takes 16 MiB/);
  assert.equal(local.requests.length, before);
});

test("a chunk that is another one for good is an error, whichever chunk comes first", async ({ local, settings }) => {
  const lake = await open(local);
  const query = lake.sql`SELECT n, repeat('x', n * 10) AS word FROM generate_series(1, 11) AS n`;
  await using db = await connect(settings());
  const wrong = async (chunk: number) => {
    local.faults.warehouse.link({ answer: "other-chunk", chunk });
    const error = await errorOf(db.load("wrong", query, { create: true }));
    assert.deepEqual([error.code, error.message.includes(`chunk ${chunk + 1} of 4`)], ["WORKSPACE_UNAVAILABLE", true]);
    assert.equal((await db.tables("wrong")).length, 0);
    local.faults.reset();
  };
  await wrong(2); // it has another number of rows
  await wrong(1); // it has as many rows, and another size
  for (const chunk of [0, 2]) local.faults.warehouse.link({ answer: "unavailable", chunk, times: 3 });
  await wrong(1); // its size is doubted before another chunk shows that sizes tell
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

test("several chunks are fetched ahead, and a load tells its progress from the number of rows of the result", async ({ local, settings }) => {
  const lake = await open(local);
  await using db = await connect(settings());
  local.faults.warehouse.link({ answer: "never", chunk: 0 });
  const controller = new AbortController();
  const query = lake.sql`SELECT n FROM generate_series(1, 40) AS n`;
  const before = local.requests.length;
  const hanging = assert.rejects(query.with({ signal: controller.signal }).columns(), { message: "enough" });
  await eventually(
    "the links of the next two chunks are asked for",
    () =>
      [1, 2].every((chunk) =>
        local.requests.slice(before).some(({ path }) => path.endsWith(`/result/chunks/${chunk}`))
      ),
  );
  controller.abort(new Error("enough"));
  await hanging;
  local.faults.reset();
  const reports: unknown[] = [];
  const { rows } = await db.load("progress", query, {
    ...{ create: true, onProgress: ({ rows, totalRows, done }) => void reports.push([rows, totalRows, done]) },
  });
  assert.equal(rows, 40);
  assert.deepEqual(reports.at(-1), [40, 40, true]);
  await db.query("DROP TABLE progress");
});

/** Where a work of a lakehouse is when Stop is pressed: the request that hangs, and the statement's state afterwards. */
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
  test(`Stop ends a pull of a warehouse into a Volume while ${phase}`, async ({ local }) => {
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
    await canceledEverywhere();
    local.faults.reset();
    assert.deepEqual([...Deno.readDirSync(DISK)], []);
    const requests = local.requests.slice(before).map(({ method, path }) => `${method} ${path}`);
    assert.equal(requests.some((request) => /^POST .*\/cancel$/.test(request)), canceled);
    assert.equal(requests.filter((request) => request === `POST ${STATEMENTS}`).length <= 1, true);
  });
}

/** Calls of the client that have no answer yet. */
let calls = 0;

/** Moves the fake time to its next timer, again and again. Requests take no time: it stands still while one is under way. */
async function whileTimePasses(clock: Clock, local: LocalLakebase, turn: () => Promise<void>, over: () => boolean) {
  for (let seen = -1; !over();) {
    for (let idle = 0; idle < 5 && !over(); idle++) {
      await turn();
      if (calls > 0 || local.requests.length !== seen || local.requests.at(-1)?.status === 0) idle = 0;
      seen = local.requests.length;
    }
    if (!over()) clock.next();
  }
}

Deno.test({
  name: "a statement waits for a warehouse that starts for minutes, and outlives its login's token",
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
      calls++;
      try {
        const answer = await fetch(...call);
        const body = await answer.arrayBuffer(); // a call is under way until all of its answer is there
        return new Response(body.byteLength === 0 ? null : body, answer);
      } finally {
        calls--;
      }
    };
    try {
      const { DATABRICKS_HOST: host, DATABRICKS_TOKEN: token, DATABRICKS_WAREHOUSE_ID: id } = local.env;
      const started = Date.now();
      const starting = await fetch(`${host}/api/2.0/sql/warehouses/${id}/start`, {
        ...{ method: "POST", headers: { authorization: `Bearer ${token}` }, body: "{}" },
      });
      await starting.body?.cancel();
      const login = {
        ...{ host: host!, workspaceId: undefined, profile: undefined },
        attributes: machine,
      };
      const warehouse = await openWarehouse(new Workspace({ login, limit: 60_000 }), {
        ...{ warehouse: undefined, catalog: undefined, schema: undefined },
      });
      assert.equal(warehouse.info.state, "STARTING");
      warehouse.wait = 0; // a request that the API holds would stop the fake time
      let over = false;
      const run = () => {
        over = false;
        const running = warehouse.execute({ text: "SELECT 42 AS n", parameters: [] }, { inline: true });
        running.finally(() => over = true).catch(() => {});
        return running;
      };
      const first = run();
      await whileTimePasses(clock, local, turn, () => over);
      assert.deepEqual((await first).inline, [["42"]]);
      const took = Date.now() - started;
      assert.ok(took >= 240_000 && took < 250_000, String(took));
      assert.ok(local.requests.length < 200, String(local.requests.length)); // a poll in some seconds

      const tokens = () => local.requests.filter(({ path }) => path === "/oidc/v1/token").length;
      assert.equal(tokens(), 1);
      local.faults.warehouse.hold = "RUNNING";
      const second = run();
      const until = Date.now() + 60_000;
      await whileTimePasses(clock, local, turn, () => Date.now() > until);
      clock.tick(2 * 3_600_000); // the token has ended
      const polls = local.requests.length;
      await whileTimePasses(clock, local, turn, () => local.requests.length > polls + 3);
      assert.equal(over, false);
      local.faults.warehouse.hold = undefined;
      await whileTimePasses(clock, local, turn, () => over);
      assert.deepEqual((await second).inline, [["42"]]);
      assert.equal(tokens(), 2);
    } finally {
      globalThis.fetch = fetch;
      clock.uninstall();
    }
  },
});
