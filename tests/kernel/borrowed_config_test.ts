import assert from "node:assert/strict";
import { borrowConfig } from "../../src/kernel/borrowed_config.ts";
import { RawKernel } from "./raw_kernel.ts";

const CLIENT = new URL("../../mod.ts", import.meta.url).href;

async function folderOf(files: Record<string, string>): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "lakebase-notebooks-" }));
  for (const [name, text] of Object.entries(files)) {
    await Deno.mkdir(`${path}/${name}`.replace(/[^/]*$/, ""), { recursive: true });
    await Deno.writeTextFile(`${path}/${name}`, text);
  }
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

Deno.test("a notebook borrows the checkout's import map where no folder above it has a configuration", async () => {
  await using folder = await folderOf({ "bare/a.ts": "", "deno/deno.jsonc": "{}", "node/package.json": "{}" });
  const borrows = async (at: string, client = CLIENT) => {
    await Deno.mkdir(`${folder.path}/${at}`, { recursive: true });
    await using config = await borrowConfig(client, `${folder.path}/${at}`);
    return config.cwd !== undefined;
  };
  assert.equal(await borrows("bare"), true);
  assert.equal(await borrows("bare/deeper/still"), true);
  for (const own of ["deno", "deno/deeper", "node", "node/deeper"]) assert.equal(await borrows(own), false, own);
  assert.equal(await borrows("bare", "https://example.com/mod.ts"), false);
});

Deno.test("what is borrowed has the checkout's lock file, and is gone afterwards", async () => {
  await using folder = await folderOf({});
  const config = await borrowConfig(CLIENT, folder.path);
  const names = (await Array.fromAsync(Deno.readDir(config.cwd!))).map(({ name }) => name).toSorted();
  assert.deepEqual(names, ["deno.json", "deno.lock"]);
  await config[Symbol.asyncDispose]();
  await config[Symbol.asyncDispose]();
  await assert.rejects(Deno.stat(config.cwd!), Deno.errors.NotFound);
});

/** What each cell ends in: what it shows as text, or its error. */
async function run(cwd: string, cells: readonly string[]): Promise<string[]> {
  await using temporary = await folderOf({});
  const env = { NO_COLOR: "1", LAKEBASE_LOCAL: "1", TMPDIR: temporary.path };
  const kernel = await RawKernel.start({ cwd, env });
  using frontend = await kernel.frontend();
  const shown: string[] = [];
  for (const cell of cells) {
    const { reply, outputs } = await frontend.execute(cell);
    const data = outputs.find(({ type }) => type === "execute_result")?.content["data"] as Record<string, string>;
    shown.push(reply["status"] === "ok" ? data?.["text/plain"] ?? "" : `${reply["ename"]}: ${reply["evalue"]}`);
  }
  await kernel[Symbol.asyncDispose]();
  const left = (await Array.fromAsync(Deno.readDir(temporary.path))).map(({ name }) => name);
  assert.deepEqual(left.filter((name) => name.startsWith("lakebase-config-")), []);
  return shown;
}

Deno.test("a notebook in any folder finds lakebase, and what is beside it", async () => {
  await using folder = await folderOf({
    "here.ts": 'export * from "./deeper/there.ts"; export { connect } from "lakebase";',
    "deeper/there.ts": "export const there = import.meta.url;",
  });
  const shown = await run(folder.path, [
    'import { connect, sql } from "lakebase"; import { startLocal } from "lakebase/local"; typeof startLocal',
    'import { connect as same, there } from "./here.ts"; `${same === connect} ${there}`',
    '(await import("./deeper/there.ts")).there',
    "Deno.cwd()",
    "const db = await connect({ local: true }); await sql`SELECT 7 AS n`.value()",
    '(await sql`SELECT 7 AS n`.pull("seven.parquet")).rows',
    'String(await sql`SELECT 7 AS n`.plot({ x: "n" }) !== undefined)',
    "%%sql\nSELECT 8 AS n",
  ]);
  const there = new URL(`file://${folder.path}/deeper/there.ts`).href;
  assert.deepEqual(shown.slice(0, 7).map((text) => text.replaceAll('"', "")), [
    ...["function", `true ${there}`, there, folder.path, "7", "1", "true"],
  ]);
  assert.match(shown[7]!, / 8\n\(1 row/);
  const names = (await Array.fromAsync(Deno.readDir(folder.path))).map(({ name }) => name).toSorted();
  assert.deepEqual(names, ["deeper", "here.ts", "seven.parquet"]); // and no lock file
});

Deno.test("a notebook's own configuration wins, and where it has no lakebase the error tells what to do", async () => {
  await using folder = await folderOf({
    "deno.json": '{ "imports": { "own": "./own.ts" } }',
    "own.ts": "export const own = 42;",
    "other.ts": 'export * from "lakebase";',
  });
  const [own, named, local, ...others] = await run(folder.path, [
    'import { own } from "own"; own',
    'import { sql } from "lakebase"; 1',
    'await import("lakebase/local")',
    'import { x } from "./lakebase"; 1',
    "%%sql\nSELECT 1",
  ]);
  const advice =
    /The notebook's deno\.json has to name lakebase: by \{"importMap":"file:\S*deno\.json"\}, or in its own/;
  assert.equal(own, "42");
  for (const error of [named!, local!]) {
    assert.match(error, /^TypeError: Cannot import lakebase: no import map has it\./);
  }
  for (const error of [named!, local!, others[1]!]) assert.match(error, advice);
  assert.doesNotMatch(others[0]!, advice);
  await using mapped = await folderOf({
    "deno.json": JSON.stringify({ importMap: new URL("deno.json", CLIENT).href, lock: false }),
  });
  assert.deepEqual(await run(mapped.path, ['import { sql } from "lakebase"; typeof sql']), ['"function"']);
});
