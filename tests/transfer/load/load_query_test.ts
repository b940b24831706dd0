import assert from "node:assert/strict";
import { errorOf, queryTest } from "../../support/queries.ts";

queryTest("load() of a query keeps every digit of its values", async ({ db }) => {
  const query = db
    .sql`SELECT '2026-01-31 12:34:56.789012+00'::timestamptz AS at, '{"a": 1.10, "b": 12345678901234567890}'::json AS doc,
    '"5"'::jsonb AS text, '{"2026-01-31 12:34:56.789012+00"}'::timestamptz[] AS times, '[0:1]={1,2}'::int[] AS list,
    '{"a,b","NULL",NULL}'::text[] AS tags, '\\x00ff'::bytea AS raw, 'NaN'::numeric(5, 2) AS fare, 9007199254740993 AS big`;
  for (const create of [true, false]) await db.load("exact_query", query, { create });
  const rows = await db.query("SELECT q::text AS q FROM exact_query AS q");
  const [wanted] = await db.sql<{ q: string }>`SELECT q::text AS q FROM (${query}) AS q`;
  assert.deepEqual(rows.map(({ q }) => q), [wanted!.q, wanted!.q]);
  await db.query("DROP TABLE exact_query");
});

queryTest(
  "load() creates columns with a query's types, even if the type's bare name means another type",
  async ({ db }) => {
    const query = db
      .sql`SELECT '101'::bit(3) AS bits, ARRAY['101'::bit(3)] AS lists, 'a'::"char" AS letter, 'ab'::char(3) AS word`;
    const types = `SELECT array_agg(format_type(atttypid, atttypmod) ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = 'types_of'::regclass AND attnum > 0`;
    for (const source of [query, await query, await query.columns()]) {
      await db.load("types_of", source, { create: true });
      const { 0: row } = await db.query(types);
      assert.deepEqual(row, { array_agg: ["bit varying", "bit varying[]", '"char"', "bpchar"] });
      await db.query("DROP TABLE types_of");
    }
  },
);

queryTest("load() replaces the rows of a table by those of a query that reads it", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.query("CREATE TABLE own_rows AS SELECT n % 2 AS n FROM generate_series(1, 1000) AS n");
  await db.load("own_rows", db.sql`SELECT DISTINCT n FROM own_rows`, { mode: "replace" });
  assert.equal(await db.sql`SELECT count(*) FROM own_rows`.value(), 2);
  await db.transaction(async (tx) => {
    await tx.load("own_rows", tx.sql`SELECT n + 10 AS n FROM own_rows`);
  });
  assert.equal(await db.sql`SELECT count(*) FROM own_rows`.value(), 4);
  await db.query("DROP TABLE own_rows");
});

queryTest("stopping a load also stops its query", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.query("CREATE TABLE stopped_rows (n int)");
  const slow = db.sql`SELECT 1 AS n FROM pg_sleep(600)`;
  const late = await errorOf(db.load("stopped_rows", slow, { timeout: 0.2 }));
  assert.equal(late.code, "CANCELED");
  const reason = new Error("enough");
  await assert.rejects(db.load("stopped_rows", slow, { signal: AbortSignal.abort(reason) }), reason);
  const inTime = await errorOf(db.load("stopped_rows", slow.with({ timeout: 0.2 })));
  assert.equal(inTime.code, "CANCELED");
  assert.equal(await db.sql`SELECT count(*) FROM stopped_rows`.value(), 0);
  await db.query("DROP TABLE stopped_rows");
});
