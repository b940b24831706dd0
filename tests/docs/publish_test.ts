import assert from "node:assert/strict";
import { ROOT } from "./support.ts";

Deno.test("what is published is the module and its documents, without slow types", async () => {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["publish", "--dry-run", "--allow-dirty", "--no-check"],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const said = new TextDecoder().decode(stderr);
  assert.ok(success, said);
  // These fetch a module only when it is used; its address is whole, so nothing needs to be rewritten.
  assert.deepEqual([...said.matchAll(/^warning.*\n.*--> (\S+?):/gm)].map(([, path]) => path), [
    `${ROOT}src/core/late.ts`,
    `${ROOT}src/settings/environment.ts`,
  ]);
  const files = [...said.matchAll(/file:\/\/(\S+) \(/g)].map(([, path]) =>
    decodeURIComponent(path!).slice(ROOT.length)
  );
  assert.ok(
    files.includes("mod.ts") && files.includes("deno.json") && files.includes("src/kernel/icons/logo-svg.svg"),
    said,
  );
  const extra = files.filter((file) =>
    !/^(src\/.+|(mod|offline)\.ts|deno\.json|README\.md|CHANGELOG\.md|SECURITY\.md|LICENSE)$/.test(file)
  );
  assert.deepEqual(extra, []);
});

Deno.test("actions are pinned by commit, and what connecting fetches by version", async () => {
  for await (const { name } of Deno.readDir(`${ROOT}.github/workflows`)) {
    const text = await Deno.readTextFile(`${ROOT}.github/workflows/${name}`);
    const used = [...text.matchAll(/uses: (?!\.\/)(\S+)/g)].map(([, action]) => action!);
    assert.deepEqual(used.filter((action) => !/@[0-9a-f]{40}$/.test(action)), [], name);
  }
  const { imports } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  for (const name of ["@std/dotenv", "@databricks/sdk-experimental"]) {
    assert.match(imports[name], /@\d+\.\d+\.\d+$/, name);
  }
});
