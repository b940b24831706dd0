import * as arrow from "apache-arrow";
import assert from "node:assert/strict";
import { connect, lakehouse } from "../../mod.ts";
import { fieldsOfManifest, jsonRowReader, parseType, readNested } from "../../src/lake/types.ts";
import { localTests } from "../support/lakebase.ts";

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
  ["DATE", "+12000-01-01", "12000-01-01"],
  ["DATE", "-0043-03-15", "0044-03-15 BC"],
  ["DATE", "0000-12-31", "0001-12-31 BC"],
  ["TIMESTAMP_NTZ", "+012000-01-01T00:00:00.500", "12000-01-01 00:00:00.5"],
  ["TIMESTAMP_NTZ", "-000043-03-15T00:00:00.000", "0044-03-15 00:00:00 BC"],
  ["TIMESTAMP", "+012000-01-01T00:00:00.000Z", "12000-01-01 00:00:00+00"],
  ["TIMESTAMP", "-000043-03-15T10:20:30.000Z", "0044-03-15 10:20:30+00 BC"],
  ["INTERVAL DAY TO SECOND", "1 02:03:04.000000000", "1 02:03:04.000000000"],
  ["STRUCT<b: BINARY, i: INTERVAL DAY TO SECOND>", '{"b":"AP8Q","i":"1 02:03:04.000000000"}', {
    b: Uint8Array.of(0, 255, 16),
    i: "1 02:03:04.000000000",
  }],
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

Deno.test("an inline result has the same values as a result of a Lakebase", () => {
  for (const [type_text, text, value] of VALUES) {
    const columns = [{ name: "a", type_text }];
    const read = jsonRowReader(columns, fieldsOfManifest(columns));
    assert.deepEqual([type_text, read([text])], [type_text, { a: value }]);
    assert.deepEqual(read([null]), { a: null });
  }
});

Deno.test("columns have distinct names, and the warehouse's types", () => {
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

/** A value of each type as another writer of Arrow sends it, and its result: the table of docs/lakehouse.md. */
const ARROW: readonly (readonly [
  type: string,
  sent: arrow.DataType,
  value: unknown,
  row: unknown,
  column: string,
  again: string,
  table: string,
])[] = [
  ["TINYINT", new arrow.Int8(), -128, -128, "Int16Array", "Int16", "smallint"],
  ["SMALLINT", new arrow.Int16(), -32768, -32768, "Int16Array", "Int16", "smallint"],
  ["INT", new arrow.Int32(), 2 ** 31 - 1, 2 ** 31 - 1, "Int32Array", "Int32", "integer"],
  ["BIGINT", new arrow.Int64(), 2n ** 63n - 1n, 2n ** 63n - 1n, "BigInt64Array", "Int64", "bigint"],
  ...[
    [
      "DECIMAL(10,2)",
      new arrow.Decimal(2, 10),
      Uint32Array.of(1250, 0, 0, 0),
      "12.50",
      "Uint32Array",
      "Decimal[10e+2]",
      "numeric(10,2)",
    ] as const,
  ],
  ["FLOAT", new arrow.Float32(), Math.fround(0.1), 0.1, "Float32Array", "Float32", "real"],
  ["DOUBLE", new arrow.Float64(), 1e300, 1e300, "Float64Array", "Float64", "double precision"],
  ["BOOLEAN", new arrow.Bool(), true, true, "Uint8Array", "Bool", "boolean"],
  ["STRING", new arrow.Utf8(), "é🚲", "é🚲", "Uint8Array", "Utf8", "text"],
  ["BINARY", new arrow.Binary(), Uint8Array.of(0, 255), Uint8Array.of(0, 255), "Uint8Array", "Binary", "bytea"],
  ["DATE", new arrow.DateDay(), new Date("2026-01-31T00:00:00Z"), "2026-01-31", "Int32Array", "Date32<DAY>", "date"],
  ...[
    [
      "TIMESTAMP",
      new arrow.TimestampMicrosecond("Etc/UTC"),
      Date.UTC(2026, 0, 31, 12),
      new Date("2026-01-31T12:00:00Z"),
      "BigInt64Array",
      "Timestamp<MICROSECOND, UTC>",
      "timestamp with time zone",
    ] as const,
  ],
  ...[
    [
      "TIMESTAMP_NTZ",
      new arrow.TimestampMicrosecond(),
      Date.UTC(2026, 0, 31, 12),
      "2026-01-31 12:00:00",
      "BigInt64Array",
      "Timestamp<MICROSECOND>",
      "timestamp without time zone",
    ] as const,
  ],
  [
    "INTERVAL DAY TO SECOND",
    new arrow.DurationMicrosecond(),
    93_784_500_000n,
    "1 02:03:04.500000000",
    "Uint8Array",
    "Utf8",
    "interval",
  ],
  [
    "INTERVAL YEAR TO MONTH",
    new arrow.IntervalYearMonth(),
    Int32Array.of(1, 2),
    "1-2",
    "Uint8Array",
    "Utf8",
    "interval",
  ],
  [
    "ARRAY<INT>",
    new arrow.List(new arrow.Field("element", new arrow.Int32(), true)),
    [1, null],
    [1, null],
    "Int32Array",
    "List<Int32>",
    "integer[]",
  ],
  [
    "MAP<STRING, INT>",
    new arrow.Map_(
      new arrow.Field(
        "entries",
        new arrow.Struct<{ key: arrow.Utf8; value: arrow.Int32 }>([
          new arrow.Field("key", new arrow.Utf8()),
          new arrow.Field("value", new arrow.Int32(), true),
        ]),
      ),
    ),
    { a: 1 },
    { a: 1 },
    "Uint8Array",
    "Utf8",
    "jsonb",
  ],
  [
    "STRUCT<a: INT, b: STRING>",
    new arrow.Struct([new arrow.Field("a", new arrow.Int32()), new arrow.Field("b", new arrow.Utf8())]),
    { a: 1, b: "x" },
    { a: 1, b: "x" },
    "Uint8Array",
    "Utf8",
    "jsonb",
  ],
  [
    "STRUCT<b: BINARY, i: INTERVAL DAY TO SECOND>",
    new arrow.Struct([new arrow.Field("b", new arrow.Binary()), new arrow.Field("i", new arrow.DurationMicrosecond())]),
    { b: Uint8Array.of(0, 255), i: 93_784_500_000n },
    { b: Uint8Array.of(0, 255), i: "1 02:03:04.500000000" },
    "Uint8Array",
    "Utf8",
    "jsonb",
  ],
  [
    "ARRAY<INTERVAL YEAR TO MONTH>",
    new arrow.List(new arrow.Field("element", new arrow.IntervalYearMonth(), true)),
    [Int32Array.of(1, 2), null],
    ["1-2", null],
    "Uint8Array",
    "List<Utf8>",
    "interval[]",
  ],
  ["VARIANT", new arrow.Utf8(), '{"n":[1.5]}', { n: [1.5] }, "Uint8Array", "Utf8", "jsonb"],
  ["VOID", new arrow.Null(), null, null, "Uint8Array", "Utf8", "text"],
];

/** Serves a result as the API does: a warehouse, a statement that has ended, and the link to its only chunk. */
function serveResult(chunk: Uint8Array<ArrayBuffer>, types: readonly string[]): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, ({ url, method }) => {
    const { pathname, origin } = new URL(url);
    if (pathname === "/chunk") return new Response(chunk);
    if (pathname.endsWith("/warehouses")) {
      return Response.json({ warehouses: [{ id: "w", name: "made", state: "RUNNING" }] });
    }
    if (method !== "POST") return new Response(null, { status: 404 });
    const columns = types.map((type_text, at) => ({
      name: `c${at}`,
      type_text,
      type_name: /^\w+/.exec(type_text)![0],
    }));
    return Response.json({
      statement_id: "s",
      status: { state: "SUCCEEDED" },
      manifest: {
        schema: { columns },
        total_chunk_count: 1,
        total_row_count: 2,
        chunks: [{ chunk_index: 0, row_count: 2, byte_count: chunk.length }],
      },
      result: { external_links: [{ chunk_index: 0, external_link: `${origin}/chunk`, http_headers: {} }] },
    });
  });
}

localTests()("each type of a warehouse has its row, column, Arrow type and new column", async ({ settings }) => {
  const vectors = ARROW.map(([, type, value], at) => [`c${at}`, arrow.vectorFromArray([value, null], type)] as const);
  const chunk = Uint8Array.from(arrow.tableToIPC(new arrow.Table(Object.fromEntries(vectors)), "stream"));
  await using server = serveResult(chunk, ARROW.map(([type]) => type));
  const host = new URL(`http://127.0.0.1:${server.addr.port}`);
  const workspace = { config: { getHost: () => Promise.resolve(host), authenticate: () => Promise.resolve() } };
  const lake = await lakehouse({ workspace });
  const [first, second] = await lake.sql`SELECT * FROM made`;
  assert.deepEqual(Object.values(first!), ARROW.map(([, , , row]) => row));
  assert.deepEqual(Object.values(second!), ARROW.map(() => null));
  const columns = await lake.sql`SELECT * FROM made`.columns();
  const read = await columns.toArrow();
  const found = ARROW.map((_, at) => {
    const { values, elements } = columns.get(`c${at}`) as { values: object; elements?: { values: object } };
    return [(elements?.values ?? values).constructor.name, String(read.schema.fields[at]!.type)];
  });
  assert.deepEqual(found, ARROW.map(([, , , , column, again]) => [column, again]));
  await using db = await connect(settings());
  await db.load("made", lake.sql`SELECT * FROM made`, { create: true });
  assert.deepEqual((await db.describe("made")).map(({ type }) => type), ARROW.map(([, , , , , , table]) => table));
  await db.query("DROP TABLE made");
});
