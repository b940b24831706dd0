import assert from "node:assert/strict";
import { connect, type PlanNode, type Result, show, sql } from "../../mod.ts";
import { Plan } from "../../src/api/plan.ts";
import { optionsOf } from "../support/lakebase.ts";
import { drawn, errorOf, queryTest } from "../support/queries.ts";

queryTest("a query is lazy, and runs once however often it is awaited", async ({ db }) => {
  await db.sql`CREATE TABLE runs_once (id serial)`;
  const insert = db.sql<{ id: number }>`INSERT INTO runs_once DEFAULT VALUES RETURNING id`;
  assert.equal(await db.sql`SELECT count(*) FROM runs_once`.value(), 0);
  const [a, b] = await Promise.all([insert, insert]);
  assert.equal(a, b);
  await insert;
  assert.match(await drawn(insert), /id/);
  assert.match(await drawn(insert), /id/);
  assert.equal((await insert.first())?.id, 1);
  assert.equal(await insert.value(), 1);
  assert.equal(await db.sql`SELECT count(*) FROM runs_once`.value(), 1);
  await db.sql`DROP TABLE runs_once`;
});

queryTest("a query whose await was forgotten says so where it is looped over, or spread", async ({ db }) => {
  const rows = db.sql<{ n: number }>`SELECT n FROM generate_series(1, 2) AS n`;
  // @ts-expect-error -- so do its types
  assert.throws(() => [...rows], { code: "BAD_PARAMETER", message: /for await .*or await the query/ });
  assert.deepEqual(await Array.fromAsync(rows), [{ n: 1 }, { n: 2 }]);
});

queryTest("a statement that writes is not run again for more rows than a cell shows", async ({ db }) => {
  await db.sql`CREATE TABLE written (id int)`;
  const insert = db.sql`INSERT INTO written SELECT * FROM generate_series(1, 50) RETURNING id`;
  await drawn(insert);
  assert.equal((await insert).length, 50);
  const cte = db.sql`WITH w AS (INSERT INTO written SELECT * FROM generate_series(1, 50) RETURNING id) SELECT * FROM w`;
  assert.deepEqual(await cte.first(), { id: 1 });
  assert.equal((await cte).length, 50);
  assert.equal(await db.sql`SELECT count(*) FROM written`.value(), 100);
  await db.sql`DROP TABLE written`;
});

queryTest("a result is an array of typed rows, with the columns and the command", async ({ db }) => {
  const rows: Result<{ id: number; at: Date }> = await db.sql<{ id: number; at: Date }>`
    SELECT n::int AS id, to_timestamp(0) AS at FROM generate_series(1, 3) n`;
  assert.ok(Array.isArray(rows));
  const id: number | undefined = rows[0]?.id;
  assert.equal(id, 1);
  assert.deepEqual(rows.fields.map(({ name, type }) => [name, type]), [["id", "int4"], ["at", "timestamptz"]]);
  assert.equal(rows.rowCount, 3);
  assert.equal(rows.command, "SELECT");
  assert.ok(rows.elapsed > 0);
  for (const plain of [rows.map((row) => row.id), rows.filter(() => true), rows.slice(1)]) {
    assert.equal(Object.getPrototypeOf(plain), Array.prototype);
  }
  assert.deepEqual(rows.map((row) => row.id), [1, 2, 3]);
});

queryTest("duplicate column names lose nothing", async ({ db }) => {
  const [row] = await db.sql`SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a`;
  assert.deepEqual(row, { a: 1, a_3: 2, a_2: 3, a_4: 4 });
});

queryTest("columns may have any name", async ({ db }) => {
  const rows = await db
    .sql`SELECT 1 AS "__proto__", 2 AS "then", 3 AS length, 4 AS "constructor", 5 AS "<script>", 6 AS "toString"`;
  const row = rows[0]!;
  assert.deepEqual(Object.keys(row), ["__proto__", "then", "length", "constructor", "<script>", "toString"]);
  assert.equal(Object.getPrototypeOf(row), Object.prototype);
  assert.deepEqual(Object.values(row), [1, 2, 3, 4, 5, 6]);
  const query = db.sql`SELECT 1 AS "__proto__", 2 AS "then", '<b onclick=x>' AS "<script>"`;
  const html = (await (query as unknown as Record<symbol, () => Promise<Record<string, string>>>)[
    Symbol.for("Jupyter.display")
  ]!())["text/html"]!;
  assert.ok(!html.includes("<script>") && !html.includes("<b onclick"));
  assert.equal(await db.sql`SELECT 7 AS "__proto__"`.value(), 7);
});

queryTest("value() and first() give one row", async ({ db }) => {
  assert.equal(await db.sql`SELECT n FROM generate_series(1, 1000) n`.value(), 1);
  assert.deepEqual(await db.sql`SELECT n FROM generate_series(2, 1000) n`.first(), { n: 2 });
  assert.equal(await db.sql`SELECT 1 WHERE false`.value(), undefined);
  assert.equal(await db.sql`SELECT 1 WHERE false`.first(), undefined);
  assert.equal(await db.sql`SELECT count(*) FROM generate_series(1, 10)`.value(), 10);
});

queryTest("a cell fetches the rows that it shows and says whether there are more", async ({ db }) => {
  await db.sql`CREATE TABLE shown AS SELECT n FROM generate_series(1, 100000) n`;
  const more = await drawn(db.sql`SELECT n FROM shown ORDER BY n`);
  assert.match(more, /20 rows/);
  assert.match(more, /more/);
  assert.doesNotMatch(more, /^ *21$/m);
  const all = await drawn(db.sql`SELECT n FROM shown WHERE n <= 20`);
  assert.doesNotMatch(all, /more/);
  const five = await drawn(db.sql`SELECT n FROM shown`.with({ limit: 5 }));
  assert.match(five, /5 rows/);
  await db.sql`DROP TABLE shown`;
});

queryTest("rows beyond those that a cell shows are not computed", async ({ db }) => {
  await db.sql`CREATE TABLE computed AS SELECT n FROM generate_series(1, 100) n`;
  assert.match(await drawn(db.sql`SELECT 1 / (n - 50) FROM computed`), /first 20 rows, there are more/);
  await db.sql`DROP TABLE computed`;
});

queryTest(
  "iteration gives every row, in and out of a transaction, and leaving it frees the connection",
  async ({ open }) => {
    const db = await open({ max: 1 });
    let sum = 0;
    for await (const { n } of db.sql<{ n: number }>`SELECT n FROM generate_series(1, 12345) n`) sum += n;
    assert.equal(sum, 12345 * 12346 / 2);
    for await (const { n } of db.sql<{ n: number }>`SELECT n FROM generate_series(1, 100000) n`) if (n === 3) break;
    assert.equal(await db.sql`SELECT 1`.value(), 1);
    await assert.rejects(async () => {
      for await (const _ of db.sql`SELECT n FROM generate_series(1, 100000) n`) throw new Error("mine");
    }, { message: "mine" });
    assert.equal(await db.sql`SELECT 2`.value(), 2);
    for await (const _ of db.sql`SELECT 1 WHERE false`) assert.fail();
    for await (const _ of db.sql`CREATE TEMP TABLE none ()`) assert.fail();
    for await (const _ of db.sql`-- nothing`) assert.fail();
    assert.equal(await db.sql`SELECT 3`.value(), 3);
  },
);

queryTest("an error during an iteration is the server's error, and the connection stays usable", async ({ open }) => {
  const db = await open({ max: 1 });
  const first = await errorOf(async () => {
    for await (const _ of db.sql`SELECT * FROM not_there`) assert.fail();
  });
  assert.equal(first.sqlstate, "42P01");
  let rows = 0;
  const later = await errorOf(async () => {
    for await (const _ of db.sql`SELECT 1 / (3000 - n) FROM generate_series(1, 10000) n`) rows++;
  });
  assert.equal(later.sqlstate, "22012");
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("in a transaction other statements run between two rows", async ({ open }) => {
  const db = await open({ max: 1 });
  const seen = await db.transaction(async (tx) => {
    await tx.sql`CREATE TEMP TABLE copies (n int)`;
    for await (const { n } of tx.sql<{ n: number }>`SELECT n FROM generate_series(1, 300) n`) {
      await tx.sql`INSERT INTO copies VALUES (${n})`;
    }
    for await (const _ of tx.sql`SELECT n FROM copies`) break;
    return await tx.sql`SELECT count(*) FROM copies`.value();
  });
  assert.equal(seen, 300);
});

queryTest("(slow) iteration takes constant memory, however large the rows are", async ({ db }) => {
  let most = 0;
  const before = Deno.memoryUsage().heapUsed;
  for await (
    const { text } of db.sql<{ text: string }>`SELECT repeat('x', 1000000) AS text FROM generate_series(1, 300)`
  ) {
    assert.equal(text.length, 1_000_000);
    most = Math.max(most, Deno.memoryUsage().heapUsed - before);
  }
  assert.ok(most < 150_000_000, `${most} bytes`);
}, { notOnPglite: "it shares this process's memory" });

queryTest("explain draws a tree, and runs the statement only when asked", async ({ db }) => {
  await db.sql`CREATE TABLE planned (id int PRIMARY KEY)`;
  const plan = await db.sql`INSERT INTO planned SELECT * FROM generate_series(1, ${3}) ORDER BY 1`.explain();
  assert.match(plan.toString(), /^\S.*\n└─ /m);
  assert.match(await drawn(plan), /not run/);
  assert.equal(await db.sql`SELECT count(*) FROM planned`.value(), 0);
  const analyzed = await db.sql`INSERT INTO planned VALUES (1)`.explain({ analyze: true });
  assert.match(await drawn(analyzed), /run in/);
  assert.equal(await db.sql`SELECT count(*) FROM planned`.value(), 1);
  const several = await errorOf(db.sql`SELECT 1; DELETE FROM planned`.explain());
  assert.equal(several.sqlstate, "42601");
  assert.equal(await db.sql`SELECT count(*) FROM planned`.value(), 1);
  const caret = await errorOf(db.sql`${sql.unsafe("SELECT\n  nothere FROM planned")}`.explain());
  assert.match(caret.message, /LINE 2: {3}nothere FROM planned\n {10}\^/);
  const first = await errorOf(db.sql`SELECT nothere FROM planned`.explain());
  assert.match(first.message, /LINE 1: SELECT nothere FROM planned\n {15}\^/);
  await db.sql`DROP TABLE planned`;
});

queryTest("a column that has an earlier one's name is drawn under the name that it has in a row", async ({ db }) => {
  const query = db.sql`SELECT 1 AS id, 2 AS id, 3 AS id_2`;
  assert.deepEqual(Object.keys((await query)[0]!), ["id", "id_3", "id_2"]);
  assert.match(await drawn(query), /^ id \| id_3 \| id_2/);
  assert.match(await drawn(query, "text/html"), />id<[^]*>id_3<[^]*>id_2</);
  assert.match(await drawn(query.browse(), "text/html"), /\["id_3",/);
});

Deno.test("a plan's tree gives the last child of a node its corner", () => {
  const node = (name: string, ...Plans: PlanNode[]): PlanNode => ({ "Node Type": name, Plans });
  const plan = new Plan({
    Plan: node("Join", node("Hash", node("Scan a"), node("Scan b")), node("Sort", node("Scan c"))),
  });
  assert.equal(
    plan.toString(),
    ["Join", "├─ Hash", "│  ├─ Scan a", "│  └─ Scan b", "└─ Sort", "   └─ Scan c"].join("\n"),
  );
});

queryTest("statements without rows draw one line, and notices are shown", async ({ db }) => {
  await db.sql`CREATE TABLE lines (id int)`;
  assert.match(await drawn(db.sql`INSERT INTO lines VALUES (1), (2), (3)`), /^INSERT 0 3, [\d.]+ m?s/);
  assert.match(await drawn(await db.sql`UPDATE lines SET id = 1`), /^UPDATE 3, /);
  const dropped = db.sql`DROP TABLE IF EXISTS no_such_table`;
  assert.match(await drawn(dropped), /NOTICE.*no_such_table/);
  assert.equal((await dropped).notices[0]?.severity, "NOTICE");
  assert.match(await drawn(db.sql`DROP TABLE lines`), /^DROP TABLE, /);
  assert.equal((await db.sql`CREATE TEMP TABLE tag ()`).command, "CREATE TABLE");
});

queryTest("show() draws nested arrays of results one by one", async ({ db }) => {
  const lines: string[] = [];
  const output = globalThis["console"];
  const { log } = output;
  output.log = (line: string) => lines.push(line);
  try {
    await show([await db.sql`SELECT 1 AS one`, [db.sql`SELECT 2 AS two`]], await db.sql`SELECT 3 AS three`);
  } finally {
    output.log = log;
  }
  assert.equal(lines.length, 3);
  ["one", "two", "three"].forEach((name, index) => assert.match(lines[index]!, new RegExp(name)));
});

queryTest(
  "sql uses the last connection of connect(), db.sql its own connection, and tx.sql the transaction",
  async ({ db, local }) => {
    const readOnly = "SELECT current_setting('default_transaction_read_only')";
    const other = await connect({ ...optionsOf(local), readOnly: true });
    assert.equal(await sql`${sql.unsafe(readOnly)}`.value(), "on");
    assert.equal(await db.sql`${sql.unsafe(readOnly)}`.value(), "off");
    await other.close();
    assert.equal((await errorOf(sql`SELECT 1`)).code, "CLOSED"); // not db's, which nobody named
    assert.equal((await errorOf(other.sql`SELECT 1`)).code, "CLOSED");
    await db.transaction(async (tx) => {
      const id = await tx.sql`SELECT txid_current()`.value();
      assert.equal(await tx.sql`SELECT txid_current()`.value(), id);
    });
  },
);

queryTest("db.query binds as the tag does", async ({ db }) => {
  const [row] = await db.query("SELECT $1::jsonb AS a, $2::int[] AS b, $3::timestamptz AS c, $4::bytea AS d", [
    { a: [1] },
    [1, null],
    new Date(5),
    new Uint8Array([1, 2]),
  ]);
  assert.deepEqual(row, { a: { a: [1] }, b: [1, null], c: new Date(5), d: new Uint8Array([1, 2]) });
  assert.match((await errorOf(db.query("SELECT $1", [undefined]))).message, /parameter 1 is undefined/);
  assert.equal((await errorOf(db.query(1 as never))).code, "BAD_PARAMETER");
  assert.match((await errorOf(db.query(db.sql`SELECT 1` as never))).message, /await the sql/);
  assert.equal((await errorOf(db.query("SELECT 1", 1 as never))).code, "BAD_PARAMETER");
});

queryTest(
  "describe() knows the database's own types and which columns take NULL; a cell shows the types",
  async ({ db }) => {
    await db.sql`CREATE TYPE mood AS ENUM ('sad', 'happy')`;
    await db.sql`CREATE TABLE people (id int NOT NULL, mood mood, moods mood[])`;
    await db.sql`INSERT INTO people VALUES (1, 'sad', '{sad,happy}')`;
    const query = db.sql`SELECT *, 1 AS one FROM people`;
    const rows = await query;
    assert.equal(rows.fields[1]!.type, "mood");
    const described = await rows.describe();
    assert.deepEqual(described.map(({ type }) => type), ["int4", "mood", "mood[]", "int4"]);
    assert.deepEqual(described.map(({ nullable }) => nullable), [false, true, true, undefined]);
    assert.deepEqual({ ...rows[0] }, { id: 1, mood: "sad", moods: ["sad", "happy"], one: 1 });
    assert.match(await drawn(db.sql`SELECT mood AS a FROM people`, "text/html"), /mood/);
    await db.sql`DROP TABLE people`;
    await db.sql`DROP TYPE mood`;
    await db.sql`CREATE TYPE mood AS ENUM ('x')`;
    assert.match(await drawn(db.sql`SELECT 'x'::mood AS a`, "text/html"), /mood/);
    await db.sql`DROP TYPE mood`;
  },
);
