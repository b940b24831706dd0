import assert from "node:assert/strict";
import {
  detectDialect,
  type Dialect,
  type DialectGuess,
  RecordReader,
  records,
  usualDialect,
} from "../../../src/transfer/load/dialect.ts";

const CSV: Dialect = usualDialect(true);
const TSV: Dialect = usualDialect(false);
const SPARK: Dialect = { ...CSV, escape: "\\" };

const CASES: readonly (readonly [what: string, text: string, dialect: Dialect, (string | null)[][]])[] = [
  ["lines", "a,b\n1,2\n", CSV, [["a", "b"], ["1", "2"]]],
  ["CRLF", "a,b\r\n1,2\r\n", CSV, [["a", "b"], ["1", "2"]]],
  ["CR", "a,b\r1,2", CSV, [["a", "b"], ["1", "2"]]],
  ["no line end at the end", "a\nb", CSV, [["a"], ["b"]]],
  ["NULL and the empty text", 'a,b\n,""\n', CSV, [["a", "b"], [null, ""]]],
  ["quotes", '"a,""b""\nc",d\n', CSV, [['a,"b"\nc', "d"]]],
  ["quotes inside a value, which are part of the text", 'a"b,"c,d\n', CSV, [['a"b', "c,d\n"]]],
  ["inch marks", '6" x,7"\n"8"" y",9\n', CSV, [['6" x', '7"'], ['8" y', "9"]]],
  ["JSON that is not quoted", '{"a": 1},"{""b"": 2}"\n', CSV, [['{"a": 1}', '{"b": 2}']]],
  ["spaces before a quote, which are part of the value", '1, "a,b"\n', CSV, [["1", " a,b"]]],
  ["text after a closing quote", '"a" b,c\n', CSV, [["a b", "c"]]],
  ["a backslash as the escape", '"say \\"hi\\"","a\\\\b","c\\d"\n', SPARK, [['say "hi"', "a\\b", "c\\d"]]],
  ["apostrophes", "'a,''b'',c',d\n", { ...CSV, quote: "'", escape: "'" }, [["a,'b',c", "d"]]],
  ["backslashes, which mean nothing in CSV", "a\\,b\n", CSV, [["a\\", "b"]]],
  ["another delimiter and NULL", "a;-\n", { ...CSV, delimiter: ";", nullText: "-" }, [["a", null]]],
  ["quoted NULL, which is a text", '"-"\n', { ...CSV, nullText: "-" }, [["-"]]],
  ["TSV", 'a\t"b"\n\\N\t\n', TSV, [["a", '"b"'], [null, ""]]],
  ["escapes", "a\\tb\\nc\\\\N\\x41\\101\\q\t1\n", TSV, [["a\tb\nc\\NAAq", "1"]]],
];

for (const [what, text, dialect, expected] of CASES) {
  Deno.test(`records() reads ${what}`, () => assert.deepEqual([...records(text, dialect, true)], expected));
}

Deno.test("records() leaves out a record whose end has not arrived", () => {
  assert.deepEqual([...records('a,b\n"1,\n2', CSV, false)], [["a", "b"]]);
  assert.deepEqual([...records("a,b\n1,2", CSV, false)], [["a", "b"]]);
  assert.deepEqual([...records("", CSV, false)], []);
  assert.deepEqual([...records("", CSV, true)], []);
});

Deno.test("RecordReader finds the same records wherever the text is cut", () => {
  const text = '\ufeffa,"b\r\n""c"""\r\n6" x,\r\r"\\",2\n\n"end\nless"';
  const count = (last: boolean) => [...records(text, CSV, last)].length;
  for (let size = 1; size <= text.length; size++) {
    const reader = new RecordReader(CSV);
    const found: string[] = [];
    for (let at = 0; at < text.length; at += size) found.push(...reader.push(text.slice(at, at + size)));
    assert.equal(found.length, count(false), `by ${size}`);
    found.push(...reader.push("", true));
    assert.deepEqual(found, ['\ufeffa,"b\r\n""c"""', '6" x,', "", '"\\",2', "", '"end\nless"'], `by ${size}`);
  }
});

Deno.test("RecordReader refuses a quote that is never closed", () => {
  const reader = new RecordReader(CSV);
  assert.deepEqual(reader.push('a\n"b'), ["a"]);
  assert.throws(() => reader.push("\nc", true), /a quote is never closed/);
});

Deno.test("RecordReader reads a record of 100,000 chunks in linear time", () => {
  const reader = new RecordReader(CSV);
  reader.push('"');
  for (let chunk = 0; chunk < 100_000; chunk++) assert.deepEqual(reader.push("x".repeat(64)), []);
  assert.equal(reader.push('"', true)[0]!.length, 6_400_002);
});

const GUESSES: readonly (readonly [what: string, text: string, DialectGuess])[] = [
  ["plain CSV", "id,v\n1,a\n", {}],
  ["one column", "id\n1\n", {}],
  ["one column of sentences", "text\na; b\nc\n", {}],
  ["semicolons", "id;preis\n1;3,50\n2;4,25\n", { delimiter: ";" }],
  ["tabs", "id\tv\n1\ta,b\n", { delimiter: "\t" }],
  ["bars", "id|v\n1|a\n", { delimiter: "|" }],
  ["commas beside a semicolon in the header", "a;b,c\n1,2\n", {}],
  ["backslashes before quotes", 'id,said\n1,"say \\"hi, you\\""\n', { escape: "\\" }],
  ["backslashes that are text", 'id,path\n1,"C:\\"\n2,"D:\\x"\n', {}],
  ["apostrophes", "'id','v'\n'1','a,b'\n'2','it''s'\n", { quote: "'" }],
  ["apostrophes under a header without any", "a,b\n1,'x,y'\n2,'it''s'\n", { quote: "'" }],
  ["apostrophes around the first values only", "a,b\n'x,y',1\n'z',2\n", { quote: "'" }],
  ["words that begin with an apostrophe", "a,b\n1,'tis\n2,'twas\n", {}],
  ["an apostrophe in a name", "it's,b\n1,2\n", {}],
  ["rows of different lengths, which the server refuses", "id;a\n1;2;3\n", {}],
  ["blank lines", "id;v\n\n1;2\n\n", { delimiter: ";" }],
  ["semicolons and backslashes", 'id;v\n1;"a\\";b"\n', { delimiter: ";", escape: "\\" }],
];

for (const [what, text, expected] of GUESSES) {
  Deno.test(`detectDialect() detects the dialect of ${what}`, () => {
    const open = { delimiter: true, quote: true, escape: true };
    assert.deepEqual(detectDialect(text, true, CSV, open), expected);
  });
}

Deno.test("detectDialect() keeps the given options", () => {
  const open = { delimiter: false, quote: true, escape: true };
  assert.deepEqual(detectDialect("a;b\n1;2\n", true, CSV, open), {});
});
