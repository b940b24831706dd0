import assert from "node:assert/strict";
import { parseArray } from "../../src/sql/parameter.ts";
import { parserSource } from "../../src/sql/types.ts";
import { queryTest } from "../support/queries.ts";

const EXACT: [sql: string, value: unknown][] = [
  ["count(*)", 1],
  ["9007199254740991::int8", 9007199254740991],
  ["9007199254740993::int8", 9007199254740993n],
  ["(-9223372036854775808)::int8", -9223372036854775808n],
  ["12345678901234567890.1234567890::numeric", "12345678901234567890.1234567890"],
  ["'NaN'::float8", NaN],
  ["'-Infinity'::float8", -Infinity],
  ["0.1::float8", 0.1],
  ["true", true],
  ["NULL::int", null],
  ["''::text", ""],
  ["'infinity'::timestamptz", "infinity"],
  ["'-infinity'::date", "-infinity"],
  ["'2026-01-31'::date", "2026-01-31"],
  ["'2026-01-31 12:34:56.789+02'::timestamptz", new Date("2026-01-31T10:34:56.789Z")],
  ["'0044-03-15 00:00:00+00 BC'::timestamptz AT TIME ZONE 'UTC'", "0044-03-15 00:00:00 BC"],
  ["'2026-01-31 12:34:56.123456'::timestamp", "2026-01-31 12:34:56.123456"],
  ["'[1,5)'::int4range", "[1,5)"],
  ["'1 day 02:03:04'::interval", "1 day 02:03:04"],
  ["'\\x00ff'::bytea", new Uint8Array([0, 255])],
  [`'{"a": [1, null]}'::jsonb`, { a: [1, null] }],
  ["'{{1,2},{3,NULL}}'::int[]", [[1, 2], [3, null]]],
  [`ARRAY['a,b', '"', '\\', 'NULL', '', NULL, '{}']`, ["a,b", '"', "\\", "NULL", "", null, "{}"]],
  ["'[0:1]={1,2}'::int[]", "[0:1]={1,2}"],
  ["'{}'::text[]", []],
  ["ARRAY['\\x01'::bytea]", [new Uint8Array([1])]],
  ["ARRAY[9007199254740993, 1]::int8[]", [9007199254740993n, 1]],
  ["'{(1,1),(0,0);(2,2),(0,0)}'::box[]", "{(1,1),(0,0);(2,2),(0,0)}"],
  ["ROW(1, 'a b')", '(1,"a b")'],
  ["'12.50'::money::numeric", "12.50"],
  ["'a=>b'::text::name", "a=>b"],
];

queryTest("each type keeps its exact value", async ({ db }) => {
  for (const [expression, value] of EXACT) {
    assert.deepEqual(
      await db.sql`SELECT ${db.sql.unsafe(expression)} FROM (SELECT 1) AS one`.value(),
      value,
      expression,
    );
  }
});

queryTest("arrays of enums, domains and composites are arrays, however they are read", async ({ db, open }) => {
  await db.query(`CREATE TYPE kind AS ENUM ('a b', 'c'); CREATE TYPE pair AS (x int, y text);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN small AS positive CHECK (VALUE < 9);
    CREATE DOMAIN flags AS bool[]; CREATE TABLE own AS SELECT n, 'a b'::kind AS e, 5::small AS d, ROW(1, 'z')::pair AS c,
      ARRAY['a b', 'c', NULL]::kind[] AS es, ARRAY[5, 6]::small[] AS ds, '{{1},{2}}'::positive[] AS grid,
      ARRAY[ROW(1, 'z'), NULL]::pair[] AS cs, ARRAY['{t,f}']::flags[] AS fs, '[0:1]={c,c}'::kind[] AS bounds
      FROM generate_series(1, 150) AS n`);
  const row = {
    n: 1,
    e: "a b",
    d: 5,
    c: "(1,z)",
    es: ["a b", "c", null],
    ds: [5, 6],
    grid: [[1], [2]],
    cs: ["(1,z)", null],
    fs: [[true, false]],
    bounds: "[0:1]={c,c}",
  };
  type Db = Pick<typeof db, "sql" | "query">;
  const reads: [name: string, read: (db: Db) => Promise<unknown>][] = [
    ["first", async ({ sql }) => await sql`SELECT * FROM own ORDER BY n`.first()],
    ["await", async ({ sql }) => (await sql`SELECT * FROM own ORDER BY n`)[0]],
    ["with a value", async ({ sql }) => (await sql`SELECT * FROM own WHERE n < ${3} ORDER BY n`)[0]],
    ["query", async (on) => (await on.query("SELECT * FROM own ORDER BY n"))[0]],
    ["loop", async ({ sql }) => {
      const rows: unknown[] = [];
      for await (const row of sql`SELECT * FROM own ORDER BY n`) rows.push(row);
      assert.deepEqual(rows[149], { ...row, n: 150 });
      return rows[0];
    }],
    ["short loop", async ({ sql }) => {
      for await (const row of sql`SELECT * FROM own ORDER BY n LIMIT 1`) return row;
    }],
  ];
  for (const [name, read] of reads) {
    for (const place of ["pool", "transaction"] as const) {
      await using fresh = await open({ max: 1 }); // nothing is known of its types yet
      const found = place === "pool" ? await read(fresh) : await fresh.transaction(read);
      assert.deepEqual(found, row, `${name} in a ${place}`);
      assert.deepEqual(await read(fresh), row, `${name} again`);
    }
  }
  await using last = await open();
  const { fields } = await last.sql`SELECT e, es, ds FROM own`;
  assert.deepEqual(fields.map(({ type }) => type), ["kind", "kind[]", "small[]"]);
  await last.query("DROP TABLE own; DROP TYPE pair, kind; DROP DOMAIN flags, small, positive");
});

queryTest("a parser of a connection reads the elements of arrays of domains too", async ({ open }) => {
  await using db = await open({ types: { numeric: Number } });
  await db.query("CREATE DOMAIN price AS numeric");
  assert.deepEqual(await db.sql`SELECT ARRAY[1.50, 2]::price[]`.value(), [1.5, 2]);
  await db.query("DROP DOMAIN price");
});

queryTest("rows with arrays of enums can be loaded and written", async ({ db }) => {
  await db.query("CREATE TYPE mood AS ENUM ('ok', 'so so'); CREATE TABLE moods (m mood[])");
  const rows = await db.sql`SELECT ARRAY['ok', 'so so']::mood[] AS m`;
  await rows.load("moods");
  await db.load("moods", db.sql`SELECT ARRAY['ok']::mood[] AS m`);
  assert.deepEqual((await db.sql`SELECT m FROM moods ORDER BY m`).map(({ m }) => m), [["ok"], ["ok", "so so"]]);
  const file = `${await Deno.makeTempDir()}/moods.csv`;
  await rows.pull(file);
  await db.load("moods", file, { mode: "replace" });
  assert.deepEqual(await db.sql`SELECT m FROM moods`.value(), ["ok", "so so"]);
  await db.query("DROP TABLE moods; DROP TYPE mood");
});

queryTest("a bound value comes back unchanged", async ({ db }) => {
  const at = new Date("2026-02-03T04:05:06.789Z");
  const ancient = new Date("-000099-01-01T00:00:00Z");
  const row = await db.sql`SELECT ${at}::timestamptz AS at, ${[
    at,
  ]}::timestamptz[] AS ats, ${ancient}::timestamptz::text AS bc,
    ${new Uint8Array([0, 1, 255])}::bytea AS bytes, ${{ a: { b: [1] } }} AS json, ${[[1, 2], [3, 4]]}::int[] AS ints,
    ${9007199254740993n}::int8 AS big, ${["a", null, 'q"\\']}::text[] AS texts, ${"🎈"}::text AS emoji`.first();
  assert.deepEqual(row, {
    at,
    ats: [at],
    bc: row?.["bc"],
    bytes: new Uint8Array([0, 1, 255]),
    json: { a: { b: [1] } },
    ints: [[1, 2], [3, 4]],
    big: 9007199254740993n,
    texts: ["a", null, 'q"\\'],
    emoji: "🎈",
  });
  assert.match(String(row?.["bc"]), /^0100-.*BC$/);
});

queryTest("parsers are set per connection, by the names of types", async ({ open }) => {
  const db = await open({ types: { numeric: Number, timestamptz: (text) => text.slice(0, 10), bigint: BigInt } });
  const row = await db
    .sql`SELECT 1.50 AS n, ARRAY[1.5, 2.5] AS ns, 7::int8 AS b, '2026-01-01Z'::timestamptz AS t, NULL::numeric AS z`
    .first();
  assert.deepEqual(row, { n: 1.5, ns: [1.5, 2.5], b: 7n, t: "2026-01-01", z: null });
  assert.match(String((await db.sql`SELECT 1`.explain()).root["Node Type"]), /Result/);
  const usual = await open();
  assert.equal(await usual.sql`SELECT 1.50`.value(), "1.50");
});

Deno.test("timestamps of every form are read", () => {
  const parse = parserSource().getTypeParser(1184);
  const cases: [string, unknown][] = [
    ["1999-12-31 23:59:59+00", new Date("1999-12-31T23:59:59Z")],
    ["1969-12-31 23:59:59.999999+00", new Date("1969-12-31T23:59:59.999Z")],
    ["2026-01-01 00:00:00.5-03", new Date("2026-01-01T03:00:00.500Z")],
    ["2026-01-01 00:00:00+05:30", new Date("2025-12-31T18:30:00Z")],
    ["1880-01-01 00:00:00+00:19:32", new Date("1879-12-31T23:40:28Z")],
    ["0001-01-01 00:00:00+00", new Date("0001-01-01T00:00:00Z")],
    ["10000-01-01 00:00:00+00", "10000-01-01 00:00:00+00"],
    ["0044-03-15 00:00:00+00 BC", "0044-03-15 00:00:00+00 BC"],
    ["-infinity", "-infinity"],
    ["31/01/2026 12:34:56 UTC", "31/01/2026 12:34:56 UTC"],
  ];
  for (const [text, value] of cases) assert.deepEqual(parse(text), value, text);
});

Deno.test("an array of many arrays is read in linear time", () => {
  const text = `{${Array(200_000).fill("{1,2}").join(",")}}`;
  assert.equal((parseArray(text, Number) as unknown[]).length, 200_000);
});
