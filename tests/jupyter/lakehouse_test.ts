import assert from "node:assert/strict";
import { type LocalLakebase, startLocal } from "../../src/local/mod.ts";
import { eventually } from "../support/eventually.ts";
import { type CellRun, installedKernel, jupyterMissing, outputsOf, runCells } from "../support/jupyter.ts";
import { notebookFolder } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";

/** The drawing, the output or the error of a cell. */
const shown = (cell: CellRun) => JSON.stringify(outputsOf(cell));

const STATEMENTS = "/api/2.0/sql/statements";

/** `goes(event)` prints "go" after an event of the server, because an earlier Stop belongs to the kernel. */
const FIRST = `import { lakehouse } from "lakebase"; const lake = await lakehouse(); let kept = 41;
  const goes = (path) => void fetch(Deno.env.get("EVENTS") + path).then(() => console.log("go"));`;

/** The API holds its first answer for five seconds. After that, a statement is polled. */
const STOPPED: readonly string[] = [
  "goes('/submitted'); await lake.sql`SELECT 1`",
  "goes('/polled'); await lake.sql`SELECT 2`",
  "goes('/submitted'); lake.sql`SELECT 3`",
  "goes('/submitted'); for await (const row of lake.sql`SELECT 4`) console.log(row)",
];

/**
 * Lets two seconds pass, because a second Stop within two seconds belongs to the kernel. Stop may also come before the
 * submission's answer.
 */
const APART = `((now) => Date.now = () => now() + 2000)(Date.now); kept++;
  await (await fetch(Deno.env.get("EVENTS") + "/canceled")).text()`;

/** Answers a cell's request when the local Lakebase has received a certain request. */
function serveEvents(local: LocalLakebase) {
  const canceled = () => local.requests.flatMap(({ path }) => /statements\/([\w-]+)\/cancel$/.exec(path)?.[1] ?? []);
  const submitted = () => local.requests.filter(({ method, path }) => method === "POST" && path === STATEMENTS).length;
  const polls = () =>
    local.requests.filter(({ method, path }) => method === "GET" && path.startsWith(STATEMENTS)).length;
  const answers: Record<string, () => () => boolean> = {
    "/submitted": () => ((before) => () => submitted() > before)(new Set(canceled()).size),
    "/polled": () => ((before) => () => polls() > before)(polls()),
    "/canceled": () => () => new Set(canceled()).size === submitted(),
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    await eventually(pathname, answers[pathname]!());
    return new Response("now");
  });
  return {
    address: `http://127.0.0.1:${server.addr.port}`,
    canceled,
    submitted,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

for (const kernel of ["Deno's own kernel", "the kernel with %%sql"]) {
  Deno.test({
    ...requires(`Stop cancels the running statements of a SQL warehouse, in ${kernel}`, jupyterMissing),
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      await using local = await startLocal({ warehouses: [{ name: "small", state: "STOPPED" }] });
      await using folder = await notebookFolder();
      await using installed = await installedKernel();
      const own = kernel === "Deno's own kernel";
      const magic = own ? [] : ["%%sql lake\nSELECT ${(goes('/submitted'), 5)}"];
      const stopped = [...STOPPED, ...magic].map((code) => ({ code, interruptAt: '"go' }));
      await using events = serveEvents(local);
      local.faults.warehouse.hold = "RUNNING"; // no statement ends by itself
      const { cells, alive } = await runCells([FIRST, ...stopped.flatMap((cell) => [cell, APART]), "kept"], {
        ...(own ? {} : { kernel: installed.options.kernel }),
        cwd: folder.path,
        env: { ...installed.options.env, ...local.env, NO_COLOR: "1", EVENTS: events.address },
      });
      assert.equal(alive, true, cells.map(shown).join("\n"));
      assert.match(shown(cells[0]!), /Starting warehouse small, because it was stopped/);
      stopped.forEach((_, at) =>
        assert.match(shown(cells[1 + at * 2]!), /"evalue":"[^"]*(?:Canceled|Stop ended this cell)/)
      );
      assert.match(shown(cells.at(-1)!), new RegExp(String(41 + stopped.length)));

      assert.equal(events.submitted(), stopped.length);
      for (const id of events.canceled()) {
        await eventually(`statement ${id} is CANCELED`, async () => {
          const headers = { authorization: `Bearer ${local.env["DATABRICKS_TOKEN"]}` };
          const answer = await fetch(`${local.env["DATABRICKS_HOST"]}${STATEMENTS}/${id}`, { headers });
          return (await answer.json()).status?.state === "CANCELED";
        });
      }
    },
  });
}
