import assert from "node:assert/strict";
import { fitWidth, textWidth } from "../../src/core/text.ts";

Deno.test("textWidth() counts columns as a terminal does", () => {
  const cases: [string, number][] = [
    ["", 0],
    ["abc", 3],
    ["é", 1],
    ["e\u0301", 1],
    ["東京", 4],
    ["ｱ", 1],
    ["Ａ", 2],
    ["한", 2],
    ["\u1112\u1161\u11ab", 2],
    ["、。「」", 8],
    ["😀", 2],
    ["👍🏽", 2],
    ["👩‍👩‍👧‍👦", 2],
    ["🇩🇪", 2],
    ["❤️", 2],
    ["❤", 1],
    ["1️⃣", 2],
    ["😀\uFE0E", 1],
    ["🏴󠁧󠁢󠁳󠁣󠁴󠁿", 2],
    ["a\u200Db", 2],
    ["𠀀", 2],
    ["…↵⇥", 3],
    ["Ω≈ç", 3],
    ["שלום", 4],
    ["สวัสดี", 4],
  ];
  for (const [text, expected] of cases) assert.equal(textWidth(text), expected, JSON.stringify(text));
});

Deno.test("fitWidth() cuts between characters and marks the cut", () => {
  assert.equal(fitWidth("abcdef", 6), "abcdef");
  assert.equal(fitWidth("abcdef", 5), "abcd…");
  assert.equal(fitWidth("abc", 6, true), "abc…");
  assert.equal(fitWidth("東京都", 4), "東…");
  assert.equal(fitWidth("👩‍👩‍👧👩‍👩‍👧", 3), "👩‍👩‍👧…");
  assert.equal(fitWidth("東", 1), "…");
});
