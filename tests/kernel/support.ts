import { install } from "../../src/kernel/install.ts";

/** A separate Jupyter folder with this module's kernel. `options` are for `runCells` and `runNotebook`. */
export interface InstalledKernel extends AsyncDisposable {
  options: { kernel: string; env: Record<string, string> };
  /** The folder of the kernel. */
  folder: string;
}

/** Installs the kernel as a user does, into a folder that is removed afterwards. */
export async function installedKernel(): Promise<InstalledKernel> {
  const prefix = await Deno.makeTempDir({ prefix: "lakebase-prefix-" });
  const { name, folder } = await install({ prefix });
  return {
    options: { kernel: name, env: { JUPYTER_PATH: `${prefix}/share/jupyter` } },
    folder,
    [Symbol.asyncDispose]: () => Deno.remove(prefix, { recursive: true }),
  };
}
