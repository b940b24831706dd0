import assert from "node:assert/strict";
import { readArrow, readParquet } from "../../../src/transfer/formats/columnar_reader.ts";
import { errorOf } from "../../support/queries.ts";
import { readAll } from "./files.ts";
import { duckdb, fileTest, python } from "./readers.ts";

/** Writes a file whose column "v" has the values of a Python expression. */
async function column(path: string, array: string): Promise<string> {
  const program = `
import sys, pyarrow as pa, pyarrow.parquet as pq
n = None
t = pa.table({"v": ${array}})
if sys.argv[1].endswith(".parquet"): pq.write_table(t, sys.argv[1])
else:
  with pa.OSFile(sys.argv[1], "wb") as f, pa.ipc.new_file(f, t.schema) as w: w.write_table(t, max_chunksize=2)
print("null")`;
  await python(program, path);
  return path;
}

fileTest("a negative zero keeps its sign in a struct, a list and a map", async (folder) => {
  await python(
    `
import sys, pyarrow as pa, pyarrow.parquet as pq
f = pa.float64()
pq.write_table(pa.table({"s": pa.array([{"f": -0.0}], pa.struct([("f", f)])), "l": pa.array([[-0.0, 0.0]], pa.list_(f)),
  "m": pa.array([[("k", -0.0)]], pa.map_(pa.string(), f)), "f": pa.array([-0.0], f)}), sys.argv[1] + "/zero.parquet")
print("null")
`,
    folder,
  );
  const { texts } = await readAll(await readParquet(`${folder}/zero.parquet`));
  assert.deepEqual(texts, [['{"f":-0}', '{"-0","0"}', '{"k":-0}', "-0"]]);
});

fileTest("an interval of Parquet keeps its months, in a list and a struct too", async (folder) => {
  const path = `${folder}/intervals.parquet`;
  await duckdb(
    `COPY (SELECT x::interval AS v, 1 AS n, [x::interval, NULL] AS l, {'a': 'x', 'i': x::interval, 'j': '1'::json} AS s
    FROM (VALUES ('14 months'), (NULL), ('2 years 5 days'), ('600 hours'), ('00:00:00.5')) AS t(x)) TO '${path}'`,
  );
  const { types, texts } = await readAll(await readParquet(path));
  assert.deepEqual(types, { v: "interval", n: "integer", l: "interval[]", s: "jsonb" });
  const spans = [
    "14 mons 0 days 0.000 seconds",
    null,
    "24 mons 5 days 0.000 seconds",
    "0 mons 0 days 2160000.000 seconds",
    "0 mons 0 days 0.500 seconds",
  ];
  assert.deepEqual(
    texts,
    spans.map((span) => [
      span,
      "1",
      span === null ? "{NULL,NULL}" : `{"${span}",NULL}`,
      `{"a":"x","i":${JSON.stringify(span)},"j":1}`,
    ]),
  );
});

const DICTIONARIES: [array: string, texts: (string | null)[]][] = [
  ["pa.DictionaryArray.from_arrays([0, 1, n], pa.array([5, n]))", ["5", null, null]],
  ["pa.DictionaryArray.from_arrays([1, 0], pa.array(['a', n]))", [null, "a"]],
  ["pa.DictionaryArray.from_arrays([1, 0], pa.array([True, n]))", [null, "true"]],
  ["pa.ListArray.from_arrays([0, 2, 2], pa.DictionaryArray.from_arrays([0, 1], pa.array(['a', n])))", [
    '{"a",NULL}',
    "{}",
  ]],
  ["pa.StructArray.from_arrays([pa.DictionaryArray.from_arrays([1, 0], pa.array([5, n]))], ['d'])", [
    '{"d":null}',
    '{"d":5}',
  ]],
];

fileTest("a NULL among the values of a dictionary is NULL in the rows", async (folder) => {
  for (const [array, texts] of DICTIONARIES) {
    const file = await readAll(await readArrow(await column(`${folder}/dictionary.arrow`, array)));
    assert.deepEqual(file.texts, texts.map((text) => [text]), array);
  }
});

/** All values are truncated by less than a microsecond, including those before 1970 and those below 0. */
const NANOSECONDS: [array: string, texts: string[]][] = [
  ["pa.array([1999, -1], pa.timestamp('ns'))", ["1970-01-01 00:00:00.000001", "1969-12-31 23:59:59.999999"]],
  ["pa.array([1999, 86399999999999], pa.time64('ns'))", ["00:00:00.000001", "23:59:59.999999"]],
  ["pa.array([1999, -1], pa.duration('ns'))", ["0.000001 seconds", "-0.000001 seconds"]],
  [
    "pa.array([(1, 2, 1999), (1, 2, -1)], pa.month_day_nano_interval())",
    ["1 mons 2 days 0.000001 seconds", "1 mons 2 days -0.000001 seconds"],
  ],
];

fileTest("parts of a microsecond are cut off in all types", async (folder) => {
  for (const [array, texts] of NANOSECONDS) {
    const file = await readAll(await readArrow(await column(`${folder}/fine.arrow`, array)));
    assert.deepEqual(file.texts, texts.map((text) => [text]), array);
  }
});

const REFUSED: [array: string, message: RegExp][] = [
  [
    "pa.array([0, n, 2**62], pa.timestamp('s'))",
    /"bad\.\w+": row 3, column "v": the time 4611686018427387904 is beyond/,
  ],
  ["pa.array([[0], [1, 2**62]], pa.list_(pa.timestamp('s')))", /: row 2, column "v": the time .* is beyond/],
  ["pa.array([{'t': 2**62}], pa.struct([('t', pa.timestamp('s'))]))", /: column "v": the time .* is beyond/],
  ["pa.array([0, 2**62], pa.date64())", /: row 2, column "v": the time 4611686018427387904 is beyond/],
  [
    "pa.array([[('a', 1)], n, [('b', 1), ('b', 2)]], pa.map_(pa.string(), pa.int32()))",
    /: row 3, column "v": a map has the key "b" twice, .*; make it a list$/,
  ],
  ["pa.array([[[('b', 1), ('b', 2)]]], pa.list_(pa.map_(pa.string(), pa.int32())))", /: row 1, column "v": a map has/],
  [
    "pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(['x']))",
    /has a column of the type RunEndEncoded, which can't be read here/,
  ],
  ["pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])", /can't represent/],
];

fileTest("a value that Postgres can't represent is refused, with its row and column", async (folder) => {
  for (const [array, message] of REFUSED) {
    const path = await column(`${folder}/bad.arrow`, array);
    const error = await errorOf(async () => await readAll(await readArrow(path)));
    assert.equal(error.code, "BAD_FILE", error.message);
    assert.match(error.message, message);
  }
  const map = await column(`${folder}/bad.parquet`, REFUSED[4]![0]);
  assert.match((await errorOf(async () => await readAll(await readParquet(map)))).message, REFUSED[4]![1]);
});
