/**
 * Imports a module when it is first used, and fetches it only then, with the packages that it needs. Deno fetches what an
 * `import()` of a literal name leads to before a program starts. `offline.ts` lists the modules that are imported so.
 *
 * @param url The module's address, as `import.meta.resolve` gives it.
 */
export async function late<Module>(url: string): Promise<Module> {
  return await import(url);
}

/**
 * The URL of a module for `node:worker_threads`, which accepts only `file:` and `data:`. A module from `https:` is imported by a
 * line of code in a `data:` URL.
 *
 * @param module The module's URL, as `import.meta.resolve` gives it.
 */
export function workerUrl(module: string): URL {
  const url = new URL(module);
  if (url.protocol === "file:") return url;
  return new URL(`data:text/javascript,${encodeURIComponent(`import ${JSON.stringify(url.href)};`)}`);
}
