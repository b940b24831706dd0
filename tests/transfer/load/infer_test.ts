import assert from "node:assert/strict";
import type { Lakebase } from "../../../mod.ts";
import {
  commonType,
  listType,
  type NewType,
  sqlTypeName,
  typeOfText,
  typeOfValue,
  typeOfWord,
  widerType,
} from "../../../src/transfer/load/infer.ts";
import { errorOf } from "../../support/queries.ts";
import { pullTest } from "../../support/transfers.ts";

const TEXTS: readonly (readonly [text: string, type: NewType])[] = [
  ["0", "bigint"],
  ["-1", "bigint"],
  ["9007199254740992", "bigint"],
  ["9007199254740993", "exact bigint"],
  ["9223372036854775807", "exact bigint"],
  ["-9223372036854775808", "exact bigint"],
  ["9223372036854775809", "exact numeric"],
  ["100000000000000000000", "numeric"],
  ["-0", "double precision"],
  ["1.50", "numeric"],
  [".5", "numeric"],
  ["-0.10", "numeric"],
  ["0.30000000000000004", "numeric"],
  ["0.12345678901234567890", "exact numeric"],
  ["123456789012345678.50", "exact numeric"],
  ["1e5", "double precision"],
  ["1.7976931348623157e+308", "double precision"],
  ["5e-324", "double precision"],
  ["0e999", "double precision"],
  ["1.234567890123456789e0", "exact numeric"],
  ["1e400", "exact numeric"],
  ["-1e-400", "exact numeric"],
  ["-1.5E-07", "double precision"],
  ["NaN", "double precision"],
  ["-Infinity", "double precision"],
  ["007", "text"],
  ["00", "text"],
  ["+1", "text"],
  ["1.", "text"],
  ["1,5", "text"],
  ["e5", "text"],
  ["1 ", "text"],
  ["", "text"],
  ["t", "boolean"],
  ["FALSE", "boolean"],
  ["True", "boolean"],
  ["T", "text"],
  ["F", "text"],
  ["yes", "text"],
  ["2026-01-31", "date"],
  ["2024-02-29", "date"],
  ["2023-02-29", "text"],
  ["2026-13-01", "text"],
  ["0000-01-01", "text"],
  ["31.01.2026", "text"],
  ["2026-01-31 12:34", "timestamp"],
  ["2026-01-31T12:34:56.789", "timestamp"],
  ["2026-01-31 25:00:00", "text"],
  ["2026-01-31 12:34:56.789123456", "text"],
  ["2026-01-31 12:34:56.789123000", "timestamp"],
  ["2026-01-31T12:34:56Z", "timestamptz"],
  ["2026-01-31 12:34:56.123456+05:30", "timestamptz"],
  ["2026-01-31 12:34:56+00", "timestamptz"],
  ["12:34:56", "time"],
  ["24:34:56", "text"],
  ["6f9619ff-8b86-d011-b42d-00c04fc964ff", "uuid"],
  ["6F9619FF-8B86-D011-B42D-00C04FC964FF", "uuid"],
  ["6f9619ff-8b86-d011-b42d-00c04fc964f", "text"],
  ['{"a": 1}', "text"],
];

for (const [text, type] of TEXTS) {
  Deno.test(`typeOfText(${JSON.stringify(text)}) is ${type}`, () => assert.equal(typeOfText(text), type));
}

Deno.test("typeOfWord() reads no text as a number or a boolean, because JSON has its own", () => {
  assert.deepEqual(["7", "1.5", "t", "2026-01-31"].map(typeOfWord), ["text", "text", "text", "date"]);
});

const VALUES: readonly (readonly [value: unknown, type: NewType | undefined])[] = [
  [null, undefined],
  [undefined, undefined],
  [1, "bigint"],
  [-0, "double precision"],
  [1.5, "double precision"],
  [NaN, "double precision"],
  [2 ** 53, "double precision"],
  [2n ** 53n, "bigint"],
  [2n ** 53n + 1n, "exact bigint"],
  [2n ** 63n + 1n, "exact numeric"],
  [true, "boolean"],
  ["2026-01-31", "text"],
  [new Date(0), "timestamptz"],
  [new Uint8Array(2), "bytea"],
  [new ArrayBuffer(2), "bytea"],
  [{ a: 1 }, "jsonb"],
  [[1, null, 2.5], "double precision[]"],
  [["a", 1], "text[]"],
  [[{ a: 1 }], "jsonb"],
  [[[1], [2, 3]], "jsonb"],
];

for (const [value, type] of VALUES) {
  Deno.test(`typeOfValue(${Deno.inspect(value)}) is ${type}`, () => assert.equal(typeOfValue(value), type));
}

Deno.test("commonType() holds the values of both types", () => {
  const cases: [NewType | undefined, NewType | undefined, NewType | undefined][] = [
    [undefined, undefined, undefined],
    [undefined, "uuid", "uuid"],
    ["bigint", "numeric", "numeric"],
    ["double precision", "bigint", "double precision"],
    ["double precision", "numeric", "double precision"],
    ["double precision", "exact bigint", "exact numeric"],
    ["double precision", "exact numeric", "exact numeric"],
    ["exact bigint", "bigint", "exact bigint"],
    ["exact bigint", "numeric", "exact numeric"],
    ["exact numeric", "boolean", "text"],
    ["exact bigint[]", "double precision[]", "exact numeric[]"],
    ["exact bigint", "jsonb", "jsonb"],
    ["date", "timestamp", "timestamp"],
    ["date", "timestamptz", "text"],
    ["boolean", "bigint", "text"],
    ["jsonb", "bigint[]", "jsonb"],
    ["jsonb", "text", "text"],
    ["bigint[]", "numeric[]", "numeric[]"],
    ["bigint[]", "text", "text"],
    [listType([]), "uuid[]", "uuid[]"],
  ];
  for (const [a, b, common] of cases) {
    assert.equal(commonType(a, b), common, `${a} and ${b}`);
    assert.equal(commonType(b, a), common, `${b} and ${a}`);
  }
});

Deno.test("sqlTypeName() has a type for a column of NULLs", () => {
  assert.equal(sqlTypeName(undefined), "text");
  assert.equal(sqlTypeName(listType([null, undefined].map(typeOfValue))), "jsonb");
  assert.deepEqual(["exact bigint", "exact numeric[]"].map((type) => sqlTypeName(type as NewType)), [
    "bigint",
    "numeric[]",
  ]);
});

Deno.test("widerType() holds the values of both types, if any type does", () => {
  const cases: [a: string, b: string, wider: string | undefined][] = [
    ["smallint", "bigint", "bigint"],
    ["integer", "real", "double precision"],
    ["bigint", "double precision", "numeric"],
    ["numeric(5,2)", "numeric(6,4)", "numeric(7,4)"],
    ["numeric(5,2)", "bigint", "numeric(21,2)"],
    ["numeric", "smallint", "numeric"],
    ["date", "timestamp", "timestamp"],
    ["integer[]", "bigint[]", "bigint[]"],
    ["timestamp", "timestamptz", undefined],
    ["text", "integer", undefined],
    ["boolean", "integer", undefined],
    ["integer[]", "integer", undefined],
  ];
  for (const [a, b, wider] of cases) {
    assert.equal(widerType(a, b), wider, `${a}, ${b}`);
    assert.equal(widerType(b, a), wider, `${b}, ${a}`);
  }
});

/** The type of a new table's one column, and its values as texts. */
async function created(db: Lakebase, source: string | object[]): Promise<[type: string, values: (string | null)[]]> {
  await db.load("created", source as string, { create: true });
  try {
    const { type } = (await db.describe("created"))[0]!;
    const rows = await db.query("SELECT a::text FROM created");
    return [type, rows.map((row) => row["a"] as string | null)];
  } finally {
    await db.query("DROP TABLE created");
  }
}

const WIDE = "9007199254740993";
const LONG = "0.12345678901234567890";

/** Texts of numbers, and the type of a column that has them. */
const NUMBERS: [texts: string[], type: string][] = [
  [[WIDE, "1e5"], "numeric"],
  [["1e5", LONG], "numeric"],
  [["1.234567890123456789e0"], "numeric"],
  [["1e400", "7"], "numeric"],
  [["1e5", "0.30000000000000004", "9007199254740992"], "double precision"],
  [["1.50", "1e-7"], "double precision"],
  [[WIDE, "7"], "bigint"],
];

pullTest("load() with create rounds no number, and makes a column numeric only if it must", async ({ db, folder }) => {
  for (const [texts, type] of NUMBERS) {
    await Deno.writeTextFile(`${folder}/a.csv`, `a\n${texts.join("\n")}\n`);
    await Deno.writeTextFile(`${folder}/a.ndjson`, texts.map((text) => `{"a": ${text}}\n`).join(""));
    for (const name of ["a.csv", "a.ndjson"]) {
      const [actual, values] = await created(db, `${folder}/${name}`);
      assert.equal(actual, type, `${name}: ${texts}`);
      const same = await db.sql`SELECT ${texts}::numeric[] = ${values}::numeric[]`.value();
      assert.ok(same, `${name}: ${texts} became ${values}`);
    }
  }
  assert.deepEqual(await created(db, [{ a: 9007199254740993n }, { a: 0.5 }]), ["numeric", [WIDE, "0.5"]]);
});

pullTest("a table of numerics with NaN is loaded back unchanged from a CSV file", async ({ db, folder }) => {
  const path = `${folder}/n.csv`;
  await db.pull(db.sql`SELECT a::numeric FROM (VALUES (${LONG}), ('NaN')) AS v(a)`, path);
  assert.deepEqual(await created(db, path), ["numeric", [LONG, "NaN"]]);
  await db.pull(db.sql`SELECT a::float8 FROM (VALUES ('0.1'), ('NaN'), ('-0'), ('-Infinity')) AS v(a)`, path);
  assert.deepEqual(await created(db, path), ["double precision", ["0.1", "NaN", "-0", "-Infinity"]]);
});

pullTest(
  "the error for bytes of a Parquet file that are not text does not suggest an encoding",
  async ({ db, folder }) => {
    await db.sql`SELECT decode('64ff', 'hex') AS b`.pull(`${folder}/bytes.parquet`);
    const { message } = await errorOf(
      db.load("bytes", `${folder}/bytes.parquet`, { create: true, types: { b: "text" } }),
    );
    assert.match(
      message,
      /row 1, column b: [^]*HINT: these bytes are not text in UTF-8; .*\{ types: \{ "b": "bytea" \} \}/,
    );
    assert.doesNotMatch(message, /encoding:/);
  },
);
