import assert from "node:assert/strict";
import { editorReply } from "../../src/kernel/completion.ts";
import { rewritten } from "../../src/kernel/rewrite.ts";

Deno.test("what is not SQL is left to the child", () => {
  for (const type of ["complete_request", "inspect_request", "is_complete_request", "history_request", undefined]) {
    assert.equal(editorReply(type, { code: "const a = 1", cursor_pos: 3 }, undefined), undefined, type);
    assert.equal(editorReply(type, { code: 5, cursor_pos: "a" }, undefined), undefined, type);
  }
});

Deno.test("in SQL the reply has the form that Jupyter wants", () => {
  const reply = editorReply("complete_request", { code: "%%sql\nSELEC", cursor_pos: 11 }, undefined)!;
  assert.equal(reply.type, "complete_reply");
  const { status, matches, cursor_start, cursor_end } = reply.content;
  assert.deepEqual([status, matches, cursor_start, cursor_end], ["ok", ["SELECT"], 6, 11]);
});

Deno.test("in a console, SQL goes on until a semicolon or a blank line", () => {
  const cases: [code: string, status: string][] = [
    ["%%sql", "incomplete"],
    ["%%sql\nSELECT 'it", "incomplete"],
    ["%%sql\nSELECT 1;", "complete"],
    ["%%sql\nSELECT 1\n\n", "complete"],
    ["%%sql?", "complete"],
    ["-- c\n%%sql\nSELECT", "incomplete"],
    ["// c\n/* d */ %%sql\nSELECT 1;", "complete"],
  ];
  for (const [code, status] of cases) {
    assert.equal(editorReply("is_complete_request", { code }, undefined)!.content["status"], status, code);
  }
});

Deno.test("what needs no child is given to it as a cell that prints or fails", () => {
  assert.equal(rewritten("1 + 1", "m"), "1 + 1");
  assert.match(rewritten("%lsmagic", "m"), /^console\.log\("%s", "%%sql/);
  assert.match(rewritten("%%nothing", "m"), /\.refuse\("UsageError", "Cannot run the cell: /);
  assert.match(rewritten("%%sql\nSELECT 1", "file:///mod.ts"), /file:\/\/\/mod\.ts/);
});
