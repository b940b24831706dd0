import assert from "node:assert/strict";
import { importedSpecifiers, isUnexplained, parseFailure } from "../../src/kernel/failure.ts";
import { codeForChild, scriptOnly } from "../../src/kernel/magic.ts";
import { notebookFolder } from "../support/notebook.ts";
import { RawKernel } from "./raw_kernel.ts";

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

Deno.test("(slow) every thrown value has a readable traceback", async () => {
  await using folder = await notebookFolder();
  await using kernel = await RawKernel.start({ cwd: folder.path, env: { LAKEBASE_LOCAL: "1", NO_COLOR: "1" } });
  using frontend = await kernel.frontend();
  await frontend.execute("import { connect } from 'lakebase'; function fails() { throw new Error('mine') }");
  const cells: [code: string, trace: RegExp][] = [
    ['throw "text"', /^Error: text$/],
    ["throw { a: 1 }", /^Error: \[object Object\]$/],
    ["throw null", /^Error: null$/],
    ["await Promise.reject(7)", /^Error: 7$/],
    ["throw new Error('x')", /^Error: x\n {4}at <anonymous>:1:\d+$/],
    ["%%sql\nSELECT nope", /^LakebaseError[^]*LINE 1: SELECT nope\n +\^[^]*$/],
    ["%sql SELECT nope", /^LakebaseError[^]*LINE 1: SELECT nope\n +\^[^]*$/],
    ["%%sql --with nothing\nSELECT 1", /^LakebaseError[^\n]*no statement was saved as nothing[^\n]*$/],
    ["const db = await connect();\ndb.sql`SELECT nope`", /^LakebaseError[^]*LINE 1: SELECT nope\n +\^$/],
    ["%%sql\nSELECT ${fails()}", /^Error: mine\n {4}at fails \(<anonymous>:\d+:\d+\)\n/],
    ["const one = 1;\n\nconst rows = await %sql SELECT nope", /LINE 1: SELECT nope[^]*at async <anonymous>:\d+:\d+$/],
  ];
  for (const [code, trace] of cells) {
    const { reply, outputs } = await frontend.execute(code);
    const { ename, evalue, traceback } = outputs.at(-1)!.content as Record<string, string[]>;
    assert.match(traceback!.join("\n"), trace);
    assert.equal(/^ +at /m.test(traceback!.join("\n")), /at /.test(trace.source), code);
    assert.deepEqual([reply["ename"], reply["evalue"], reply["traceback"]], [ename, evalue, traceback], code);
  }
});
