import assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";
import { installedKernel, jupyterMissing, runNotebook } from "../support/jupyter.ts";
import { type Cell, type Notebook, type Output, textOf } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";

const FOLDER = decodeURIComponent(new URL("../../notebooks/", import.meta.url).pathname);

for (const { name } of [...Deno.readDirSync(FOLDER)].filter(({ name }) => name.endsWith(".ipynb"))) {
  Deno.test({
    ...requires(`${name} runs on its kernel and shows its saved outputs`, jupyterMissing),
    fn: async () => {
      const saved: Notebook = JSON.parse(await Deno.readTextFile(FOLDER + name));
      await using sqlKernel = await installedKernel();
      const kernel = saved.metadata.kernelspec.name === "deno" ? {} : sqlKernel.options;
      const ran = await runNotebook(FOLDER + name, { cwd: FOLDER, ...kernel });
      const [now, then] = [shown(ran), shown(saved)];
      assert.equal(now.length, then.length);
      for (const [cell, outputs] of then.entries()) {
        assert.deepEqual(now[cell]!.filter(isDrawn), outputs.filter(isDrawn));
        // The stock kernel sometimes loses the last `console.log` of a cell, which this module can't prevent.
        for (const written of now[cell]!.filter((output) => !isDrawn(output))) {
          assert.ok(outputs.some((output) => output.startsWith(written)), written);
        }
      }
    },
  });
}

function isDrawn(output: string): boolean {
  return !output.startsWith("stream: ");
}

/** The output of each code cell as text, without the parts that change from run to run. */
function shown({ cells }: Notebook): string[][] {
  return cells.filter((cell) => cell.cell_type === "code")
    .map((cell: Cell) => (cell.outputs ?? []).map(stable).filter((output) => !isProgress(output)));
}

/** This is shown only if it takes longer than a second. */
function isProgress(output: string): boolean {
  return /^display_data: ((Pull|Load)(ing|ed)|Making a branch|Made branch) /.test(output);
}

function stable(output: Output): string {
  const text = output.output_type === "stream"
    ? [output.text ?? ""].flat().join("")
    : textOf(output, "text/plain") ?? "";
  return stripVTControlCharacters(`${output.output_type}: ${text}`) // colors depend on NO_COLOR
    .replace(/\d+(\.\d+)? (ms|s)\b/g, "TIME")
    .replace(/ep-local-\w+\.localhost/g, "BRANCH.localhost")
    .replace(/localhost:\d+/g, "localhost:PORT")
    .replace(/[\d-]{10} [\d:]{5} UTC/g, "THEN")
    .replace(/^ *version\n-+$/gm, "version")
    .replace(/\d+\.\d{2,}/g, "NUMBER");
}
