/**
 * The address by which `node:worker_threads` runs a module. It takes `file:` and `data:` only; a module that came over http,
 * from a registry or a repository's raw files, is imported by a line in the latter.
 *
 * @param module The module's URL, as `import.meta.resolve` gives it.
 */
export function workerUrl(module: string): URL {
  const url = new URL(module);
  if (url.protocol === "file:") return url;
  return new URL(`data:text/javascript,${encodeURIComponent(`import ${JSON.stringify(url.href)};`)}`);
}
