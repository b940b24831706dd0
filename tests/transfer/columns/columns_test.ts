import assert from "node:assert/strict";
import { tableFromIPC, tableToIPC } from "apache-arrow";
import { LakebaseError } from "../../../mod.ts";
import { drawn, errorOf, queryTest, untilEnded, untilRuns } from "../../support/queries.ts";

/** For each type, a column has the same values as a query. */
const SAME: Record<string, string[]> = {
  bool: ["true", "false"],
  int2: ["-32768", "32767"],
  int4: ["-2147483648", "2147483647", "0"],
  int8: ["-9223372036854775808", "9223372036854775807", "9007199254740993", "-1", "9007199254740991"],
  oid: ["0", "4294967295"],
  float4: ["NaN", "Infinity", "-Infinity", "-0", "0.1", "3.4028235e38", "1e-45", "16777217", "1.17549435e-38"],
  float8: ["NaN", "Infinity", "-Infinity", "-0", "0.1", "1.7976931348623157e308", "5e-324", "123456789.123456789"],
  "numeric(10,2)": ["0", "-0.01", "99999999.99", "-99999999.99", "10000", "1.5", "12345678", "0.10", "100000"],
  "numeric(15,5)": ["9999999999.99999", "-1234567890.12345", "0.00001", "5000"],
  "numeric(16,1)": ["900719925474099.3", "-999999999999999.9"],
  "numeric(38,0)": ["99999999999999999999999999999999999999", "-99999999999999999999999999999999999999", "1e37"],
  "numeric(38,38)": ["0.99999999999999999999999999999999999999", "-0.00000000000000000000000000000000000001"],
  "numeric(38,10)": [
    "1234567890123456789012345678.0123456789",
    "18446744073709551616",
    "-340282366920938463463374607.5",
  ],
  "numeric(5,0)": ["0", "99999", "-10000"],
  numeric: ["123.4500", "NaN", "-1e400", "1e-400"],
  date: [
    "2026-01-31",
    "1970-01-01",
    "1969-12-31",
    "2000-02-29",
    "infinity",
    "-infinity",
    "4713-01-01 BC",
    "5874897-12-31",
  ],
  time: ["00:00", "24:00:00", "12:34:56.789", "23:59:59.999999", "00:00:00.000001"],
  timetz: ["12:34:56.789+05:30"],
  timestamp: [
    "2026-01-31 12:34:56.123456",
    "1969-12-31 23:59:59.999999",
    "0001-01-01",
    "0001-12-31 BC",
    "4713-01-01 BC",
    "infinity",
    "-infinity",
    "294246-12-31 23:59:59.999999",
  ],
  timestamptz: [
    "2026-01-31 12:34:56.789+02",
    "1969-12-31 23:59:59.999999+00",
    "2026-01-31 12:34:56.123456Z",
    "infinity",
    "-infinity",
    "0001-01-01 00:00:00Z",
    "9999-12-31 23:59:59Z",
  ],
  interval: ["1 day 02:03:04", "-1 mon"],
  uuid: ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
  text: ["", "a", "東京 🗽", "\ufeffx", "x".repeat(100), 'a"b,c\\d\n'],
  varchar: ["abc"],
  "char(4)": ["ab"],
  '"char"': ["a", ""],
  name: ["pg_class"],
  json: ['{"a": [1, null]}', "null", "1.50", '"\\u00e9"'],
  jsonb: ['{"a": [1, null]}', "null", '"東京"'],
  bytea: ["\\x", "\\x00ff10"],
  "int4[]": ["{}", "{1,NULL,3}", "{-2147483648}"],
  "int8[]": ["{9007199254740993,1}"],
  "text[]": ['{"a,b","",NULL,"NULL"}'],
  "numeric(6,2)[]": ["{1.5,-0.01,NULL}"],
  "timestamptz[]": ["{2026-01-31 12:34:56Z,NULL,infinity}"],
  "bool[]": ["{t,f,NULL}"],
  "uuid[]": ["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"],
  "bytea[]": ['{"\\\\x01",NULL}'],
  "date[]": ["{2026-01-31}"],
  "jsonb[]": ['{"{\\"a\\": 1}",NULL}'],
  "numeric[]": ["{1.50,NULL,NaN}", "{{1,2},{3,4}}"],
  "inet[]": ["{10.0.0.1,NULL}"],
  money: ["12.50"],
  inet: ["10.0.0.1/8"],
  point: ["(1,2)"],
  int4range: ["[1,5)"],
  bit: ["1"],
  xml: ["<a>é</a>"],
  regclass: ["pg_class"],
  tsvector: ["a b"],
};

queryTest("columns() has the values that a query gives, for each type, with NULLs between", async ({ db }) => {
  for (const [type, values] of Object.entries(SAME)) {
    if (type === "xml" && !(await hasXml(db))) continue;
    const rows = values.flatMap((value) => [value, null]);
    const query = db.sql`SELECT v::${
      db.sql.unsafe(type)
    } AS v FROM unnest(${rows}::text[]) WITH ORDINALITY AS u(v, n) ORDER BY n`;
    const expected = await query;
    const columns = await query.columns();
    assert.deepEqual(columns.get("v").toArray(), expected.map((row) => row["v"]), type);
    assert.equal(columns.get("v").nullCount, values.length, type);
    const [field] = columns.fields;
    assert.deepEqual([field!.name, field!.oid], [expected.fields[0]!.name, expected.fields[0]!.oid]);
  }
});

async function hasXml(db: { sql: import("../../../mod.ts").Sql }): Promise<boolean> {
  return await db.sql`SELECT '<a/>'::xml`.then(() => true, () => false);
}

queryTest("columns() gives enums, domains, composites and pseudo-types as a query does", async ({ db }) => {
  await db.sql`CREATE TYPE mood AS ENUM ('sad', 'happy')`;
  await db.sql`CREATE DOMAIN fare AS numeric(10, 2)`;
  await db.sql`CREATE DOMAIN tags AS text[]`;
  await db.sql`CREATE TYPE pair AS (a int, b text)`;
  try {
    const query = db.sql`SELECT 'sad'::mood AS mood, ARRAY['sad', 'happy']::mood[] AS moods, '1.5'::fare AS fare,
      ARRAY['1.5']::fare[] AS fares, '{a,NULL}'::tags AS tags, ROW(1, 'x y')::pair AS pair, ROW(1, 2) AS record,
      set_config('x.y', '', false) AS text, (SELECT histogram_bounds FROM pg_stats WHERE false) AS any, 'x' AS unknown`;
    const [row] = await query;
    const columns = await query.columns();
    // Arrays of a database's own types stay the server's text in columns.
    assert.deepEqual([...columns.rows()], [{ ...row, fares: "{1.50}", moods: "{sad,happy}" }]);
    assert.deepEqual(columns.get("fare").storage, { kind: "decimal", precision: 10, scale: 2 });
    assert.deepEqual(columns.fields.map(({ type }) => type).slice(0, 3), ["mood", "mood[]", "numeric"]);
  } finally {
    await db.sql`DROP TYPE mood, pair`;
    await db.sql`DROP DOMAIN fare, tags`;
  }
});

queryTest("columns() gives typed arrays", async ({ db }) => {
  const columns = await db
    .sql`SELECT n::int4 AS id, NULLIF(n, 2)::float8 AS f, '2026-01-01Z'::timestamptz + n * '1 us'::interval AS at,
    (n * 1.25)::numeric(6, 2) AS fare, repeat('x', n) AS text, ARRAY[n, n] AS list, 1 AS id
    FROM generate_series(0, 3) AS n`.columns();
  assert.deepEqual([columns.length, columns.names], [4, ["id", "f", "at", "fare", "text", "list", "id_2"]]);
  assert.deepEqual(columns.get("id").values, Int32Array.of(0, 1, 2, 3));
  const f = columns.get("f");
  assert.deepEqual([f.values, f.nullBitmap![0]! & 15, f.nullCount], [Float64Array.of(0, 1, 0, 3), 0b1011, 1]);
  assert.deepEqual([f.isNull(2), f.isNull(3), f.isNull(9), f.get(2), f.get(4), f.get(-1)], [
    ...[true, false, false],
    ...[null, undefined, undefined],
  ]);
  const start = BigInt(Date.UTC(2026, 0, 1)) * 1000n;
  assert.deepEqual(columns.get("at").values, BigInt64Array.of(start, start + 1n, start + 2n, start + 3n));
  assert.deepEqual([...columns.get("fare").values].filter((_, word) => word % 4 === 0), [0, 125, 250, 375]);
  assert.deepEqual(columns.get("text").offsets, Int32Array.of(0, 0, 1, 3, 6));
  assert.deepEqual(columns.get("list").elements!.values, Int32Array.of(0, 0, 1, 1, 2, 2, 3, 3));
  assert.equal(columns.get("list").elements!.type, "int4");
  assert.deepEqual([...columns].map(({ name }) => name), columns.names);
  assert.deepEqual([...columns.get("id")], [0, 1, 2, 3]);
});

queryTest("columns() gives the rows that a query gives", async ({ db }) => {
  const query = db.sql`SELECT n, n::text AS text, NULLIF(n % 3, 0) AS rest, 1 AS n, '__proto__' AS "__proto__"
    FROM generate_series(1, 5000) AS n`;
  const columns = await query.columns();
  assert.deepEqual([...columns.rows()], [...await query]);
  assert.deepEqual([...columns.rows(4998)].map((row) => row["n"]), [4999, 5000]);
  assert.deepEqual([...columns.rows(-3, 1)].length, 1);
  assert.deepEqual([...columns.rows(9999)], []);
});

queryTest("columns() takes queries without rows, without columns, and with odd names", async ({ db }) => {
  const empty = await db.sql`SELECT 1 AS n, 'x' AS text WHERE false`.columns();
  assert.deepEqual([empty.length, empty.get("n").values, empty.get("text").offsets], [
    0,
    new Int32Array(),
    Int32Array.of(0),
  ]);
  const none = await db.sql`SELECT FROM generate_series(1, 3)`.columns();
  assert.deepEqual([none.length, none.names, [...none.rows()]], [3, [], [{}, {}, {}]]);
  const name = 'a "b", \n é';
  const odd = await db.sql`SELECT 1 AS ${db.sql.id(name)}, ARRAY[1]::int[] AS c1, 2.5 AS c2`.columns();
  assert.deepEqual([...odd.rows()], [{ [name]: 1, c1: [1], c2: "2.5" }]);
  const nulls = await db.sql`SELECT NULL AS a, NULL::int AS b FROM generate_series(1, 9)`.columns();
  assert.deepEqual([nulls.get("a").nullCount, nulls.get("b").toArray()], [9, Array(9).fill(null)]);
  const wide = Array.from({ length: 1600 }, (_, n) => `${n} AS c${n}`).join(", ");
  const columns = await db.sql`SELECT ${db.sql.unsafe(wide)} FROM generate_series(1, 50)`.columns();
  assert.deepEqual([columns.length, columns.names.length, columns.get("c1599").get(49)], [50, 1600, 1599]);
});

queryTest("columns() takes parameters, and runs in a transaction", async ({ db }) => {
  assert.equal((await db.sql`SELECT ${"it's"} AS v, ${[1, 2]}::int[] AS list`.columns()).get("v").get(0), "it's");
  await db.transaction(async (tx) => {
    await tx.sql`CREATE TEMP TABLE own ON COMMIT DROP AS SELECT 7 AS n`;
    const columns = await (tx.sql`SELECT * FROM own WHERE n > ${1}`).columns();
    assert.equal(columns.get("n").get(0), 7);
    assert.equal(await tx.sql`SELECT 1`.value(), 1);
  });
});

queryTest("columns() draws its first rows as a query does", async ({ db }) => {
  const query = db.sql`SELECT n, n * 1.5::float8 AS half, '<b>' AS text FROM generate_series(1, 100) AS n`;
  const columns = query.columns();
  const withoutTime = (text: string) => text.replace(/, [\d.]+ m?s\)/, ")");
  const text = withoutTime(await drawn(columns));
  assert.match(text, /\(20 of 100 rows\)$/);
  assert.deepEqual(text, withoutTime(await drawn(await query)));
  assert.match(await drawn(columns, "text/html"), /&lt;b&gt;/);
  assert.equal(withoutTime(Deno.inspect(await columns)), text);
  assert.equal(Deno.inspect((await columns).get("n")), 'Column "n" { int4, 100 values }');
});

const BAD: [expression: string, problem: RegExp][] = [
  [
    "CASE WHEN n = 1500 THEN 'NaN'::numeric ELSE 1 END::numeric(10, 2)",
    /column "v" of row 1500: a decimal can't be NaN; select it as ::float8/,
  ],
  [
    "CASE WHEN n = 3 THEN '{{1,2},{3,4}}' ELSE '{1}' END::int[]",
    /of row 3: it is an array of 2 dimensions; select it as ::text/,
  ],
  ["'[0:1]={7,8}'::int[]", /of row 1: it is an array that is numbered from 0.*; select it as ::text/],
  ["'294276-12-31 23:59:59'::timestamp", /of row 1: .* the year 294247; select it as ::text/],
];

queryTest("columns() names the row of a value that it can't store, and the connection stays usable", async ({ db }) => {
  for (const [expression, expected] of BAD) {
    const query = db.sql`SELECT ${db.sql.unsafe(expression)} AS v FROM generate_series(1, 5000) AS n`;
    const error = await errorOf(query.columns());
    assert.equal(error.code, "QUERY_FAILED");
    assert.match(error.message, expected);
    assert.equal(await db.sql`SELECT 1`.value(), 1);
  }
});

queryTest("columns() fails as a query does", async ({ db }) => {
  const missing = await errorOf(db.sql`SELECT n, nam FROM (SELECT 1 AS n, 2 AS name) AS t`.columns());
  assert.equal(missing.sqlstate, "42703");
  assert.match(missing.message, /nam FROM/);
  const divided = await errorOf(db.sql`SELECT 1 / (n - 3000) AS v FROM generate_series(1, 5000) AS n`.columns());
  assert.equal(divided.sqlstate, "22012");
  assert.equal((await errorOf(db.sql`SET x.y = 1`.columns())).code, "QUERY_FAILED");
  const misspelt = db.sql`SELECT 1`.columns({ timout: 1 } as object);
  await assert.rejects(async () => await misspelt, /did you mean "timeout"/);
  const columns = await db.sql`SELECT 1 AS fare, 2 AS zone`.columns();
  assert.throws(
    () => columns.get("fares"),
    (error) => error instanceof LakebaseError && /did you mean "fare"/.test(error.message),
  );
  assert.throws(() => columns.get("nothing"), /there are: fare, zone/);
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("columns() stops with its timeout and its signal", async ({ db }) => {
  const slow = db.sql`SELECT n, pg_sleep(0.01) FROM generate_series(1, 10000) AS n`;
  assert.equal((await errorOf(slow.columns({ timeout: 0.2 }))).code, "CANCELED");
  await untilEnded(db, "%pg_sleep%");
  const stop = new AbortController();
  const stopped = assert.rejects(async () => await slow.columns({ signal: stop.signal }), /enough/);
  await untilRuns(db, "%pg_sleep%");
  stop.abort(new Error("enough"));
  await stopped;
  await assert.rejects(
    async () => await slow.with({ signal: AbortSignal.abort(new Error("before")) }).columns(),
    /before/,
  );
  assert.equal(await db.sql`SELECT 1`.value(), 1);
}, { notOnPglite: "it can't be interrupted" });

queryTest("columns() fails clearly when its connection is lost half-way", async ({ db }) => {
  const query = db.sql`SELECT n, CASE WHEN n = 400000 THEN pg_terminate_backend(pg_backend_pid()) END AS killed
    FROM generate_series(1, 500000) AS n`;
  const { code, sqlstate, message } = await errorOf(query.columns());
  const expected = await errorOf(query);
  assert.deepEqual([code, sqlstate, message], [expected.code, expected.sqlstate, expected.message]);
  assert.equal(await db.sql`SELECT 1`.value(), 1);
}, { notOnPglite: "it has no backend to end" });

queryTest("columns() that fails in a transaction rolls it back", async ({ db }) => {
  const error = await errorOf(db.transaction(async (tx) => {
    await tx.sql`SELECT 1 / (n - 3000) AS v FROM generate_series(1, 5000) AS n`.columns();
  }));
  assert.equal(error.sqlstate, "22012");
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

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
