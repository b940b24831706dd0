import assert from "node:assert/strict";
import { pythonWith } from "../support/python.ts";
import { clientScript, conformanceTest } from "./backends.ts";

const PACKAGES = ["databricks.sdk", "psycopg", "sqlalchemy", "pyarrow"];
const missing = () => pythonWith(...PACKAGES) ? undefined : `no Python with ${PACKAGES.join(", ")}`;

for (const script of ["psycopg_notebook.py", "sqlalchemy_engine.py", "branches.py", "warehouse_sdk.py"]) {
  conformanceTest(`${script} works unchanged`, async ({ program, local }) => {
    assert.match(await program(pythonWith(...PACKAGES)!, clientScript(script)), /done\n$/);
    assert.ok((script.startsWith("warehouse") ? local.requests : local.logins).length > 0);
  }, { needs: [missing] });
}
