import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { dirname, normalize } from "node:path";
import { ROOT } from "./support.ts";

const SRC = `${ROOT}src/`;

async function* sources(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(SRC + folder)) {
    if (isDirectory) yield* sources(`${folder}${name}/`);
    else if (name.endsWith(".ts")) yield folder + name;
  }
}

/** What the files of a room import from other rooms, types too: a room, or a file outside of `src`. */
async function importsOf(room: string, how: RegExp): Promise<string[]> {
  const found: string[] = [];
  for await (const file of sources(`${room}/`)) {
    for (const [, from] of (await Deno.readTextFile(SRC + file)).matchAll(how)) {
      const path = normalize(`${dirname(file)}/${from}`);
      if (!path.startsWith(`${room}/`) && !path.startsWith("..")) found.push(`${file} -> ${path}`);
    }
  }
  return found;
}

const AT_ITS_START = /^(?:import|export)\s[^"`;]*?from "(\.[^"]+)"/gm;
const LATER = /\bimport\("(\.[^"]+)"\)/g;

/** The floors of ARCHITECTURE.md, from the top: a room imports what stands on a lower floor, and nothing else. */
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

/** The rooms that stand beside the floors. The client knows the types of the options of a Lakebase on this machine. */
const BESIDE = ["kernel", "local"];

function below(room: string): Set<string> {
  if (BESIDE.includes(room)) return new Set(["core"]);
  const floor = FLOORS.findIndex((rooms) => rooms.includes(room));
  return new Set(FLOORS.slice(floor + 1).flat());
}

const roomOf = (row: string) => row.split(" -> ")[1]!.split("/")[0]!;

for (const room of [...FLOORS.flat(), ...BESIDE]) {
  Deno.test(`${room}/ imports only what is below it`, async () => {
    const allowed = below(room);
    const upward = (await importsOf(room, AT_ITS_START)).filter((row) => !allowed.has(roomOf(row)));
    const types = upward.filter((row) => row.endsWith("-> local/mod.ts") && room === "settings");
    assert.deepEqual(upward.filter((row) => !types.includes(row)), []);
  });

  Deno.test(`${room}/ loads later only what is below it, or beside it`, async () => {
    const allowed = new Set([...below(room), ...BESIDE]);
    assert.deepEqual((await importsOf(room, LATER)).filter((row) => !allowed.has(roomOf(row))), []);
  });
}

Deno.test("each file of src stands in a room", async () => {
  const loose: string[] = [];
  for await (const { name, isFile } of Deno.readDir(SRC)) if (isFile) loose.push(name);
  assert.deepEqual(loose, []);
});

for (const document of ["ARCHITECTURE.md", "CONTRIBUTING.md"]) {
  Deno.test(`the files that ${document} names are there`, async () => {
    const text = await Deno.readTextFile(ROOT + document);
    const paths = [...text.matchAll(/`((?:[\w.]+\/)+[\w.]*)`/g)].map(([, path]) => path!);
    const roots = ["", "src/", "src/transfer/"];
    const there = (path: string) => roots.some((root) => existsSync(ROOT + root + path));
    assert.ok(paths.length > 10);
    assert.deepEqual(paths.filter((path) => !there(path) && !path.startsWith(".cache/")), []);
  });
}

Deno.test("only draw/ and kernel/ know that there is a Jupyter", async () => {
  const touching: string[] = [];
  for await (const file of sources("")) {
    const code = (await Deno.readTextFile(SRC + file)).replace(/^\s*(\*|\/\/).*$/gm, "");
    if (code.includes("Deno.jupyter")) touching.push(file);
  }
  assert.deepEqual(touching.filter((file) => !/^(draw|kernel)\//.test(file)), []);
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
