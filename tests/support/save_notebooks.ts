// Runs each notebook on its kernel and saves the outputs of that run. Run: deno task notebooks
import { endJupyter, installedKernel, runNotebook } from "./jupyter.ts";
import type { Notebook } from "./notebook.ts";

const folder = decodeURIComponent(new URL("../../notebooks/", import.meta.url).pathname);
await using sqlKernel = await installedKernel();
for await (const { name } of Deno.readDir(folder)) {
  if (!name.endsWith(".ipynb")) continue;
  const { metadata }: Notebook = JSON.parse(await Deno.readTextFile(`${folder}${name}`));
  const kernel = metadata.kernelspec.name === "deno" ? {} : sqlKernel.options;
  const notebook = await runNotebook(`${folder}${name}`, { cwd: folder, ...kernel });
  await Deno.writeTextFile(`${folder}${name}`, `${JSON.stringify(notebook, null, 1)}\n`);
}
await endJupyter();
