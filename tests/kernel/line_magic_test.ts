import assert from "node:assert/strict";
import { UsageError } from "../../src/kernel/failure.ts";
import { lineMagics } from "../../src/kernel/line_magic.ts";
import { rewriteCell } from "../../src/kernel/magic.ts";

/** The use of each magic's result in a cell. */
function uses(cell: string): string[] {
  return lineMagics(cell).map(({ use }) => use);
}

Deno.test("the error of %sql in a function that is not async names the function and the solution", () => {
  const cases: [cell: string, line: number, write: string][] = [
    ["[1, 2].map((x) => %sql SELECT 1)", 1, "(x) =>"],
    ["function ff() { const q = %sql SELECT 1 AS a\n return q }", 1, "function ff()"],
    ["\nconst f = x => %sql SELECT 1", 2, "x =>"],
    ["const f = <T>(x: T): Promise<T[]> => %sql SELECT 1", 1, "<T>(x: T): Promise<T[]> =>"],
    ["const f = (x) => {\n  if (x) { return %sql SELECT 1\n }\n}", 2, "(x) =>"],
    ["function* g(a = {}) { yield %sql SELECT 1\n}", 1, "function* g(a = {})"],
    ["function f(): Promise<{ a: number }> { return %sql SELECT 1\n}", 1, "function f(): Promise<{ a: number }>"],
    ["run(function () { %sql SELECT 1\n})", 1, "function ()"],
    ["class A {\n  async m() {}\n  load(a, b) { return %sql SELECT 1\n }\n}", 3, "load(a, b)"],
    ["const o = { load() { return %sql SELECT 1\n } }", 1, "load()"],
    ["const f = async () => [1].map((x) => f(x, %sql SELECT 1))", 1, "(x) =>"],
    ["const s = `${(() => %sql SELECT 1)()}`", 1, "() =>"],
  ];
  for (const [cell, line, write] of cases) {
    assert.deepEqual(rewriteCell(cell, { module: "" }), {
      kind: "error",
      name: "UsageError",
      message: `Cannot run the cell: %sql on line ${line} is in a function that is not async; write async ${write} …`,
    }, cell);
  }
});

Deno.test("%sql is valid in an async function, and after one that is not async", () => {
  const cells = [
    "const f = async (x) => %sql SELECT 1",
    "const f = async x => %sql SELECT 1",
    "const f = async <T>(x: T): Promise<T> => %sql SELECT 1",
    "const f = async (x): Promise<{ a: number }> => {\n  return %sql SELECT 1\n}",
    "async function f(): Promise<void> {\n  %sql SELECT 1\n}",
    "async function* f() {\n  %sql SELECT 1\n}",
    "class A { static async *load() { yield %sql SELECT 1\n } async other() { return %sql SELECT 1\n } }",
    "[1].map((x) => async () => %sql SELECT 1)",
    "const f = (x) => x + 1\n%sql SELECT 1",
    "const f = (x) => x\nconst y = %sql SELECT 1",
    "const f = (x) => x, y = %sql SELECT 1",
    "const f = (x) => { return { x } }\n%sql SELECT 1",
    "function f() { return 1 }\nif (f()) {\n  %sql SELECT 1\n}",
    "f((x) => x, %sql SELECT 1)",
    "for await (const a of b) { %sql SELECT 1\n}",
    "switch (a) { case (1): { %sql SELECT 1\n} }",
    "const a = b ? f(c) : d\ntry {\n  %sql SELECT 1\n} catch (e) { %sql SELECT 2\n}",
    "f(x)\n{ %sql SELECT 1\n}",
    "const f: (x: number) => void = g\n%sql SELECT 1",
    "do {\n  %sql SELECT 1\n} while (f())",
  ];
  for (const cell of cells) assert.ok(uses(cell).length > 0, cell);
});

Deno.test("an operator follows i++ and i!, and a statement follows the head of a statement", () => {
  const cases: [cell: string, uses: string[]][] = [
    ["i++ %sql", []],
    ["i-- %sql", []],
    ["i! %sql", []],
    ["a.of %sql", []],
    ["a?.delete %sql", []],
    ["a + +%sql SELECT 1", ["value"]],
    ["a + ++b %sql", []],
    ["a+++%sql SELECT 1", ["value"]],
    ["!%sql SELECT 1", ["value"]],
    ["a != %sql SELECT 1", ["value"]],
    ["f(...await %sql SELECT 1)", ["value"]],
    ["if (a) %sql SELECT 1", ["draw"]],
    ["for (;;) %sql SELECT 1", ["draw"]],
    ["while (a)\n  %sql SELECT 1", ["draw"]],
    ["f(a) %sql", []],
  ];
  for (const [cell, expected] of cases) assert.deepEqual(uses(cell), expected, cell);
});

Deno.test("a backtick that begins no template hides no magic after it", () => {
  const cases: [cell: string, uses: string[]][] = [
    ["if (s1) /`/.test(s1)\n%sql SELECT 1", ["draw"]],
    ["while (f(s1)) /[`]/.test(s1)\n%sql SELECT 1", ["draw"]],
    ["const p = <p>Don`t</p>\n%sql SELECT 1", ["draw"]],
    ["const p = <p>Don`t</p>;\nconst q = <p>Won't</p>;\n%sql SELECT 1\nconst n = %sql SELECT 2", ["show", "value"]],
    ["(a) /`/ 2;\n%sql SELECT 1`", []], // a division, and a template
    ["`a\n%sql SELECT 1\n`", []],
  ];
  for (const [cell, expected] of cases) assert.deepEqual(uses(cell), expected, cell);
});

Deno.test("(slow) lineMagics() takes linear time", () => {
  for (const part of ["`", "\\`\n", "(", "x => ", "{", "f() {", "a): b ", "<", "if (/", "++", "`${", "=>{}"]) {
    const cell = `${part.repeat(500_000 / part.length)}\n%sql`;
    try {
      assert.ok(lineMagics(cell).length <= 1); // quadratic time would take minutes
    } catch (error) {
      assert.ok(error instanceof UsageError, part);
    }
  }
});
