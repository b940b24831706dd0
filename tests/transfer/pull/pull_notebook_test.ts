import assert from "node:assert/strict";
import { startLocal } from "../../../src/local/mod.ts";
import { type CellRun, jupyterMissing, runCells } from "../../support/jupyter.ts";
import { postgresMissing, startPostgres } from "../../support/postgres.ts";
import { requires } from "../../support/requirements.ts";
import { namesIn } from "../../support/transfers.ts";

const NOTEBOOKS = decodeURIComponent(new URL("../../../notebooks", import.meta.url).pathname);

/** The drawing, the output or the error of a cell. */
function shown(cell: CellRun | undefined): string {
  return JSON.stringify(cell?.messages.filter(({ type }) => type !== "status" && type !== "execute_input"));
}

Deno.test({
  ...requires(
    "(slow) in a cell a pull draws one line, and Stop ends it without a file",
    jupyterMissing,
    postgresMissing,
  ),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using postgres = await startPostgres();
    await using local = await startLocal({ database: postgres.url });
    const folder = await Deno.makeTempDir({ prefix: "lakebase-pull-" });
    const many = "SELECT n, repeat('x', 100) AS x FROM generate_series(1, 100000000) n";
    const run = await runCells([
      `import { connect, sql } from "lakebase"; const db = await connect({ max: 1 }); let kept = 41;
      async function written() { // pressed before the pull, Stop is the kernel's
        const names = () => [...Deno.readDirSync("${folder}")].map(({ name }) => name);
        while (!names().some((name) => name.endsWith(".part"))) await new Promise((resolve) => setTimeout(resolve, 20));
      }`,
      `await sql\`SELECT n FROM generate_series(1, 1000) n\`.pull("${folder}/t.csv")`,
      {
        code:
          `void written().then(() => console.log("go")); await sql\`${many}\`.pull("${folder}/many.csv", { progress: false })`,
        interruptAt: '"go',
      },
      "[kept + 1, await sql`SELECT 'still here'`.value()]",
    ], { cwd: NOTEBOOKS, env: { ...local.env, NO_COLOR: "1" }, timeout: 60 });
    assert.equal(run.alive, true);
    assert.match(shown(run.cells[1]), /"text\/plain":"1,000 rows to t\.csv \(\d+ bytes\), [\d.]+ m?s"/);
    assert.match(shown(run.cells[2]), /Canceled/);
    assert.match(shown(run.cells[3]), /42.*still here/);
    assert.deepEqual(namesIn(folder), ["t.csv"]);
    await Deno.remove(folder, { recursive: true });
  },
});
