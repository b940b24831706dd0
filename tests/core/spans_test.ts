import assert from "node:assert/strict";
import { sqlSummary } from "../../src/core/spans.ts";
import { sqlTokens } from "../../src/core/sql_text.ts";
import { newSeed, randomFrom } from "../support/random.ts";

const CASES: [sql: string, summary: string | undefined][] = [
  ["SELECT 1", "SELECT"],
  ["select zone from trips where zone = 'Bob' and fare > 12", "SELECT trips"],
  ['SELECT * FROM trips t, public.zones AS z LEFT JOIN "My Table" m ON true', 'SELECT trips public.zones "My Table"'],
  ["SELECT extract(year FROM at), trim(both 'x' from name) FROM trips", "SELECT trips"],
  ["SELECT * FROM generate_series(1, 3) AS n, lateral (SELECT * FROM b) x", "SELECT SELECT b"],
  ["SELECT a IS DISTINCT FROM secret FROM t", "SELECT t"],
  [
    "SELECT * FROM (SELECT * FROM a UNION SELECT * FROM b) s WHERE id IN (SELECT id FROM c)",
    "SELECT SELECT a SELECT b SELECT c",
  ],
  ["SELECT * FROM (a JOIN b USING (id))", "SELECT a b"],
  ["SELECT a, b FROM t GROUP BY a, b ORDER BY a, b", "SELECT t"],
  ["SELECT id FROM t FOR NO KEY UPDATE OF t SKIP LOCKED", "SELECT t"],
  ["WITH big AS (SELECT * FROM trips) SELECT * FROM big", "SELECT trips SELECT big"],
  ["WITH gone AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM gone", "DELETE a INSERT b SELECT gone"],
  ["INSERT INTO t (a, b) VALUES (1, 'Bob'), (2, $1) ON CONFLICT (a) DO UPDATE SET b = 'Ann' RETURNING a", "INSERT t"],
  ["UPDATE ONLY app.t SET a = 'Bob' FROM u WHERE u.id = t.id", "UPDATE app.t u"],
  ["DELETE FROM t USING u WHERE t.a = u.a", "DELETE t u"],
  [
    "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED THEN INSERT VALUES (1)",
    "MERGE t s",
  ],
  ["EXPLAIN (ANALYZE, BUFFERS) UPDATE t SET a = 1", "EXPLAIN UPDATE t"],
  ["CREATE TEMP TABLE IF NOT EXISTS x AS SELECT * FROM t", "CREATE TABLE x SELECT t"],
  ["CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX i"],
  ["DROP TABLE IF EXISTS a, b", "DROP TABLE a"],
  ["ALTER ROLE bob PASSWORD 'secret'", "ALTER ROLE"],
  ["CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT secret FROM t'", "CREATE FUNCTION"],
  ["SET app.user = bob", "SET"],
  ["COPY t (a) FROM STDIN", "COPY t"],
  ["COPY (SELECT * FROM t) TO STDOUT", "COPY SELECT t"],
  ["TRUNCATE TABLE ONLY t", "TRUNCATE t"],
  ["BEGIN; INSERT INTO t VALUES (1); COMMIT", "BEGIN INSERT t COMMIT"],
  ["(SELECT * FROM a) UNION (SELECT * FROM b)", "SELECT a SELECT b"],
  ["/* from secret */ SELECT 'from secret' -- from secret\n FROM t", "SELECT t"],
  ["SELECT * FROM 'Bob', $1, 12", "SELECT"],
  ["hunter2", undefined],
  ["SELECT 1; hunter2", "SELECT"],
  ["", undefined],
  ["SELECT * FROM \"t WHERE name = 'Bob'", "SELECT"], // a quote that is not closed takes what follows with it
  [
    `SELECT * FROM ${Array.from({ length: 40 }, (_, n) => `table_of_data_${n}`).join(", ")}`,
    `SELECT ${Array.from({ length: 15 }, (_, n) => `table_of_data_${n}`).join(" ")}`,
  ],
];

for (const [sql, summary] of CASES) {
  Deno.test(`the summary of ${sql.slice(0, 60)} is ${summary?.slice(0, 60)}`, () =>
    assert.equal(sqlSummary(sql), summary));
}

Deno.test("a summary of random SQL contains no value, and always ends", () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  const words =
    "select from where ( ) , ; . 'value' $1 42 \"n\" t update insert into delete with as values join using set".split(
      " ",
    );
  for (let n = 0; n < 3000; n++) {
    const sql = Array.from({ length: 1 + random.below(25) }, () => random.one(words)).join(" ");
    const summary = sqlSummary(sql) ?? "";
    const values = [...sqlTokens(summary)].filter(({ kind }) =>
      kind === "string" || kind === "number" || kind === "parameter"
    );
    assert.deepEqual(values, [], `seed ${seed}: ${sql} -> ${summary}`);
  }
});

Deno.test("the summary of a long text takes linear time", () => {
  // Quadratic time would take hours.
  assert.equal(sqlSummary(`SELECT ${"(".repeat(1_000_000)}`), "SELECT");
  assert.match(sqlSummary(`SELECT * FROM ${"a,".repeat(1_000_000)}`)!, /^SELECT( a)+$/);
  assert.equal(sqlSummary(`SELECT ${"a.".repeat(1_000_000)}`), "SELECT");
});
