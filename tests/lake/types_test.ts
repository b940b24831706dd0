import assert from "node:assert/strict";
import { jsonRowReader } from "../../src/lake/json_rows.ts";
import { fieldsOfManifest, parseType, readNested } from "../../src/lake/types.ts";

const VALUES: [type: string, text: string, value: unknown][] = [
  ["TINYINT", "-128", -128],
  ["SMALLINT", "32767", 32767],
  ["INT", "-2147483648", -2147483648],
  ["BIGINT", "9007199254740991", 9007199254740991],
  ["BIGINT", "9223372036854775807", 9223372036854775807n],
  ["DECIMAL(10,2)", "12.50", "12.50"],
  ["DECIMAL(38,0)", "9".repeat(38), "9".repeat(38)],
  ["FLOAT", "0.1", 0.1],
  ["DOUBLE", "1.0E10", 1e10],
  ["DOUBLE", "NaN", NaN],
  ["DOUBLE", "-Infinity", -Infinity],
  ["DOUBLE", "-0.0", -0],
  ["BOOLEAN", "true", true],
  ["BOOLEAN", "false", false],
  ["STRING", "", ""],
  ["STRING", "NULL", "NULL"],
  ["VARCHAR(10)", "a", "a"],
  ["BINARY", "AP8Q", Uint8Array.of(0, 255, 16)],
  ["DATE", "2026-01-31", "2026-01-31"],
  ["TIMESTAMP", "2026-01-31T12:34:56.789Z", new Date("2026-01-31T12:34:56.789Z")],
  ["TIMESTAMP", "2026-01-31T12:34:56.789012Z", new Date("2026-01-31T12:34:56.789Z")],
  ["TIMESTAMP", "2026-01-31T13:34:56.000+01:00", new Date("2026-01-31T12:34:56Z")],
  ["TIMESTAMP", "2026-01-31 12:34:56", "2026-01-31 12:34:56"],
  ["TIMESTAMP_NTZ", "2026-01-31T12:34:56.780", "2026-01-31 12:34:56.78"],
  ["TIMESTAMP_NTZ", "2026-01-31T12:34:50.000", "2026-01-31 12:34:50"],
  ["INTERVAL DAY TO SECOND", "1 02:03:04.000000000", "1 02:03:04.000000000"],
  ["ARRAY<INT>", '["1",null,"3"]', [1, null, 3]],
  ["ARRAY<INT>", "[1,null,3]", [1, null, 3]],
  ["ARRAY<BIGINT>", "[9223372036854775807]", [9223372036854775807n]],
  ["ARRAY<DECIMAL(4,2)>", "[12.50]", ["12.50"]],
  ["ARRAY<DOUBLE>", "[1.0,2.50]", [1, 2.5]],
  ["ARRAY<DATE>", '["2026-01-31"]', ["2026-01-31"]],
  ["ARRAY<ARRAY<BOOLEAN>>", "[[true],[]]", [[true], []]],
  ["MAP<STRING,INT>", '{"a":"1"}', { a: 1 }],
  ["STRUCT<a: INT, `b c`: STRUCT<d: DECIMAL(3,1)>>", '{"a":"1","b c":{"d":"2.0"}}', { a: 1, "b c": { d: "2.0" } }],
  ["STRUCT<t: TIMESTAMP NOT NULL COMMENT 'a, b>'>", '{"t":"2026-01-31T12:00:00Z"}', {
    t: new Date("2026-01-31T12:00:00Z"),
  }],
  ["VARIANT", '{"n":1.5,"big":9223372036854775807}', { n: 1.5, big: 9223372036854775807n }],
  ["ARRAY<INT>", "no json", "no json"],
  ["SOMETHING_NEW", "x", "x"],
];

Deno.test("values of an inline result are those of a Lakebase", () => {
  for (const [type_text, text, value] of VALUES) {
    const columns = [{ name: "a", type_text }];
    const read = jsonRowReader(columns, fieldsOfManifest(columns));
    assert.deepEqual([type_text, read([text])], [type_text, { a: value }]);
    assert.deepEqual(read([null]), { a: null });
  }
});

Deno.test("columns keep their names apart, and their warehouse's types", () => {
  const columns = [
    { name: "a", type_name: "DECIMAL", type_precision: 5, type_scale: 1 },
    { name: "a", type_name: "LONG", type_text: "BIGINT" },
    { name: "__proto__", type_name: "STRING" },
  ];
  const fields = fieldsOfManifest(columns);
  assert.deepEqual(fields.map(({ key, type, oid }) => [key, type, oid]), [
    ["a", "DECIMAL(5,1)", 1700],
    ["a_2", "BIGINT", 20],
    ["__proto__", "STRING", 25],
  ]);
  const row = jsonRowReader(columns, fields)(["1.5", "2", "p"]) as object;
  assert.deepEqual(Object.entries(row), [["a", "1.5"], ["a_2", 2], ["__proto__", "p"]]);
});

Deno.test("nested values never overflow the stack, and types are read in linear time", () => {
  const deep = 100_000;
  assert.equal(typeof readNested("[".repeat(deep) + "]".repeat(deep), parseType("ARRAY<INT>")), "string");
  assert.equal(parseType("ARRAY<".repeat(deep)).name, "ARRAY");
  assert.equal(parseType(`STRUCT<${"a: INT, ".repeat(deep)}z: INT>`).parts?.size, 2);
  assert.deepEqual(parseType("").parts, undefined);
});
