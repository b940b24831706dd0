import assert from "node:assert/strict";
import { localTests } from "../support/lakebase.ts";
import { pythonWith } from "../support/python.ts";
import { requires } from "../support/requirements.ts";
import { clientScript, programOn } from "./backends.ts";
import { LOCKED } from "../support/files.ts";

const test = localTests();

const noPython = () => pythonWith("databricks.sdk") ? undefined : "no Python with databricks.sdk";

test(
  requires("databricks-sdk for Python reads and writes the files of a Volume unchanged", noPython),
  async ({ local }) => {
    assert.match(await programOn(local)(pythonWith("databricks.sdk")!, clientScript("files_api.py")), /done\n$/);
  },
);

test("@databricks/sdk-experimental reads the files of a Volume unchanged", async ({ local }) => {
  const script = clientScript("sdk_files.ts");
  assert.match(
    await programOn(local)(Deno.execPath(), "run", "-A", "--no-check", ...LOCKED, script),
    /done\n$/,
  );
});
