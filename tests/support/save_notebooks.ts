// Runs the notebooks under the stock Deno kernel and saves the outputs of that run. Run: deno task notebooks
import { runNotebook } from "./jupyter.ts";

const folder = decodeURIComponent(new URL("../../notebooks/", import.meta.url).pathname);
for await (const { name } of Deno.readDir(folder)) {
  if (!name.endsWith(".ipynb")) continue;
  const notebook = await runNotebook(`${folder}${name}`, { cwd: folder });
  await Deno.writeTextFile(`${folder}${name}`, `${JSON.stringify(notebook, null, 1)}\n`);
}
