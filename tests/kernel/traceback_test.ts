import assert from "node:assert/strict";
import { RawKernel } from "./raw_kernel.ts";
import { notebookFolder } from "../support/notebook.ts";

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
