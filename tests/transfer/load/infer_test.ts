import assert from "node:assert/strict";
import {
  commonType,
  listType,
  type NewType,
  sqlTypeName,
  typeOfText,
  typeOfValue,
  typeOfWord,
} from "../../../src/transfer/load/infer.ts";

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

Deno.test("commonType() is a type that holds both", () => {
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
