import assert from "node:assert/strict";
import { codeBlocks, readDocument } from "./markdown.ts";
import { ROOT, temporaryFolder } from "../support/files.ts";

// In a separate folder and without the lock, because otherwise every user of the checkout would also fetch polars.
Deno.test("(slow) the data frames of docs/querying.md contain the rows", async () => {
  const blocks = codeBlocks(await readDocument("docs/querying.md"));
  const { code } = blocks.find(({ code }) => code.includes("polars"))!;
  await using folder = await temporaryFolder();
  await Deno.writeTextFile(`${folder.path}/deno.json`, JSON.stringify({ imports: { lakebase: `${ROOT}mod.ts` } }));
  await Deno.writeTextFile(`${folder.path}/frames.ts`, code);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--no-lock", "--quiet", "frames.ts"],
    cwd: folder.path,
    env: { NO_COLOR: "1" },
  }).output();
  assert.equal(new TextDecoder().decode(stdout), "99 99\n", new TextDecoder().decode(stderr));
});
