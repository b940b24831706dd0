import assert from "node:assert/strict";
import { notebookFolder } from "../support/notebook_folder.ts";
import { RawKernel } from "./raw_kernel.ts";

Deno.test("(slow) a %%sql cell that takes longer than a second shows what it runs, and at the end its result only", async () => {
  await using folder = await notebookFolder();
  await using kernel = await RawKernel.start({ cwd: folder.path, env: { LAKEBASE_LOCAL: "1", NO_COLOR: "1" } });
  using frontend = await kernel.frontend();
  await frontend.execute("import { connect } from 'lakebase';\nconst db = await connect({ local: true });");
  const textOf = ({ content }: { content: Record<string, unknown> }) =>
    String((content["data"] as Record<string, string> | undefined)?.["text/plain"] ?? "");

  const run = async (code: string) =>
    (await frontend.execute(code)).outputs.filter(({ type }) => type !== "execute_input");
  const outputs = await run("%%sql\nSELECT pg_sleep(2.5), 'done' AS state -- slowly");
  const kinds = outputs.map(({ type }) => type);
  const cleared = kinds.indexOf("clear_output");
  assert.deepEqual(kinds.slice(0, 2), ["display_data", "update_display_data"]);
  assert.match(textOf(outputs[0]!), /^Running SELECT pg_sleep\(2\.5\), 'done' AS state -- slowly \.\.\. 1 s$/);
  assert.match(textOf(outputs[1]!), /\.\.\. 2 s$/);
  assert.deepEqual(kinds.slice(cleared + 1), ["execute_result"]);

  const failed = await run("%%sql\nSELECT pg_sleep(1.5);\nSELECT 1 / 0");
  const types = failed.map(({ type }) => type);
  assert.match(textOf(failed[0]!), /^Running SELECT pg_sleep\(1\.5\); SELECT 1 \/ 0 \.\.\. 1 s$/);
  assert.deepEqual(types.slice(types.indexOf("clear_output") + 1), ["error"]);
});
