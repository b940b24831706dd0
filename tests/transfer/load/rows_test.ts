import assert from "node:assert/strict";
import { LakebaseError } from "../../../mod.ts";
import { valueText } from "../../../src/transfer/load/rows.ts";
import type { LoadColumn } from "../../../src/transfer/load/table.ts";

const column = (form: LoadColumn["form"]): LoadColumn => ({ name: "x", type: "any", oid: 0, form, generated: false });
const text = (value: unknown, form: LoadColumn["form"] = "scalar") => valueText(value, column(form), () => "row 1");

Deno.test("valueText() gives the text that the server reads", () => {
  const cases: [unknown, string | null, LoadColumn["form"]?][] = [
    [null, null],
    [undefined, null],
    ["a\nb", "a\nb"],
    [0, "0"],
    [-0, "-0"],
    [1e21, "1e+21"],
    [NaN, "NaN"],
    [10n ** 20n, "100000000000000000000"],
    [false, "false"],
    [new Date(Date.UTC(2026, 0, 31)), "2026-01-31T00:00:00.000Z"],
    [new Date(Date.UTC(-43, 2, 15)), "0044-03-15T00:00:00.000Z BC"],
    [new Date(Date.UTC(10000, 0, 1)), "10000-01-01T00:00:00.000Z"],
    [new Uint8Array([0, 255]), "\\x00ff"],
    [{ a: [1] }, '{"a":[1]}'],
    [[1, null, 'a"b'], '{"1",NULL,"a\\"b"}', "array"],
    [[1, 2], "[1,2]", "json"],
    [{ a: 1 }, '{"a":1}', "json"],
    ['{"a": 1}', '{"a": 1}', "json"],
    [new Date(0), '"1970-01-01T00:00:00.000Z"', "json"],
  ];
  for (const [value, expected, form] of cases) assert.equal(text(value, form), expected, Deno.inspect(value));
});

Deno.test("valueText() refuses a value that Postgres can't represent, and says where it is", () => {
  const circle: unknown[] = [];
  circle.push(circle);
  for (
    const [value, form] of [
      [Symbol("a"), "scalar"],
      [() => 1, "json"],
      [new Map(), "scalar"],
      [Promise.resolve(1), "json"],
      [new Date(NaN), "scalar"],
      [circle, "array"],
      [circle, "json"],
      [[1n], "json"],
    ] as const
  ) {
    assert.throws(() => text(value, form), (error) => {
      assert.ok(error instanceof LakebaseError && error.code === "BAD_PARAMETER");
      assert.match(error.message, /^Cannot load: row 1 is /);
      return true;
    }, Deno.inspect(value));
  }
});
