import { install } from "../../src/kernel/install.ts";

/** A Jupyter folder of the test's own with this module's kernel; `options` go to `runCells` and `runNotebook`. */
export interface InstalledKernel extends AsyncDisposable {
  options: { kernel: string; env: Record<string, string> };
  /** Where it was installed. */
  folder: string;
}

/** Installs the kernel as a user does, into a folder that is gone afterwards. */
export async function installedKernel(): Promise<InstalledKernel> {
  const prefix = await Deno.makeTempDir({ prefix: "lakebase-prefix-" });
  const { name, folder } = await install({ prefix });
  return {
    options: { kernel: name, env: { JUPYTER_PATH: `${prefix}/share/jupyter` } },
    folder,
    [Symbol.asyncDispose]: () => Deno.remove(prefix, { recursive: true }),
  };
}
