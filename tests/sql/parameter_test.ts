import assert from "node:assert/strict";
import { sql } from "../../mod.ts";
import { compile } from "../../src/sql/fragment.ts";
import { queryTest } from "../support/queries.ts";

const it = { b: 1, a: "\u0000" };

Deno.test("a JSON parameter is cast to the type that its position needs", () => {
  const cases: [query: ReturnType<typeof sql>, text: string][] = [
    [sql`SELECT ${it}`, "SELECT $1::jsonb"],
    [sql`SELECT ${it}::json`, "SELECT $1::json"],
    [sql`SELECT ${it} :: json -> 'a'`, "SELECT $1 :: json -> 'a'"],
    [sql`SELECT CAST(${it} AS json)`, "SELECT CAST($1 AS json)"],
    [sql`INSERT INTO t VALUES (${1}, ${it}), (${2}, ${it})`, "INSERT INTO t VALUES ($1, $2::json), ($3, $4::json)"],
    [
      sql`INSERT INTO t ${sql.values([{ a: it }])} RETURNING ${it}`,
      'INSERT INTO t ("a") VALUES ($1::json) RETURNING $2::jsonb',
    ],
    [sql`INSERT INTO t VALUES (${it} || ${it})`, "INSERT INTO t VALUES ($1::jsonb || $2::jsonb)"],
    [sql`INSERT INTO t VALUES (jsonb_pretty(${it}))`, "INSERT INTO t VALUES (jsonb_pretty($1::jsonb))"],
    [sql`INSERT INTO t SELECT * FROM (VALUES (${it})) v`, "INSERT INTO t SELECT * FROM (VALUES ($1::jsonb)) v"],
    [
      sql`INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = ${it} WHERE t.a = ${it}`,
      "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = $1::json WHERE t.a = $2::jsonb",
    ],
    [
      sql`UPDATE t SET a = ${it}, b = ${it} -> 'a' WHERE a = ${it}`,
      "UPDATE t SET a = $1::json, b = $2::jsonb -> 'a' WHERE a = $3::jsonb",
    ],
    [sql`WITH w AS (UPDATE t SET a = ${it}) SELECT ${it}`, "WITH w AS (UPDATE t SET a = $1::json) SELECT $2::jsonb"],
    [sql`SELECT * FROM (VALUES (${it})) v`, "SELECT * FROM (VALUES ($1::jsonb)) v"],
  ];
  for (const [query, text] of cases) assert.equal(compile(query).text.replaceAll("pg_catalog.", ""), text);
});

queryTest("an object keeps the order of its keys and its zero characters in a json column", async ({ db }) => {
  await db.query("CREATE TABLE documents (plain json, tree jsonb, words text)");
  const tree = { b: 1, a: 2 };
  await db.sql`INSERT INTO documents VALUES (${it}, ${tree}, ${tree})`;
  await db.sql`INSERT INTO documents ${sql.values([{ plain: it, tree }])}`;
  await db.sql`UPDATE documents SET plain = ${it}, tree = ${tree}`;
  const [first] = await db
    .sql`SELECT plain::text, tree::text, words FROM documents WHERE tree = ${tree} AND words IS NOT NULL`;
  assert.deepEqual(first, { plain: '{"b":1,"a":"\\u0000"}', tree: '{"a": 2, "b": 1}', words: '{"b":1,"a":2}' });
  assert.equal(await db.sql`SELECT ${tree}::json ->> 'b'`.value(), "1");
  assert.equal(await db.sql`SELECT ${tree} ->> 'b'`.value(), "1");
  await db.query("DROP TABLE documents");
});

queryTest("a zero keeps its sign, alone, in arrays and in rows that are loaded", async ({ db }) => {
  const sign = (value: unknown) => Object.is(value, -0);
  assert.ok(sign(await db.sql`SELECT ${-0}::float8`.value()));
  assert.ok((await db.sql`SELECT ${[-0]}::float4[]`.value<number[]>())!.every(sign));
  assert.equal(await db.sql`SELECT ${-0}::int + 1`.value(), 1);
  await db.query("CREATE TABLE zeros (x float8, xs float8[])");
  await db.load("zeros", [{ x: -0, xs: [-0] }]);
  const [row] = await db.query<{ x: number; xs: number[] }>("SELECT * FROM zeros");
  assert.ok(sign(row!.x) && row!.xs.every(sign));
  await db.query("DROP TABLE zeros");
});

queryTest("a Temporal value and a URL become their text, as parameters and in rows that are loaded", async ({ db }) => {
  const { Instant, ZonedDateTime, PlainDate, PlainDateTime, PlainTime, Duration } = Temporal;
  const cases: [value: unknown, type: string, text: string][] = [
    [Instant.from("2026-02-03T04:05:06.789012Z"), "timestamptz", "2026-02-03 04:05:06.789012+00"],
    [Instant.from("+012345-02-03T04:05:06Z"), "timestamptz", "12345-02-03 04:05:06+00"],
    [ZonedDateTime.from("2026-02-03T04:05:06+01:00[Europe/Berlin]"), "timestamptz", "2026-02-03 03:05:06+00"],
    [ZonedDateTime.from("1890-01-01T00:00:00[Europe/Paris]"), "timestamptz", "1889-12-31 23:50:39+00"],
    [PlainDate.from("2026-02-03[u-ca=japanese]"), "date", "2026-02-03"],
    [PlainDate.from("-000043-03-15"), "date", "0044-03-15 BC"],
    [PlainDate.from("0000-03-15"), "date", "0001-03-15 BC"],
    [PlainDateTime.from("2026-02-03T04:05:06.5[u-ca=hebrew]"), "timestamp", "2026-02-03 04:05:06.5"],
    [PlainTime.from("04:05:06.789012"), "time", "04:05:06.789012"],
    [
      Duration.from({ years: 1, months: -0, weeks: 2, days: 3, hours: 4, seconds: 5.0, nanoseconds: 6000 }),
      "interval",
      "1 year 17 days 04:00:05.000006",
    ],
    [Duration.from({ days: -1, milliseconds: -1500 }), "interval", "-1 days -00:00:01.5"],
    [new URL("https://example.com/a b?c=d"), "text", "https://example.com/a%20b?c=d"],
  ];
  await db.query("SET TimeZone TO UTC");
  for (const [value, type, text] of cases) {
    const cast = sql.unsafe(type);
    await db.transaction(async (tx) => {
      await tx.query("SET LOCAL TimeZone TO UTC");
      assert.equal(await tx.sql`SELECT ${value}::${cast}::text`.value(), text);
      assert.equal(await tx.sql`SELECT (${[value]}::${cast}[])[1]::text`.value(), text);
      await tx.load("moments", [{ value, document: { value } }], { create: true });
      const [row] = await tx.query("SELECT value::text, pg_typeof(value)::regtype::text AS type FROM moments");
      const names: Record<string, string> = {
        timestamptz: "timestamp with time zone",
        timestamp: "timestamp without time zone",
        time: "time without time zone",
      };
      assert.deepEqual(row, { value: text, type: names[type] ?? type });
      await tx.query("DROP TABLE moments; CREATE TABLE documents (value json)");
      await tx.load("documents", [{ value }]);
      assert.equal(await tx.sql`SELECT value::text FROM documents`.value(), JSON.stringify(value));
      await tx.query("DROP TABLE documents");
    });
  }
  await assert.rejects(db.sql`SELECT ${Temporal.PlainYearMonth.from("2026-02")}`.then(), { code: "BAD_PARAMETER" });
});

queryTest("an empty array is bound as an array, and not as an empty object where json is wanted", async ({ db }) => {
  await db.query("CREATE TABLE empty_lists (xs int[], names text[], document jsonb, plain json)");
  await db.sql`INSERT INTO empty_lists (xs, names) VALUES (${[]}, ${[]})`;
  await db.query("INSERT INTO empty_lists (xs, names) VALUES ($1, $2)", [[], []]);
  assert.equal(await db.sql`SELECT count(*) FROM empty_lists WHERE xs = ${[]} AND names = '{}'`.value(), 2);
  assert.equal(await db.sql`SELECT count(*) FROM empty_lists WHERE 1 = ANY(${[]})`.value(), 0);
  assert.deepEqual(await db.sql`SELECT ${[]}::int[] || 1 AS xs`.value(), [1]);
  for (const column of ["document", "plain"]) {
    for (const list of [[], ["a"], [[]]]) {
      await assert.rejects(db.sql`INSERT INTO empty_lists (${sql.id(column)}) VALUES (${list})`.then(), {
        code: "QUERY_FAILED",
        message: /JSON\.stringify\(list\)/,
      });
    }
  }
  await db.query(
    "CREATE DOMAIN over_json AS jsonb; CREATE DOMAIN over_text AS text; CREATE TABLE others (j over_json, t over_text)",
  );
  await assert.rejects(db.sql`INSERT INTO others (j) VALUES (${[]})`.then(), { message: /JSON\.stringify\(list\)/ });
  await db.sql`INSERT INTO others (t) VALUES (${[]})`;
  assert.equal(await db.sql`SELECT t FROM others`.value(), "{}");
  const queries = [
    db.sql`SELECT ${[]}::text AS a, ${["b"]}::text AS b, '{}' = ${[]} AS same`,
    db.sql`SELECT * FROM (SELECT ${[]}::text AS a, ${["b"]}::text AS b, '{}' = ${[]} AS same) AS q -- no end`,
  ];
  for (const query of queries) {
    const expected = { a: "{}", b: '{"b"}', same: true };
    assert.deepEqual(await query.first(), expected);
    assert.deepEqual([...await query], [expected]);
    for await (const row of query) assert.deepEqual(row, expected);
    await db.transaction(async () => {
      for await (const row of query) assert.deepEqual(row, expected);
    });
    assert.deepEqual((await query.columns()).get("a").toArray(), ["{}"]);
    const file = await Deno.makeTempFile({ suffix: ".ndjson" });
    await query.pull(file);
    assert.equal(await Deno.readTextFile(file), `${JSON.stringify(expected)}\n`);
    await Deno.remove(file);
    await query.explain();
    const [column] = await db.profile(query);
    assert.deepEqual(column?.top, [{ value: "{}", count: 1 }]);
  }
  await db.query("DROP TABLE others; DROP DOMAIN over_json; DROP DOMAIN over_text");
  await db.load("empty_lists", [{ xs: [], names: [], document: [], plain: [] }], { mode: "replace" });
  const rows = await db.sql`SELECT xs, names, document, plain FROM empty_lists`;
  assert.deepEqual([...rows], [{ xs: [], names: [], document: [], plain: [] }]);
  await db.query("DROP TABLE empty_lists");
});
