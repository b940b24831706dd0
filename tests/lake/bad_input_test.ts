import { type Clock, install } from "npm:@sinonjs/fake-timers@15.5.0";
import assert from "node:assert/strict";
import { connect, type Lakehouse, lakehouse } from "../../mod.ts";
import { Workspace } from "../../src/auth/workspace.ts";
import { compileForWarehouse } from "../../src/lake/statement.ts";
import { openWarehouse, untilAllCanceled } from "../../src/lake/warehouse.ts";
import { type LocalLakebase, startLocal } from "../../src/local/mod.ts";
import { Fragment } from "../../src/sql/fragment.ts";
import { eventually } from "../support/eventually.ts";
import { localTests, optionsOf, workspaceOf } from "../support/lakebase.ts";
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

test("(slow) a table of 10,000 columns is refused by Postgres, and nothing of it stays", async ({ local, settings }) => {
  const lake = await open(local);
  local.faults.warehouse.columns = 10_000;
  await using db = await connect(settings());
  const error = await errorOf(db.load("wide", lake.sql`SELECT 1 AS a`, { create: true }));
  assert.match(error.message, /1600 columns/);
  assert.equal((await db.tables("wide")).length, 0);
});

test("(slow) a statement of 16 MiB runs, and one byte more is refused", async ({ local }) => {
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

test("a chunk that is wrong every time is an error, whichever chunk comes first", async ({ local, settings }) => {
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

test("several chunks are fetched ahead, and a load reports its progress by the result's number of rows", async ({ local, settings }) => {
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
    create: true,
    onProgress: ({ rows, totalRows, done }) => void reports.push([rows, totalRows, done]),
  });
  assert.equal(rows, 40);
  assert.deepEqual(reports.at(-1), [40, 40, true]);
  await db.query("DROP TABLE progress");
});

/** Names that no catalog or schema of Unity Catalog can have. */
const NO_NAMES = [
  "",
  " ",
  "main.taxi",
  "a b",
  "a/b",
  "a\0b",
  "a\nb",
  "a\x1b[2J",
  "a\x7f",
  "a\x9b",
  "\ud800",
  "a".repeat(256),
  7,
];

test("a name that no catalog or schema can have is refused before a request is sent or a warehouse starts", async ({ local, settings }) => {
  await using db = await connect(settings());
  const before = local.requests.length;
  for (const option of ["catalog", "schema"] as const) {
    for (const name of NO_NAMES) {
      const options = { [option]: name as string };
      const errors = [await errorOf(lakehouse({ workspace: workspaceOf(local), ...options }))];
      errors.push(await errorOf(db.lakehouse(options)));
      for (const { code, message } of errors) {
        assert.deepEqual([code, message.startsWith(`Cannot open the lakehouse: ${option} is `)], [
          "BAD_PARAMETER",
          true,
        ]);
        assert.match(message, /without dots, slashes, spaces and control characters$/);
      }
    }
  }
  for (const work of [db.lakehouse({ timeout: 5 } as object), lakehouse({ timeout: 5 } as object)]) {
    assert.match((await errorOf(work)).message, /there is no option "timeout"/); // it was taken, and had no effect
  }
  assert.equal(local.requests.length, before);
  const unusual = await lakehouse({ workspace: workspaceOf(local), catalog: "目录-`\"'" });
  assert.match((await errorOf(unusual.sql`SELECT 1`)).message, /NO_SUCH_CATALOG.*目录-`"'/);
});

/** The API's description of two chunks of two rows each, in JSON or by links. */
const MANIFEST = {
  schema: { columns: [{ name: "n", type_name: "INT", type_text: "INT" }] },
  total_chunk_count: 2,
  total_row_count: 4,
};

/** Contradictory answers, and the message of the error. */
const MISSING: readonly (readonly [about: string, answer: object, message: RegExp, inline?: true])[] = [
  [
    "the result is cut off at 100 GiB",
    { manifest: { ...MANIFEST, truncated: true } },
    /the warehouse has cut it off after 4 rows, because a result has at most 100 GiB.*Read it in parts/,
  ],
  [
    "there are no chunks",
    { manifest: { ...MANIFEST, total_chunk_count: 0 } },
    /that it has 4 rows, and no chunk of them/,
  ],
  [
    "the second part is not mentioned",
    { manifest: MANIFEST, result: { data_array: [["1"], ["2"]] } },
    /2 rows came, and the workspace says that it has 4/,
    true,
  ],
  [
    "the second part is the first again",
    { manifest: MANIFEST, result: { data_array: [["1"], ["2"]], next_chunk_index: 0 } },
    /2 rows came, and the workspace says that it has 4/,
    true,
  ],
  ["links come for rows", { manifest: MANIFEST, result: { external_links: [] } }, /0 rows came, and/, true],
  [
    "a row is short",
    { manifest: { ...MANIFEST, total_row_count: 1 }, result: { data_array: [[]] } },
    /a row has 0 values, and its description 1 column/,
    true,
  ],
];

for (const [about, answer, message, inline] of MISSING) {
  test(`missing rows are an error, also if ${about}`, async ({ local, settings }) => {
    const lake = await open(local);
    await using db = await connect(settings());
    const body = JSON.stringify({ statement_id: "s", status: { state: "SUCCEEDED" }, ...answer });
    local.faults.workspace(`POST ${STATEMENTS}`, { body });
    const query = () => lake.sql`SELECT n FROM made`;
    const ways = inline === true ? [() => query().first()] : [
      () => query(),
      () => query().columns(),
      () => query()[Symbol.asyncIterator]().next(),
      () => query().pull(`${folder}/never.csv`),
      () => db.load("never", query(), { create: true }),
    ];
    for (const way of ways) assert.match((await errorOf(way as () => PromiseLike<unknown>)).message, message);
    assert.equal((await db.tables("never")).length, 0);
    assert.deepEqual([...Deno.readDirSync(folder)].filter(({ name }) => name.includes("never")), []);
  });
}

test("a chunk that the API does not count is noticed as missing", async ({ local, settings }) => {
  const lake = await open(local);
  await using db = await connect(settings());
  const arrow = await (async () => {
    const columns = await lake.sql`SELECT 1 AS n FROM generate_series(1, 2)`.columns();
    const { tableToIPC } = await import("apache-arrow");
    return tableToIPC(await columns.toArrow() as never, "stream");
  })();
  await using storage = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => new Response(Uint8Array.from(arrow)),
  );
  const external_link = `http://127.0.0.1:${storage.addr.port}/chunk`;
  const { total_chunk_count: _, ...manifest } = MANIFEST;
  const result = { external_links: [{ chunk_index: 0, external_link, next_chunk_index: 1 }] };
  const body = JSON.stringify({ statement_id: "s", status: { state: "SUCCEEDED" }, manifest, result });
  local.faults.workspace(`POST ${STATEMENTS}`, { body });
  const error = await errorOf(db.load("never", lake.sql`SELECT n FROM made`, { create: true }));
  assert.match(error.message, /its chunks have 2 rows, and the workspace says that it has 4/);
  assert.equal((await db.tables("never")).length, 0);
});

test("the error of a result that the warehouse no longer keeps says so", async ({ local }) => {
  const lake = await open(local);
  const before = local.requests.length;
  const reading = async () => {
    for await (const { n } of lake.sql`SELECT n FROM generate_series(1, 40) AS n`) {
      if (n !== 1) continue;
      const request = () => local.requests.slice(before).find(({ path }) => path.includes("/result/chunks/"));
      await eventually("the link of the next chunk is requested", () => request() !== undefined);
      const { path } = request()!;
      const statement = path.slice(0, path.indexOf("/result/"));
      const headers = { authorization: `Bearer ${local.env["DATABRICKS_TOKEN"]}` };
      await (await fetch(local.env["DATABRICKS_HOST"] + statement, { method: "DELETE", headers })).body?.cancel();
    }
  };
  const error = await errorOf(reading());
  assert.equal(error.code, "QUERY_FAILED");
  assert.match(error.message, /the warehouse no longer has it; it keeps a result for one hour.*in parts/);
});

Deno.test({
  name: "a load of the lakehouse in a transaction ends, also if the embedded database runs one transaction at a time",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using local = await startLocal({ lockTimeout: 100 });
    await using db = await connect(optionsOf(local));
    const lake = await open(local);
    await db.sql`CREATE TABLE kept (n int)`;
    for (const about of ["the first session of a warehouse", "one whose settings are known"]) {
      const error = await errorOf(db.transaction((tx) => tx.load("kept", lake.sql`SELECT 1 AS n`)));
      assert.match(error.message, /the embedded database runs one transaction at a time/, about);
      assert.equal((await db.load("kept", lake.sql`SELECT 1 AS n`)).rows, 1);
    }
  },
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

/** The calls of the client that are not answered yet. */
let calls = 0;

/** More than a pause between two polls, and less than the limit of a request. */
const LONGEST_PAUSE_MS = 5000;

/**
 * Moves the fake time to its next timer repeatedly. Requests take no time, because the time stands still while one is
 * under way, and while the next timer is so late that it can only be the limit of a request.
 */
async function whileTimePasses(clock: Clock, local: LocalLakebase, turn: () => Promise<void>, over: () => boolean) {
  for (let seen = -1; !over();) {
    for (let idle = 0; idle < 5 && !over(); idle++) {
      await turn();
      if (calls > 0 || local.requests.length !== seen || local.requests.at(-1)?.status === 0) idle = 0;
      seen = local.requests.length;
    }
    const next = Math.min(...[...clock.timers?.values() ?? []].map(({ callAt = Infinity }) => callAt));
    if (!over() && next - clock.now < LONGEST_PAUSE_MS) clock.next();
  }
}

Deno.test({
  name: "a statement waits minutes for a warehouse that starts, even beyond the end of the login's token",
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
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
        body: "{}",
      });
      await starting.body?.cancel();
      const login = {
        // By its address: looking up a name is no call, so the time would go on meanwhile.
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
      assert.ok(Date.now() - started >= 240_000, String(Date.now() - started));
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
