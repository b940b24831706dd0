import assert from "node:assert/strict";
import { installedKernel, jupyterMissing, runNotebook } from "../support/jupyter.ts";
import { textOf } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";
import { codeBlocks, readDocument } from "./markdown.ts";
import { ROOT } from "../support/files.ts";

Deno.test({
  ...requires(
    "(slow) the cells of README.md and docs/sql-cells.md run in Jupyter, and draw the expected output",
    jupyterMissing,
  ),
  fn: async () => {
    const blocks = codeBlocks(await readDocument("README.md"));
    const page = codeBlocks(await readDocument("docs/sql-cells.md"));
    const first = blocks.find(({ language }) => language === "ts");
    const written = [...blocks.slice(blocks.indexOf(first!) + 1), ...page].filter(({ language, heading }) =>
      language === "sql" || language === "ts" && heading === "A query in a query"
    );
    const cells = [first!, ...written].map(({ code }) => code.trimEnd());
    assert.ok(cells.length >= 3);
    await using kernel = await installedKernel();
    const ran = await runNotebook(cells, { cwd: ROOT, ...kernel.options });
    const shown = ran.cells.map(({ outputs = [] }) => outputs.map((output) => textOf(output, "text/plain")).join("\n"));
    assert.match(shown[0]!, /zone +\| trips \| +fares[\s\S]*Harlem \| +49[\s\S]*2 rows/);
    for (const [at, { outputs = [] }] of ran.cells.entries()) {
      assert.ok(
        outputs.every(({ output_type }) => output_type !== "error"),
        `${cells[at]}\n${JSON.stringify(outputs)}`,
      );
    }
    assert.match(shown[cells.findIndex((cell) => cell.includes("--limit 5"))]!, /first 5 rows/);
    assert.match(shown[cells.findIndex((cell) => cell.includes("(${expensive})"))]!, /SoHo +\| +10|Harlem +\| +9/);
  },
});
