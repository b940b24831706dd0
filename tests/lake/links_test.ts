import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { eventually } from "../support/eventually.ts";
import { localTests } from "../support/lakebase.ts";
import { errorOf } from "../support/queries.ts";
import { checkSecrets, open, STATEMENTS } from "./support.ts";

const folder = await Deno.makeTempDir({ prefix: "lakebase-lake-" });
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));
const test = localTests({ warehouses: [{ name: "small", chunkRows: 3 }] });

for (
  const answer of ["expired", "forbidden", "unavailable", "html", "other-chunk", "truncated", "cut", "reset"] as const
) {
  test(
    `(slow) a chunk that is ${answer} once is read again; if it always is, the error shows no secrets`,
    async ({ local, settings }) => {
      const lake = await open(local);
      const query = lake.sql`SELECT n, repeat('x', n) AS word FROM generate_series(1, 11) AS n`;
      local.faults.warehouse.link({ answer, chunk: 1, times: 1 });
      assert.deepEqual((await query).map(({ n }) => n), Array.from({ length: 11 }, (_, at) => at + 1));
      local.faults.warehouse.link({ answer, chunk: 2 });
      await using db = await connect(settings());
      const error = await errorOf(db.load("broken", query, { create: true }));
      assert.equal(error.code, "WORKSPACE_UNAVAILABLE");
      assert.match(error.message, /chunk 3 of 4 of the result/);
      checkSecrets(error);
      assert.equal((await db.tables("broken")).length, 0);
    },
  );
}

test("a chunk that is wrong each time is an error, whichever chunk it is", async ({ local, settings }) => {
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
  await wrong(2); // the wrong chunk has another number of rows
  await wrong(1); // the wrong chunk has as many rows, and another size
  for (const chunk of [0, 2]) local.faults.warehouse.link({ answer: "unavailable", chunk, times: 3 });
  await wrong(1); // its size differs before another chunk shows that the sizes are exact
});

test("links that expire between two chunks are requested anew", async ({ local }) => {
  const lake = await open(local);
  const seen: unknown[] = [];
  for await (const { n } of lake.sql`SELECT n FROM generate_series(1, 40) AS n`) {
    seen.push(n);
    if (seen.length === 1) local.faults.warehouse.expireLinks();
  }
  assert.equal(seen.length, 40);
});

test("reading a result that the warehouse no longer keeps fails with an error that says so", async ({ local }) => {
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

test("several chunks are fetched ahead, and a load reports its progress by the result's number of rows", async ({ local, settings }) => {
  const lake = await open(local);
  await using db = await connect(settings());
  local.faults.warehouse.link({ answer: "never", chunk: 0 });
  const controller = new AbortController();
  const query = lake.sql`SELECT n FROM generate_series(1, 40) AS n`;
  const before = local.requests.length;
  const hanging = assert.rejects(query.with({ signal: controller.signal }).columns(), { message: "enough" });
  await eventually(
    "the links of the next two chunks are requested",
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

test("an abort ends a download that hangs, and the loop and the load around it", async ({ local, settings }) => {
  const lake = await open(local);
  local.faults.warehouse.link({ answer: "never", chunk: 1 });
  const reason = new Error("enough");
  const controller = new AbortController();
  const loop = async () => {
    for await (const { n } of lake.sql`SELECT n FROM generate_series(1, 9) AS n`.with({ signal: controller.signal })) {
      if (n === 3) controller.abort(reason);
    }
  };
  await assert.rejects(loop, reason);
  await using db = await connect(settings());
  const late = await errorOf(
    db.load("hangs", lake.sql`SELECT n FROM generate_series(1, 9) AS n`, { create: true, timeout: 0.5 }),
  );
  assert.equal(late.code, "CANCELED");
  assert.equal((await db.tables("hangs")).length, 0);
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
    /that it has 4 rows, but no chunks/,
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
