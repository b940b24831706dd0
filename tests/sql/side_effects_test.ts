import assert from "node:assert/strict";
import type { Lakebase, Query, Sql } from "../../mod.ts";
import { callsVolatile, isPlainPlan, namesCalled, namesIn, onlyReads, planWrites } from "../../src/sql/side_effects.ts";
import { postgresMissing, psqlMissing } from "../support/postgres.ts";
import { drawn, errorOf, queryTest, sharedPostgres } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";

const SETUP = `
  CREATE TABLE src AS SELECT n FROM generate_series(1, 100) AS n;
  CREATE TABLE written (n int);
  CREATE SEQUENCE counted;
  CREATE FUNCTION p(n int) RETURNS int LANGUAGE sql AS 'INSERT INTO written VALUES (n) RETURNING n';
  CREATE FUNCTION p2(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT p(a)';
  CREATE FUNCTION "Write It"(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO written VALUES (n); RETURN n; END';
  CREATE FUNCTION many(n int) RETURNS SETOF int LANGUAGE sql AS 'SELECT p(g) FROM generate_series(1, n) AS g';
  CREATE FUNCTION reads(n int) RETURNS int STABLE LANGUAGE sql AS 'SELECT max(s.n) FROM src AS s WHERE s.n <= reads.n';
  CREATE VIEW writing AS SELECT p(n) AS n FROM src;
  CREATE VIEW quoted AS SELECT "Write It"(n) AS n FROM src;
  CREATE VIEW outer_view AS SELECT n + 1 AS n FROM writing;
  CREATE PROCEDURE fill() LANGUAGE sql AS 'INSERT INTO written SELECT n FROM src';
  CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = p2);
  CREATE AGGREGATE noting(int) (SFUNC = p2, STYPE = int, INITCOND = '0');
  CREATE DOMAIN checked AS int CHECK (p(VALUE) > 0);`;

/** Makes the objects that the statements use, unless an earlier test has made them. */
async function setUp(db: Lakebase): Promise<void> {
  if (await db.sql`SELECT to_regclass('written')::text`.value() === null) await db.query(SETUP);
  await db.query(UNDO);
}

Deno.test("isPlainPlan() accepts only plans that list columns of tables", () => {
  const scan = { "Node Type": "Seq Scan", "Relation Name": "t", Alias: "t", Output: ["n", 't."a b"', '"T".n'] };
  const cases: [node: Record<string, unknown>, plain: boolean][] = [
    [scan, true],
    [{ "Node Type": "Limit", Output: ["n"], Plans: [{ "Node Type": "Append", Plans: [scan, scan] }] }, true],
    [{ ...scan, Output: ["p(n)"] }, false],
    [{ ...scan, Output: ["(n + 1)"] }, false],
    [{ ...scan, Output: ["(n)::checked"] }, false],
    [{ ...scan, Filter: "(n > 1)" }, false],
    [{ ...scan, "Node Type": "Foreign Scan" }, false],
    [{ "Node Type": "Sort", "Sort Key": ["n"], Plans: [scan] }, false],
    [{ "Node Type": "Limit", Plans: [{ ...scan, "Function Call": "f()" }] }, false],
  ];
  for (const [node, plain] of cases) {
    assert.equal(isPlainPlan(JSON.stringify([{ Plan: node }])), plain, JSON.stringify(node));
  }
  assert.equal(isPlainPlan(JSON.stringify([{ Plan: scan, Triggers: [] }])), false);
  assert.equal(isPlainPlan("[]"), false);
});

/** The effects of a statement: rows written, numbers drawn from a sequence, rows locked. */
const DONE = `SELECT (SELECT count(*) FROM written)
  + (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM counted)
  + (SELECT count(*) FROM src WHERE xmax <> 0)`;
const UNDO = `TRUNCATE written; ALTER SEQUENCE counted RESTART; DROP TABLE IF EXISTS src CASCADE;
  CREATE TABLE src AS SELECT n FROM generate_series(1, 100) AS n; CREATE VIEW writing AS SELECT p(n) AS n FROM src;
  CREATE VIEW quoted AS SELECT "Write It"(n) AS n FROM src; CREATE VIEW outer_view AS SELECT n + 1 AS n FROM writing`;

/** Statements, and the effects that they have in psql. */
const STATEMENTS: [statement: string, done: number][] = [
  ["SELECT n FROM src", 0],
  ["SELECT n, reads(n), now(), lower('p(1)') FROM src", 0],
  ["SELECT n, clock_timestamp(), gen_random_uuid() FROM src", 0],
  ["TABLE src", 0],
  ["WITH i AS (INSERT INTO written SELECT n FROM src RETURNING n) SELECT n FROM i", 100],
  ["INSERT INTO written SELECT n FROM src RETURNING n", 100],
  ["SELECT p(g) FROM generate_series(1, 100) AS g", 100],
  ["SELECT p (n) FROM src", 100],
  ["SELECT n FROM src WHERE p(n) > 0", 100],
  ["SELECT s.n, l.* FROM src AS s, LATERAL (SELECT p(s.n)) AS l", 100],
  ["SELECT (SELECT p(n)) FROM src", 100],
  ['SELECT "Write It"(n) FROM src', 100],
  [`SELECT '"' || "Write It"(n) || '"(' FROM src`, 100],
  ["SELECT nextval('counted') FROM src", 100],
  ["SELECT n FROM src FOR UPDATE", 100],
  ["SELECT many(100)", 100],
  ["SELECT * FROM many(100)", 100],
  ["SELECT * FROM writing", 100],
  ["SELECT * FROM quoted", 100],
  ["SELECT n FROM outer_view UNION ALL SELECT 1", 100],
  ["SELECT n ### 1 FROM src", 100],
  ["SELECT noting(n) OVER (ORDER BY n) FROM src", 100],
  ["SELECT n::checked FROM src", 100],
  ["CALL fill()", 100],
  ["EXPLAIN ANALYZE INSERT INTO written SELECT n FROM src", 100],
  ["EXPLAIN (ANALYZE, VERBOSE) SELECT p(n) FROM src", 100],
  ["EXPLAIN SELECT p(n) FROM src", 0],
  ["SHOW ALL", 0],
  ["SELECT p(1) LIMIT 1; SELECT p(n) FROM src", 101],
  ["VALUES (p(1)), (p(2)), (3)", 2],
];

Deno.test({
  ...requires("(slow) in psql each statement has the effects in the table", psqlMissing, postgresMissing),
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    const { url } = await sharedPostgres();
    const psql = async (...commands: string[]) => {
      const args = ["-XAtq", "-v", "ON_ERROR_STOP=1", url, ...commands.flatMap((command) => ["-c", command])];
      const { success, stdout, stderr } = await new Deno.Command("psql", { args }).output();
      assert.ok(success, new TextDecoder().decode(stderr));
      return new TextDecoder().decode(stdout).trim().split("\n").at(-1);
    };
    await psql("CREATE SCHEMA by_psql");
    const here = "SET search_path = by_psql";
    await psql(here, SETUP);
    const found: typeof STATEMENTS = [];
    for (const [statement] of STATEMENTS) found.push([statement, Number(await psql(here, UNDO, statement, DONE))]);
    assert.deepEqual(found, STATEMENTS);
    await psql("DROP SCHEMA by_psql CASCADE");
  },
});

/** The ways to ask for the first rows of a query. */
const WAYS: Record<string, (query: Query) => PromiseLike<unknown>> = {
  "drawn": (query) => drawn(query),
  "drawn with a limit": (query) => drawn(query.with({ limit: 3 })),
  "first()": (query) => query.first(),
  "value()": (query) => query.value(),
  "browse()": (query) => query.browse(),
  "await": (query) => query,
};

queryTest("(slow) a statement has the same effects however few of its rows are shown", async ({ db }) => {
  const tryAll = async (sql: Sql) => {
    const run = (text: string) => sql`${sql.unsafe(text)}`;
    for (const [way, ask] of Object.entries(WAYS)) {
      for (const [statement, done] of STATEMENTS) {
        await run(UNDO);
        await ask(run(statement));
        assert.equal(await run(DONE).value(), done, `${way}: ${statement}`);
      }
    }
  };
  await setUp(db);
  await tryAll(db.sql);
  await db.transaction(({ sql }) => tryAll(sql));
});

queryTest("a statement that runs again has all its effects, and its rows are kept", async ({ db }) => {
  const run = () => db.sql`SELECT p(n) AS n FROM src`;
  const done = () => db.sql`SELECT count(*) FROM written`.value();
  await setUp(db);
  for (let time = 1; time <= 3; time++) {
    const query = run();
    assert.match(await drawn(query), /20 of 100 rows/);
    assert.equal(await query.value(), 1);
    assert.equal((await query).length, 100);
    assert.equal(await done(), 100 * time);
  }
  const one = db.sql`SELECT p(1)`;
  assert.equal(await one.value(), 1);
  assert.deepEqual((await one).map((row) => Object.values(row)), [[1]]);
  assert.equal(await done(), 301);
});

queryTest(
  "if a statement has to run to its end, only some megabytes of its rows are kept",
  async ({ db }) => {
    const large = db.sql`SELECT p(n) AS n, repeat('x', 100000) AS text FROM src`;
    await setUp(db);
    assert.match(await drawn(large), /20 of 100 rows/);
    const error = await errorOf(large);
    assert.equal(error.code, "QUERY_FAILED");
    assert.match(error.message, /Cannot give all 100 rows: .* only 20 rows were kept/);
    assert.equal(await db.sql`SELECT count(*) FROM written`.value(), 100);
  },
);

queryTest(
  "a statement that only reads ends after the shown rows, once it is known to be large",
  async ({ db }) => {
    await db.query("DROP DOMAIN IF EXISTS checked"); // a plan does not show what a domain calls, so with one each statement runs to its end
    const drawMany = (rows: number) => drawn(db.sql`SELECT n FROM generate_series(1, ${rows}) AS n`);
    assert.match(await drawMany(3), /\(3 rows/);
    assert.match(await drawMany(1000), /20 of 1,000 rows/); // it was small
    assert.match(await drawMany(1000), /first 20 rows, there are more/);
    const query = db.sql`SELECT n FROM generate_series(1, 50) AS n`;
    assert.equal((await query.first())?.["n"], 1);
    assert.equal((await query).length, 50);
  },
);

queryTest(
  "a statement that would fail after the shown rows does not run that far, or fails as a whole",
  async ({ db }) => {
    await setUp(db);
    const reading = await drawn(db.sql`SELECT 1 / (n - 90) FROM src`);
    assert.match(reading, /first 20 rows, there are more/);
    assert.equal((await errorOf(drawn(db.sql`SELECT p(n), 1 / (n - 90) FROM src`))).sqlstate, "22012");
    assert.equal(await db.sql`SELECT count(*) FROM written`.value(), 0);
    assert.equal(await db.sql`SELECT 7`.value(), 7);
  },
);

queryTest(
  "a statement whose end was sent before its rows draws few rows and none, and its error ends a transaction as in psql",
  async ({ db }) => {
    await db.query(
      "DROP TABLE IF EXISTS some_rows; CREATE TABLE some_rows AS SELECT n FROM generate_series(1, 30) AS n",
    );
    const draw = ({ sql }: Pick<Lakebase, "sql">, text: string) => drawn(sql`${sql.unsafe(text)}`);
    assert.match(await draw(db, "SELECT n FROM some_rows"), /first 20 rows, there are more/);
    assert.match(await draw(db, "SELECT n AS few FROM some_rows LIMIT 5"), /\(5 rows/);
    assert.match(await draw(db, "SELECT n FROM some_rows WHERE n > 100"), /\(0 rows/);
    assert.match(await draw(db, "SELECT n FROM some_rows LIMIT 20"), /\(20 rows/);
    const failing = "SELECT 10 / (n - 5) AS q FROM some_rows";
    assert.equal((await errorOf(draw(db, failing))).sqlstate, "22012");
    const transaction = db.transaction(async (tx) => {
      assert.match(await draw(tx, "SELECT n, n FROM some_rows"), /first 20 rows, there are more/);
      assert.equal((await errorOf(draw(tx, failing))).sqlstate, "22012");
      assert.equal((await errorOf(draw(tx, "SELECT n FROM some_rows"))).sqlstate, "25P02");
      await tx.sql`SELECT 1`;
    });
    assert.equal((await errorOf(transaction)).sqlstate, "25P02");
    assert.equal(await db.sql`SELECT 7`.value(), 7);
    await db.query("DROP TABLE some_rows");
  },
);

queryTest("an error of a drawn statement points at the position in the person's text", async ({ db }) => {
  for (const text of ["SELECT n, missing FROM generate_series(1, 100) AS n", "SELECT 1 FROM nowhere_at_all"]) {
    const awaited = await errorOf(db.sql`${db.sql.unsafe(text)}`);
    assert.match(awaited.message, /\n +\^/);
    assert.equal((await errorOf(drawn(db.sql`${db.sql.unsafe(text)}`))).message, awaited.message);
  }
});

queryTest("a drawn statement with few rows runs once, after a request for its plan", async ({ db }) => {
  await db.query("CREATE TABLE drawn_once (n int)");
  await db.query(`CREATE FUNCTION write_once(n int) RETURNS int LANGUAGE sql
    AS 'INSERT INTO drawn_once VALUES (n) RETURNING n'`);
  await drawn(db.sql`SELECT write_once(n) FROM generate_series(1, ${3}) AS n`);
  await drawn(db.sql`SELECT n FROM drawn_once WHERE n > ${0}`);
  assert.equal(await db.sql`SELECT count(*) FROM drawn_once`.value(), 3);
  await db.query("DROP FUNCTION write_once; DROP TABLE drawn_once");
});

/** Statements, and whether their words say that they only read. */
const READING: [text: string, reads: boolean][] = [
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
  for (const [text, reads] of READING) assert.equal(onlyReads({ text }), reads, text);
});

Deno.test("the functions that a plan calls are found, whatever its texts contain", () => {
  const plan = JSON.stringify({ "Node Type": "Result", Output: ["(lower('a\"b'::text) || f(x))", "'nextval('::text"] });
  assert.deepEqual([...namesCalled(plan)], ["lower", "f", "nextval"]);
  assert.equal(planWrites(plan), false);
  assert.equal(planWrites(`[{"Node Type": "LockRows"}]`), true);
  assert.equal(planWrites(JSON.stringify({ Output: ['"Write It"(n)'] })), true);
  assert.deepEqual([...namesIn("SELECT Count(*), x.F(1)")], ["count", "f"]);
  const answers: [string, string][] = [["name", "g"], ["operator", "###"]];
  assert.equal(callsVolatile(answers, new Set(["f"]), "(a + b)"), false);
  assert.equal(callsVolatile(answers, new Set(["g"]), ""), true);
  assert.equal(callsVolatile(answers, new Set(), "(a ### b)"), true);
  assert.equal(callsVolatile([["*", ""]], new Set(), ""), true);
});

Deno.test("a long word takes linear time", () => {
  assert.equal(namesIn("a".repeat(5_000_000)).size, 0);
  assert.equal(namesCalled("a(".repeat(1_000_000)).size, 1);
});
