// deno-lint-ignore-file no-console
/**
 * The bytes that a first use receives from the registry, and its seconds, with an empty cache:
 *
 *     deno run -A bench/fetched.ts [connect | local | plot | pull | parquet | demo | offline]...
 *
 * A registry in front of the real one counts the bytes on the wire. `LAKEBASE_FETCHED=all` prints each address.
 * `offline` then closes that registry, and runs everything with the fetched packages.
 */
import { Buffer } from "node:buffer";
import { get } from "node:https";
import type { IncomingMessage } from "node:http";
import { gunzipSync } from "node:zlib";
import { startLocal } from "../src/local/mod.ts";

const ROOT = decodeURIComponent(new URL("..", import.meta.url).pathname);
const UPSTREAM = (Deno.env.get("NPM_CONFIG_REGISTRY") ?? await npmRegistry()).trim().replace(/\/$/, "");

/** The registry that npm is set to. */
async function npmRegistry(): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("npm", { args: ["config", "get", "registry"] }).output();
  if (!success) throw new Error(`npm names no registry: ${new TextDecoder().decode(stderr)}; set NPM_CONFIG_REGISTRY`);
  return new TextDecoder().decode(stdout);
}

/** A registry that forwards everything and keeps the size of each answer. */
class CountingRegistry implements AsyncDisposable {
  readonly sizes = new Map<string, number>();
  /** Whether it no longer answers. */
  closed = false;
  readonly #server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    (request) => this.#answer(request),
  );

  get origin(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  get total(): number {
    return this.sizes.values().reduce((sum, size) => sum + size, 0);
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    if (this.closed) return new Response(null, { status: 503 });
    const { response, body } = await fetchRaw(UPSTREAM + pathname + search, request.headers.get("accept") ?? "*/*");
    this.sizes.set(pathname, (this.sizes.get(pathname) ?? 0) + body.length);
    const type = response.headers["content-type"] ?? "application/octet-stream";
    const status = response.statusCode ?? 502;
    if (!type.includes("json")) return new Response(body, { status, headers: { "content-type": type } });
    // The addresses of the tarballs lead here too.
    const text = (response.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body).toString();
    return new Response(text.replaceAll(UPSTREAM, this.origin), { status, headers: { "content-type": type } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** Does not use `fetch`, which would unpack the body and lose its size on the wire. */
async function fetchRaw(
  url: string,
  accept: string,
): Promise<{ response: IncomingMessage; body: Buffer<ArrayBuffer> }> {
  const ask = () =>
    new Promise<IncomingMessage>((resolve, reject) =>
      get(url, { headers: { accept, "accept-encoding": "gzip" } }, resolve).on("error", reject)
    );
  const response = await ask().catch(ask); // a name server that is asked for a hundred at once leaves some out
  return { response, body: Buffer.concat(await Array.fromAsync(response as AsyncIterable<Uint8Array>)) };
}

interface Use {
  what: string;
  run: (env: Record<string, string>, folder: string, registry: CountingRegistry) => Promise<void>;
}

async function deno(args: string[], cwd: string, env: Record<string, string>): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd, env }).output();
  if (!success) throw new Error(new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
}

async function clone(folder: string): Promise<string> {
  const args = ["clone", "--quiet", "--depth=1", `file://${ROOT}`, `${folder}/clone`];
  await new Deno.Command("git", { args }).output();
  return `${folder}/clone`;
}

async function script(code: string, env: Record<string, string>, folder: string): Promise<void> {
  await Deno.writeTextFile(`${folder}/script.ts`, `import { connect } from "${ROOT}mod.ts";\n${code}`);
  await deno(["run", "-A", "script.ts"], folder, env);
}

const USES: Record<string, Use> = {
  connect: {
    what: "connect() and version() against a server, from a folder without deno.json",
    run: async (env, folder) => {
      await using local = await startLocal();
      await script("await using db = await connect(); await db.version();", { ...env, ...local.env }, folder);
    },
  },
  local: {
    what: "connect({ local: true }) and version(), from a folder without deno.json",
    run: (env, folder) => script("await using db = await connect({ local: true }); await db.version();", env, folder),
  },
  plot: {
    what: "the same, and plot()",
    run: (env, folder) =>
      script(
        `await using db = await connect({ local: true }); await db.sql\`SELECT 1 AS a, 2 AS b\`.plot({ x: "a", y: "b" });`,
        env,
        folder,
      ),
  },
  pull: {
    what: "connect({ local: true }), and a pull to Parquet",
    run: (env, folder) =>
      script(
        `await using db = await connect({ local: true }); await db.sql\`SELECT 1 AS a\`.pull("t.parquet");`,
        env,
        folder,
      ),
  },
  parquet: {
    what: "connect({ local: true }), and a pull to Parquet and its load",
    run: (env, folder) =>
      script(
        `await using db = await connect({ local: true }); await db.query("CREATE TABLE t AS SELECT 1 AS a");
        await db.pull("t", "t.parquet"); await db.load("t", "t.parquet");`,
        env,
        folder,
      ),
  },
  demo: {
    what: "deno task demo in a fresh clone",
    run: async (env, folder) => await deno(["task", "demo"], await clone(folder), env),
  },
  offline: {
    what: "deno cache offline.ts; then without a network: the demo, the command, and everything from another folder",
    run: async (env, folder, registry) => {
      const checkout = await clone(folder);
      for (const flags of [[], ["--no-lock"]]) await deno(["cache", ...flags, "offline.ts"], checkout, env);
      registry.closed = true;
      const home = { ...env, HOME: folder };
      await deno(["task", "demo"], checkout, home);
      await deno(["task", "install"], checkout, home);
      const query = { args: ["query", "--local", "SELECT 1"], env: home };
      const { success } = await new Deno.Command(`${folder}/.deno/bin/lakebase`, query).output();
      if (!success) throw new Error("the command needs a network");
      await script(EVERYTHING, env, folder);
    },
  },
};

/** Uses every module that is fetched late. */
const EVERYTHING = `
  await using db = await connect({ local: true });
  await db.query("CREATE TABLE t AS SELECT 1 AS a, 2 AS b");
  await db.sql\`SELECT * FROM t\`.plot({ x: "a", y: "b" });
  await (await db.sql\`SELECT * FROM t\`.columns()).toArrow();
  for (const file of ["t.parquet", "t.arrow"]) {
    await db.pull("t", file);
    await db.load("t", file);
  }
  await (await db.lakehouse()).sql\`SELECT 1\`;`;

for (const name of Deno.args.length > 0 ? Deno.args : Object.keys(USES)) {
  const { what, run } = USES[name]!;
  await using registry = new CountingRegistry();
  const folder = await Deno.makeTempDir({ prefix: "lakebase-fetched-" });
  const env = {
    DENO_DIR: `${folder}/cache`,
    NPM_CONFIG_REGISTRY: registry.origin,
    DENO_NO_UPDATE_CHECK: "1",
    NO_COLOR: "1",
  };
  const started = performance.now();
  await run(env, await Deno.makeTempDir({ dir: folder }), registry);
  const seconds = (performance.now() - started) / 1000;
  await Deno.remove(folder, { recursive: true });
  const packages = [...registry.sizes].filter(([path]) => path.endsWith(".tgz"));
  const packed = packages.reduce((sum, [, size]) => sum + size, 0);
  console.log(
    `${what}: ${megabytes(registry.total)} in ${seconds.toFixed(1)} s ` +
      `(${packages.length} packages, ${megabytes(packed)}; ${registry.sizes.size - packages.length} descriptions)`,
  );
  if (Deno.env.get("LAKEBASE_FETCHED") === "all") {
    for (const [path, size] of [...registry.sizes].toSorted(([, a], [, b]) => b - a)) console.log(`${size}\t${path}`);
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
