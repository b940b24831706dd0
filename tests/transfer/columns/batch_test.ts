import assert from "node:assert/strict";
import { BUILT_IN, builtInNames } from "../../../src/core/type_names.ts";
import { columnType } from "../../../src/transfer/columns/batch.ts";
import { modifierOf } from "./binary/copy_bytes.ts";

const NUMERICS: [precision: number, scale: number, type: { precision: number; scale: number } | undefined][] = [
  [10, 2, { precision: 10, scale: 2 }],
  [1, 0, { precision: 1, scale: 0 }],
  [38, 38, { precision: 38, scale: 38 }],
  [38, 0, { precision: 38, scale: 0 }],
  [39, 0, undefined],
  [1000, 1000, undefined],
  [3, 5, { precision: 5, scale: 5 }],
  [5, -2, { precision: 7, scale: 0 }],
  [38, -1, undefined],
  [2, 40, undefined],
];

Deno.test("columnType() keeps a numeric as a decimal where its precision fits, else as text", () => {
  for (const [precision, scale, type] of NUMERICS) {
    const kept = type === undefined ? { kind: "text" } : { kind: "decimal", ...type };
    const expected = { type: kept, cast: type === undefined };
    assert.deepEqual(columnType(1700, modifierOf(precision, scale)), expected, `numeric(${precision}, ${scale})`);
  }
  assert.deepEqual(columnType(1700, -1), { type: { kind: "text" }, cast: true });
});

Deno.test("columnType() keeps arrays of known types as lists, and other arrays and types as text", () => {
  assert.deepEqual(columnType(1007, -1).type, { kind: "list", element: { kind: "int32" } });
  assert.deepEqual(columnType(1231, modifierOf(4, 1)).type, {
    kind: "list",
    element: { kind: "decimal", precision: 4, scale: 1 },
  });
  for (const oid of [1231, 1187, 16385, 2249, 600]) {
    assert.deepEqual(columnType(oid, -1), { type: { kind: "text" }, cast: true }, String(oid));
  }
  assert.deepEqual(columnType(BUILT_IN["void"]![0], -1), { type: { kind: "text" }, cast: false });
  assert.ok(builtInNames().length > 100);
});
