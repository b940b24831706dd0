/** Whether a cell may name the client. */
export function namesModule(code: string): boolean {
  return code.includes("lakebase");
}

/**
 * For the child, before the first such cell: lets cells name the client wherever the notebook is, since `deno jupyter` takes
 * no configuration but that of its folder. A name that is in the notebook's own import map wins. (Deno resolves the imports
 * of files without asking hooks: those need an import map.)
 *
 * @param client The URL of the client's main module.
 */
export function moduleNameCode(client: string): string {
  const urls = { lakebase: client, "lakebase/local": new URL("src/local/mod.ts", client).href };
  return `(await import("node:module")).registerHooks?.({
  resolve(specifier, context, next) {
    const urls = ${JSON.stringify(urls)};
    if (!Object.hasOwn(urls, specifier)) return next(specifier, context);
    const found = next(specifier, context);
    const missed = !found.url || found.url.endsWith("/" + specifier); // then it is taken for a file beside the notebook
    return missed ? { url: urls[specifier], shortCircuit: true } : found;
  },
});`;
}
