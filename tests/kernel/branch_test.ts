import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { RawKernel } from "./raw_kernel.ts";
import { ownLakebase } from "../support/lakebase.ts";

const BRANCHES = "/api/2.0/postgres/projects/local/branches";
const MODULE = JSON.stringify(new URL("../../mod.ts", import.meta.url).href);

Deno.test({
  name: "(slow) a notebook's branch is deleted by Stop while it is made, and at the end of the kernel",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using local = await ownLakebase();
    await using kernel = await RawKernel.start({ env: local.env });
    using frontend = await kernel.frontend();
    const ids = async () => {
      const headers = { authorization: `Bearer ${local.env["DATABRICKS_TOKEN"]}` };
      const { branches } = await (await fetch(local.env["DATABRICKS_HOST"] + BRANCHES, { headers })).json();
      return branches.map(({ branch_id }: { branch_id: string }) => branch_id);
    };
    const run = async (code: string) => {
      const { reply, outputs } = await frontend.execute(code);
      return `${JSON.stringify(reply)} ${JSON.stringify(outputs.map(({ content }) => content))}`;
    };
    assert.match(await run(`import { connect } from ${MODULE}; const db = await connect();`), /"status":"ok"/);
    local.faults.branch = { takes: 600_000 };
    const making = run("const stopped = await db.branch();");
    await eventually(
      "the branch's operation is polled",
      () => local.requests.some(({ path }) => path.includes("/operations/")),
    );
    await frontend.request("control", "interrupt_request");
    assert.match(await making, /Canceled|Interrupted/); // a busy machine deletes a branch slowly, and Stop ends the wait for it
    await eventually("the branch is deleted", async () => (await ids()).length === 1);
    local.faults.reset();
    assert.match(await run("const copy = await db.branch(); copy.name"), /you-production-/);
    assert.equal((await ids()).length, 2);
    await frontend.request("control", "shutdown_request", { restart: true });
    await kernel.process.status;
    // The kernel has sent the request, but does not wait long for its answer.
    await eventually("the branch is deleted", async () => (await ids()).join() === "production");
  },
});
