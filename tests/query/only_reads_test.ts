import assert from "node:assert/strict";
import { onlyReads } from "../../src/query/only_reads.ts";
import { errorOf, queryTest } from "./support.ts";

const CASES: [text: string, reads: boolean][] = [
  ["SELECT 1", true],
  ["  -- why\n(/* a /* nested */ one */ select 1) union (table t)", true],
  ["VALUES (1)", true],
  ["show all", true],
  ["EXPLAIN SELECT 1", true],
  ["EXPLAIN ANALYZE DELETE FROM t", false],
  ["EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1", false],
  ["WITH a AS (SELECT 1) SELECT * FROM a", true],
  ["WITH a AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT * FROM a", false],
  ["WITH c AS (SELECT '-- x' AS c), i AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT * FROM i", false],
  ["WITH c AS (SELECT $$/*$$), i AS (DELETE FROM t RETURNING 1) SELECT '*/'", false],
  [`WITH c AS (SELECT 1 AS "--"), i AS (UPDATE t SET a = 1 RETURNING 1) SELECT 1`, false],
  [String.raw`WITH c AS (SELECT '\' -- '), i AS (DELETE FROM t RETURNING 1) SELECT 1`, false],
  ["SELECT * INTO copy FROM t", false],
  ["SELECT 'insert into' AS \"update\", 'it''s a merge'", true],
  ["INSERT INTO t VALUES (1) RETURNING 1", false],
  ["", false],
  ["-- SELECT", false],
];

Deno.test("onlyReads() sees what a statement does, whatever its quotes and comments say", () => {
  for (const [text, reads] of CASES) assert.equal(onlyReads({ text, values: [] }), reads, text);
});

queryTest("a query that has run for its first rows never writes a second time", async ({ db }) => {
  await db.sql`CREATE TABLE written (n int)`;
  await db.sql`CREATE FUNCTION write_down(n int) RETURNS int LANGUAGE sql
    AS 'INSERT INTO written VALUES (n) RETURNING n'`;
  const count = async (sql = db.sql) => await sql`SELECT count(*) FROM written`.value();
  const writing = db.sql`SELECT write_down(n) FROM generate_series(1, 50) AS n`;
  await writing.first();
  const before = await count();
  const error = await errorOf(writing);
  assert.deepEqual([error.code, error.sqlstate], ["QUERY_FAILED", "25006"]);
  assert.match(error.message, /a function that the query calls writes, and the query has run for the first rows/);
  assert.equal(await count(), before);
  await db.sql`DELETE FROM written`; // the connection may write again

  const reading = db.sql`SELECT n FROM generate_series(1, 50) AS n`;
  assert.equal((await reading.first())?.["n"], 1);
  assert.equal((await reading).length, 50);
  await db.transaction(async (tx) => {
    await tx.sql`INSERT INTO written VALUES (1)`;
    const within = tx.sql`SELECT n FROM generate_series(1, 50) AS n`;
    await within.first();
    assert.equal((await within).length, 50);
    await tx.sql`INSERT INTO written VALUES (2)`;
  });
  assert.equal(await count(), 2);
  const failing = db.transaction(async (tx) => {
    const within = tx.sql`SELECT write_down(n) FROM generate_series(1, 50) AS n`;
    await within.first();
    await within;
  });
  assert.equal((await errorOf(failing)).sqlstate, "25006");
  assert.equal(await count(), 2);
});
