import assert from "node:assert/strict";
import { LakebaseError } from "../../src/core/errors.ts";
import { lazyImport } from "../../src/core/lazy_import.ts";
import { filesBelow, ROOT, temporaryFolder } from "../support/files.ts";

/** Uses the workers, because they depend on the module's address. */
const SCRIPT = `
await using db = await connect({ local: true });
await db.load("trips", [{ id: 1 }, { id: 2 }], { create: true });
await db.pull("trips", "trips.parquet");
const { rows } = await db.load("trips", "trips.parquet");
await db.sql\`SELECT 1 AS a, 2 AS b\`.plot({ x: "a", y: "b" });
console.log(rows, await db.sql\`SELECT count(*) FROM trips\`.value());
`;

async function run(folder: string, script: string, flags: string[] = []): Promise<string> {
  await Deno.writeTextFile(`${folder}/script.ts`, script);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--no-lock", ...flags, "script.ts"],
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  return new TextDecoder().decode(success ? stdout : stderr);
}

Deno.test("a module that can't be loaded late is an error that says what to do, and a second call can't load it", async () => {
  await using folder = await temporaryFolder();
  const url = `file://${folder.path}/late.ts`;
  const failed = (error: unknown) =>
    error instanceof LakebaseError && error.code === "UNREACHABLE" && error.message.includes(`Cannot load "${url}"`) &&
    /Module not found[^]*restart the kernel/.test(error.message);
  await assert.rejects(lazyImport(url), failed);
  await Deno.writeTextFile(`${folder.path}/late.ts`, "export {};");
  await assert.rejects(lazyImport(url), failed); // the error says so; if Deno now tries again, leave that out
});

Deno.test("(slow) the module is imported by its path from any folder", async () => {
  await using folder = await temporaryFolder();
  assert.equal(await run(folder.path, `import { connect } from "${ROOT}mod.ts";${SCRIPT}`), "2 4\n");
});

Deno.test("(slow) a folder elsewhere can map the module's name in a deno.json of one line", async () => {
  await using folder = await temporaryFolder();
  await Deno.writeTextFile(`${folder.path}/deno.json`, JSON.stringify({ imports: { lakebase: `${ROOT}mod.ts` } }));
  assert.equal(await run(folder.path, `import { connect } from "lakebase";${SCRIPT}`), "2 4\n");
});

Deno.test("(slow) the module is imported from a web server", async () => {
  await using folder = await temporaryFolder();
  await using server = serveDir(ROOT);
  assert.equal(await run(folder.path, `import { connect } from "${server.origin}mod.ts";${SCRIPT}`), "2 4\n");
});

Deno.test("the source names the same packages as deno.json", async () => {
  const { imports } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`)) as { imports: Record<string, string> };
  const mapped = new Set(Object.values(imports));
  let checked = 0;
  for (const path of [`${ROOT}mod.ts`, ...filesBelow(`${ROOT}src`, ".ts")]) {
    const text = await Deno.readTextFile(path);
    for (const [, specifier] of text.matchAll(/(?:from |import\(|@ts-types=)"(?!\.|node:)([^"]+)"/g)) {
      if (/^(lakebase|npm:kysely|npm:drizzle-orm)/.test(specifier!)) continue; // a reader's import in an example
      const [packageName] = /^npm:(?:@[^/]+\/)?[^/]+/.exec(specifier!) ?? [];
      const isMapped = mapped.has(specifier!) || mapped.has(packageName ?? "");
      assert.ok(isMapped, `${path} imports "${specifier}", which a folder without deno.json can't find`);
      checked++;
    }
  }
  assert.ok(checked > 40);
});

/**
 * Deno fetches all of `deno.lock` before it runs a task in a fresh clone, so packages that only the tests need must not
 * be in it.
 */
Deno.test("deno.lock holds the packages of deno.json, and tests/deno.lock holds them in the same versions", async () => {
  const [{ imports }, lock, tests] = await Promise.all(
    ["deno.json", "deno.lock", "tests/deno.lock"].map(async (file) => JSON.parse(await Deno.readTextFile(ROOT + file))),
  );
  const named = Object.values<string>(imports).flatMap((to) => /^npm:(?:@[^/]+\/)?[^/]+/.exec(to)?.[0] ?? []);
  const locked = Object.keys(lock.specifiers).filter((name) => name.startsWith("npm:"));
  assert.deepEqual(locked.toSorted(), [...new Set(named)].toSorted());
  const others = Object.keys(lock.npm).filter((name) => tests.npm[name]?.integrity !== lock.npm[name].integrity);
  assert.deepEqual(others, []);
});

/** A web server for the files of a folder. */
interface FileServer extends AsyncDisposable {
  /** The address, with a slash at its end. */
  origin: string;
}

const TYPES: Readonly<Record<string, string>> = {
  ts: "text/typescript",
  js: "text/javascript",
  json: "application/json",
};

/**
 * Serves a checkout like a repository serves its raw files. At the end it removes what Deno has cached, because the
 * port, and so the address, differs each time.
 */
function serveDir(root: string): FileServer {
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const type = TYPES[pathname.slice(pathname.lastIndexOf(".") + 1)];
    if (type === undefined || pathname.includes("..")) return new Response(null, { status: 404 });
    const text = await Deno.readTextFile(root + pathname.slice(1)).catch(() => undefined);
    return new Response(text ?? null, { status: text === undefined ? 404 : 200, headers: { "content-type": type } });
  });
  const { port } = server.addr;
  return {
    origin: `http://127.0.0.1:${port}/`,
    async [Symbol.asyncDispose]() {
      await server.shutdown();
      await removeCached(port);
    },
  };
}

async function removeCached(port: number): Promise<void> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { modulesCache } = JSON.parse(new TextDecoder().decode(stdout));
  await Deno.remove(`${modulesCache}/http/127.0.0.1_PORT${port}`, { recursive: true });
}
