import assert from "node:assert/strict";
import { pullTest, recordingStream } from "../../support/transfers.ts";
import { encodeNdjson } from "../../../src/transfer/formats/ndjson.ts";

/** Columns, as SQL, whose values have a special form in JSON. */
const COLUMNS = [
  "(ARRAY[1, -32768, NULL])[n]::int2",
  "(ARRAY[1, -2147483648, NULL])[n]::int4",
  "(ARRAY[9007199254740993, -9223372036854775808, NULL])[n]::int8",
  "(ARRAY['NaN', '-Infinity', '1e-30', 'Infinity'])[n]::float4",
  "(ARRAY['NaN', '-Infinity', '1e300', '0.1'])[n]::float8",
  "(ARRAY['NaN', '12345678901234567890.0123456789', '-0.00'])[n]::numeric",
  "(ARRAY[true, false])[n]",
  "(ARRAY['', E'\\\\N', E'\"\\\\\\b\\f\\n\\r\\t\\v\\x01\\x1f\\x7f', 'é🦕,;'])[n]::text",
  "(ARRAY['', E'\\\\', 'NULL'])[n]::varchar(9)",
  "(ARRAY['', 'ab', '\"'])[n]::char(4)",
  "(ARRAY['', 'a\"b', 'c'])[n]::name",
  "(ARRAY['', 'a', '\"'])[n]::\"char\"",
  "(ARRAY['00000000-0000-0000-0000-000000000001'])[n]::uuid",
  "(ARRAY['2020-02-29', 'infinity', '0044-03-15 BC'])[n]::date",
  "(ARRAY['2020-02-29 01:02:03.000004', '-infinity', '0044-03-15 BC'])[n]::timestamp",
  "(ARRAY['2020-02-29 01:02:03.000004+05:30', 'infinity', '12020-01-01'])[n]::timestamptz",
  "(ARRAY['01:02:03.000004', '24:00', NULL])[n]::time",
  "(ARRAY['01:02:03+05:30'])[n]::timetz",
  "(ARRAY['1 year -2 days 3.5 s'])[n]::interval",
  "(ARRAY[E'{\"a\":\\n\\t\"x\\\\\\\\y\\\\n\\\\u0001\"}', '[ 1e5 ]', 'null'])[n]::json",
  '(ARRAY[E\'{"b": 1, "a": "\\\\\\\\\\\\""}\', \'1.000\', \'null\'])[n]::jsonb',
  "(ARRAY['\\x00ff5c', '', NULL])[n]::bytea",
  "(ARRAY['{}', '{1,NULL}', '{{1,2},{3,4}}'])[n]::int4[]",
  `(ARRAY['{""}', '{NULL,"NULL","a\\"\\\\b"}'])[n]::text[]`,
  "(ARRAY['{2020-01-01 01:00:00}'])[n]::timestamp[]",
  "ROW(n, 'a\"b', ARRAY[n])::triple",
  "(ARRAY['10.0.0.0/8', '::1'])[n]::inet",
  "(ARRAY['[1,2)', 'empty'])[n]::int4range",
  "(ARRAY['1.50', '-3'])[n]::money",
  "(ARRAY[1, 4294967295, 0])[n]::oid",
  "(ARRAY['<a>b</a>'])[n]::xml",
  "(ARRAY['101', '0'])[n]::bit varying",
  "(ARRAY['pg_class', 'pg_type'])[n]::regclass",
  "(ARRAY['very sad', 'ok'])[n]::mood",
  "(ARRAY[1, 2])[n]::positive",
  "(ARRAY['a\"b', 'c'])[n]::label",
];

pullTest("NDJSON has the values that row_to_json gives, of every kind of type", async ({ db, folder }) => {
  await db.query(`CREATE TYPE mood AS ENUM ('very sad', 'ok'); CREATE DOMAIN positive AS int CHECK (value > 0);
    CREATE DOMAIN label AS text; CREATE TYPE triple AS (a int, b text, c int[])`);
  const list = COLUMNS.map((column, index) => `${column} AS "c${index} ""\\\n"`).join(", ");
  await db.query(`CREATE TABLE every_type AS SELECT ${list} FROM generate_series(1, 4) AS n`);
  const rows = await db.query<{ line: string }>("SELECT row_to_json(e)::text AS line FROM every_type AS e");
  // A line break in a value of the type json becomes a space.
  const expected = rows.map(({ line }) => `${line.replaceAll("\n", " ")}\n`).join("");
  await db.pull("every_type", `${folder}/t.ndjson`);
  assert.equal(await Deno.readTextFile(`${folder}/t.ndjson`), expected);
  await db.sql`SELECT * FROM every_type`.pull(`${folder}/t.ndjson`);
  assert.equal(await Deno.readTextFile(`${folder}/t.ndjson`), expected);
  await db.query("DROP TABLE every_type");
  await db.query("DROP TYPE mood; DROP DOMAIN positive, label; DROP TYPE triple");
});

pullTest("NDJSON has a key for each of several columns with one name, and rows without columns", async ({ db }) => {
  const long = "é".repeat(31);
  for (
    const [query, expected] of [
      [`SELECT 1 AS a, 'x' AS a, NULL AS "b"`, '{"a":1,"a_2":"x","b":null}\n'],
      [`SELECT 1 AS "${long}", 2 AS "${long}"`, `{"${long}":1,"${long}_2":2}\n`],
      ["SELECT FROM generate_series(1, 2)", "{}\n{}\n"],
      ["SELECT ROW(1, 'x') AS a, pg_catalog.pg_sleep(0) AS b", '{"a":{"f1":1,"f2":"x"},"b":""}\n'],
      ["SELECT histogram_bounds AS a FROM pg_stats WHERE histogram_bounds IS NOT NULL LIMIT 0", ""],
      ["SELECT '' AS a", '{"a":""}\n'],
      ["SELECT 1 AS a WHERE false", ""],
    ] as const
  ) {
    const { stream, text } = recordingStream();
    await db.sql`${db.sql.unsafe(query)}`.pull(stream, { format: "ndjson" });
    assert.equal(text(), expected);
  }
});

pullTest("NDJSON grows for text in which every character is escaped", async ({ db }) => {
  const { stream, text } = recordingStream();
  await db.sql`SELECT n, repeat(${'"\u0001'}, 100000) AS t FROM generate_series(1, 3) AS n`.pull(stream, {
    format: "ndjson",
  });
  const line = (n: number) => `{"n":${n},"t":"${'\\"\\u0001'.repeat(100_000)}"}\n`;
  assert.equal(text(), line(1) + line(2) + line(3));
});

Deno.test("lines without one value for each column are refused", async () => {
  const columns = [23, 25, 114].map((oid) => ({ name: "a", oid, type: { kind: "text" } as const }));
  for (const line of ["", "1", "1\t2", "1\t2\t3", "1\t2\t3\t4\n", "1\n2\n", "1\t\\\n", "1\t2\t\\\n", "1\t2\\", "\\N"]) {
    const chunks = [{ bytes: new TextEncoder().encode(line), rows: 1 }];
    const read = Array.fromAsync(encodeNdjson(ReadableStream.from(chunks), { columns, options: {} }));
    await assert.rejects(read, /a line does not have one value for each column/, JSON.stringify(line));
  }
});
