import assert from "node:assert/strict";
import { EndMark } from "../../src/transfer/end_mark.ts";

/** Where data would be dropped, with the text cut into pieces of a length. */
function found(text: string, quotes: boolean, length: number): number | undefined {
  const mark = new EndMark(quotes);
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += length) {
    const line = mark.push(bytes.subarray(at, at + length));
    if (line !== undefined) return line;
  }
  return mark.end();
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

Deno.test("EndMark finds the line after which PostgreSQL reads no more, wherever the bytes are cut", () => {
  for (const [text, csv, tsv] of CASES) {
    for (let length = 1; length <= text.length + 1; length++) {
      assert.equal(
        found(text, true, length) !== undefined,
        csv !== undefined,
        `CSV ${JSON.stringify(text)} by ${length}`,
      );
      assert.equal(
        found(text, false, length) !== undefined,
        tsv !== undefined,
        `TSV ${JSON.stringify(text)} by ${length}`,
      );
    }
    assert.equal(found(text, true, 100), csv, JSON.stringify(text));
    assert.equal(found(text, false, 100), tsv, JSON.stringify(text));
  }
});

Deno.test("EndMark counts the lines that are not inside of quotes", () => {
  const mark = new EndMark(true);
  mark.push(new TextEncoder().encode('a,b\n"1\n2",3\n4,5\n'));
  assert.equal(mark.lines, 3);
});
