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

const AT_ITS_START = /^(?:import|export)\s(?!type\s)[^"`;]*?from "(\.[^"]+)";/gm;
const LATER = /\bimport\("(\.[^"]+)"\)/g;

/** What the files of a folder, or a file, import, types aside: other folders of `src` with a slash, and files. */
async function importsOf(part: string, how: RegExp): Promise<Set<string>> {
  const found = new Set<string>();
  const files = part.endsWith("/") ? sources(part) : [part];
  for await (const file of files) {
    for (const [, from] of (await Deno.readTextFile(SRC + file)).matchAll(how)) {
      const path = normalize(`${dirname(file)}/${from}`);
      if (!path.startsWith(part)) found.add(path.replace(/\/.*/, "/"));
    }
  }
  return found;
}

const SMALL = [
  "amount_text.ts",
  "errors.ts",
  "redact.ts",
  "closest.ts",
  "backoff.ts",
  "place.ts",
  "sql_text.ts",
  "unseen.ts",
  "worker_url.ts",
];

/** The arrows of ARCHITECTURE.md: what each part may import at its start, and what by import() only. */
const ARROWS: Record<string, { start: string[]; later?: string[] }> = {
  "local/": { start: ["worker_url.ts", "closest.ts"] },
  "kernel/": { start: ["closest.ts", "sql_text.ts", "unseen.ts"] },
  "settings/": { start: [...SMALL, "embedded.ts", "query/"] }, // query/types.ts: which parsers there are
  "net/": { start: [...SMALL, "settings/"] },
  "auth/": { start: [...SMALL, "settings/"] },
  "notebook/": { start: [...SMALL, "query/", "explore/"] }, // explore/look.ts: which schemas are a person's
  "query/": { start: [...SMALL, "notebook/"], later: ["notebook/", "plot/", "transfer/"] },
  "explore/": { start: [...SMALL, "query/", "notebook/"] },
  "plot/": { start: [...SMALL, "query/", "notebook/", "explore/"] },
  "transfer/": { start: [...SMALL, "query/", "notebook/", "explore/", "net/"] }, // net/: a stopped pull is canceled
  "doctor/": { start: [...SMALL, "settings/", "query/", "explore/", "net/", "auth/"] },
  "database_session.ts": { start: [...SMALL, "queryable.ts", "query/"] },
  "lakebase.ts": { start: [...SMALL, "database_session.ts", "queryable.ts", "query/", "notebook/", "explore/"] },
  "queryable.ts": { start: ["query/"], later: ["transfer/"] },
  "embedded.ts": { start: SMALL, later: ["local/"] },
};

for (const [part, { start, later = [] }] of Object.entries(ARROWS)) {
  Deno.test(`${part} imports only what is below it`, async () => {
    assert.deepEqual([...(await importsOf(part, AT_ITS_START)).difference(new Set(start))], []);
    assert.deepEqual([...(await importsOf(part, LATER)).difference(new Set(later))], []);
  });
}

Deno.test("only notebook/ and kernel/ know that there is a Jupyter", async () => {
  const touching: string[] = [];
  for await (const file of sources("")) {
    const code = (await Deno.readTextFile(SRC + file)).replace(/^\s*(\*|\/\/).*$/gm, "");
    if (code.includes("Deno.jupyter")) touching.push(file);
  }
  assert.deepEqual(touching.filter((file) => !/^(notebook|kernel)\//.test(file)), []);
});

Deno.test("what is heavy is not loaded with the module", async () => {
  const packages = await packagesOf("mod.ts");
  assert.ok(packages.length > 0);
  for (
    const name of ["apache-arrow", "parquet", "pglite", "duckdb", "sdk-experimental", "node-forge", "vega", "commander"]
  ) {
    assert.deepEqual(packages.filter((specifier) => specifier.includes(name)), []);
  }
});

Deno.test("a load of CSV needs no package", async () => {
  assert.deepEqual(await packagesOf("src/transfer/load/load.ts"), []);
});

/** The packages that a module loads without being asked for more. */
async function packagesOf(module: string): Promise<string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", module], cwd: ROOT }).output();
  const { modules, roots }: Graph = JSON.parse(new TextDecoder().decode(stdout));
  const known = new Map(modules.map((module) => [module.specifier, module]));
  const loaded = new Set<string>(roots);
  for (const specifier of loaded) {
    for (const { isDynamic, code } of known.get(specifier)?.dependencies ?? []) {
      if (!isDynamic && code?.specifier !== undefined) loaded.add(code.specifier);
    }
  }
  assert.ok(loaded.size > 50, String(loaded.size));
  return [...loaded].filter((specifier) => specifier.startsWith("npm:"));
}

interface Graph {
  roots: string[];
  modules: { specifier: string; dependencies?: { isDynamic?: boolean; code?: { specifier?: string } }[] }[];
}
