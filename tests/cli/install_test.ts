import assert from "node:assert/strict";
import { denoDir, ROOT } from "../support/files.ts";

Deno.test({
  name: "(slow) deno task install: the program runs from any folder, with the packages of deno.lock",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const home = await Deno.makeTempDir({ prefix: "lakebase-install-" });
    const env = { HOME: home, DENO_DIR: denoDir(), NO_COLOR: "1" };
    try {
      for (let time = 0; time < 2; time++) { // the second replaces the first
        const installed = await new Deno.Command(Deno.execPath(), { args: ["task", "install"], cwd: ROOT, env })
          .output();
        assert.ok(installed.success, new TextDecoder().decode(installed.stderr));
      }
      const run = (args: string[]) => new Deno.Command(`${home}/.deno/bin/lakebase`, { args, cwd: home, env }).output();
      const { code, stdout, stderr } = await run(["query", "--local", "--format", "csv", "SELECT 1 AS one"]);
      assert.equal(code, 0, new TextDecoder().decode(stderr));
      assert.equal(new TextDecoder().decode(stdout), "one\n1\n");
      assert.equal((await run(["nope"])).code, 2);
      const locks = [`${ROOT}deno.lock`, `${home}/.deno/bin/.lakebase/deno.lock`];
      const [checkout, its] = await Promise.all(
        locks.map(async (lock) => JSON.parse(await Deno.readTextFile(lock)).npm),
      );
      assert.deepEqual(Object.keys(its), Object.keys(checkout));
    } finally {
      await Deno.remove(home, { recursive: true });
    }
  },
});
