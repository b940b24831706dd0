import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { listTables } from "../../src/lake/catalog.ts";
import { startLocal } from "../../src/local/mod.ts";
import { bothTests, localTests, optionsOf } from "../support/lakebase.ts";
import { drawn, errorOf } from "../support/queries.ts";
import { callsOf, open, STATEMENTS } from "./support.ts";

const options = { warehouses: [{ name: "small", chunkRows: 3 }] };
const test = bothTests(options);
const onOneDatabase = localTests(options);
const withLargeChunks = localTests();

const TYPES = `SELECT (-128)::int2 AS small, 2147483647 AS whole, 9223372036854775807 AS big, 12 AS safe,
  12.50::numeric(10, 2) AS fare, -0.5::numeric(38, 18) AS long, 0.1::float4 AS single, 'NaN'::float8 AS nan, 1e10::float8 AS double,
  true AS yes, 'é🚲'::text AS word, ''::text AS empty, decode('00ff10', 'hex') AS bytes, DATE '2026-01-31' AS day,
  TIMESTAMPTZ '2026-01-31 12:34:56.789012Z' AS at, TIMESTAMP '2026-01-31 12:34:56.78' AS local, INTERVAL '1 day 02:03:04.5' AS took,
  CAST('14 months' AS interval year to month) AS months, ARRAY[1, NULL, 3] AS list, ARRAY[12.50::numeric(4, 2)] AS fares,
  ARRAY['a"b', ''] AS words, '{"a": [1.50, 9223372036854775807]}'::jsonb AS doc, NULL::int AS nothing`;

const VALUES = {
  small: -128,
  whole: 2147483647,
  big: 9223372036854775807n,
  safe: 12,
  fare: "12.50",
  long: "-0.500000000000000000",
  single: 0.1,
  nan: NaN,
  double: 1e10,
  yes: true,
  word: "é🚲",
  empty: "",
  bytes: Uint8Array.of(0, 255, 16),
  day: "2026-01-31",
  at: new Date("2026-01-31T12:34:56.789Z"),
  local: "2026-01-31 12:34:56.78",
  took: "1 02:03:04.500000000",
  months: "1-2",
  list: [1, null, 3],
  fares: ["12.50"],
  words: ['a"b', ""],
  doc: { a: [1.5, 9223372036854775807n] },
  nothing: null,
};

test("each way of reading gives the same value, and so does a table that load() makes", async ({ local, settings }) => {
  const lake = await open(local);
  const query = lake.sql`${lake.sql.unsafe(TYPES)}`;
  assert.deepEqual(await query.first(), VALUES);
  assert.deepEqual([...await lake.sql`${lake.sql.unsafe(TYPES)}`], [VALUES]);
  for await (const row of query) assert.deepEqual(row, VALUES);
  const columns = await query.columns();
  assert.deepEqual([...columns.rows()], [VALUES]);
  assert.deepEqual(columns.get("fare").storage, { kind: "decimal", precision: 10, scale: 2 });
  assert.equal((await columns.toArrow()).numRows, 1);
  await using db = await connect(settings());
  for (const source of [query, columns]) {
    await db.load("of_types", source, { create: true });
    const loaded = await db.sql`SELECT * FROM of_types`.first();
    assert.deepEqual({ ...loaded as object, took: "", months: "" }, {
      ...VALUES,
      took: "",
      months: "",
      list: [1, null, 3],
      doc: { a: [1.5, 9223372036854776000] },
    });
    assert.deepEqual(
      await db
        .sql`SELECT took = '1 day 02:03:04.5' AND months = '14 months' AND doc = '{"a": [1.50, 9223372036854775807]}'
      AND at = '2026-01-31 12:34:56.789012Z' FROM of_types`.value(),
      true,
    );
    await db.query("DROP TABLE of_types");
  }
});

const BOUND: [value: unknown, read: unknown][] = [
  ...[0, -7, 2 ** 31, 0.1, 1e300, NaN, -Infinity, true, false, "", "it's :p1", null].map((value) =>
    [value, value] as [unknown, unknown]
  ),
  [5n, 5],
  [2n ** 63n - 1n, 2n ** 63n - 1n],
  [2n ** 63n, "9223372036854775808"],
  [new Date("2026-01-31T12:34:56.789Z"), new Date("2026-01-31T12:34:56.789Z")],
  [Temporal.PlainDate.from("2026-01-31"), "2026-01-31"],
  [Temporal.PlainDateTime.from("2026-01-31T12:34:56"), "2026-01-31 12:34:56"],
  [Uint8Array.of(0, 255), Uint8Array.of(0, 255)],
  ["x".repeat(1_000_000), "x".repeat(1_000_000)],
];

test("values are bound with their types", async ({ local }) => {
  const lake = await open(local);
  for (const [value, read] of BOUND) assert.deepEqual(await lake.sql`SELECT ${value} AS v`.value(), read);
  const list = [1, 2];
  assert.equal(await lake.sql`SELECT 2 IN (${lake.sql.join(list)})`.value(), true);
  const error = await errorOf(lake.sql`SELECT ${1} = ANY(${list})`);
  assert.match(error.message, /parameter 2 is an array/);
  assert.deepEqual(
    await lake.sql`SELECT a + ${1} AS b FROM (${lake.sql.values([[1], [2]])}) AS q(a) ORDER BY 1`.value(),
    2,
  );
});

withLargeChunks(
  "a statement is one call, and a drawing is limited by the API and not in the SQL",
  async ({ local }) => {
    const lake = await open(local);
    const query = lake.sql`SELECT n FROM generate_series(1, 100) AS n`;
    assert.deepEqual(await callsOf(local, () => drawn(query)), [`POST ${STATEMENTS}`]);
    assert.match(await drawn(query), /first 20 rows, there are more.*on SQL warehouse Serverless Starter Warehouse/);
    assert.deepEqual(await callsOf(local, () => lake.sql`SELECT 1`.value()), [`POST ${STATEMENTS}`]);
    assert.deepEqual(await callsOf(local, async () => await lake.sql`SELECT 1`), [`POST ${STATEMENTS}`]);
    assert.deepEqual(await callsOf(local, async () => await lake.sql`CREATE TABLE one_call (a int)`), [
      `POST ${STATEMENTS}`,
    ]);
    assert.match(
      await drawn(lake.sql`SELECT 1 AS whole, 2.50::numeric(8, 2) AS money`),
      / whole \| money\n-+\+-+\n {5}1 \| {2}2.50\n/,
    );
    assert.equal((await query).length, 100);
    const { tag, rowCount, more, place } = await query;
    assert.deepEqual([tag, rowCount, more, place], [
      "SELECT 100",
      100,
      false,
      "SQL warehouse Serverless Starter Warehouse",
    ]);
    await lake.sql`DROP TABLE one_call`;
  },
);

onOneDatabase(
  "results without rows, of 1,600 columns, and with two columns of one name are read",
  async ({ local, settings }) => {
    const lake = await open(local);
    const none = lake.sql`SELECT 1 AS a, 1.5::numeric(5, 2) AS b WHERE false`;
    assert.deepEqual([...await none], []);
    assert.equal(await none.first(), undefined);
    assert.deepEqual((await none.columns()).get("b").storage, { kind: "decimal", precision: 5, scale: 2 });
    for await (const _ of none) assert.fail("a row");
    await using db = await connect(settings());
    assert.equal((await db.load("of_none", none, { create: true })).rows, 0);
    await db.query("DROP TABLE of_none");

    const wide = lake.sql`SELECT ${
      lake.sql.unsafe(Array.from({ length: 1600 }, (_, at) => `${at} AS c${at}`).join(", "))
    }`;
    assert.equal((await wide)[0]!["c1599"], 1599);
    const twice = lake.sql`SELECT 1 AS a, 'x' AS a`;
    assert.deepEqual([...await twice], [{ a: 1, a_2: "x" }]);
    assert.deepEqual(await twice.first(), { a: 1, a_2: "x" });
    await db.load("of_twice", twice, { create: true });
    assert.deepEqual(await db.sql`SELECT * FROM of_twice`.first(), { a: 1, a_2: "x" });
    await db.query("DROP TABLE of_twice");
  },
);

onOneDatabase("each way of reading gives the same value, also for years before 1 and after 9999", async ({ local }) => {
  const lake = await open(local);
  const values = `DATE '0044-03-15 BC' AS a, DATE '12000-01-01' AS b, TIMESTAMP '0044-03-15 01:02:03.5 BC' AS c,
    TIMESTAMP '12000-01-01' AS d, TIMESTAMPTZ '0044-03-15 00:00Z BC' AS e, TIMESTAMPTZ '12000-01-01 00:00Z' AS f`;
  const query = () => lake.sql`SELECT ${lake.sql.unsafe(values)}`;
  const [rows, first] = [await query(), await query().first()];
  assert.deepEqual(first, rows[0]);
  assert.deepEqual([rows[0]!["a"], rows[0]!["f"]], ["0044-03-15 BC", "12000-01-01 00:00:00+00"]);
});

onOneDatabase("a new table has the same columns with rows and without", async ({ local, settings }) => {
  const lake = await open(local);
  await using db = await connect(settings());
  const values = `1 AS a, 1.5::numeric(5, 2) AS b, 2::numeric AS c, ARRAY[1] AS d, ARRAY[1.5::numeric(4, 1)] AS e,
    ARRAY['x'] AS f, '{}'::jsonb AS g, INTERVAL '1 day' AS h, 1::float4 AS i, now() AS j, LOCALTIMESTAMP AS k, 'x' AS l,
    'x'::bytea AS m, true AS n, CURRENT_DATE AS o, (SELECT q FROM (SELECT 1 AS x) AS q) AS p, 'y' AS a`;
  const describe = async (condition: boolean) => {
    const query = lake.sql`SELECT ${lake.sql.unsafe(values)} WHERE ${condition}`;
    const { rows } = await db.load("of_rows", query, { create: true });
    const types = (await db.describe("of_rows")).map(({ name, type }) => `${name} ${type}`);
    await db.query("DROP TABLE of_rows");
    const { fields, schema } = await query.columns().then(async (columns) => ({
      fields: columns.fields.map(({ key, oid }) => [key, oid]),
      schema: (await columns.toArrow()).schema.fields.map(({ name, type }) => `${name} ${type}`),
    }));
    return { rows, types, fields, schema };
  };
  const [{ rows: one, ...filled }, { rows: none, ...empty }] = [await describe(true), await describe(false)];
  assert.deepEqual([one, none], [1, 0]);
  assert.deepEqual(empty, filled);
  assert.deepEqual([filled.types[1], filled.types[3], filled.types[4]], [
    "b numeric(5,2)",
    "d integer[]",
    "e numeric(4,1)[]",
  ]);
});

onOneDatabase("a lakehouse query is refused where Postgres would run it", async ({ local, settings }) => {
  const lake = await open(local);
  await using db = await connect(settings());
  for (
    const work of [
      () => db.pull(lake.sql`SELECT 1`, "/tmp/never.csv"),
      () => db.profile(lake.sql`SELECT 1`),
      () => db.sql`SELECT * FROM (${lake.sql`SELECT 1`}) AS q`,
      () => db.sql`SELECT 1 WHERE ${lake.sql`true`}`,
    ]
  ) {
    const error = await errorOf(work as () => PromiseLike<unknown>);
    assert.deepEqual([error.code, /made with the sql of a lakehouse/.test(error.message)], ["BAD_PARAMETER", true]);
  }
  assert.equal(await lake.sql`SELECT 1 WHERE ${db.sql`1 = ${1}`}`.value(), 1);
});

onOneDatabase("errors show the warehouse's message, SQLSTATE, line and caret", async ({ local }) => {
  const lake = await open(local);
  const error = await errorOf(lake.sql`SELECT ${1}
FROM tripz`);
  assert.deepEqual([error.code, error.sqlstate], ["QUERY_FAILED", "42P01"]);
  assert.match(error.message, /^\[TABLE_OR_VIEW_NOT_FOUND\] [^]*\(SQLSTATE 42P01\)\nLINE 2: FROM tripz\n {13}\^$/);
  local.faults.warehouse.fail({
    message: "[INSUFFICIENT_PERMISSIONS] Insufficient privileges: no USE CATALOG on main. SQLSTATE: 42501",
  });
  assert.match((await errorOf(lake.sql`SELECT 1`)).message, /USE CATALOG on main \(SQLSTATE 42501\)/);
  local.faults.workspace(`POST ${STATEMENTS}`, {
    status: 403,
    body: '{"error_code":"PERMISSION_DENIED","message":"no"}',
    times: 1,
  });
  const refused = await errorOf(lake.sql`SELECT 1`);
  assert.deepEqual([refused.code, /Cannot use the SQL warehouse "small": .*403, "no"/.test(refused.message)], [
    "WORKSPACE_AUTH",
    true,
  ]);
});

onOneDatabase("the tables, schemas and columns of a catalog are listed", async ({ local }) => {
  const lake = await open(local);
  await lake.sql`CREATE TABLE main.public.stations (id int NOT NULL, name text)`;
  assert.deepEqual((await lake.tables("main.public.stat*")).map(({ schema, name, kind }) => [schema, name, kind]), [[
    "public",
    "stations",
    "table",
  ]]);
  assert.deepEqual((await lake.describe("main.public.stations")).map(({ name, nullable }) => [name, nullable]), [[
    "id",
    false,
  ], ["name", true]]);
  assert.ok((await lake.schemas()).some(({ name }) => name === "public"));
  for (const wrong of [null, 7, {}, "a".repeat(3000), "a.b.c.d"]) {
    assert.equal((await errorOf(lake.describe(wrong as never))).code, "BAD_PARAMETER");
    assert.equal((await errorOf(lake.tables(wrong as never))).code, "BAD_PARAMETER");
  }
  const error = await errorOf(lake.describe("public.station"));
  assert.deepEqual([error.sqlstate, /Did you mean stations\?/.test(error.message)], ["42P01", true]);
  await lake.sql`DROP TABLE stations`;
});

onOneDatabase("rows are written into files, and a plan is a text", async ({ local }) => {
  const lake = await open(local);
  const folder = await Deno.makeTempDir();
  const query = lake.sql`SELECT n AS id, CASE WHEN n <> 2 THEN 'a,b' END AS word FROM generate_series(1, 7) AS n`;
  const { rows } = await query.pull(`${folder}/a.csv`);
  assert.equal(rows, 7);
  assert.match(await Deno.readTextFile(`${folder}/a.csv`), /^id,word\n1,"a,b"\n2,\n3,"a,b"\n/);
  await lake.sql`SELECT 1 AS a WHERE false`.pull(`${folder}/none.csv`);
  assert.equal(await Deno.readTextFile(`${folder}/none.csv`), "a\n");
  for (const name of ["a.parquet", "a.arrow", "a.ndjson.gz"]) {
    assert.equal((await query.pull(`${folder}/${name}`)).rows, 7);
  }
  const error = await errorOf(query.pull(`${folder}/parts/`));
  assert.match(error.message, /rows of a SQL warehouse go into a file/);
  assert.match(String(await query.explain()), /\S/);
  assert.match((await errorOf(query.explain({ analyze: true }))).message, /leave out analyze/);
  await Deno.remove(folder, { recursive: true });
});

onOneDatabase("a result of more than 25 MiB fails inline, and arrives by links", async ({ local }) => {
  const lake = await open(local);
  const large = () => lake.sql`SELECT repeat('x', ${30 * 1024 ** 2}) AS word`;
  const error = await errorOf(large().first());
  assert.equal(error.code, "QUERY_FAILED");
  assert.match(error.message, /HINT: The rows that a cell shows come with the answer, which has at most 25 MiB/);
  assert.equal(((await large())[0]!["word"] as string).length, 30 * 1024 ** 2);
});

onOneDatabase(
  "rows and columns that were fetched are loaded and written without a second run",
  async ({ local, settings }) => {
    const lake = await open(local);
    await using db = await connect(settings());
    const query = lake
      .sql`SELECT n, 1.50::numeric(8, 2) AS fare, ARRAY[n] AS list FROM generate_series(1, 9) AS n LIMIT ${5}`;
    const [rows, columns] = [await query, await query.columns()];
    const before = local.requests.length;
    for (const source of [rows, columns]) {
      assert.equal((await db.load("fetched", source, { create: true })).rows, 5);
      assert.deepEqual(await db.sql`SELECT sum(n) AS n, sum(fare) AS fare FROM fetched`.first(), {
        n: 15,
        fare: "7.50",
      });
      await db.query("DROP TABLE fetched");
    }
    const file = await Deno.makeTempFile({ suffix: ".csv" });
    await rows.pull(file);
    await columns.pull(file);
    assert.match(await Deno.readTextFile(file), /^n,fare,list\n1,1\.50,\{1\}\n/);
    await Deno.remove(file);
    assert.deepEqual(local.requests.slice(before).filter(({ path }) => path.includes("/sql/")), []);
    assert.match((await errorOf(rows.load("t"))).message, /use db\.load\(table, rows\)/);
    assert.match((await errorOf(columns.load("t"))).message, /use db\.load\(table, columns\)/);
  },
);

Deno.test({
  name: "connect({ local }) takes the options of the warehouses and Volumes",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const local = { warehouses: [{ name: "large" }], catalogs: ["main"], volumes: ["main.raw.other"], fileLimit: 1000 };
    await using db = await connect({ local });
    await using lake = await db.lakehouse();
    assert.equal(await lake.sql`SELECT 1 AS one`.value(), 1);
    const { rows } = await db.sql`SELECT 1 AS one`.pull("/Volumes/main/raw/other/one.csv");
    assert.equal(rows, 1);
  },
});

Deno.test("a list of tables that would be cut off is refused", async () => {
  const answer = (count: number) => Promise.resolve(Array.from({ length: count }, (_, n) => ({ table_name: `t${n}` })));
  assert.equal((await listTables(() => answer(10_000), "*", "main")).length, 10_000);
  await assert.rejects(listTables(() => answer(10_001), "*", "main"), {
    code: "BAD_PARAMETER",
    message: /more than 10000 match "\*"; name fewer, as in "taxi\.\*"/,
  });
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
