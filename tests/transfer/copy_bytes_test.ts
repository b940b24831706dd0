import assert from "node:assert/strict";
import { CopyBytes } from "../../src/transfer/copy_bytes.ts";
import { CopyTextWriter } from "../../src/transfer/copy_text.ts";

const refuse = (row: number, column: number, state: string) => new RangeError(`${row}/${column} ${state}`);
const utf8 = (text: string) => new TextEncoder().encode(text);
const string = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

const TEXTS = ["", "Harlem", "a\tb", "a\nb\r\n", "\\N", "\\.", "\\", "é😀\u2028", "\b\f\v\u0001\u007f", "\ufeffx"];

Deno.test("values that are bytes are written as those that are text", () => {
  const texts = new CopyTextWriter(refuse);
  const bytes = new CopyBytes(refuse);
  for (const text of TEXTS) {
    for (let column = 0; column < 3; column++) texts.add(text);
    const around = utf8(`<${text}>`);
    bytes.utf8(around, 1, around.length - 1);
    bytes.text(text);
    bytes.utf8(utf8(text), 0, utf8(text).length);
    for (const writer of [texts, bytes]) writer.endRow();
  }
  assert.equal(string(bytes.take()), string(texts.take()));
  assert.equal(bytes.rows, TEXTS.length);
});

Deno.test("NULL and numbers are written as they are", () => {
  const bytes = new CopyBytes(refuse);
  for (const text of ["\\N", "-1.50", ""]) bytes.plain(text);
  bytes.endRow();
  assert.equal(string(bytes.take()), "\\N\t-1.50\t\n");
  assert.equal(string(bytes.take()), "");
});

Deno.test("what was taken stays as it is, and a value may be longer than all before", () => {
  const bytes = new CopyBytes(refuse);
  const taken: Uint8Array[] = [];
  const wanted: string[] = [];
  for (const length of [1, 16_384, 16_385, 70_000, 1_000_000, 3]) {
    for (const text of ["x".repeat(length), "\\".repeat(length), "\n".repeat(length)]) {
      bytes.utf8(utf8(text), 0, length);
      bytes.plain("7".repeat(length));
      bytes.endRow();
      wanted.push(`${text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\t${"7".repeat(length)}\n`);
      if (bytes.full) taken.push(bytes.take());
    }
  }
  taken.push(bytes.take());
  assert.ok(taken.length > 5);
  assert.ok(taken.map(string).join("") === wanted.join(""));
});

Deno.test("a zero is refused with its row and its column", () => {
  const bytes = new CopyBytes(refuse);
  bytes.plain("1");
  bytes.endRow();
  bytes.plain("2");
  assert.throws(() => bytes.text("a\0b"), { message: /^2\/1 has a zero character/ });
});
