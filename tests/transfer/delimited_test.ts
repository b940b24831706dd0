import assert from "node:assert/strict";
import { type Dialect, records } from "../../src/transfer/delimited.ts";

const CSV: Dialect = { quotes: true, delimiter: ",", nullText: "" };
const TSV: Dialect = { quotes: false, delimiter: "\t", nullText: "\\N" };

const CASES: readonly (readonly [what: string, text: string, dialect: Dialect, (string | null)[][]])[] = [
  ["lines", "a,b\n1,2\n", CSV, [["a", "b"], ["1", "2"]]],
  ["CRLF", "a,b\r\n1,2\r\n", CSV, [["a", "b"], ["1", "2"]]],
  ["CR", "a,b\r1,2", CSV, [["a", "b"], ["1", "2"]]],
  ["no line end at the end", "a\nb", CSV, [["a"], ["b"]]],
  ["NULL and the empty text", 'a,b\n,""\n', CSV, [["a", "b"], [null, ""]]],
  ["quotes", '"a,""b""\nc",d\n', CSV, [['a,"b"\nc', "d"]]],
  ["quotes in the middle", 'a"b,"c,d\n', CSV, [["ab,c", "d"]]],
  ["back-slashes, which CSV has not", "a\\,b\n", CSV, [["a\\", "b"]]],
  ["another delimiter and NULL", "a;-\n", { ...CSV, delimiter: ";", nullText: "-" }, [["a", null]]],
  ["NULL in quotes is a text", '"-"\n', { ...CSV, nullText: "-" }, [["-"]]],
  ["TSV", 'a\t"b"\n\\N\t\n', TSV, [["a", '"b"'], [null, ""]]],
  ["escapes", "a\\tb\\nc\\\\N\\x41\\101\\q\t1\n", TSV, [["a\tb\nc\\NAAq", "1"]]],
];

for (const [what, text, dialect, expected] of CASES) {
  Deno.test(`records() reads ${what}`, () => assert.deepEqual([...records(text, dialect, true)], expected));
}

Deno.test("records() gives no record whose end is not seen yet", () => {
  assert.deepEqual([...records('a,b\n"1,\n2', CSV, false)], [["a", "b"]]);
  assert.deepEqual([...records("a,b\n1,2", CSV, false)], [["a", "b"]]);
  assert.deepEqual([...records("", CSV, false)], []);
  assert.deepEqual([...records("", CSV, true)], []);
});
