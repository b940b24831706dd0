import assert from "node:assert/strict";
import { jupyterMissing, runNotebook } from "../support/jupyter.ts";
import { type Cell, type Notebook, type Output, textOf } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";

const FOLDER = decodeURIComponent(new URL("../../notebooks/", import.meta.url).pathname);

for (const { name } of [...Deno.readDirSync(FOLDER)].filter(({ name }) => name.endsWith(".ipynb"))) {
  Deno.test({
    ...requires(`${name} runs on the stock Deno kernel and shows what is saved in it`, jupyterMissing),
    fn: async () => {
      const saved: Notebook = JSON.parse(await Deno.readTextFile(FOLDER + name));
      const ran = await runNotebook(FOLDER + name, { cwd: FOLDER });
      assert.deepEqual(shown(ran), shown(saved));
    },
  });
}

/** What each cell of code shows, as text, without what changes from run to run. */
function shown({ cells }: Notebook): string[][] {
  return cells.filter((cell) => cell.cell_type === "code").map((cell: Cell) => (cell.outputs ?? []).map(stable));
}

function stable(output: Output): string {
  const text = output.output_type === "stream"
    ? [output.text ?? ""].flat().join("")
    : textOf(output, "text/plain") ?? "";
  return `${output.output_type}: ${text}`
    .replace(/\d+(\.\d+)? (ms|s)\b/g, "TIME")
    .replace(/localhost:\d+/g, "localhost:PORT")
    .replace(/until [\d-]+ [\d:]+ UTC/g, "until THEN")
    .replace(/^ *version\n-+$/gm, "version")
    .replace(/\d+\.\d{2,}/g, "NUMBER");
}
