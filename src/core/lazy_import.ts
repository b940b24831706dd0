import { AsyncLocalStorage } from "node:async_hooks";
import { LakebaseError } from "./errors.ts";

const outsideOfContext = AsyncLocalStorage.snapshot();

/**
 * Loads a module when it is first used, outside of the caller's AsyncLocalStorage context. In a notebook, Deno 2.9 would
 * run all later cells in the context in which a module was first imported, such as that of a transaction that has ended.
 *
 * @param load Imports the module by its literal name, so that Deno checks and caches it.
 */
export function loadModule<Module>(load: () => Promise<Module>): Promise<Module> {
  return outsideOfContext(load);
}

/**
 * Imports a module, with the packages that it needs, and downloads them only when it is first used. A literal name in
 * `import()` would make Deno download them before a program starts. `offline.ts` lists the modules that are imported in
 * this way.
 *
 * @param url The module's address, as `import.meta.resolve` gives it.
 * @throws {LakebaseError} `UNREACHABLE` if the module or one of its packages can't be downloaded.
 */
export async function lazyImport<Module>(url: string): Promise<Module> {
  try {
    return await loadModule(() => import(url));
  } catch (cause) {
    const state = cause instanceof Error ? cause.message : String(cause);
    throw new LakebaseError(
      "UNREACHABLE",
      `Cannot load "${url}", which Deno downloads when it is first used: ${state}\nDeno remembers the failure, so no call ` +
        "in this process tries again: connect to the network, or fetch all packages with deno cache (README.md, " +
        "Install), and then restart the kernel or the program",
      { cause },
    );
  }
}

/**
 * The URL of a module for `node:worker_threads`, which accepts only `file:` and `data:`. A `data:` URL with one line of
 * code imports a module from `https:`.
 *
 * @param module The module's URL, as `import.meta.resolve` gives it.
 */
export function workerUrl(module: string): URL {
  const url = new URL(module);
  if (url.protocol === "file:") return url;
  return new URL(`data:text/javascript,${encodeURIComponent(`import ${JSON.stringify(url.href)};`)}`);
}
