import assert from "node:assert/strict";
import { scanDelimited } from "../../../src/transfer/load/delimited_copy.ts";
import { usualDialect } from "../../../src/transfer/load/dialect.ts";

/** The line at which data would be lost in a text that is cut into chunks of a given length. */
function faultLine(text: string, quotes: boolean, length: number): number | undefined {
  const scan = scanDelimited(usualDialect(quotes), false);
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += length) {
    const sent = scan.push(bytes.subarray(at, at + length));
    if (!(sent instanceof Uint8Array)) return sent.line;
  }
  return scan.end()?.line;
}

const CASES: readonly (readonly [text: string, csv: number | undefined, tsv: number | undefined])[] = [
  ["a\nb\n", undefined, undefined],
  ["", undefined, undefined],
  ["a\n\\.\nb\n", 2, 2],
  ["a\r\n\\.\r\nb\r\n", 2, 2],
  ["a\n\\.\n", 2, undefined],
  ["a\n\\.", 2, undefined],
  ["\\.\nb\n", 1, 1],
  ["a\n\\.b\nb\\.\n\\\\.\n.\n\\\n", undefined, undefined],
  ['"\n\\.\n"\nb\n', undefined, 2],
  ['a\n"\\."\nb\n', undefined, undefined],
];

Deno.test("scanDelimited() finds the line after which PostgreSQL reads no more, wherever the bytes are cut", () => {
  for (const [text, csv, tsv] of CASES) {
    for (let length = 1; length <= text.length + 1; length++) {
      assert.equal(
        faultLine(text, true, length) !== undefined,
        csv !== undefined,
        `CSV ${JSON.stringify(text)} by ${length}`,
      );
      assert.equal(
        faultLine(text, false, length) !== undefined,
        tsv !== undefined,
        `TSV ${JSON.stringify(text)} by ${length}`,
      );
    }
    assert.equal(faultLine(text, true, 100), csv, JSON.stringify(text));
    assert.equal(faultLine(text, false, 100), tsv, JSON.stringify(text));
  }
});

Deno.test("scanDelimited() counts only the line ends outside quotes", () => {
  const scan = scanDelimited(usualDialect(true), false);
  scan.push(new TextEncoder().encode('a,b\n"1\n2",3\n4,5\n'));
  assert.equal(scan.lines, 3);
});

Deno.test("after a backslash before a line end, the lines that the server counts are unknown, wherever the bytes are cut", () => {
  const bytes = new TextEncoder().encode("a\nb\\\nc\n");
  for (let cut = 0; cut <= bytes.length; cut++) {
    const scan = scanDelimited(usualDialect(false), false);
    scan.push(bytes.subarray(0, cut));
    scan.push(bytes.subarray(cut));
    assert.equal(scan.serverLines, undefined, `cut at ${cut}`);
  }
});

/** The text that is sent for a text that is cut into chunks of a given length. */
function sent(text: string, length: number, escape = '"'): string {
  const scan = scanDelimited({ ...usualDialect(true), escape }, false);
  const bytes = new TextEncoder().encode(text);
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += length) {
    const chunk = scan.push(bytes.subarray(at, at + length));
    assert.ok(chunk instanceof Uint8Array);
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Uint8Array.from(chunks.flatMap((chunk) => [...chunk])));
}

const KEPT: readonly (readonly [text: string, sent: string])[] = [
  ['id,v\n1,6" x\n', 'id,v\n1,6"""" x\n'],
  ['1,"6"" x"\n2,""\n', '1,"6"" x"\n2,""\n'],
  ['{"a": 1},2\n', '{""""a"""": 1},2\n'],
  ['1, "a,b"\n', '1, "a,b"\n'],
  ['  \n "a"\n', '  \n "a"\n'],
  ['"a" b"c",d\n', '"a" b""""c"""",d\n'],
  ['6"" x,7"""\n', '6"""""" x,7""""""""\n'],
  ['"a\n6"" x",1\n6",2', '"a\n6"" x",1\n6"""",2'],
];

Deno.test("scanDelimited() keeps quotes that are part of the text, wherever the bytes are cut", () => {
  for (const [text, expected] of KEPT) {
    for (let length = 1; length <= text.length; length++) {
      assert.equal(sent(text, length), expected, `${JSON.stringify(text)} by ${length}`);
    }
  }
  assert.equal(sent('1,6" x,"a\\"b"\n', 3, "\\"), '1,6"\\"" x,"a\\"b"\n');
});

Deno.test("scanDelimited() finds a backslash that may escape a quote, wherever the bytes are cut", () => {
  const text = new TextEncoder().encode('id,v\n1,"C:\\"\n2,"say \\"hi\\""\n');
  for (let length = 1; length <= text.length; length++) {
    for (const isKnown of [false, true]) {
      const scan = scanDelimited(usualDialect(true), isKnown);
      const faults: unknown[] = [];
      for (let at = 0; at < text.length && faults.length === 0; at += length) {
        const sent = scan.push(text.subarray(at, at + length));
        if (!(sent instanceof Uint8Array)) faults.push(sent);
      }
      assert.deepEqual(faults, isKnown ? [] : [{ line: 3, what: "escape" }], `by ${length}`);
    }
  }
});
