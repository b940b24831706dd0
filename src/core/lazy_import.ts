/**
 * Imports a module, with the packages that it needs, and downloads them only when it is first used. A literal name in
 * `import()` would make Deno download them before a program starts. `offline.ts` lists the modules that are imported in
 * this way.
 *
 * @param url The module's address, as `import.meta.resolve` gives it.
 */
export async function lazyImport<Module>(url: string): Promise<Module> {
  return await import(url);
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
