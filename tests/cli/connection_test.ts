import assert from "node:assert/strict";
import { delimiter, names } from "../../src/cli/connection.ts";

Deno.test("names() reads a list of columns, with commas and quotes in double quotes", () => {
  const cases: [text: string, names: string[]][] = [
    ["id", ["id"]],
    [" id , zone ", ["id", "zone"]],
    ['"c,d",id', ["c,d", "id"]],
    ['id, "c,d" ,x', ["id", "c,d", "x"]],
    ['"say ""so"""', ['say "so"']],
    ['a"b', ['a"b']],
    ["c d,é", ["c d", "é"]],
    ['" a "', [" a "]],
  ];
  for (const [text, expected] of cases) assert.deepEqual(names(text), expected, text);
  for (const text of ["", " ", ",", "a,,b", "a,", '"a', '"a"b', 'a,"b', '""', "a,a", 'a,"a"']) {
    assert.throws(() => names(text), /different columns, such as id,zone/, text);
  }
});

Deno.test("delimiter() reads \\t as a tab", () => {
  assert.deepEqual(["\\t", "\t", ";", "\\n", "ab"].map(delimiter), ["\t", "\t", ";", "\\n", "ab"]);
});
