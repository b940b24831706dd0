import assert from "node:assert/strict";
import { dirname, normalize } from "node:path";
import { ROOT } from "./support.ts";

const SRC = `${ROOT}src/`;

async function* sources(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(SRC + folder)) {
    if (isDirectory) yield* sources(`${folder}${name}/`);
    else if (name.endsWith(".ts")) yield folder + name;
  }
}

/** What the files of a folder import at their start, types aside: folders of `src` with a slash, files, packages. */
async function importsOf(folder: string): Promise<Set<string>> {
  const found = new Set<string>();
  for await (const file of sources(folder)) {
    const text = await Deno.readTextFile(SRC + file);
    for (const [, what, from] of text.matchAll(/^(?:import|export)\s([^"`;]*?)from "([^"]+)";/gm)) {
      if (/^type\s/.test(what!)) continue;
      const path = from!.startsWith(".") ? normalize(`${dirname(file)}/${from}`) : from!;
      if (!path.startsWith(folder)) found.add(from!.startsWith(".") ? path.replace(/\/.*/, "/") : path);
    }
  }
  return found;
}

const CLIENT = [
  "query/",
  "notebook/",
  "transfer/",
  "explore/",
  "plot/",
  "doctor/",
  "cli/",
  "connect.ts",
  "lakebase.ts",
];

Deno.test("each folder imports only what is below it", async () => {
  const forbidden: Record<string, string[]> = {
    "local/": [...CLIENT, "net/", "auth/", "kernel/", "errors.ts", "settings.ts"],
    "kernel/": [...CLIENT, "net/", "auth/", "local/", "errors.ts", "settings.ts"],
    "net/": [...CLIENT, "local/", "kernel/"],
    "auth/": [...CLIENT, "net/", "local/", "kernel/"],
    "query/": [
      "connect.ts",
      "lakebase.ts",
      "transfer/",
      "plot/",
      "explore/",
      "cli/",
      "local/",
      "kernel/",
      "auth/",
      "net/",
    ],
    "explore/": ["connect.ts", "lakebase.ts", "transfer/", "plot/", "cli/", "local/", "kernel/", "auth/", "net/"],
    "transfer/": ["connect.ts", "lakebase.ts", "plot/", "cli/", "local/", "kernel/", "auth/"],
    "plot/": ["connect.ts", "lakebase.ts", "transfer/", "cli/", "local/", "kernel/", "auth/", "net/"],
  };
  assert.ok((await importsOf("query/")).has("notebook/"));
  for (const [folder, walls] of Object.entries(forbidden)) {
    const imports = await importsOf(folder);
    assert.deepEqual(walls.filter((wall) => imports.has(wall)), [], folder);
  }
});

Deno.test("only notebook/ and kernel/ know that there is a Jupyter", async () => {
  const touching: string[] = [];
  for await (const file of sources("")) {
    const code = (await Deno.readTextFile(SRC + file)).replace(/^\s*(\*|\/\/).*$/gm, "");
    if (code.includes("Deno.jupyter")) touching.push(file);
  }
  assert.deepEqual(touching.filter((file) => !/^(notebook|kernel)\//.test(file)), []);
});

Deno.test("what is heavy is not loaded with the module", async () => {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", "mod.ts"], cwd: ROOT })
    .output();
  const { modules, roots }: Graph = JSON.parse(new TextDecoder().decode(stdout));
  const known = new Map(modules.map((module) => [module.specifier, module]));
  const loaded = new Set<string>(roots);
  for (const specifier of loaded) {
    for (const { isDynamic, code } of known.get(specifier)?.dependencies ?? []) {
      if (!isDynamic && code?.specifier !== undefined) loaded.add(code.specifier);
    }
  }
  const packages = [...loaded].filter((specifier) => specifier.startsWith("npm:"));
  assert.ok(loaded.size > 50 && packages.length > 0, String(loaded.size));
  for (
    const name of ["apache-arrow", "parquet", "pglite", "duckdb", "sdk-experimental", "node-forge", "vega", "commander"]
  ) {
    assert.deepEqual(packages.filter((specifier) => specifier.includes(name)), []);
  }
});

interface Graph {
  roots: string[];
  modules: { specifier: string; dependencies?: { isDynamic?: boolean; code?: { specifier?: string } }[] }[];
}
