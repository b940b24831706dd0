import assert from "node:assert/strict";
import { startLocal } from "../../src/local/mod.ts";
import { installedKernel } from "../kernel/support.ts";
import { eventually } from "../support/eventually.ts";
import { type CellRun, jupyterMissing, type KernelCell, runCells } from "../support/jupyter.ts";
import { notebookFolder } from "../support/notebook_folder.ts";
import { requires } from "../support/requirements.ts";

const FIRST = 'import { lakehouse } from "lakebase"; const lake = await lakehouse(); let kept = 41;';
/** Once what follows is running: pressed before that, Stop is the kernel's. */
const GO = "setTimeout(() => console.log('go'), 1500);";
/** After the API's first answer, which it holds for five seconds, a statement is polled. */
const GO_LATE = "setTimeout(() => console.log('go'), 6500);";

/** A second Stop within two seconds is the kernel's. */
const APART = "await new Promise((resolve) => setTimeout(resolve, 2100)); kept++";

/** A statement is canceled once the API has answered its submission; a kernel that ends before would leave it running. */
const LAST = "await new Promise((resolve) => setTimeout(resolve, 7000)); kept";

const STOPPED: readonly KernelCell[] = [
  `${GO} await lake.sql\`SELECT 1\``,
  `${GO_LATE} await lake.sql\`SELECT 2\``,
  `${GO} lake.sql\`SELECT 3\``,
  `${GO} for await (const row of lake.sql\`SELECT 4\`) console.log(row)`,
].map((code) => ({ code, interruptAt: '"go' }));

function shown({ messages }: CellRun): string {
  return JSON.stringify(messages.filter(({ type }) => type !== "status" && type !== "execute_input"));
}

for (const kernel of ["Deno's own kernel", "the kernel with %%sql"]) {
  Deno.test({
    ...requires(`Stop during statements of a SQL warehouse cancels them there, in ${kernel}`, jupyterMissing),
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      await using local = await startLocal({ warehouses: [{ name: "small", state: "STOPPED" }] });
      await using folder = await notebookFolder();
      await using installed = await installedKernel();
      const own = kernel === "Deno's own kernel";
      const magic = own ? [] : [{ code: "%%sql lake\nSELECT ${(setTimeout(() => console.log('go'), 1500), 5)}" }];
      const stopped = [...STOPPED, ...magic.map((cell) => ({ ...cell, interruptAt: '"go' }))];
      local.faults.warehouse.hold = "RUNNING"; // no statement ends by itself
      const { cells, alive } = await runCells([FIRST, ...stopped.flatMap((cell) => [cell, APART]), LAST], {
        ...(own ? {} : { kernel: installed.options.kernel }),
        cwd: folder.path,
        env: { ...installed.options.env, ...local.env, NO_COLOR: "1" },
        timeout: 60,
      });
      assert.equal(alive, true, cells.map(shown).join("\n"));
      assert.match(shown(cells[0]!), /Starting warehouse small, as it was stopped/);
      stopped.forEach((_, at) =>
        assert.match(shown(cells[1 + at * 2]!), /"evalue":"[^"]*(?:Canceled|Stop ended this cell)/)
      );
      assert.match(shown(cells.at(-1)!), new RegExp(String(41 + stopped.length)));

      const statements = "/api/2.0/sql/statements";
      const submitted = () =>
        local.requests.filter(({ method, path }) => method === "POST" && path === statements).length;
      const canceled = () =>
        local.requests.flatMap(({ path }) => /statements\/([\w-]+)\/cancel$/.exec(path)?.[1] ?? []);
      await eventually("every statement is canceled", () => new Set(canceled()).size === submitted());
      assert.equal(submitted(), stopped.length);
      for (const id of canceled()) {
        await eventually(`statement ${id} is CANCELED`, async () => {
          const headers = { authorization: `Bearer ${local.env["DATABRICKS_TOKEN"]}` };
          const answer = await fetch(`${local.env["DATABRICKS_HOST"]}${statements}/${id}`, { headers });
          return (await answer.json()).status?.state === "CANCELED";
        });
      }
    },
  });
}
