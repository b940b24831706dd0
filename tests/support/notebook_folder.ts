/** A temporary folder whose notebooks can import `lakebase`, like those beside `deno.json`. */
export async function notebookFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "lakebase-notebooks-" });
  const config = new URL("../../deno.json", import.meta.url);
  const { imports } = JSON.parse(await Deno.readTextFile(config)) as { imports: Record<string, string> };
  const absolute = Object.entries(imports).map((
    [name, to],
  ) => [name, to.startsWith(".") ? new URL(to, config).href : to]);
  await Deno.writeTextFile(`${path}/deno.json`, JSON.stringify({ imports: Object.fromEntries(absolute) }));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}
