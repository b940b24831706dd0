import { AsyncLocalStorage } from "node:async_hooks";

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
 */
export function lazyImport<Module>(url: string): Promise<Module> {
  return loadModule(() => import(url));
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
