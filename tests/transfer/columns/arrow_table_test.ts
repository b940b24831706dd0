import assert from "node:assert/strict";
import { tableFromIPC, tableToIPC } from "apache-arrow";
import { errorOf, queryTest } from "../../support/queries.ts";

queryTest("toArrow() gives the columns with their types, in the same memory", async ({ db }) => {
  const columns = await db.sql`SELECT n::int2 AS int2, n AS int4, n::int8 AS int8, n::oid AS oid, n::float4 AS float4,
    n::float8 AS float8, (n * 1.25)::numeric(10, 2) AS fare, n > 0 AS bool, '2026-01-31'::date + n AS date,
    '12:00'::time AS time, '2026-01-31Z'::timestamptz AS at, '2026-01-31'::timestamp AS local, NULLIF(n, 1)::text AS text,
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS uuid, '\x0102'::bytea AS bytea, '{"a": 1}'::jsonb AS json,
    ARRAY['a', NULL] AS list, '1 day'::interval AS interval, 1 AS int4 FROM generate_series(0, 2) AS n`.columns();
  const table = await columns.toArrow();
  assert.deepEqual(table.schema.fields.map(({ name, type }) => `${name} ${type}`), [
    ...["int2 Int16", "int4 Int32", "int8 Int64", "oid Uint32", "float4 Float32", "float8 Float64"],
    ...["fare Decimal[10e+2]", "bool Bool", "date Date32<DAY>", "time Time64<MICROSECOND>"],
    ...["at Timestamp<MICROSECOND, UTC>", "local Timestamp<MICROSECOND>", "text Utf8", "uuid FixedSizeBinary[16]"],
    ...["bytea Binary", "json Utf8", "list List<Utf8>", "interval Utf8", "int4_2 Int32"],
  ]);
  assert.equal(table.schema.fields[13]!.metadata.get("ARROW:extension:name"), "arrow.uuid");
  assert.equal(table.numRows, 3);
  assert.equal(table.getChild("int4")!.toArray().buffer, columns.get("int4").values.buffer);
  assert.equal(table.getChild("text")!.nullCount, 1);

  const read = tableFromIPC(tableToIPC(table, "file"));
  assert.deepEqual(read.getChild("text")!.toJSON(), ["0", null, "2"]);
  assert.deepEqual([...read.getChild("fare")!].map((words) => words[0]), [0, 125, 250]);
  assert.deepEqual([...read.getChild("list")!.get(2)!], ["a", null]);
  assert.equal(Number(read.getChild("at")!.get(0)), Date.UTC(2026, 0, 31));
  assert.deepEqual(read.getChild("uuid")!.get(1)!.slice(0, 2), Uint8Array.of(0xa0, 0xee));
});

queryTest("toArrow() gives a table without rows", async ({ db }) => {
  const empty = await (await db.sql`SELECT 1 AS n, ARRAY['x'] AS list WHERE false`.columns()).toArrow();
  assert.deepEqual([empty.numRows, empty.schema.fields.length], [0, 2]);
  assert.equal(tableFromIPC(tableToIPC(empty)).numCols, 2);
});

queryTest("toArrow() refuses what Arrow can't represent", async ({ db }) => {
  const cases = ["'infinity'::timestamptz", "'-infinity'::date", "'24:00'::time", "ARRAY['infinity']::timestamp[]"];
  for (const expression of cases) {
    const columns = await db.sql`SELECT NULL::int AS n, ${db.sql.unsafe(expression)} AS v`.columns();
    const error = await errorOf(columns.toArrow());
    assert.match(
      error.message,
      /^Cannot convert column "v": row 1 has the value (-?infinity|24:00:00), .* ::text$/,
      expression,
    );
  }
});
