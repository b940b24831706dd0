import assert from "node:assert/strict";
import { makeStoppable } from "../../src/kernel/await_rewrite.ts";
import { awaitCode, forAwaitCode } from "../../src/kernel/prelude.ts";

/** The code of a rewritten cell, with W for a wait and E for the iterable of a loop. */
function waited(code: string): string {
  const portable = code.includes("async");
  return makeStoppable(code, 7).replaceAll(awaitCode(7, portable), "W").replaceAll(forAwaitCode(7, portable), "E");
}

Deno.test("the operand of each await is found", () => {
  const cases: [code: string, becomes: string][] = [
    ["await x", "await W(x)"],
    ["await x.y?.z?.(1)?.[2]! as T", "await W(x.y?.z?.(1)?.[2]!) as T"],
    ["await x !== y", "await W(x) !== y"],
    ["await x! !== y", "await W(x!) !== y"],
    ["await x\n!y", "await W(x)\n!y"],
    ["(await f(u)).json()", "(await W(f(u))).json()"],
    ["await (await f(u)).json()", "await W((await W(f(u))).json())"],
    ["await await x", "await W(await W(x))"],
    ["await -await x", "await W(-await W(x))"],
    ["await new P((r) => t(r, 1))", "await W(new P((r) => t(r, 1)))"],
    [
      "await sql<{ n: number }>`SELECT ${await y} ${z}`.value() + 1",
      "await W(sql<{ n: number }>`SELECT ${await W(y)} ${z}`.value()) + 1",
    ],
    ["await f<A, B<(c: C) => D>>(1)", "await W(f<A, B<(c: C) => D>>(1))"],
    ["if (await a < b && await c > (d)) {}", "if (await W(a) < b && await W(c) > (d)) {}"],
    ["await a < b\nfoo > (c)", "await W(a) < b\nfoo > (c)"],
    ["await a <= b", "await W(a) <= b"],
    ["await x\n(y)\n`z`", "await W(x\n(y)\n`z`)"],
    ["await x // (y)\nz", "await W(x) // (y)\nz"],
    ["[...await x, await 1]", "[...await W(x), await W(1)]"],
    ["a ? await (b) : c", "a ? await W((b)) : c"],
    [
      "await all(xs.map(async (x) => {\n  return await x\n}))",
      "await W(all(xs.map(async (x) => {\n  return await W(x)\n})))",
    ],
    ["await /await x/.exec(y)", "await W(/await x/.exec(y))"],
    ["await using db = await open()", "await using db = await W(open())"],
    ["for await (const x of xs) await x", "for await (const x of E(xs)) await W(x)"],
    ["for await (const { a = [b] } of await f(of)) {}", "for await (const { a = [b] } of E(await W(f(of)))) {}"],
    ["for await (const of of of) {}", "for await (const of of E(of)) {}"],
    ["await import('x')", "await W(import('x'))"],
  ];
  for (const [code, becomes] of cases) {
    assert.equal(waited(code), becomes);
    assert.equal(makeStoppable(code, 7).split("\n").length, code.split("\n").length);
  }
});

Deno.test("ambiguous code is not changed", () => {
  const same = [
    "1 + 1",
    "awaits(x)",
    "a.await(x); ({ await: 1 })",
    "'await x'; `await x`; // await x",
    "await x++",
    "await async () => {}",
    "await a<b",
    "await a<<b",
    "class A { await(x) { return x } }",
    "interface A { await(): void }",
    'import { await as x } from "y"',
    "const p = <p>I await you</p>; await x",
    "if (a) {}\n<p>I await you</p>",
    "<A b={await x}/>",
    "if (a) /await x/.test(b)",
    "await x; 'not closed",
    "await (x",
    "await x)",
    "await",
  ];
  for (const code of same) assert.equal(waited(code), code);
});

Deno.test("(slow) a long cell takes linear time, however its awaits are nested", () => {
  const pieces = [["await ", ""], ["await f(", ")"], ["await a<", ""], ["`${await ", "}`"], [
    "for await (x of ",
    ") y;",
  ]];
  for (const [open, close] of pieces) {
    const cell = (times: number) => `${open!.repeat(times)}x${close!.repeat(times)}`;
    assert.equal(typeof makeStoppable(cell(60_000), 1), "string"); // quadratic time would take minutes
  }
});
