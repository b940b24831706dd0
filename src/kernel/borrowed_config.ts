import { pathToFileURL } from "node:url";

/** What lets the cells of a notebook find the module `lakebase`. */
export interface BorrowedConfig extends AsyncDisposable {
  /** Where the child has to start; `undefined` where the notebook's folder will do. */
  cwd: string | undefined;
  /** For the child, before its first cell; it may run more than once. */
  code: string;
}

/** What Deno takes for the configuration of a folder and all below it. */
const CONFIGS = ["deno.json", "deno.jsonc", "package.json"];

/**
 * Lends a notebook the import map of the client's checkout, where neither its folder nor one above has a configuration.
 * `deno jupyter` takes no such option, and reads what it finds where it starts: so it starts in a folder with the map and
 * the lock file, and goes to the notebook's before its first cell. From there on relative imports are that folder's, as
 * after any `Deno.chdir()`, and nothing of the other one is read any more: dispose of it when the code has run, and once
 * more at the end, since Deno writes its lock file there when a cell has imported a package.
 *
 * @param client The URL of the client's main module.
 * @param folder The notebook's folder.
 */
export async function borrowConfig(client: string, folder: string): Promise<BorrowedConfig> {
  if (!client.startsWith("file:")) return { cwd: undefined, code: "", async [Symbol.asyncDispose]() {} };
  if (await hasConfig(folder)) {
    return { cwd: undefined, code: adviceCode(advice(client)), async [Symbol.asyncDispose]() {} };
  }
  const cwd = await Deno.makeTempDir({ prefix: "lakebase-config-" });
  const importMap = new URL("deno.json", client).href;
  await Deno.writeTextFile(`${cwd}/deno.json`, JSON.stringify({ importMap }));
  await Deno.copyFile(new URL("deno.lock", client), `${cwd}/deno.lock`).catch(() => {}); // it may have been left out
  return {
    cwd,
    code: `Deno.chdir(${JSON.stringify(folder)});`,
    [Symbol.asyncDispose]: () => Deno.remove(cwd, { recursive: true }).catch(() => {}),
  };
}

/**
 * What to do where a notebook's own configuration names no `lakebase`.
 *
 * @param client The URL of the client's main module, in a checkout.
 */
export function advice(client: string): string {
  const config = new URL("deno.json", client).href;
  return `The notebook's deno.json has to name lakebase: by ${JSON.stringify({ importMap: config })}, or in its own ` +
    "imports as that file does; then restart the kernel";
}

async function hasConfig(folder: string): Promise<boolean> {
  for (let at = pathToFileURL(`${folder}/`);; at = new URL("../", at)) {
    for (const name of CONFIGS) {
      if (await Deno.stat(new URL(name, at)).then(({ isFile }) => isFile, () => false)) return true;
    }
    if (new URL("../", at).href === at.href) return false;
  }
}

/** A module in the place of `lakebase` where the import map has none, which tells what to do. */
function adviceCode(advice: string): string {
  const message = JSON.stringify(`Cannot import lakebase: no import map has it. ${advice}`);
  const module = `const error = new TypeError(${message}); error.stack = "TypeError: " + error.message; throw error;`;
  return `(await import("node:module")).registerHooks?.({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    const missed = !found.url || found.url.endsWith("/" + specifier); // then it is a file beside the notebook
    if (!missed || context.parentURL !== undefined || !/^lakebase(\\/local)?$/.test(specifier)) return found;
    return { url: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(module)}`)}, shortCircuit: true };
  },
});`;
}
