const NAME = "lakebase-sql-cells";
const FILES = ["package.json", "static/sql_cells.js"];

/**
 * Installs what colours `%%sql` cells in JupyterLab, which finds it when its page is loaded anew. A kernel by itself can't: it
 * names one language for all of its cells.
 *
 * @param folder Where to, of {@linkcode extensionBeside}.
 */
export async function installLabExtension(folder: string): Promise<void> {
  await Deno.mkdir(`${folder}/static`, { recursive: true });
  for (const file of FILES) {
    const response = await fetch(new URL(`./lab/${file}`, import.meta.url)); // on disk or in a registry
    if (!response.ok) throw new Error(`Cannot read the kernel's file ${file}: HTTP ${response.status}`);
    await Deno.writeFile(`${folder}/${file}`, await response.bytes());
  }
}

/** The extension's folder in the same Jupyter data folder as a kernel's. */
export function extensionBeside(kernel: string): string {
  return `${kernel.slice(0, kernel.lastIndexOf("/kernels/"))}/labextensions/${NAME}`;
}
