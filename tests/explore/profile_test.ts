import assert from "node:assert/strict";
import { connect, type Lakebase, type LakebaseError } from "../../mod.ts";
import { eventually } from "../support/eventually.ts";
import { bothTests, localTests } from "../support/lakebase.ts";
import { postgresMissing, type PostgresServer, startPostgres } from "../support/postgres.ts";
import { untilRuns } from "../support/queries.ts";
import { SOAKING } from "../support/random.ts";
import { requires } from "../support/requirements.ts";

const test = bothTests();

test("profile() computes the statistics of each column of a table", async ({ settings }) => {
  await using db = await connect(settings());
  await db.query("CREATE TABLE p_trips (id int, fare numeric, zone text, at timestamptz, ok bool)");
  await db.query(
    `INSERT INTO p_trips SELECT i, i * 1.5, CASE WHEN i % 2 = 0 THEN 'Harlem' WHEN i % 3 = 0 THEN 'Soho' END,
    '2024-01-01Z'::timestamptz + i * interval '1 day', i > 2 FROM generate_series(1, 10) AS i`,
  );
  const profile = await db.profile("p_trips");
  const [id, fare, zone, at, ok] = profile;
  assert.deepEqual({ rows: profile.rows, of: profile.of, sampled: profile.sampled }, {
    rows: 10,
    of: null,
    sampled: false,
  });
  assert.deepEqual({ ...id, top: id?.top.length }, {
    column: "id",
    type: "int4",
    histogram: [1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1],
    count: 10,
    nulls: 0,
    distinct: 10,
    min: 1,
    p25: 3.25,
    median: 5.5,
    p75: 7.75,
    max: 10,
    mean: 5.5,
    top: 5,
  });
  assert.deepEqual([fare?.min, fare?.median, fare?.max, fare?.mean], ["1.5", 8.25, "15.0", 8.25]);
  assert.deepEqual(zone?.top, [{ value: "Harlem", count: 5 }, { value: "Soho", count: 2 }]);
  assert.deepEqual([zone?.count, zone?.nulls, zone?.min, zone?.max, zone?.median], [7, 3, "Harlem", "Soho", null]);
  assert.deepEqual([at?.min, at?.median], [new Date("2024-01-02T00:00:00Z"), new Date("2024-01-06T00:00:00Z")]);
  assert.deepEqual(ok?.top, [{ value: true, count: 8 }, { value: false, count: 2 }]);
  assert.match(Deno.inspect(profile), /Harlem \(5\), Soho \(2\)[^]*\(5 columns of 10 rows, /);
  await db.query("DROP TABLE p_trips");
});

test("profile() agrees with Postgres's own aggregates", async ({ settings }) => {
  await using db = await connect(settings());
  const rows = db
    .sql`SELECT floor(power(i, 1.7))::int % 37 AS n, (i * 7919 % 1000)::float8 / 8 AS f FROM generate_series(1, ${501}) AS i`;
  const [n, f] = await db.profile(rows);
  for (const [column, found] of [["n", n], ["f", f]] as const) {
    const c = db.sql.id(column);
    const expected = await db
      .sql`SELECT count(DISTINCT ${c})::int AS distinct, min(${c}), max(${c}), avg(${c})::float8 AS mean,
      percentile_cont(0.25) WITHIN GROUP (ORDER BY ${c}) AS p25, percentile_cont(0.5) WITHIN GROUP (ORDER BY ${c}) AS median,
      percentile_cont(0.75) WITHIN GROUP (ORDER BY ${c}) AS p75 FROM (${rows}) AS s`.first();
    const { mean, ...exact } = expected!;
    assert.ok(Math.abs((mean as number) - found!.mean!) < 1e-9);
    for (const [name, value] of Object.entries(exact)) assert.equal(found![name as "min"], value, `${column}.${name}`);
  }
});

test("profile() agrees with Postgres's own aggregates if nearly all values are distinct", async ({ settings }) => {
  await using db = await connect(settings());
  await db
    .sql`CREATE TABLE p_distinct AS SELECT i, i::numeric / 8 AS d, CASE WHEN i % 1000 > 0 THEN 1.0::float8 / i END AS f,
    '2026-01-01Z'::timestamptz + i * interval '1 s' AS at, i::float8 * 1e290 AS huge,
    CASE WHEN i = 7 THEN float8 'Infinity' ELSE i END AS infinite FROM generate_series(1, 25000) AS i`;
  const profile = await db.profile("p_distinct");
  const named = Object.fromEntries(profile.map((column) => [column.column, column]));
  for (const name of ["i", "d", "f", "huge"]) {
    const c = db.sql.id(name);
    const expected = (await db
      .sql`SELECT count(DISTINCT ${c})::int AS distinct, min(${c}), max(${c}), avg(${c}::numeric)::float8 AS mean,
      percentile_cont(0.25) WITHIN GROUP (ORDER BY ${c}) AS p25, percentile_cont(0.5) WITHIN GROUP (ORDER BY ${c}) AS median,
      percentile_cont(0.75) WITHIN GROUP (ORDER BY ${c}) AS p75, count(*)::int - count(${c})::int AS nulls FROM p_distinct`
      .first())!;
    const { mean, p25, median, p75, ...exact } = expected;
    for (const [key, value] of Object.entries(exact)) assert.equal(named[name]![key as "min"], value, `${name}.${key}`);
    for (const [key, value] of Object.entries({ mean, p25, median, p75 })) {
      const found = named[name]![key as "mean"]!;
      assert.ok(Math.abs(found - Number(value)) <= 1e-12 * Math.abs(found), `${name}.${key}: ${found} and ${value}`);
    }
    assert.equal(named[name]!.histogram!.reduce((sum, count) => sum + count), named[name]!.count);
  }
  assert.deepEqual(named["i"]!.histogram!.slice(0, 2), [2084, 2083]);
  assert.deepEqual([named["infinite"]?.mean, named["infinite"]?.max], [Infinity, Infinity]);
  assert.equal(named["infinite"]!.histogram!.reduce((sum, count) => sum + count), 24_999);
  assert.deepEqual(named["at"]?.median, new Date("2026-01-01T03:28:20Z"));
  await db.query("DROP TABLE p_distinct");
});

test("by default, profile() reads a sample of a table of more than 200,000 rows", async ({ settings }) => {
  await using db = await connect(settings());
  await db.query("CREATE TABLE p_larger AS SELECT i FROM generate_series(1, 210000) AS i");
  const sampled = await db.profile("p_larger");
  assert.deepEqual([sampled.sampled, sampled.of], [true, 210_000]);
  assert.ok(sampled.rows > 40_000 && sampled.rows < 60_000, `${sampled.rows} rows`);
  assert.match(Deno.inspect(sampled), /on a sample of \d\d,\d{3} of about 210,000 rows/);
  assert.deepEqual((await db.profile("p_larger", { sample: Infinity })).rows, 210_000);
  await db.query("DELETE FROM p_larger WHERE i > 200000");
  await db.query("ANALYZE p_larger");
  assert.equal((await db.profile("p_larger")).sampled, false);
  await db.query("DROP TABLE p_larger");
  // Before ANALYZE, the server assumes 32 bytes for each text, and therefore estimates 100,000 rows.
  await db.query("CREATE TABLE p_short AS SELECT i, 'a' AS a, 'b' AS b, 'c' AS c FROM generate_series(1, 210000) AS i");
  assert.equal((await db.profile("p_short")).of, 210_000);
  await db.query("DROP TABLE p_short");
});

test("(slow) profile() of all rows is the same whether the server sorts values or hashes them", async ({ settings }) => {
  await using db = await connect(settings());
  await db.query(
    `CREATE TABLE p_sorted AS SELECT i % 120000 AS many, i % 7 AS few, CASE WHEN i % 3 > 0 THEN 'name ' || i % 110000 END AS name,
    i::numeric / 8 AS d FROM generate_series(1, 130000) AS i`,
  );
  const figures = async () => (await db.profile("p_sorted", { sample: Infinity })).map((column) => ({ ...column }));
  const hashed = await figures(); // not analyzed: the server estimates 200 values
  await db.query("ANALYZE p_sorted");
  const sorted = await figures();
  assert.deepEqual(sorted, hashed);
  assert.deepEqual(sorted.map(({ distinct }) => distinct), [120_000, 7, 80_000, 130_000]);
  assert.deepEqual(sorted[0]!.top[0], { value: 1, count: 2 });
  await db.query("DROP TABLE p_sorted");
});

test("profile() in a transaction does not change its settings", async ({ settings }) => {
  await using db = await connect(settings());
  await db.transaction(async (tx) => {
    await tx.sql`CREATE TABLE p_inside AS SELECT n FROM generate_series(1, 200000) AS n`;
    await tx.sql`ANALYZE p_inside`;
    await tx.sql`SET LOCAL work_mem = '5MB'`;
    assert.equal((await db.profile("p_inside", { sample: Infinity })).rows, 200_000);
    assert.equal(await tx.sql`SELECT current_setting('work_mem')`.value(), "5MB");
    assert.equal(await tx.sql`SELECT current_setting('enable_hashagg')`.value(), "on");
    await tx.sql`DROP TABLE p_inside`;
  });
});

const VALUES = [
  ...["smallint '-1'", "int8 '9223372036854775807'", "float4 'NaN'", "float8 '-Infinity'", "float8 '1.7e308'"],
  ...["numeric '1e400'", "numeric 'NaN'", "numeric '1e-400'", "money '$1.50'", "oid '1'", "text 'ä'", "varchar 'x'"],
  ...[
    "char(4) 'x '",
    `"char" 'x'`,
    "name 'n'",
    "bool 'f'",
    "bytea '\\x00ff'",
    "date 'infinity'",
    "time '24:00'",
    "timetz '01:00+02'",
  ],
  ...[
    "timestamp '4713-01-01 BC'",
    "timestamptz '-infinity'",
    "interval '178000000 years'",
    "uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
  ],
  ...[
    `json '{"a":1}'`,
    `jsonb '[null]'`,
    "jsonpath '$.a'",
    "'{1,NULL}'::int[]",
    "'{{1,2},{3,4}}'::int[]",
    "'{}'::text[]",
    "point '(1,2)'",
  ],
  ...["box '(1,2),(3,4)'", "circle '<(1,2),3>'", "polygon '((0,0),(1,1))'", "inet '::1'", "cidr '10.0.0.0/8'"],
  ...[
    "macaddr '08:00:2b:01:02:03'",
    "bit(3) '101'",
    "varbit '1'",
    "tsvector 'a b'",
    "tsquery 'a & b'",
    "int4range '[1,5)'",
  ],
  ...[
    "tid '(0,1)'",
    "xid '7'",
    "pg_lsn '0/1'",
    "regclass 'pg_class'",
    "row(1, null, json '1')",
    "row(null, null)",
    "array[row(1)]",
  ],
  ...[
    "'happy'::p_mood",
    "'(1,2)'::p_pair",
    "5::p_positive",
    "'untyped'",
    "null",
    "pg_sleep(0)",
    "int2vector '1 2'",
    "int8multirange '{[1,2)}'",
  ],
];

test("profile() works for every type", async ({ settings }) => {
  await using db = await connect(settings());
  await db.query("CREATE TYPE p_mood AS ENUM ('sad', 'happy')");
  await db.query("CREATE TYPE p_pair AS (a int, b json)");
  await db.query("CREATE DOMAIN p_positive AS int CHECK (VALUE > 0)");
  const { sql } = db;
  for (const value of VALUES) {
    const [column, extra] = await db.profile(
      sql`SELECT ${sql.unsafe(value)} AS v FROM generate_series(1, 3) UNION ALL SELECT NULL`,
    )
      .catch((error) => {
        throw new Error(value, { cause: error });
      });
    assert.equal(extra, undefined);
    const filled = value !== "null";
    assert.deepEqual([column?.count, column?.nulls, column?.distinct], filled ? [3, 1, 1] : [0, 4, 0], value);
    assert.equal(column?.top.length, filled ? 1 : 0, value);
  }
  const [mood] = await db.profile(sql`SELECT 'sad'::p_mood AS m`);
  assert.equal(mood?.type, "p_mood");
  await db.query("DROP DOMAIN p_positive");
  await db.query("DROP TYPE p_mood, p_pair");
});

test("profile() accepts no rows, no columns, hostile names, duplicate names and long values", async ({ settings }) => {
  await using db = await connect(settings());
  const { sql } = db;
  const [none] = await db.profile(sql`SELECT 1 AS a WHERE false`);
  assert.deepEqual(none, {
    column: "a",
    type: "int4",
    histogram: null,
    count: 0,
    nulls: 0,
    distinct: 0,
    min: null,
    p25: null,
    median: null,
    p75: null,
    max: null,
    mean: null,
    top: [],
  });
  await db.query("CREATE TABLE p_none ()");
  await db.query("INSERT INTO p_none DEFAULT VALUES");
  const empty = await db.profile("p_none");
  assert.deepEqual([empty.length, empty.rows], [0, 1]);
  await db.query("DROP TABLE p_none");
  const names = ["__proto__", `q"uo'te`, "😀", "c1", "select", "a b", "data", "$1", "k", "n"];
  const table = sql.id('p "odd"; --');
  await sql`CREATE TABLE ${table} (${sql.join(names.map((name) => sql`${sql.id(name)} int`))})`;
  await sql`INSERT INTO ${table} VALUES (${sql.join(names.map((_, index) => sql.unsafe(String(index))))})`;
  const odd = await db.profile(table);
  assert.deepEqual(odd.map(({ column, min }) => [column, min]), names.map((name, index) => [name, index]));
  await sql`DROP TABLE ${table}`;
  const twice = await db.profile(sql`SELECT 1 AS a, 2 AS a, ${"x".repeat(5000)} AS long -- a comment`);
  assert.deepEqual(twice.map(({ column, max }) => [column, String(max).length]), [["a", 1], ["a", 1], ["long", 1001]]);
  assert.equal((await db.profile(sql`SELECT 1 AS a;`)).length, 1);
});

test("(slow) profile() accepts as many columns as a table can have", async ({ settings }) => {
  await using db = await connect(settings());
  const columns = Array.from({ length: 1600 }, (_, index) => `x${index} int2`);
  await db.query(`CREATE TABLE p_wide (${columns.join(", ")})`);
  await db.query("INSERT INTO p_wide (x0, x1599) VALUES (1, 2)");
  const wide = await db.profile("p_wide");
  assert.deepEqual([wide.length, wide[0]?.max, wide[1]?.nulls, wide[1599]?.max], [1600, 1, 1, 2]);
  await db.query("DROP TABLE p_wide");
}, SOAKING ? {} : { notOnPglite: "its half a minute of processor time belongs to deno task soak" });

test("the option sample limits the rows that profile() reads, and the profile says how many it read", async ({ settings }) => {
  await using db = await connect(settings());
  await db.query("CREATE TABLE p_large AS SELECT i FROM generate_series(1, 20000) AS i");
  const sampled = await db.profile("p_large", { sample: 2000 });
  assert.deepEqual([sampled.sampled, sampled.of], [true, 20000]);
  assert.ok(sampled.rows > 1700 && sampled.rows < 2300, `${sampled.rows} rows`);
  assert.match(Deno.inspect(sampled), /1 column on a sample of \d,\d+ of about 20,000 rows, /);
  assert.deepEqual((await db.profile("p_large", { sample: 2000 }))[0], sampled[0]);
  assert.equal((await db.profile("p_large", { sample: Infinity })).rows, 20000);
  assert.equal((await db.profile("p_large")).sampled, false);
  const first = await db.profile(db.sql`SELECT * FROM p_large`, { sample: 10 });
  assert.deepEqual([first.rows, first.of, first.sampled], [10, null, true]);
  assert.match(Deno.inspect(first), /on the first 10 rows; there may be more/);
  await db.query("CREATE VIEW p_view AS SELECT * FROM p_large");
  assert.equal((await db.profile("p_view", { sample: 10 })).rows, 10);
  await db.query("CREATE TABLE p_few AS SELECT 1 AS one");
  assert.equal((await db.profile("p_few", { sample: 1 })).rows, 1);
  await db.query("DROP TABLE p_few, p_large CASCADE");
  for (const sample of [0, -1, 1.5, NaN]) {
    await assert.rejects(db.profile("p_large", { sample }), { code: "BAD_PARAMETER" });
  }
});

test("profile() changes no data", async ({ settings }) => {
  await using db = await connect(settings());
  await db.query("CREATE SEQUENCE p_counter");
  await assert.rejects(db.profile(db.sql`SELECT nextval('p_counter')`), { sqlstate: "25006" });
  await assert.rejects(db.profile(db.sql`DROP SEQUENCE p_counter`), { sqlstate: "42601" });
  await assert.rejects(db.profile(db.sql`SELECT 1) AS s; DROP SEQUENCE p_counter; --`), { sqlstate: "42601" });
  await assert.rejects(db.profile("SELECT 1"), { code: "BAD_PARAMETER", message: /sql`SELECT/ });
  await assert.rejects(db.profile(1 as unknown as string), { code: "BAD_PARAMETER" });
  await db.query("DROP SEQUENCE p_counter");
});

test("an error of profile() points to the line of the query", async ({ settings }) => {
  await using db = await connect(settings());
  await assert.rejects(
    db.profile(db.sql`SELECT 1,
  nope`),
    {
      sqlstate: "42703",
      message: /^LINE 2: {3}nope\n {10}\^$/m,
    },
  );
  await assert.rejects(db.profile("nowhere_at_all"), { sqlstate: "42P01", message: /^Cannot profile nowhere_at_all/ });
});

test("profile() parses values as the connection does", async ({ settings }) => {
  await using db = await connect(settings({ types: { numeric: Number, json: () => "theirs" } }));
  const [amount] = await db.profile(db.sql`SELECT 1.5 AS amount`);
  assert.deepEqual([amount?.min, amount?.top], [1.5, [{ value: 1.5, count: 1 }]]);
  assert.equal((await db.describe("pg_catalog.pg_class")).kind, "table");
});

let server: PostgresServer | undefined;
Deno.test.afterAll(() => server?.stop());
/** Makes tests on a server of this file, on which no statement of another test runs. */
const onOwnServer = localTests(async () => {
  server = await startPostgres();
  return { database: server.url };
});

onOwnServer(requires("profile() ends on the server when it is stopped", postgresMissing), async ({ settings }) => {
  await using db = await connect(settings());
  const slow = db.sql`SELECT i FROM generate_series(1, 1000000000) AS i`;
  await assert.rejects(db.profile(slow, { timeout: 0.3, sample: Infinity }), { code: "CANCELED" });
  await untilIdle(db);
  const reason = new Error("enough");
  const controller = new AbortController();
  const profiling = db.profile(slow, { signal: controller.signal, sample: Infinity });
  const stopped = assert.rejects(profiling, (error) => error === reason);
  await untilRuns(db, "%generate_series(1, 1000000000)%");
  controller.abort(reason);
  await stopped;
  await untilIdle(db);
});

/**
 * Waits until no statement runs on the server. A busy server may handle the request to cancel after the client has stopped
 * waiting.
 */
async function untilIdle(db: Lakebase): Promise<void> {
  const others = `SELECT FROM pg_stat_activity
    WHERE state <> 'idle' AND pid <> pg_backend_pid() AND backend_type = 'client backend'`;
  await eventually("no statement runs on the server", async () => (await db.query(others)).length === 0);
}

onOwnServer(
  requires("(slow) profile() reads every table and view of the system", postgresMissing),
  async ({ settings }) => {
    await using db = await connect(settings());
    for (const { name } of await db.tables("pg_catalog.*")) {
      await db.profile(db.sql.id("pg_catalog", name)).catch((error: unknown) => {
        if ((error as LakebaseError).sqlstate !== "42501") throw new Error(name, { cause: error });
      });
    }
  },
);
