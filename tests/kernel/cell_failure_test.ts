import assert from "node:assert/strict";
import { importedSpecifiers, isUnexplained, parseFailure } from "../../src/kernel/failure.ts";
import { codeForChild, scriptOnly } from "../../src/kernel/magic.ts";

Deno.test("a syntax error has its line", async () => {
  const { ename, evalue, traceback } = (await parseFailure("const a: number = 1;\n\nlet b = = 2;"))!;
  assert.deepEqual([ename, evalue], ["SyntaxError", "Expression expected (line 3, column 9)"]);
  assert.deepEqual(traceback.slice(-2), ["3 | let b = = 2;", "  |         ~"]);
  assert.match((await parseFailure("foo(("))!.evalue, /line 1/);
  assert.match((await parseFailure(`${"// fill\n".repeat(200_000)})`))!.evalue, /line 200001/);
});

Deno.test("a cell that the kernel can parse has no failure", async () => {
  for (const code of ["await 1", "<number> 1", "<b>x</b>", "enum A { B }", "", "export const a = 1"]) {
    assert.equal(await parseFailure(code), undefined, code);
  }
});

Deno.test("an error in ${} or around %sql has its position in the cell", async () => {
  const cases: [cell: string, evalue: string, excerpt: string][] = [
    ["%%sql\nSELECT ${1 +} AS x", "Expression expected (line 2, column 13)", "2 | SELECT ${1 +} AS x"],
    [
      "-- c\n%%sql db << --limit 2\nSELECT 1,\n  ${a // c\n}, ${b c}",
      "Expected ',', got 'c' (line 5, column 8)",
      "5 | }, ${b c}",
    ],
    [
      "const c = true ? %sql SELECT 1 AS a : null",
      "Expected ':', got '<eof>' (line 1, column 16)",
      "1 | const c = true ? %sql SELECT 1 AS a : null",
    ],
    ["let a = %sql SELECT ${1}\nlet b = = 2;", "Expression expected (line 2, column 9)", "2 | let b = = 2;"],
    ["f(%sql SELECT 1)\n%sql SELECT ${f g}", "Expected ',', got 'g' (line 2, column 17)", "2 | %sql SELECT ${f g}"],
  ];
  for (const [cell, evalue, excerpt] of cases) {
    const failure = await parseFailure(codeForChild(cell, "file:///mod.ts"), cell);
    assert.equal(failure?.evalue, evalue, cell);
    assert.ok(failure.traceback.includes(excerpt), failure.traceback.join("\n"));
  }
});

Deno.test("the script of a cell is its TypeScript at its original positions", () => {
  const cases: [cell: string, script: string][] = [
    ["// c\n%%sql db\r\nSELECT ${a}, '1' -- ${b}", "    \n$$sql   \r\n       +(a)             "],
    ["let a = %sql SELECT ${ b }\nf(%sql SELECT 1)", "let a = $sql        +( b )\nf($sql         )"],
    ["%sql \\d t\n1", "$sql     \n1"],
    ["1", "1"],
  ];
  for (const [cell, script] of cases) assert.equal(scriptOnly(cell), script, cell);
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

Deno.test("the kernel's error without a reason is recognized", () => {
  const reply = { status: "error", ename: "Error", evalue: "Execution failed", traceback: [] };
  assert.ok(isUnexplained(reply));
  assert.ok(!isUnexplained({ ...reply, traceback: ["Error: Execution failed"] })); // a cell's own
  assert.ok(!isUnexplained({ status: "ok" }));
});
