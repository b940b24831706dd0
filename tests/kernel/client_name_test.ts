import assert from "node:assert/strict";
import { RawKernel } from "./raw_kernel.ts";

async function folderOf(files: Record<string, string>): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "lakebase-notebooks-" }));
  for (const [name, text] of Object.entries(files)) {
    await Deno.mkdir(`${path}/${name}`.replace(/[^/]*$/, ""), { recursive: true });
    await Deno.writeTextFile(`${path}/${name}`, text);
  }
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** The outcome of each cell: its drawing as text, or its error. */
async function run(cwd: string, cells: readonly string[]): Promise<string[]> {
  await using kernel = await RawKernel.start({ cwd, env: { NO_COLOR: "1", LAKEBASE_LOCAL: "1" } });
  using frontend = await kernel.frontend();
  const shown: string[] = [];
  for (const cell of cells) {
    const { reply, outputs } = await frontend.execute(cell);
    const data = outputs.find(({ type }) => type === "execute_result")?.content["data"] as Record<string, string>;
    shown.push(reply["status"] === "ok" ? data?.["text/plain"] ?? "" : `${reply["ename"]}: ${reply["evalue"]}`);
  }
  return shown;
}

Deno.test("(slow) a notebook in any folder can import lakebase and the files beside it", async () => {
  await using folder = await folderOf({
    "here.ts": 'export * from "./deeper/there.ts";',
    "deeper/there.ts": "export const there = import.meta.url;",
  });
  const shown = await run(folder.path, [
    'import { connect, sql } from "lakebase"; import { startLocal } from "lakebase/local"; typeof startLocal',
    'import { there } from "./here.ts"; there',
    '(await import("./deeper/there.ts")).there',
    "Deno.cwd()",
    "const db = await connect({ local: true }); await sql`SELECT 7 AS n`.value()",
    '(await sql`SELECT 7 AS n`.pull("seven.parquet")).rows',
    'String(await sql`SELECT 7 AS n`.plot({ x: "n" }) !== undefined)',
    "%%sql\nSELECT 8 AS n",
  ]);
  const there = new URL(`file://${folder.path}/deeper/there.ts`).href;
  assert.deepEqual(shown.slice(0, 7).map((text) => text.replaceAll('"', "")), [
    ...["function", there, there, folder.path, "7", "1", "true"],
  ]);
  assert.match(shown[7]!, / 8\n\(1 row/);
  const names = (await Array.fromAsync(Deno.readDir(folder.path))).map(({ name }) => name).toSorted();
  assert.deepEqual(names, ["deeper", "here.ts", "seven.parquet"]); // and no lock file
});

Deno.test("(slow) a notebook's own import map takes precedence, and needs no lakebase", async () => {
  const own = { "own.ts": "export const own = 42;" };
  await using folder = await folderOf({ ...own, "deno.json": '{ "imports": { "own": "./own.ts" } }' });
  const shown = await run(folder.path, [
    'import { own } from "own"; own',
    'import { sql } from "lakebase"; typeof sql',
    'await import("lakebase/nope")',
    'import { x } from "./lakebase"; 1',
    "%%sql\nSELECT 8 AS n",
  ]);
  assert.deepEqual(shown.slice(0, 2), ["42", '"function"']);
  for (const missing of shown.slice(2, 4)) assert.match(missing, /^TypeError: /);
  assert.match(shown[4]!, / 8\n\(1 row/);
  await using mapped = await folderOf({ ...own, "deno.json": '{ "imports": { "lakebase": "./own.ts" } }' });
  assert.deepEqual(await run(mapped.path, ['import { own } from "lakebase"; own']), ["42"]);
});
