import assert from "node:assert/strict";

const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);

Deno.test("the program runs where `deno install` puts it, from any folder", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-install-" });
  try {
    const installed = await new Deno.Command(Deno.execPath(), {
      args: ["install", "-g", "-A", "-n", "lakebase", "--root", folder, "src/cli/main.ts"],
      cwd: ROOT,
    }).output();
    assert.ok(installed.success, new TextDecoder().decode(installed.stderr));
    const run = (args: string[]) => new Deno.Command(`${folder}/bin/lakebase`, { args, cwd: folder }).output();
    const { code, stdout, stderr } = await run(["query", "--local", "--format", "csv", "SELECT 1 AS one"]);
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.equal(new TextDecoder().decode(stdout), "one\n1\n");
    assert.equal((await run(["nope"])).code, 2);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
