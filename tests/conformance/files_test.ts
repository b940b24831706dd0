import assert from "node:assert/strict";
import { startLocal } from "../../src/local/mod.ts";
import { pythonWith } from "../support/python.ts";
import { requires } from "../support/requirements.ts";
import { clientScript, programOn } from "./backends.ts";

const noPython = () => pythonWith("databricks.sdk") ? undefined : "no Python with databricks.sdk";

Deno.test({
  ...requires("databricks-sdk for Python reads and writes the files of a Volume unchanged", noPython),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using local = await startLocal();
    assert.match(await programOn(local)(pythonWith("databricks.sdk")!, clientScript("files_api.py")), /done\n$/);
  },
});

Deno.test({
  name: "@databricks/sdk-experimental reads the files of a Volume unchanged",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using local = await startLocal();
    const config = decodeURIComponent(new URL("../../deno.json", import.meta.url).pathname);
    const script = clientScript("sdk_files.ts");
    assert.match(
      await programOn(local)(Deno.execPath(), "run", "-A", "--no-check", "--config", config, script),
      /done\n$/,
    );
  },
});
