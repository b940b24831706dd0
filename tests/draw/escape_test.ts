import assert from "node:assert/strict";
import { escapeHtml, escapeMarked, visible } from "../../src/draw/escape.ts";

Deno.test("visible() shows every character that hides or reorders text", () => {
  const unseen = [
    [0x00, 0x08],
    [0x0b, 0x1f],
    [0x7f, 0x9f],
    [0x061c, 0x061c],
    [0x200b, 0x200b],
    [0x200e, 0x200f],
    [0x202a, 0x202e],
    [0x2060, 0x206f],
    [0xfeff, 0xfeff],
    [0xfff9, 0xfffb],
  ];
  for (const [first = 0, last = 0] of unseen) {
    for (let code = first; code <= last; code++) {
      const name = `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
      assert.equal(visible(`a${String.fromCharCode(code)}b`), `a<${name}>b`);
      assert.equal(escapeHtml(String.fromCharCode(code), { lines: true }), `&lt;${name}&gt;`);
    }
  }
});

Deno.test("visible() keeps the characters that scripts and emoji need, and replaces invalid Unicode", () => {
  for (const text of ["👩‍👩‍👧", "❤️", "नमस्\u200cते", "e\u0301", "שלום", "\u00a0"]) assert.equal(visible(text), text);
  assert.equal(visible("a\ud800b\udc00"), "a\ufffdb\ufffd");
});

Deno.test("escapeMarked() marks line ends and tabs, or leaves them to the layout", () => {
  assert.equal(escapeMarked("a\r\nb\n\tc\u2029"), "a<i>↵</i>b<i>↵</i><i>⇥</i>c<i>↵</i>");
  assert.equal(escapeMarked("a\r\nb\n\tc\u2029", { lines: true }), "a\nb\n\tc\n");
  assert.equal(escapeMarked("&<>\"'`"), "&amp;&lt;&gt;&quot;&#39;&#96;");
});
