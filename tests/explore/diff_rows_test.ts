import assert from "node:assert/strict";
import { connect, type RowDifference } from "../../mod.ts";
import { DISPLAY } from "../../src/draw/notebook.ts";
import { startLocal } from "../../src/local/mod.ts";
import { optionsOf } from "../support/lakebase.ts";
import { untilSent } from "../support/queries.ts";
import { twoDatabasesTests } from "../support/two_databases.ts";

const test = twoDatabasesTests();

interface Case {
  /** The statements for both databases. */
  both: string[];
  /** The statements for the other database only. */
  after: string[];
  /** The columns of the key; `null` if whole rows are counted. */
  key: string[] | null;
  counts: [added: number, removed: number, changed: number];
  /** The rows: the change, the key's values, and the columns that differ. */
  rows?: [RowDifference["change"], unknown[], string[]][];
}

const NUMBERS = "SELECT n AS id, n * 10 AS a, 'x' || n AS b FROM generate_series(1, 300) AS n";

const CASES: Record<string, Case> = {
  "equal tables": {
    both: [`CREATE TABLE t AS ${NUMBERS}`, "ALTER TABLE t ADD PRIMARY KEY (id)"],
    after: [],
    key: ["id"],
    counts: [0, 0, 0],
  },
  "empty tables": {
    both: ["CREATE TABLE t (id int PRIMARY KEY)"],
    after: [],
    key: ["id"],
    counts: [0, 0, 0],
  },
  "an empty and a filled table": {
    both: ["CREATE TABLE t (id int PRIMARY KEY)"],
    after: ["INSERT INTO t VALUES (1), (2)"],
    key: ["id"],
    counts: [2, 0, 0],
    rows: [["added", [1], []], ["added", [2], []]],
  },
  "one of each kind": {
    both: [`CREATE TABLE t AS ${NUMBERS}`, "ALTER TABLE t ADD PRIMARY KEY (id)"],
    after: [
      "DELETE FROM t WHERE id = 17",
      "INSERT INTO t VALUES (1000, 1, 'new')",
      "UPDATE t SET a = 0, b = NULL WHERE id = 9",
    ],
    key: ["id"],
    counts: [1, 1, 1],
    rows: [["changed", [9], ["a", "b"]], ["removed", [17], []], ["added", [1000], []]],
  },
  "very different tables": {
    both: [`CREATE TABLE t AS ${NUMBERS}`, "ALTER TABLE t ADD PRIMARY KEY (id)"],
    after: ["UPDATE t SET a = a + 1", "UPDATE t SET id = -id WHERE id > 100"],
    key: ["id"],
    counts: [200, 200, 100],
  },
  "NULL, an empty text and the text NULL": {
    both: [
      "CREATE TABLE t (id int PRIMARY KEY, a text, b text[])",
      "INSERT INTO t VALUES (1, NULL, '{NULL}'), (2, '', '{}')",
    ],
    after: ["UPDATE t SET a = CASE WHEN id = 1 THEN '' ELSE 'NULL' END, b = '{\"NULL\"}' WHERE true"],
    key: ["id"],
    counts: [0, 0, 2],
    rows: [["changed", [1], ["a", "b"]], ["changed", [2], ["a", "b"]]],
  },
  "a key that is an array of numbers": {
    both: ["CREATE TABLE t (k numeric[] PRIMARY KEY, v int)", "INSERT INTO t VALUES ('{1.5,2}', 1), ('{3}', 1)"],
    after: ["UPDATE t SET v = 2 WHERE k = '{3}'"],
    key: ["k"],
    counts: [0, 0, 1],
  },
  "a key of several columns of different types": {
    both: [
      "CREATE TABLE t (at timestamptz, tag text, ids int[], n numeric, v int, PRIMARY KEY (at, tag, ids, n))",
      `INSERT INTO t VALUES ('2026-01-02 03:04:05.678901Z', 'a,b"(', '{1,NULL}', 1.50, 1), ('infinity', '', '{}', 'NaN', 1)`,
    ],
    after: ["UPDATE t SET v = 2"],
    key: ["at", "tag", "ids", "n"],
    counts: [0, 0, 2],
  },
  "a key of equal numbers with different numbers of zeros": {
    both: ["CREATE TABLE t (n numeric PRIMARY KEY, v int)", "INSERT INTO t VALUES (1.0, 1)"],
    after: ["UPDATE t SET n = 1.00"],
    key: ["n"],
    counts: [0, 0, 1],
    rows: [["changed", ["1.00"], ["n"]]],
  },
  "types without equality": {
    both: [
      "CREATE TABLE t (id int PRIMARY KEY, j json, p point, x xid)",
      `INSERT INTO t VALUES (1, '{"a": 1}', '(1,2)', '7')`,
    ],
    after: [`UPDATE t SET j = '{"a":1}', p = '(1,3)'`],
    key: ["id"],
    counts: [0, 0, 1],
    rows: [["changed", [1], ["j", "p"]]],
  },
  "microseconds, small floats and generated columns": {
    both: [
      "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, f float8, g float8 GENERATED ALWAYS AS (f * 2) STORED)",
      "INSERT INTO t (id, at, f) VALUES (1, '2026-01-01 00:00:00.000001Z', 0.1), (2, 'infinity', 'NaN')",
    ],
    after: ["UPDATE t SET at = '2026-01-01 00:00:00.000002Z', f = 0.1::float8 + 1e-17 * 2 WHERE id = 1"],
    key: ["id"],
    counts: [0, 0, 1],
    rows: [["changed", [1], ["at", "f", "g"]]],
  },
  "a unique index instead of a primary key": {
    both: [
      "CREATE TABLE t (id int, code text NOT NULL UNIQUE)",
      "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    ],
    after: ["UPDATE t SET id = 9 WHERE code = 'b'"],
    key: ["code"],
    counts: [0, 0, 1],
    rows: [["changed", ["b"], ["id"]]],
  },
  "tables whose unique indexes allow NULL, have an expression or leave out rows, so that they are no key": {
    both: [
      "CREATE TABLE t (id int UNIQUE, code text NOT NULL)",
      "CREATE UNIQUE INDEX ON t (lower(code))",
      "CREATE UNIQUE INDEX ON t (code) WHERE id > 0",
      "INSERT INTO t VALUES (NULL, 'a'), (NULL, 'b')",
    ],
    after: ["DELETE FROM t WHERE code = 'a'"],
    key: null,
    counts: [0, 1, 0],
  },
  "tables without a key, some of whose rows are there more than once": {
    both: [
      "CREATE TABLE t (a int, j json)",
      `INSERT INTO t SELECT 1, '[]' FROM generate_series(1, 5)`,
      "INSERT INTO t VALUES (NULL, NULL), (2, '{}')",
    ],
    after: [
      "DELETE FROM t WHERE ctid IN (SELECT ctid FROM t WHERE a = 1 LIMIT 2)",
      "INSERT INTO t VALUES (NULL, NULL), (3, '3')",
    ],
    key: null,
    counts: [2, 2, 0],
  },
  "a table without columns": {
    both: ["CREATE TABLE t ()", "INSERT INTO t DEFAULT VALUES"],
    after: ["INSERT INTO t DEFAULT VALUES"],
    key: null,
    counts: [1, 0, 0],
  },
  "a view, which has no key": {
    both: [
      "CREATE TABLE u (id int PRIMARY KEY)",
      "INSERT INTO u VALUES (1), (2)",
      "CREATE VIEW t AS SELECT id * 2 AS twice FROM u",
    ],
    after: ["INSERT INTO u VALUES (3)"],
    key: null,
    counts: [1, 0, 0],
  },
  "a partitioned table": {
    both: [
      "CREATE TABLE t (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
      "CREATE TABLE t_a PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
      "CREATE TABLE t_b PARTITION OF t DEFAULT",
      "INSERT INTO t VALUES (1, '2026-01-05'), (2, '2026-07-05')",
    ],
    after: ["DELETE FROM t WHERE id = 2"],
    key: ["id", "day"],
    counts: [0, 1, 0],
  },
  "types that the database defines, and dropped columns": {
    both: [
      "CREATE TYPE mood AS ENUM ('sad', 'fine')",
      `CREATE TABLE t (id int PRIMARY KEY, gone int, "Odd ""näme""" mood, moods mood[])`,
      "ALTER TABLE t DROP COLUMN gone",
      "INSERT INTO t VALUES (1, 'sad', '{sad}'), (2, 'fine', NULL)",
    ],
    after: [`UPDATE t SET "Odd ""näme""" = 'fine', moods = '{sad,fine}' WHERE id = 1`],
    key: ["id"],
    counts: [0, 0, 1],
    rows: [["changed", [1], [`Odd "näme"`, "moods"]]],
  },
};

const FRESH = ["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"];

for (const [name, { both, after: there, key, counts, rows }] of Object.entries(CASES)) {
  test(`diff() of ${name}`, async ({ before, after, onBoth }) => {
    await onBoth(...FRESH, ...both);
    for (const statement of there) await after.query(statement);
    const diff = await before.diff(after, "t");
    assert.deepEqual([diff.added, diff.removed, diff.changed], counts);
    assert.deepEqual(diff.key, key);
    assert.equal(diff.length, key === null ? 0 : counts.reduce((sum, count) => sum + count));
    if (rows !== undefined) {
      assert.deepEqual(diff.map(({ change, key, columns }) => [change, Object.values(key), columns]), rows);
    }
    assert.equal(diff.total.before + diff.added - diff.removed, diff.total.after);
    const back = await after.diff(before, "t");
    assert.deepEqual([back.removed, back.added, back.changed], counts);
  });
}

test("diff() gives both rows, parsed like the rows of a query, and draws them", async ({ before, after, onBoth }) => {
  await onBoth(...FRESH, "CREATE TABLE t (id int PRIMARY KEY, fare numeric, at timestamptz, note text)");
  await onBoth("INSERT INTO t VALUES (1, 2.50, '2026-01-01Z', NULL), (2, 3, NULL, 'same'), (3, 4, NULL, 'gone')");
  await after.query("UPDATE t SET fare = 3.50, note = repeat('x', 300) WHERE id = 1");
  const changed = await before.diff(after, "t");
  assert.deepEqual(changed[0]?.before, { id: 1, fare: "2.50", at: new Date("2026-01-01Z"), note: null });
  assert.deepEqual(changed[0]?.after?.["fare"], "3.50");
  const text = changed[DISPLAY]()["text/plain"]!;
  assert.match(text, /^public\.t: from .+ to .+\n change +\| +id +\| +fare +\| +note\n/);
  assert.match(text, /changed \| +1 \| 2\.50 → 3\.50 \| NULL → x{20,}…\n\(0 added, 0 removed, 1 changed in 3 rows, /);
  await after.query("DELETE FROM t WHERE id = 3");
  const removed = (await before.diff(after, "t"))[DISPLAY]();
  assert.match(removed["text/plain"]!, /removed \| +3 \| +4 \| NULL +\| gone\n/);
  assert.match(removed["text/html"]!, /gone/);
  assert.match(
    (await before.diff(after, "t", { limit: 1 }))[DISPLAY]()["text/plain"]!,
    /; 1 row shown; 1 row kept, see the option limit\)$/,
  );
});

test("diff() names the columns that it can't compare", async ({ before, after, onBoth }) => {
  await onBoth(...FRESH, "CREATE TABLE t (id int PRIMARY KEY, a int, b int)", "INSERT INTO t VALUES (1, 2, 3)");
  await after.query("ALTER TABLE t DROP COLUMN b");
  await after.query("ALTER TABLE t ADD COLUMN c int");
  await after.query("ALTER TABLE t ALTER COLUMN a TYPE bigint");
  const diff = await before.diff(after, "t");
  assert.deepEqual([diff.added, diff.removed, diff.changed], [0, 0, 0]);
  assert.deepEqual(diff.only, { before: ["b"], after: ["c"] });
  assert.deepEqual(diff.types, [{ column: "a", before: "integer", after: "bigint" }]);
  const text = diff[DISPLAY]()["text/plain"]!;
  assert.match(text, /equal +\| +1\n/);
  assert.match(
    text,
    /\(no differences in 1 row, .+; not compared: b, only in .+; not compared: c, only in .+; a is integer in .+ and bigint in /,
  );
  await onBoth("CREATE TABLE u (a int)");
  await after.query("ALTER TABLE u RENAME a TO b");
  await assert.rejects(before.diff(after, "u"), { code: "BAD_PARAMETER", message: /no column in common/ });
});

test("diff() fetches few rows of a large table, and counts all that differ", async ({ before, after, onBoth }) => {
  await onBoth(...FRESH, "CREATE TABLE t AS SELECT n AS id, 'row ' || n AS a FROM generate_series(1, 12000) AS n");
  await onBoth("ALTER TABLE t ADD PRIMARY KEY (id)", "ANALYZE t");
  await after.query("UPDATE t SET a = 'other' WHERE id % 1200 = 0");
  const few = await before.diff(after, "t");
  assert.deepEqual(few.map(({ key }) => key["id"]), Array.from({ length: 10 }, (_, index) => (index + 1) * 1200));
  assert.ok(few.fetched < 3000, String(few.fetched));
  await after.query("UPDATE t SET a = 'other'");
  await after.query("DELETE FROM t WHERE id <= 7");
  await after.query("INSERT INTO t SELECT -n, '' FROM generate_series(1, 9) AS n");
  const many = await before.diff(after, "t", { limit: 50 });
  assert.deepEqual([many.added, many.removed, many.changed, many.length], [9, 7, 11_993, 50]);
  assert.deepEqual(many.total, { before: 12_000, after: 12_002 });
});

test("diff() splits buckets that are too large because the estimate was too low", async ({ before, after, onBoth }) => {
  await onBoth(
    ...FRESH,
    "CREATE FUNCTION few() RETURNS SETOF int ROWS 1 LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT generate_series(1, 60000); END'",
  );
  await onBoth("CREATE VIEW t AS SELECT * FROM few() AS id");
  await after.query("CREATE OR REPLACE VIEW t AS SELECT CASE WHEN id = 700 THEN 0 ELSE id END AS id FROM few() AS id");
  const diff = await before.diff(after, "t");
  assert.deepEqual([diff.added, diff.removed], [1, 1]);
  assert.ok(diff.fetched < 20_000, String(diff.fetched));
});

test("diff() refuses what it can't compare", async ({ before, after, onBoth }) => {
  await onBoth(...FRESH);
  await before.query("CREATE TABLE only_here (id int)");
  await after.query("CREATE TABLE only_there (id int)");
  await assert.rejects(before.diff(after, "only_here"), {
    code: "QUERY_FAILED",
    sqlstate: "42P01",
    message: /^Cannot compare with the other database's public\.only_here: there is no such table/,
  });
  await assert.rejects(before.diff(after, "only_there"), {
    sqlstate: "42P01",
    message: /^Cannot compare only_there: /,
  });
  await assert.rejects(before.diff(before, "only_here"), { code: "BAD_PARAMETER", message: /with itself/ });
  await assert.rejects(before.diff("branch" as never), { code: "BAD_PARAMETER", message: /with string/ });
  await assert.rejects(before.diff(after, before.sql`SELECT 1`), { code: "BAD_PARAMETER", message: /a query/ });
  await assert.rejects(before.diff(after, "only_here", { limit: 0 }), { code: "BAD_PARAMETER", message: /limit is 0/ });
  await assert.rejects(before.diff(after, "only_here", { limits: 1 } as never), { message: /did you mean "limit"/ });
  await assert.rejects(before.diff(after, { limit: 1 } as never), { code: "BAD_PARAMETER" });
});

test("diff() in a transaction sees its changes, and does not change its settings", async ({ before, after, onBoth }) => {
  await onBoth(...FRESH, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)");
  await before.transaction(async (tx) => {
    await tx.sql`SET LOCAL TimeZone = 'Asia/Tokyo'`;
    await tx.sql`INSERT INTO t VALUES (2)`;
    assert.equal((await before.diff(after, "t")).removed, 1);
    assert.equal(await tx.sql`SELECT current_setting('TimeZone')`.value(), "Asia/Tokyo");
    await tx.sql`INSERT INTO t VALUES (3)`;
  });
  assert.equal((await before.diff(after, "t")).removed, 2);
});

test("diff() stops on a signal, and the connections still work", async ({ before, after, onBoth }) => {
  await onBoth(...FRESH, "CREATE VIEW t AS SELECT n FROM generate_series(1, 3000000) AS n");
  const reason = new Error("enough");
  const controller = new AbortController();
  const stopped = assert.rejects(before.diff(after, "t", { signal: controller.signal }), (error) => error === reason);
  await untilSent(after, "SELECT");
  controller.abort(reason);
  await stopped;
  await assert.rejects(before.diff(after, "t", { timeout: 0.1 }), { code: "CANCELED" });
  for (const db of [before, after]) assert.equal(await db.sql`SELECT 1`.value(), 1);
});

Deno.test({
  name: "diff() refuses two connections to one PGlite, which would wait for each other",
  sanitizeOps: false, // the servers that the tests of a process share work beside it
  sanitizeResources: false,
  fn: async () => {
    await using local = await startLocal({ passwords: { analyst: "secret" } });
    await using one = await connect(optionsOf(local));
    const { endpoint: _, workspace: __, ...place } = optionsOf(local);
    await using other = await connect({ ...place, user: "analyst", password: "secret" });
    await one.sql`CREATE TABLE t (id int)`;
    await assert.rejects(one.diff(other, "t"), {
      code: "BAD_PARAMETER",
      message: /one PGlite.+a branch of this database/,
    });
  },
});
