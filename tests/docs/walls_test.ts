import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { dirname, normalize } from "node:path";
import { filesBelow, ROOT } from "../support/files.ts";

const SRC = `${ROOT}src/`;

/** The paths below `src/` of a room's files, or of all files. */
function sources(room?: string): string[] {
  return filesBelow(room === undefined ? `${ROOT}src` : SRC + room, ".ts").map((path) => path.slice(SRC.length));
}

/** The imports of a room's files from other rooms, including types: a room, or a file outside of `src`. */
async function importsOf(room: string, pattern: RegExp): Promise<string[]> {
  const imports: string[] = [];
  for (const file of sources(room)) {
    for (const [, from] of (await Deno.readTextFile(SRC + file)).matchAll(pattern)) {
      const path = normalize(`${dirname(file)}/${from}`);
      if (!path.startsWith(`${room}/`) && !path.startsWith("..")) imports.push(`${file} -> ${path}`);
    }
  }
  return imports;
}

const STATIC_IMPORT = /^(?:import|export)\s[^"`;]*?from "(\.[^"]+)"/gm;
const DYNAMIC_IMPORT = /\bimport\("(\.[^"]+)"\)/g;

/** The floors of ARCHITECTURE.md, from the top. A room imports only from lower floors. */
const FLOORS: readonly (readonly string[])[] = [
  ["cli", "cells"],
  ["api"],
  ["doctor"],
  ["plot", "explore", "transfer", "lake"],
  ["catalog"],
  ["sql"],
  ["net"],
  ["auth"],
  ["settings"],
  ["draw"],
  ["core"],
];

/** The rooms beside the floors. */
const BESIDE = ["kernel", "local"];

/** The rooms that load those rooms when a person asks for one. */
const LOADS_BESIDE: readonly string[] = ["cli", "api"];

function below(room: string): Set<string> {
  if (BESIDE.includes(room)) return new Set(["core"]);
  const floor = FLOORS.findIndex((rooms) => rooms.includes(room));
  return new Set(FLOORS.slice(floor + 1).flat());
}

const roomOf = (row: string) => row.split(" -> ")[1]!.split("/")[0]!;

for (const room of [...FLOORS.flat(), ...BESIDE]) {
  Deno.test(`${room}/ imports only from rooms below it`, async () => {
    const allowed = below(room);
    assert.deepEqual((await importsOf(room, STATIC_IMPORT)).filter((row) => !allowed.has(roomOf(row))), []);
  });

  Deno.test(`${room}/ loads late only from the rooms that it may load`, async () => {
    const beside = LOADS_BESIDE.includes(room) ? BESIDE : [];
    const allowed = new Set([...below(room), ...beside]);
    assert.deepEqual((await importsOf(room, DYNAMIC_IMPORT)).filter((row) => !allowed.has(roomOf(row))), []);
  });
}

Deno.test("each file of src is in a room", async () => {
  const loose: string[] = [];
  for await (const { name, isFile } of Deno.readDir(SRC)) if (isFile) loose.push(name);
  assert.deepEqual(loose, []);
});

Deno.test("each module that is loaded later is there", async () => {
  const missing: string[] = []; // `deno check` does not report them
  for (const file of sources()) {
    for (const [, from] of (await Deno.readTextFile(SRC + file)).matchAll(DYNAMIC_IMPORT)) {
      if (!existsSync(normalize(`${SRC}${dirname(file)}/${from}`))) missing.push(`${file} -> ${from}`);
    }
  }
  assert.deepEqual(missing, []);
});

Deno.test("what a notebook calls loads modules outside of the context of the call", async () => {
  const inside: string[] = []; // Deno would run all later cells in that context, see core/lazy_import.ts
  for (const file of sources().filter((file) => !/^(cli|kernel|local)\/|_worker\.ts$/.test(file))) {
    const code = (await Deno.readTextFile(SRC + file)).replace(/^\s*(\*|\/\/).*$/gm, "");
    for (const [found] of code.matchAll(/(?<!loadModule\(\s*\(\) =>\s*|typeof )\bimport\([^)]+\)/g)) {
      inside.push(`${file}: ${found}`);
    }
  }
  assert.deepEqual(inside, []);
});

for (const document of ["ARCHITECTURE.md", "CONTRIBUTING.md"]) {
  Deno.test(`the files that ${document} names exist`, async () => {
    const text = await Deno.readTextFile(ROOT + document);
    const paths = [...text.matchAll(/`((?:[\w.]+\/)+[\w.]*)`/g)].map(([, path]) => path!);
    const roots = ["", "src/", "src/transfer/"];
    const exists = (path: string) => roots.some((root) => existsSync(ROOT + root + path));
    assert.ok(paths.length > 10);
    assert.deepEqual(paths.filter((path) => !exists(path) && !path.startsWith(".cache/")), []);
  });
}

Deno.test("only draw/ and kernel/ use Jupyter", async () => {
  const users: string[] = [];
  for (const file of sources()) {
    const code = (await Deno.readTextFile(SRC + file)).replace(/^\s*(\*|\/\/).*$/gm, "");
    if (code.includes("Deno.jupyter")) users.push(file);
  }
  assert.deepEqual(users.filter((file) => !/^(draw|kernel)\//.test(file)), []);
});

Deno.test("only the kernel's prelude uses Deno's internals, which may change with each version", async () => {
  const users: string[] = [];
  for (const file of sources()) {
    if (/\bDeno\s*(?:\.|\[\s*Deno\.)internal\b/.test(await Deno.readTextFile(SRC + file))) users.push(file);
  }
  // The kernel also works without them, but each cell would take longer.
  assert.deepEqual(users, ["kernel/prelude.ts"]);
});

Deno.test("importing the module loads only pg", async () => {
  assert.deepEqual(await packagesOf("mod.ts", "loaded"), ["pg"]);
  assert.deepEqual(await packagesOf("src/transfer/load/load.ts", "loaded"), [], "a load of CSV");
});

Deno.test("importing the module loads nothing of the lakehouse", async () => {
  const loaded = await modulesOf("mod.ts", "loaded");
  assert.ok(loaded.some((file) => file.endsWith("/src/api/lakehouse.ts")));
  assert.deepEqual(loaded.filter((file) => /\/src\/(lake|transfer|plot)\/|warehouse/.test(file)), []);
});

/** The packages that Deno fetches before a module runs. Each further package makes every user's first cell wait longer. */
const FETCHED: Readonly<Record<string, readonly string[]>> = {
  "mod.ts": ["@databricks/sdk-experimental", "pg"],
  "src/local/mod.ts": ["node-forge", "pg"],
  "src/local/database_worker.ts": ["@electric-sql/pglite", "@electric-sql/pglite-prepopulatedfs"],
  "src/cli/main.ts": ["@databricks/sdk-experimental", "commander", "pg"],
  "src/kernel/main.ts": [],
  "src/plot/svg_worker.ts": [],
};

for (const [module, packages] of Object.entries(FETCHED)) {
  Deno.test(`${module} fetches ${packages.length} packages`, async () => {
    assert.deepEqual(await packagesOf(module, "fetched"), packages);
  });
}

Deno.test("offline.ts imports each module that is loaded late, and each package of the source", async () => {
  const reached = new Set((await graphOf("offline.ts")).modules.map(({ specifier }) => specifier));
  const packages = new Set<string>();
  for (const file of sources()) {
    const text = await Deno.readTextFile(SRC + file);
    for (const [, from] of text.matchAll(/import\.meta\.resolve\("(\.[^"]+\.ts)"\)/g)) {
      assert.ok(reached.has(new URL(from!, `file://${SRC}${file}`).href), `${file} -> ${from}`);
    }
    for (const [, name] of text.matchAll(/^(?:import|\} from|.*import\()[^"`]*"npm:((?:@[^/]+\/)?[^@/]+)/gm)) {
      if (!name!.startsWith("@types/")) packages.add(name!);
    }
  }
  assert.deepEqual(await packagesOf("offline.ts", "fetched"), [...packages].toSorted());
});

/**
 * The names of the packages that a module imports: `loaded` with the module, or also `fetched` with it for an
 * `import()`.
 */
async function packagesOf(module: string, how: "loaded" | "fetched"): Promise<string[]> {
  const reached = await modulesOf(module, how);
  const names = reached.flatMap((specifier) => /^npm:((?:@[^/]+\/)?[^@/]+)/.exec(specifier)?.[1] ?? []);
  return [...new Set(names)].toSorted();
}

/** All modules that a module imports, directly or indirectly. */
async function modulesOf(module: string, how: "loaded" | "fetched"): Promise<string[]> {
  const { modules, roots } = await graphOf(module);
  const known = new Map(modules.map((module) => [module.specifier, module]));
  const reached = new Set<string>(roots);
  for (const specifier of reached) {
    for (const { isDynamic, code } of known.get(specifier)?.dependencies ?? []) {
      if (code?.specifier !== undefined && (how === "fetched" || !isDynamic)) reached.add(code.specifier);
    }
  }
  return [...reached];
}

async function graphOf(module: string): Promise<Graph> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", module], cwd: ROOT }).output();
  return JSON.parse(new TextDecoder().decode(stdout));
}

interface Graph {
  roots: string[];
  modules: { specifier: string; dependencies?: { isDynamic?: boolean; code?: { specifier?: string } }[] }[];
}
