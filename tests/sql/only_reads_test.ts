import assert from "node:assert/strict";
import { answeredWrites, namesCalled, namesIn, onlyReads, planWrites } from "../../src/sql/first_rows.ts";

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
  ["SELECT 1;", true],
  ["SELECT 1; SELECT 2", false],
  ["SELECT ';'; -- ; \n ;", true],
  ["", false],
  ["-- SELECT", false],
];

Deno.test("onlyReads() ignores what quotes and comments contain", () => {
  for (const [text, reads] of CASES) assert.equal(onlyReads({ text }), reads, text);
});

Deno.test("the functions that a plan calls are found, whatever its texts contain", () => {
  const plan = JSON.stringify({ "Node Type": "Result", Output: ["(lower('a\"b'::text) || f(x))", "'nextval('::text"] });
  assert.deepEqual([...namesCalled(plan)], ["lower", "f", "nextval"]);
  assert.equal(planWrites(plan), false);
  assert.equal(planWrites(`[{"Node Type": "LockRows"}]`), true);
  assert.equal(planWrites(JSON.stringify({ Output: ['"Write It"(n)'] })), true);
  assert.deepEqual([...namesIn("SELECT Count(*), x.F(1)")], ["count", "f"]);
  const answers: [string, string][] = [["name", "g"], ["operator", "###"]];
  assert.equal(answeredWrites(answers, new Set(["f"]), "(a + b)"), false);
  assert.equal(answeredWrites(answers, new Set(["g"]), ""), true);
  assert.equal(answeredWrites(answers, new Set(), "(a ### b)"), true);
  assert.equal(answeredWrites([["*", ""]], new Set(), ""), true);
});

Deno.test("a long word takes linear time", () => {
  assert.equal(namesIn("a".repeat(5_000_000)).size, 0);
  assert.equal(namesCalled("a(".repeat(1_000_000)).size, 1);
});
