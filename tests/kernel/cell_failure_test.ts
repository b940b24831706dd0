import assert from "node:assert/strict";
import { hasNoReason, importedSpecifiers, parseFailure } from "../../src/kernel/cell_failure.ts";

Deno.test("why a cell does not parse is told with its line", async () => {
  const { ename, evalue, traceback } = (await parseFailure("const a: number = 1;\n\nlet b = = 2;"))!;
  assert.deepEqual([ename, evalue], ["SyntaxError", "Expression expected (line 3, column 9)"]);
  assert.deepEqual(traceback.slice(-2), ["3 | let b = = 2;", "  |         ~"]);
  assert.match((await parseFailure("foo(("))!.evalue, /line 1/);
  assert.match((await parseFailure(`${"// fill\n".repeat(200_000)})`))!.evalue, /line 200001/);
});

Deno.test("a cell that parses as the kernel parses has no failure", async () => {
  for (const code of ["await 1", "<number> 1", "<b>x</b>", "enum A { B }", "", "export const a = 1"]) {
    assert.equal(await parseFailure(code), undefined, code);
  }
});

Deno.test("of a cell that was rewritten only its own lines are named", async () => {
  const source = "%%sql\nlet b = = 2";
  assert.equal((await parseFailure("hidden();\nmore();\nlet b = = 2", source))!.evalue, "Expression expected (line 2)");
  const elsewhere = (await parseFailure("hidden((;", source))!;
  assert.deepEqual(elsewhere.traceback, ["SyntaxError: Expression expected"]);
});

Deno.test("static imports are found", () => {
  const code = `import a from "npm:a"; import 'b';
import { c,
  d } from "c"
  import type E from "e";
import * as f from "npm:a";
const g = await import("g"); // import h from "h"
import("i")`;
  assert.deepEqual(importedSpecifiers(code), ["npm:a", "b", "c"]);
});

Deno.test("the kernel's answer without a reason is known", () => {
  const reply = { status: "error", ename: "Error", evalue: "Execution failed", traceback: [] };
  assert.ok(hasNoReason(reply));
  assert.ok(!hasNoReason({ ...reply, traceback: ["Error: Execution failed"] })); // a cell's own
  assert.ok(!hasNoReason({ status: "ok" }));
});
