import assert from "node:assert/strict";
import { ROOT } from "../support/files.ts";
import { clientScript, conformanceTest } from "./backends.ts";

const CLIENTS = [
  ["@databricks/lakebase", "databricks_lakebase.ts"],
  ["postgres.js", "postgres_js.ts"],
  ["@databricks/sdk-experimental on a SQL warehouse", "warehouse_sdk.ts"],
] as const;

for (const [client, script] of CLIENTS) {
  conformanceTest(`${client} works unchanged`, async ({ program, local }) => {
    const args = [
      "--no-check",
      "--config",
      `${ROOT}deno.json`,
      "--lock",
      `${ROOT}tests/deno.lock`,
      clientScript(script),
    ];
    // Fetches the imports first, because the environment names an authority that is valid only for the local Lakebase.
    await new Deno.Command(Deno.execPath(), { args: ["cache", ...args] }).output();
    const output = await program(Deno.execPath(), "run", "-A", "--cached-only", ...args);
    assert.match(output, /done\n$/);
    assert.ok((script.startsWith("warehouse") ? local.requests : local.logins).length > 0);
    assert.ok(local.logins.every(({ user }) => user === "you@example.com"));
  });
}
