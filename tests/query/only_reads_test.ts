import assert from "node:assert/strict";
import { onlyReads } from "../../src/query/only_reads.ts";

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
