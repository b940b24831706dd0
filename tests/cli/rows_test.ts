import assert from "node:assert/strict";
import { type FormatOptions, makeFormat } from "../../src/cli/rows.ts";
import type { Field } from "../../src/sql/result.ts";

const OIDS: Record<string, number> = { bool: 16, int4: 23, int8: 20, text: 25, numeric: 1700, float8: 701, json: 114 };

/** Rows in the form of the server: columns as `name type`, values as texts. */
function written(options: Partial<FormatOptions>, columns: string[], rows: (string | null)[][]): string {
  const format = makeFormat({ format: "table", header: true, color: false, ...options });
  const fields: Field[] = columns.map((column) => {
    const [name, type] = column.split(":") as [string, string];
    const array = { "int4[]": 1007, "text[]": 1009, timestamptz: 1184, timestamp: 1114, bytea: 17, enum: 16_400 }[type];
    return { name, key: name, type, oid: array ?? OIDS[type]! };
  });
  const parsed = rows.map((row) =>
    row.map((text, index) => text === null ? null : format.types.getTypeParser(fields[index]!.oid)(text))
  );
  return format.begin(fields) + parsed.map((row) => format.rows([row])).join("") + format.end();
}

Deno.test("csv has the form of COPY", () => {
  const rows = [["1", null, "t"], ["2", "", "f"], ["3", 'a "b",\nc', "t"], ["4", " x ", null]];
  assert.equal(
    written({ format: "csv" }, ["id:int4", "a,b:text", "ok:bool"], rows),
    'id,"a,b",ok\n1,,t\n2,"",f\n3,"a ""b"",\nc",t\n4, x ,\n',
  );
  assert.equal(
    written({ format: "csv", header: false, delimiter: "\t", null: "\\N" }, ["a:text", "b:text"], [["\\N", null], [
      "",
      "a\tb",
    ]]),
    '"\\N"\t\\N\n\t"a\tb"\n',
  );
  assert.equal(written({ format: "csv", header: false }, ["a:text"], [["\\."], ["\\.x"]]), '"\\."\n\\.x\n');
  assert.equal(written({ format: "csv" }, ["a:text"], []), "a\n");
});

Deno.test("json keeps every digit, and is valid JSON for every value", () => {
  const cases: [type: string, text: string | null, json: string][] = [
    ["int8", "9007199254740993", "9007199254740993"],
    ["numeric", "-12345678901234567890.1000", "-12345678901234567890.1000"],
    ["numeric", "NaN", '"NaN"'],
    ["float8", "-Infinity", '"-Infinity"'],
    ["float8", "1e+300", "1e+300"],
    ["bool", "t", "true"],
    ["text", 'a"\n\u0001', '"a\\"\\n\\u0001"'],
    ["text", null, "null"],
    ["json", '{"a":\n [1,\r\n2]}', '{"a": [1, 2]}'],
    ["int4[]", "{1,NULL,{2}}", "[1,null,[2]]"],
    ["text[]", '{"a,b",NULL,"NULL"}', '["a,b",null,"NULL"]'],
    ["timestamptz", "2026-01-31 12:34:56.789+00", '"2026-01-31T12:34:56.789+00:00"'],
    ["timestamptz", "2026-01-31 12:34:56+05:30", '"2026-01-31T12:34:56+05:30"'],
    ["timestamptz", "infinity", '"infinity"'],
    ["timestamp", "2026-01-31 12:34:56", '"2026-01-31T12:34:56"'],
    ["bytea", "\\x00ff", '"\\\\x00ff"'],
    ["enum", "happy", '"happy"'],
  ];
  for (const [type, text, json] of cases) {
    const line = written({ format: "ndjson" }, [`a:${type}`], [[text]]);
    assert.equal(line, `{"a":${json}}\n`, type);
    JSON.parse(line);
  }
  assert.equal(written({ format: "json" }, ["a:int4"], []), "[]\n");
  assert.deepEqual(JSON.parse(written({ format: "json" }, ["a:int4", 'q":text'], [["1", "x"], ["2", null]])), [
    { a: 1, 'q"': "x" },
    { a: 2, 'q"': null },
  ]);
});

Deno.test("a table has the form of psql, and shows NULL", () => {
  const text = written({}, ["id:int4", "name:text"], [["1", "東京"], ["20", null], ["300", "a\nb\x1b[31m"]]);
  assert.equal(
    text,
    [
      " id  |      name",
      "-----+-----------------",
      "   1 | 東京",
      "  20 | NULL",
      " 300 | a↵b<U+001B>[31m",
      "(3 rows)",
      "",
    ].join("\n"),
  );
  assert.equal(written({ header: false, null: "-" }, ["a:text", "b:int4"], [["x", null]]), " x | -\n");
  assert.equal(written({ color: true, header: false }, ["a:text"], [[null]]), " \x1b[2mNULL\x1b[22m\n");
});

Deno.test("a long table is written while rows arrive: later, wider cells overflow, and no cell is cut", () => {
  const format = makeFormat({ format: "table", header: true, color: false });
  let text = format.begin([{ name: "a", key: "a", type: "text", oid: 25 }, {
    name: "b",
    key: "b",
    type: "int4",
    oid: 23,
  }]);
  for (let count = 0; count < 999; count++) text += format.rows([["x", "1"]]);
  assert.equal(text, "");
  text += format.rows([["x", "1"]]);
  assert.equal(text.split("\n").length, 1003);
  const wide = "y".repeat(5000);
  assert.equal(format.rows([[wide, "12"]]), ` ${wide} | 12\n`);
  assert.equal(format.end(), "(1,001 rows)\n");
});
