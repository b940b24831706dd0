import assert from "node:assert/strict";
import { SESSION } from "../../../src/api/lakebase.ts";
import { errorOf, queryTest } from "../../support/queries.ts";
import {
  assertIdle,
  bigTable,
  FORMATS,
  inParallel,
  numbers,
  oneStream,
  optionsOf,
  plainly,
  postgresTest,
  read,
  serverTest,
  streams,
  sum,
} from "./parallel_support.ts";

postgresTest("a table read in parallel into one stream has the rows of one COPY, in every format", async ({ db }) => {
  await db.query(`CREATE TABLE IF NOT EXISTS "many ""\\'rows" AS SELECT n, repeat('x', n % 300) AS text,
    CASE WHEN n % 7 = 0 THEN NULL ELSE n / 3.0 END AS ratio FROM generate_series(1, 60000) AS n`);
  const table = `public."many ""\\'rows"`;
  for (const format of FORMATS) {
    const plain = await plainly(db, table, format);
    for (const parallel of [1, 2, 5]) {
      const read = await inParallel(db, table, parallel, { format });
      assert.equal(read.messages, plain.messages, `${format} ${parallel}`);
      assert.deepEqual(read.bytes, plain.bytes, `${format} ${parallel}`);
    }
  }
  await assertIdle(db);
});

postgresTest("tables without rows, without columns and with one row are read too", async ({ db }) => {
  await db.query("CREATE TABLE empty (id int, name text)");
  await db.query("CREATE TABLE bare ()");
  await db.query("INSERT INTO bare SELECT FROM generate_series(1, 5000)");
  await db.query("CREATE TABLE single AS SELECT 1 AS id");
  for (const table of ["public.empty", "public.bare", "public.single"]) {
    for (const format of FORMATS) {
      const { bytes, messages } = await inParallel(db, table, 3, {
        format,
        ...(table === "public.bare" ? { columns: "" } : {}),
      });
      const plain = await plainly(db, table, format);
      assert.deepEqual([bytes, messages], [plain.bytes, plain.messages], `${table} ${format}`);
    }
  }
  for (const name of ["empty", "bare", "single"]) await db.query(`DROP TABLE ${name}`);
});

postgresTest("each stream of several is a complete COPY, and together they have each row once", async ({ db }) => {
  await using big = await bigTable(db, "shared_out");
  for (const parallel of [1, 4]) {
    await using shares = await streams(db[SESSION], big.table, parallel);
    const parts = await Promise.all(shares.streams.map(numbers));
    assert.equal(parts.length, parallel);
    assert.equal(sum(parts.flat()), 60_000 * 60_001 / 2);
    assert.equal(new Set(parts.flat()).size, 60_000);
  }
  await assertIdle(db);
  await db.query("CREATE TABLE few AS SELECT 1 AS id");
  for (const format of FORMATS) {
    const header = await plainly(db, "few WHERE false", format);
    const whole = await plainly(db, "few", format);
    await using shares = await streams(db[SESSION], "public.few", 3, { format });
    const parts = (await Promise.all(shares.streams.map(read))).map(({ bytes }) => bytes);
    assert.deepEqual(parts.toSorted((a, b) => b.length - a.length), [whole.bytes, header.bytes, header.bytes]);
  }
  await db.query("DROP TABLE few");
  await assertIdle(db);
});

postgresTest(
  "partitions of partitions are read by their pages, with the columns in the table's order",
  async ({ db }) => {
    await db.query("CREATE TABLE parts (n int, text text) PARTITION BY RANGE (n)");
    await db.query("CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (20000) PARTITION BY RANGE (n)");
    await db.query("CREATE TABLE parts_lowest PARTITION OF parts_low FOR VALUES FROM (0) TO (10000)");
    await db.query("CREATE TABLE parts_lower (text text, gone int, n int)");
    await db.query("ALTER TABLE parts_lower DROP COLUMN gone");
    await db.query("ALTER TABLE parts_low ATTACH PARTITION parts_lower FOR VALUES FROM (10000) TO (20000)");
    await db.query("CREATE TABLE parts_high PARTITION OF parts DEFAULT");
    await db.query("INSERT INTO parts SELECT n, repeat('x', 100) FROM generate_series(1, 60000) AS n");
    const read = await numbers(
      oneStream(db[SESSION], optionsOf("public.parts", 4, { columns: '"n", "text"' })),
    );
    assert.equal(read.length, 60_000);
    assert.equal(sum(read), 60_000 * 60_001 / 2);
    await db.query("DROP TABLE parts");
    await db.query("CREATE TABLE parts (n int) PARTITION BY RANGE (n)");
    assert.equal((await inParallel(db, "public.parts", 2, { format: "csv" })).bytes.length, 2);
    await db.query("DROP TABLE parts");
  },
);

serverTest(
  "a table that can't be read by its pages is refused with the reason, and no connection stays in use",
  async (db) => {
    await db.query(`CREATE TABLE plain (id int);
    CREATE VIEW looks AS SELECT * FROM plain;
    CREATE MATERIALIZED VIEW looked AS SELECT * FROM plain;
    CREATE SEQUENCE counts;
    CREATE TABLE parent (id int);
    CREATE TABLE child () INHERITS (parent);
    CREATE FOREIGN DATA WRAPPER nothing;
    CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
    CREATE FOREIGN TABLE far (id int) SERVER nowhere;
    CREATE TABLE mixed (id int) PARTITION BY LIST (id);
    CREATE FOREIGN TABLE mixed_far PARTITION OF mixed FOR VALUES IN (1) SERVER nowhere`);
    const cases: [string, RegExp][] = [
      ["looks", /it is a view, which has no pages/],
      ["looked", /it is a materialized view, which has no pages/],
      ["counts", /it is a sequence, which has no pages/],
      ["far", /it is a foreign table, which has no pages/],
      ["parent", /other tables inherit from it/],
      ["mixed", /its partition public.mixed_far is a foreign table/],
    ];
    for (const [name, reason] of cases) {
      const error = await errorOf(inParallel(db, `public.${name}`, 2));
      assert.equal(error.code, "BAD_PARAMETER", name);
      assert.match(error.message, reason);
      assert.match(error.message, new RegExp(`^Cannot pull public.${name} in parallel: .* Leave "parallel" out$`));
    }
    assert.equal((await errorOf(inParallel(db, "public.gone", 2))).sqlstate, "42P01");
    assert.match((await errorOf(inParallel(db, "public.plain", 16))).message, /parallel is 16.* 15 .*max: 16/);
    await assertIdle(db);
    await db.query("DROP TABLE plain, parent, child, mixed CASCADE; DROP FOREIGN DATA WRAPPER nothing CASCADE");
    await db.query("DROP SEQUENCE counts");
  },
);

queryTest("PGlite has one backend, so a parallel pull is refused instead of waiting for itself", async ({ db }) => {
  if (!(await db.version()).includes("PGlite")) return;
  const error = await errorOf(inParallel(db, "pg_catalog.pg_class", 2));
  assert.match(error.message, /PGlite\) does one thing at a time/);
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

postgresTest("no connection sees changes that are made during the pull", async ({ db }) => {
  await using big = await bigTable(db, "changing");
  const chunks = oneStream(db[SESSION], optionsOf(big.table, 3))[Symbol.asyncIterator]();
  const first = await chunks.next();
  await db.query("UPDATE changing SET n = -n");
  await db.query("INSERT INTO changing SELECT 1000000, '' FROM generate_series(1, 10000)");
  await db.query("DELETE FROM changing WHERE n % 2 = 0");
  const rest = { [Symbol.asyncIterator]: () => chunks };
  const all = (async function* () {
    yield first.value!;
    yield* rest;
  })();
  const read = await numbers(all);
  assert.equal(read.length, 60_000);
  assert.equal(sum(read), 60_000 * 60_001 / 2);
  await assertIdle(db);
});

serverTest("a role that sees only some rows sees the same rows in parallel", async (owner, logIn) => {
  await owner.query(`CREATE ROLE seer LOGIN PASSWORD 'native-secret';
    CREATE TABLE secured AS SELECT n, repeat('x', 100) AS text FROM generate_series(1, 20000) AS n;
    ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
    CREATE POLICY even ON secured USING (n % 2 = 0);
    CREATE TABLE split (n int) PARTITION BY LIST (n);
    CREATE TABLE split_one PARTITION OF split FOR VALUES IN (1);
    GRANT SELECT ON secured, split TO seer`);
  {
    await using db = await logIn("seer");
    const read = await numbers(oneStream(db[SESSION], optionsOf("public.secured", 3)));
    assert.equal(read.length, 10_000);
    assert.equal(sum(read), 10_000 * 10_001);
    const noPartition = await errorOf(inParallel(db, "public.split", 2));
    assert.match(noPartition.message, /but not its partition public.split_one directly/);
    await owner.query("GRANT SELECT ON split_one TO seer; ALTER TABLE split ENABLE ROW LEVEL SECURITY");
    assert.match((await errorOf(inParallel(db, "public.split", 2))).message, /it has row-level security/);
  }
  await owner.query("DROP TABLE secured, split; DROP ROLE seer");
});
