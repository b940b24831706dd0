import assert from "node:assert/strict";
import { clientScript, conformanceTest } from "./backends.ts";

const CLIENTS = [
  ["@databricks/lakebase", "databricks_lakebase.ts"],
  ["postgres.js", "postgres_js.ts"],
  ["@databricks/sdk-experimental on a SQL warehouse", "warehouse_sdk.ts"],
] as const;

for (const [client, script] of CLIENTS) {
  conformanceTest(`${client} works unchanged`, async ({ program, local }) => {
    const config = decodeURIComponent(new URL("../../deno.json", import.meta.url).pathname);
    // Fetch its imports first: the environment names an authority that is valid for the local Lakebase alone.
    const quick = ["--no-check", "--config", config];
    await new Deno.Command(Deno.execPath(), { args: ["cache", ...quick, clientScript(script)] }).output();
    const said = await program(Deno.execPath(), "run", "-A", "--cached-only", ...quick, clientScript(script));
    assert.match(said, /done\n$/);
    assert.ok((script.startsWith("warehouse") ? local.requests : local.logins).length > 0);
    assert.ok(local.logins.every(({ user }) => user === "you@example.com"));
  });
}
