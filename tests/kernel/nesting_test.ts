import assert from "node:assert/strict";
import { MAX_NESTING, nestsTooDeep } from "../../src/kernel/magic.ts";
import { RawKernel } from "./raw_kernel.ts";

function nested(depth: number, open = "[", close = "]"): string {
  return `let z = ${open.repeat(depth)}1${close.repeat(depth)}; 1`;
}

Deno.test("brackets that are nested too deep are distinguished from many brackets and from text", () => {
  assert.ok(nestsTooDeep(nested(MAX_NESTING + 1)));
  assert.ok(nestsTooDeep(nested(MAX_NESTING + 1, "`${", "}`")));
  assert.ok(!nestsTooDeep(nested(MAX_NESTING)));
  assert.ok(!nestsTooDeep("[1],".repeat(MAX_NESTING * 3)));
  assert.ok(!nestsTooDeep(`"${"[".repeat(MAX_NESTING * 3)}"`));
  assert.ok(nestsTooDeep("[".repeat(5e6)));
});

Deno.test("(slow) no cell is nested so deep or is so long that it ends the kernel", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  await frontend.execute("let kept = 42");
  const cells: [code: string, says: RegExp][] = [
    [nested(1000), /^undefined$/],
    [`1${"+1".repeat(5000)}`, /^undefined$/],
    [`globalThis${".globalThis".repeat(20_000)};`, /call stack/],
    [nested(4000), /call stack/],
    [`await 1; ${nested(4000)}`, /call stack/],
    [nested(30_000), /nested too deep; the maximum is 5000/],
    [`%%sql\nSELECT \${${"(".repeat(30_000)}1${")".repeat(30_000)}}`, /nested too deep/],
  ];
  for (const [code, says] of cells) {
    assert.match(String((await frontend.execute(code)).reply["evalue"]), says, code.slice(0, 40));
    assert.match(JSON.stringify((await frontend.execute("kept")).outputs.at(-1)!.content), /42/);
  }
  const { outputs } = await frontend.execute('Deno.env.has("RUST_MIN_STACK")'); // not for what cells start
  assert.match(JSON.stringify(outputs.at(-1)!.content), /false/);
});
