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
  // `.env` is read with a package that may not be reached; its address is whole, so nothing needs to be rewritten.
  assert.deepEqual([...said.matchAll(/^warning.*\n.*--> (\S+?):/gm)].map(([, path]) => path), [
    `${ROOT}src/settings/dotenv.ts`,
  ]);
  const files = [...said.matchAll(/file:\/\/(\S+) \(/g)].map(([, path]) =>
    decodeURIComponent(path!).slice(ROOT.length)
  );
  assert.ok(
    files.includes("mod.ts") && files.includes("deno.json") && files.includes("src/kernel/icons/logo-svg.svg"),
    said,
  );
  const extra = files.filter((file) =>
    !/^(src\/.+|mod\.ts|deno\.json|README\.md|CHANGELOG\.md|SECURITY\.md|LICENSE)$/.test(file)
  );
  assert.deepEqual(extra, []);
});
