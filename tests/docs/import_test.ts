import assert from "node:assert/strict";
import { serveDir } from "./serve_checkout.ts";
import { ROOT, temporary } from "./support.ts";

/** Uses both workers, which are the part that a module's address matters to. */
const SCRIPT = `
await using db = await connect({ local: true });
await db.load("trips", [{ id: 1 }, { id: 2 }], { create: true });
await db.pull("trips", "trips.parquet");
const { rows } = await db.load("trips", "trips.parquet");
console.log(rows, await db.sql\`SELECT count(*) FROM trips\`.value());
`;

async function run(folder: string, script: string, flags: string[] = []): Promise<string> {
  await Deno.writeTextFile(`${folder}/script.ts`, script);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--no-lock", ...flags, "script.ts"],
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  return new TextDecoder().decode(success ? stdout : stderr);
}

Deno.test("the module is imported by its path, with the checkout's configuration", async () => {
  await using folder = await temporary();
  const script = `import { connect } from "${ROOT}mod.ts";${SCRIPT}`;
  assert.equal(await run(folder.path, script, [`--config=${ROOT}deno.json`]), "2 4\n");
  assert.match(await run(folder.path, script), /not a dependency/);
});

Deno.test("a folder elsewhere gets the module by a deno.json of one line", async () => {
  await using folder = await temporary();
  await Deno.writeTextFile(`${folder.path}/deno.json`, JSON.stringify({ importMap: `${ROOT}deno.json` }));
  assert.equal(await run(folder.path, `import { connect } from "lakebase";${SCRIPT}`), "2 4\n");
});

Deno.test("the module is imported from a web server, with the checkout's imports", async () => {
  await using folder = await temporary();
  await using server = serveDir(ROOT);
  const { imports } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  const own = { lakebase: `${server.origin}mod.ts`, "lakebase/local": `${server.origin}src/local/mod.ts` };
  await Deno.writeTextFile(`${folder.path}/deno.json`, JSON.stringify({ imports: { ...imports, ...own } }));
  assert.equal(await run(folder.path, `import { connect } from "lakebase";${SCRIPT}`), "2 4\n");
});
