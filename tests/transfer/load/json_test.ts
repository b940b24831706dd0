import assert from "node:assert/strict";
import { jsonElements, jsonMembers, stringValue } from "../../../src/transfer/load/json.ts";

Deno.test("jsonMembers() gives each value as it was written", () => {
  const cases: [text: string, members: Record<string, string>][] = [
    ["{}", {}],
    [" { } ", {}],
    ['{"a":1}', { a: "1" }],
    ['{"a": 12345678901234567890.10, "b":-1e400 , "c" :true}', {
      a: "12345678901234567890.10",
      b: "-1e400",
      c: "true",
    }],
    ['{"a": "x\\"},{", "b": "\\\\", "c": ""}', { a: '"x\\"},{"', b: '"\\\\"', c: '""' }],
    ['{"a": {"b": [1, {"c": "]}"}]}, "d": [ ]}\r', { a: '{"b": [1, {"c": "]}"}]}', d: "[ ]" }],
    ['{"a": 1, "a": 2}', { a: "2" }],
    ['{"\\u00e9\\n": null, "": 0}', { "é\n": "null", "": "0" }],
    ['{"__proto__": 1, "constructor": 2}', { ["__proto__"]: "1", constructor: "2" }],
  ];
  for (const [text, members] of cases) {
    assert.ok(typeof JSON.parse(text) === "object");
    assert.deepEqual(Object.entries(jsonMembers(text)), Object.entries(members), text);
  }
});

Deno.test("jsonElements() gives each element as it was written", () => {
  const cases: [text: string, elements: string[]][] = [
    ["[]", []],
    ["[ ]", []],
    ["[1,2.50 , null]", ["1", "2.50", "null"]],
    ['["a,]", [1, [2]], {"b": "]"}]', ['"a,]"', "[1, [2]]", '{"b": "]"}']],
  ];
  for (const [text, elements] of cases) {
    assert.ok(Array.isArray(JSON.parse(text)));
    assert.deepEqual(jsonElements(text), elements, text);
  }
});

Deno.test("stringValue() removes quotes and escapes", () => {
  assert.deepEqual(['"a"', '""', '"\\u00e9\\"\\\\"'].map(stringValue), ["a", "", 'é"\\']);
});
