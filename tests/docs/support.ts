/** The checkout, with a slash at its end. */
export const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);

/** A folder that exists until it is disposed of. */
export interface TemporaryFolder extends AsyncDisposable {
  path: string;
}

/** Makes a folder. */
export async function temporary(): Promise<TemporaryFolder> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "lakebase-docs-" }));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}
